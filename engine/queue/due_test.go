package queue

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestStartsWhenDue pushes jobs for a little later, one as the one before is due, as the soak does. They start when they are due, and
// however long a look takes, none waits for the moment of another.
func TestStartsWhenDue(t *testing.T) {
	t.Parallel()
	for _, took := range []time.Duration{300 * time.Microsecond, 12 * time.Millisecond} {
		t.Run(took.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const every, later, jobs = 100 * time.Millisecond, 200 * time.Millisecond, 50
				s := newDueRow(took)
				began, pushed, started := time.Now(), 0, 0
				for started < jobs {
					push, look := began.Add(time.Duration(pushed)*every), time.Now().Add(s.wait(time.Hour))
					if pushed < jobs && push.Before(look) {
						<-time.After(time.Until(push))
						s.push(push.Add(later))
						pushed++
						continue
					}
					<-time.After(time.Until(look))
					for _, due := range s.look() {
						if late := time.Since(due); late > took+2*time.Millisecond {
							t.Errorf("started %s late", late)
						}
						started++
					}
				}
			})
		})
	}
}

// TestDueElsewhere pushes a job for a little later that only another process takes, which looks by itself only once an hour.
func TestDueElsewhere(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	here, there := quiet(storetest.Open(t, url), nil), quiet(storetest.Open(t, url), nil)
	here.Tags, there.Tags = []string{"noop"}, []string{"other"}
	a, b := start(t, here), start(t, there)
	claim(t, b, 1, "other") // nothing yet; b has looked
	for a.others.Load() == 0 {
		if _, err := a.beatOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	j := noop()
	j.Tag, j.ScheduledFor = "other", time.Now().Add(300*time.Millisecond)
	push(t, a, j)
	for {
		<-b.Wake()
		got := claim(t, b, 1, "other")
		if len(got) == 0 {
			continue
		}
		if got[0].Job.ID != j.ID || time.Now().Before(j.ScheduledFor) {
			t.Errorf("%v was claimed at %v, due at %v", got[0].Job.ID, time.Now(), j.ScheduledFor)
		}
		return
	}
}

// dueRow is a lane of the database, and what is known of it.
type dueRow struct {
	lanes
	took time.Duration // by each look
	rows []time.Time   // due, in order
}

func newDueRow(took time.Duration) *dueRow {
	s := &dueRow{took: took}
	s.init(time.Now)
	return s
}

func (s *dueRow) push(due time.Time) {
	s.rows = append(s.rows, due)
	s.added("noop", 0, due)
}

// look does what loop does, and claims what it found.
func (s *dueRow) look() []time.Time {
	before, now := s.generations(), time.Now()
	var heads []store.JobHead
	if len(s.rows) > 0 {
		h := store.JobHead{Lane: store.Lane{Tag: "noop", Mark: s.rows[0]}}
		if i := slices.IndexFunc(s.rows, now.Before); i >= 0 {
			h.Next = s.rows[i]
		}
		heads = append(heads, h)
	}
	<-time.After(s.took)
	s.looked(s.took)
	s.found(heads, now, now, before)
	look := s.ready([]string{"noop"})
	if len(look.lanes) == 0 {
		return nil
	}
	n, ok := slices.BinarySearchFunc(s.rows, time.Now(), time.Time.Compare)
	if ok {
		n++
	}
	c := &store.JobClaim{Max: n + 1, Due: s.rows[:n]}
	for range c.Due {
		c.Claims = append(c.Claims, &engine.Claim{Job: &engine.Job{Tag: "noop"}})
	}
	s.rows = s.rows[n:]
	s.claimed(look, c)
	return c.Due
}
