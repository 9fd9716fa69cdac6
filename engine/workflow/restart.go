package workflow

import "context"

// Replays says whether the workflow was begun before.
func (s *Session) Replays() bool { return s.claim.Attempt > 1 || s.replay }

// Restart prepares for another process, because the one that the workflow had has ended through no fault of its own. Nobody calls Ask
// meanwhile.
func (s *Session) Restart() {
	s.mu.Lock()
	for _, w := range s.waits {
		if w.timer != nil {
			w.timer.Stop()
		}
	}
	s.waits, s.running, s.hurry = map[string]*wait{}, 0, false
	s.stay()
	s.process, s.suspend, s.err = nil, false, nil // whatever it was, the next process meets it again
	s.mu.Unlock()
	s.stores.Wait() // the next process must hear of all that the last one has asked for
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	s.replay = true
	s.ctx, s.end = context.WithCancel(context.Background())
}

// Hurry says that the process would end if it were not for this workflow.
func (s *Session) Hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurry = true
	s.turn()
}

// announce announces a store of what w waits for, unless its process is gone: false.
func (s *Session) announce(w *wait) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits[w.mark.Key] != w {
		return false
	}
	s.stores.Add(1)
	return true
}

// store does a store that was announced; false: the workflow cannot go on.
func (s *Session) store(put func() error) bool {
	defer s.stores.Done()
	if err := put(); err != nil {
		s.fail(err)
		return false
	}
	return true
}
