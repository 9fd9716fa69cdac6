package schedule

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

const (
	maxRound   = 20_000 // ticks of a schedule that are looked at in one transaction
	maxLines   = 1000   // lines of one state that a transaction writes; more are summed up in one
	maxWaiting = 1000   // ticks that wait for an earlier run
)

// plan is what becomes of the ticks of one schedule.
type plan struct {
	ticks   []store.NewTick
	next    *time.Time // the first tick that is left; nil: none
	replace bool       // what waits is coalesced into what comes
}

// open is how many ticks of a schedule wait for an earlier run, and how many are on their way or run.
type open struct{ waiting, running int }

// planner decides for one schedule at one moment. It reads nothing but its fields.
type planner struct {
	s    *engine.Schedule
	grid *Grid
	out  *exclusion
	open open
	now  time.Time
	plan plan
}

// moment is a tick that is looked at.
type moment struct {
	at  time.Time
	out bool // on an excluded day
}

// decide goes through the ticks from NextAt to now.
func (p *planner) decide() plan {
	grace := p.s.Grace
	if grace == 0 {
		grace = onTime
	}
	list, at, more := p.walk()
	var missed, fresh []time.Time
	for i, m := range list {
		if m.out || p.now.Sub(m.at) <= grace {
			if !m.out {
				fresh = append(fresh, m.at)
			}
			continue
		}
		missed = append(missed, list[i].at)
	}
	if n := len(missed) - p.spared(); more && n > 0 { // only the older ones now: which are the youngest of all is not known yet
		switch {
		case n < len(missed):
			at, missed = missed[n], missed[:n]
		case len(fresh) > 0:
			at = fresh[0]
		}
		p.exclude(list, at)
		p.note(missed, p.stale(), "", 0)
		p.plan.next = &at
		return p.plan
	}
	p.exclude(list, at)
	if !at.IsZero() {
		p.plan.next = &at
	}
	p.fire(p.pick(missed, fresh))
	return p.plan
}

// walk lists ticks, and returns the first that is not listed; more: it is one that is up already.
func (p *planner) walk() (list []moment, at time.Time, more bool) {
	var day time.Time
	var out bool
	for at = p.s.NextAt.UTC(); !at.IsZero() && !at.After(p.now); at = p.grid.Next(at) {
		if len(list) == maxRound {
			return list, at, true
		}
		if d := p.grid.Day(at); !d.Equal(day) {
			day, out = d, p.out.has(d)
		}
		list = append(list, moment{at, out})
	}
	return list, at, false
}

// spared is how many of the youngest missed ticks may still be run.
func (p *planner) spared() int {
	switch p.s.Missed {
	case engine.MissedSkip:
		return 0
	case engine.MissedCatchUp:
		if p.s.CatchUpLimit > 0 {
			return p.s.CatchUpLimit
		}
		return catchUp
	}
	return 1
}

// stale is what becomes of missed ticks that are not run.
func (p *planner) stale() engine.TickState {
	if p.s.Missed == engine.MissedCoalesce {
		return engine.TickCoalesced
	}
	return engine.TickMissed
}

// exclude notes the ticks on excluded days before end: one line a day, at the day's first tick.
func (p *planner) exclude(list []moment, end time.Time) {
	counts := map[time.Time]int{}
	var days []time.Time
	for _, m := range list {
		if !m.out || (!end.IsZero() && !m.at.Before(end)) {
			continue
		}
		d := p.grid.Day(m.at)
		if counts[d] == 0 {
			days = append(days, d)
		}
		counts[d]++
	}
	for _, d := range days {
		p.line(p.grid.FirstOf(d), engine.TickExcluded, counts[d], "")
	}
}

// pick applies the policy for missed ticks: what is to be run comes out, oldest first.
func (p *planner) pick(missed, fresh []time.Time) []time.Time {
	switch n := len(missed) - p.spared(); {
	case len(missed) == 0:
	case p.s.Missed == engine.MissedCoalesce && len(fresh) > 0: // the run on time stands for them
		p.note(missed, engine.TickCoalesced, "", maxLines)
		missed = nil
	case n > 0:
		p.note(missed[:n], p.stale(), "", maxLines)
		missed = missed[n:]
	}
	return append(missed, fresh...)
}

// fire applies the policy for overlaps to what is to be run.
func (p *planner) fire(list []time.Time) {
	if len(list) == 0 {
		return
	}
	busy := p.open.running+p.open.waiting > 0
	switch p.s.Overlap {
	case engine.OverlapSkip:
		if !busy {
			p.run(list[0], true)
			list = list[1:]
		}
		p.note(list, engine.TickSkipped, "", maxLines)
	case engine.OverlapQueue:
		if !busy {
			p.run(list[0], true)
			list = list[1:]
		}
		n := min(len(list), max(maxWaiting-p.open.waiting, 0))
		for _, t := range list[:n] {
			p.run(t, false)
		}
		p.note(list[n:], engine.TickSkipped, fmt.Sprintf("%d ticks wait for earlier runs already", maxWaiting), maxLines)
	case engine.OverlapCoalesce:
		if !busy {
			p.run(list[0], true)
			list = list[1:]
		}
		if len(list) > 0 {
			p.plan.replace = p.open.waiting > 0
			p.note(list[:len(list)-1], engine.TickCoalesced, "", maxLines)
			p.run(list[len(list)-1], false)
		}
	default:
		for _, t := range list {
			p.run(t, true)
		}
	}
}

// run notes a tick that gets a job: claimed, to be pushed at once, or after an earlier run.
func (p *planner) run(t time.Time, claimed bool) {
	id := engine.NewJobID()
	p.plan.ticks = append(p.plan.ticks, store.NewTick{TickKey: p.key(t), State: engine.TickDue, Count: 1, Job: &id, Claimed: claimed})
}

// note writes lines of one state; all but the youngest most are one line.
func (p *planner) note(list []time.Time, state engine.TickState, why string, most int) {
	if n := len(list) - most; n > 0 {
		p.line(list[n-1], state, n, why)
		list = list[n:]
	}
	for _, t := range list {
		p.line(t, state, 1, why)
	}
}

func (p *planner) line(t time.Time, state engine.TickState, count int, why string) {
	p.plan.ticks = append(p.plan.ticks, store.NewTick{TickKey: p.key(t), State: state, Count: count, Error: why})
}

func (p *planner) key(t time.Time) store.TickKey {
	return store.TickKey{Workspace: p.s.Workspace, Path: p.s.Path, At: t.UTC()}
}
