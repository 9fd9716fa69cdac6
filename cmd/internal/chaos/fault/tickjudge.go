package fault

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
)

// tickKey is a tick of a schedule.
type tickKey struct {
	path string
	at   int64 // Unix time
}

// tickLine is a line of the ledger.
type tickLine struct {
	state   string
	count   int64
	job     uuid.UUID // none: Nil
	success bool
}

// ticksSeen is what the database and the runs themselves say.
type ticksSeen struct {
	ticks map[tickKey]tickLine
	jobs  map[uuid.UUID]int // state in done, 0: none
	of    map[uuid.UUID]string
	begun map[tickKey]int
	lines int // of the runs
	again int // runs that began once more; written by compare
}

// readTicks reads the answer to tickSQL and what runs wrote: a schedule and a tick a line.
func readTicks(text, log string) (*ticksSeen, error) {
	s := &ticksSeen{ticks: map[tickKey]tickLine{}, jobs: map[uuid.UUID]int{}, of: map[uuid.UUID]string{}, begun: map[tickKey]int{}}
	for line := range strings.Lines(text) {
		var kind, path, job string
		var err error
		if strings.HasPrefix(line, "tick ") {
			var at int64
			var l tickLine
			var success int
			_, err = fmt.Sscan(line, &kind, &path, &at, &l.state, &l.count, &job, &success)
			if l.success = success == 1; err == nil && job != "-" {
				l.job, err = uuid.Parse(job)
			}
			s.ticks[tickKey{path, at}] = l
		} else {
			var state int
			var id uuid.UUID
			if _, err = fmt.Sscan(line, &kind, &path, &job, &state); err == nil {
				id, err = uuid.Parse(job)
			}
			s.jobs[id], s.of[id] = state, path
		}
		if err != nil {
			return nil, fmt.Errorf("read ticks: %q: %w", strings.TrimSpace(line), err)
		}
	}
	for line := range strings.Lines(log) {
		path, at, _ := strings.Cut(strings.TrimSpace(line), " ")
		t, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			return nil, fmt.Errorf("read runs: %q: %w", strings.TrimSpace(line), err)
		}
		s.begun[tickKey{path, t.Unix()}]++
		s.lines++
	}
	return s, nil
}

// allowedStates are those of settled ticks, by the policy for missed ones; an overlapping tick may be skipped or coalesced too.
var allowedStates = map[string]string{"catch_up": "done", "coalesce": "done coalesced", "skip": "done missed skipped"}

// compare looks at every second up to end. Each kill may have a run begin again: there is one slot.
func (s *ticksSeen) compare(made []schedule, end int64, kills int) *check.Result {
	r := &check.Result{}
	find := func(count *int, format string, args ...any) {
		*count++
		r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
	}
	users := map[uuid.UUID]int{}
	for key, l := range s.ticks {
		if l.job != uuid.Nil {
			users[l.job]++
		}
		if n := s.begun[key]; n > 1 {
			s.again += n - 1
		}
	}
	for id, path := range s.of {
		if users[id] != 1 {
			find(&r.Twice, "job %s of %s is the job of %d ticks", id, path, users[id])
		}
	}
	if s.again > kills {
		r.Twice += s.again - kills
		r.Findings = append(r.Findings, fmt.Sprintf("%d runs began again after %d kills of a daemon with one slot", s.again, kills))
	}
	for key := range s.begun {
		if _, there := s.ticks[key]; !there {
			find(&r.Phantom, "%s ran for %d, which is no tick", key.path, key.at)
		}
	}
	for _, m := range made {
		s.compareSchedule(r, m, end, find)
	}
	return r
}

func (s *ticksSeen) compareSchedule(r *check.Result, m schedule, end int64, find func(*int, string, ...any)) {
	first := m.made - m.made%m.every + m.every // the first that nobody can have missed
	for key := range s.ticks {
		if key.path == m.path && key.at%m.every != 0 {
			find(&r.Phantom, "%s has a line for %d, which is no tick", m.path, key.at)
		}
	}
	for at := first; at <= end; at += m.every {
		r.Pushes++
		key := tickKey{m.path, at}
		l, there := s.ticks[key]
		switch {
		case !there:
			find(&r.LostPushes, "tick %d of %s (%s) has no line", at, m.path, m.missed)
		case l.count != 1:
			find(&r.LostPushes, "the line of tick %d of %s stands for %d", at, m.path, l.count)
		case l.state == "due" || l.state == "fired":
			find(&r.Stuck, "tick %d of %s is still %s", at, m.path, l.state)
		case !strings.Contains(" "+allowedStates[m.missed]+" ", " "+l.state+" "):
			find(&r.LostPushes, "tick %d of %s (%s) is %s", at, m.path, m.missed, l.state)
		case l.state != "done":
			if s.begun[key] > 0 {
				find(&r.Twice, "tick %d of %s is %s, and ran", at, m.path, l.state)
			}
		case !l.success || s.jobs[l.job] != 2 || s.begun[key] == 0:
			find(&r.LostCompletions, "tick %d of %s is done (success %t); its job %s is in state %d and began %d times", at, m.path, l.success, l.job,
				s.jobs[l.job], s.begun[key])
		default:
			r.Completions++
		}
	}
}
