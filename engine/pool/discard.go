package pool

import "fmt"

// Discard gives the slot back to nobody: it is closed, and no process that was in it lives when Discard returns without an error.
// For slots that hold what others wait for, such as a device.
func (w *Worker) Discard() error {
	if w.entry == nil {
		return nil
	}
	e := w.entry
	w.entry = nil
	if w.ending != nil {
		w.pool.end(w.ending)
	}
	if e.next != nil {
		<-e.ready
		e.next.close()
		e.next = nil
	}
	err := e.slot.Close()
	w.pool.gone(e)
	if err != nil {
		return fmt.Errorf("close slot: %w", err)
	}
	return nil
}

// gone gives the place of a closed entry back.
func (p *Pool) gone(e *entry) {
	p.mu.Lock()
	p.open--
	e.class.slots--
	p.wake(e.class)
	p.mu.Unlock()
}
