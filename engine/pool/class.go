package pool

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// class is the slots of one template (and, for processes started ahead, of one program).
type class struct {
	key    string
	idle   []*entry  // last used last; guarded by Pool.mu
	kept   int       // slots that stay although idle; guarded by Pool.mu
	slots  int       // entries that exist or are being made, idle or not; guarded by Pool.mu
	share  string    // the folder that its slots share; "": none. Written once
	over   bool      // that folder was taken away: its slots are not used again; guarded by Pool.mu
	hot    bool      // its zygote has imported more than all do; guarded by Pool.mu
	served time.Time // when a run last got one of its slots, of a hot one; guarded by Pool.mu
	boots  bool      // its processes boot before they wait for their jobs; written once
	demand
	// soon counts slots whose job has answered and whose process is being taken apart, and turn holds acquirers that wait for
	// one of them: that is a matter of a millisecond, a new slot one of tens. Guarded by Pool.mu.
	soon int
	turn []chan struct{}
}

// entry is one slot with, perhaps, its next process.
type entry struct {
	class *class
	slot  sandbox.Slot
	used  time.Time
	since time.Time // when the slot was opened
	jobs  int
	walls sandbox.Limits // of its last process; zero: none yet
	// next is the process started ahead; ready is closed when it waits for its request (or failed: next is nil then).
	next  *started
	ready chan struct{}
}

// startsAhead reports whether the next process of a slot can be started before its job is known. Of other programs a process that
// is confined but nothing yet can be held ahead, where the isolator can do that.
func startsAhead(l runtimes.Launch) bool {
	return l.Exec == "" && (l.Warm || len(l.Template.Zygote) > 0)
}

// settled is how long after its slot's release a process that was started ahead has surely got ready: the forker tells only that
// it is there, and a job that is handed over at once would wait for the rest.
const settled = 5 * time.Millisecond

// takeAt finds an idle entry of c: of those that are ready and settled the last used, so that the others can grow old; else the one
// whose process has had the most time.
func (c *class) takeAt(now time.Time) *entry {
	best, rank := -1, -1
	for i := len(c.idle) - 1; i >= 0; i-- {
		e, r := c.idle[i], 0
		switch {
		case e.next == nil:
		case !isClosed(e.ready):
			r = 1
		case now.Sub(e.used) < settled:
			r = 2
		default:
			best, rank = i, 3
		}
		if rank == 3 {
			break
		}
		if r > rank || r == rank && r > 0 {
			best, rank = i, r
		}
	}
	if best < 0 {
		return nil
	}
	e := c.idle[best]
	c.idle = append(c.idle[:best:best], c.idle[best+1:]...)
	return e
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// oldestIdle finds the entry that has been idle longest, in any class but except; kept entries only when nothing else is left.
func (p *Pool) oldestIdle(except *class) *entry {
	var found *entry
	at := -1
	for _, spare := range []bool{true, false} {
		for _, c := range p.classes {
			if c == except || len(c.idle) == 0 || (spare && len(c.idle) <= c.kept) {
				continue
			}
			if e := c.idle[0]; found == nil || e.used.Before(found.used) {
				found, at = e, 0
			}
		}
		if found != nil {
			break
		}
	}
	if found != nil {
		c := found.class
		c.idle = append(c.idle[:at:at], c.idle[at+1:]...)
	}
	return found
}

// classKey tells classes apart: by template and, where processes are started ahead, by what is started.
func classKey(l runtimes.Launch) string {
	key := l.Template.Key()
	if startsAhead(l) {
		key += fmt.Sprintf(" %q %q", l.Spec.Argv, l.Spec.Env)
	}
	return key
}

func (p *Pool) classOf(l runtimes.Launch) *class {
	key := classKey(l)
	c := p.classes[key]
	if c == nil {
		c = &class{key: key, boots: l.Warm, share: l.Template.Shared}
		p.classes[key] = c
	}
	return c
}
