// Package check compares what processes outside of the database were told with what the database says afterwards. It knows
// the promises and nothing of how they are kept.
//
//	lost      acknowledged, and gone: a push without its job, an outcome that is not stored, or with another result
//	twice     two attempts of one job were both told that theirs is the outcome, or the stored outcome is a third one
//	stale     an outcome was accepted although a later attempt had been in somebody's hands when it was sent
//	stuck     queued or running after everything had come to rest, or not taken up again in time
//	phantom   in the database, and nobody asked for it
package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
)

// Row is what the database says of a job; states as in the database, -1 for none.
type Row struct {
	ID              uuid.UUID
	Queued, Done    int // state in q, state in done
	Worker, Attempt int32
	Result          string
}

// success is the state of a job that succeeded, in done.
const success = 2

// Event is a fault as it was inflicted.
type Event struct {
	At int64 // on the ledgers' clock
	// Life names the ledger of a worker that was killed or stopped: its jobs must be taken up by others. Empty: the fault hit
	// everybody, and the pause in acknowledgements is measured.
	Life  string
	Limit time.Duration // how long taking up may last; zero: it is only measured
}

// Result is the verdict.
type Result struct {
	Pushes      int `json:"acked_pushes"`
	Completions int `json:"acked_completions"`
	Refused     int `json:"refused_completions"` // late outcomes that were rightly refused
	Retaken     int `json:"retaken"`             // attempts of killed or stopped workers that others took up
	Errors      int `json:"refused_pushes"`

	LostPushes      int `json:"lost_pushes"`
	LostCompletions int `json:"lost_completions"`
	Twice           int `json:"twice"`
	Stale           int `json:"stale_accepted"`
	Stuck           int `json:"stuck"`
	Phantom         int `json:"phantom"`
	GaveUp          int `json:"gave_up"` // ended by the queue because workers vanished too often, or canceled

	Recovery float64        `json:"max_recovery_ms"`
	Refusals map[string]int `json:"refusals,omitempty"` // of pushes, by code and message
	Findings []string       `json:"findings,omitempty"` // the first violations in words
}

// Lost is everything acknowledged that is gone.
func (r *Result) Lost() int { return r.LostPushes + r.LostCompletions }

// Violations counts broken promises.
func (r *Result) Violations() int { return r.Lost() + r.Twice + r.Stale + r.Stuck + r.Phantom }

const findingsKept = 20

func (r *Result) find(count *int, format string, args ...any) {
	*count++
	if len(r.Findings) < findingsKept {
		r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
	}
}

// attempt is the fence of an outcome.
type attempt struct{ worker, number int32 }

type claim struct {
	attempt
	at   int64
	life string
}

type finish struct {
	attempt
	asked, at int64
	result    string
	life      string
	accepted  bool
}

type history struct {
	intended, pushed bool
	claims           []claim
	finishes         []finish
	answers          []string
	seen             bool // in the database
}

// Checker gathers what was told.
type Checker struct {
	jobs   map[uuid.UUID]*history
	acks   []int64 // when pushes were acknowledged
	result Result
}

// New returns a checker that knows nothing yet.
func New() *Checker {
	return &Checker{jobs: map[uuid.UUID]*history{}, result: Result{Refusals: map[string]int{}}}
}

// Add takes in a record of the ledger of one process.
func (c *Checker) Add(life string, r ledger.Record) {
	if r.Kind == ledger.Worker {
		return
	}
	h := c.jobs[r.ID]
	if h == nil {
		h = &history{}
		c.jobs[r.ID] = h
	}
	a := attempt{r.Worker, r.Attempt}
	switch r.Kind {
	case ledger.Intent:
		h.intended = true
	case ledger.Pushed:
		h.pushed = true
		c.acks = append(c.acks, r.At)
		c.result.Pushes++
	case ledger.Error:
		c.result.Errors++
		c.result.Refusals[r.Text]++
	case ledger.Claimed:
		h.claims = append(h.claims, claim{a, r.At, life})
	case ledger.Finished, ledger.Refused:
		h.finishes = append(h.finishes, finish{a, r.Asked, r.At, r.Text, life, r.Kind == ledger.Finished})
		if r.Kind == ledger.Finished {
			c.result.Completions++
		} else {
			c.result.Refused++
		}
	case ledger.Answered:
		h.answers = append(h.answers, r.Text)
		c.result.Completions++
	}
}

// Judge compares everything with the rows of the database, which must have come to rest.
func (c *Checker) Judge(rows []Row, events []Event) *Result {
	for _, row := range rows {
		h := c.jobs[row.ID]
		if h == nil || !h.intended {
			c.result.find(&c.result.Phantom, "job %s: nobody asked for it", row.ID)
			continue
		}
		h.seen = true
		c.row(h, row)
	}
	for id, h := range c.jobs {
		if !h.seen && h.pushed {
			c.result.find(&c.result.LostPushes, "job %s: its push was acknowledged, and there is no such job", id)
		}
		if !h.seen {
			for _, a := range h.accepted() {
				c.result.find(&c.result.LostCompletions, "job %s: the outcome of attempt %d of worker %d was acknowledged, and there is no such job",
					id, a.number, a.worker)
			}
		}
		c.fence(id, h)
	}
	slices.Sort(c.acks)
	for _, e := range events {
		if e.Life == "" {
			c.pause(e)
		} else {
			c.takenUp(e)
		}
	}
	return &c.result
}

// accepted lists the attempts whose outcome was acknowledged, each once however often it was sent.
func (h *history) accepted() []finish {
	var out []finish
	for _, f := range h.finishes {
		if f.accepted && !slices.ContainsFunc(out, func(o finish) bool { return o.attempt == f.attempt }) {
			out = append(out, f)
		}
	}
	return out
}

// row compares one job.
func (c *Checker) row(h *history, row Row) {
	r := &c.result
	switch {
	case row.Queued >= 0 && row.Done >= 0:
		r.find(&r.Twice, "job %s: both in the queue and done", row.ID)
	case row.Queued >= 0:
		r.find(&r.Stuck, "job %s: still in state %d", row.ID, row.Queued)
	case row.Done < 0 && h.pushed:
		r.find(&r.LostPushes, "job %s: its push was acknowledged; it is neither queued nor done", row.ID)
	}
	stored := attempt{row.Worker, row.Attempt}
	for _, f := range h.accepted() {
		switch {
		case row.Done < 0:
			r.find(&r.LostCompletions, "job %s: the outcome of attempt %d of worker %d was acknowledged and is not stored", row.ID, f.number, f.worker)
		case f.attempt != stored:
			r.find(&r.Twice, "job %s: the outcome of attempt %d of worker %d was acknowledged, stored is that of attempt %d of worker %d",
				row.ID, f.number, f.worker, stored.number, stored.worker)
		case f.result != row.Result:
			r.find(&r.LostCompletions, "job %s: acknowledged was %s, stored is %s", row.ID, f.result, row.Result)
		}
	}
	for _, answer := range h.answers {
		if row.Done != success || answer != row.Result {
			r.find(&r.LostCompletions, "job %s: answered was %s, stored is %s in state %d", row.ID, answer, row.Result, row.Done)
		}
	}
	if row.Done > success {
		r.GaveUp++
		return
	}
	for _, k := range h.claims { // an attempt begun later than the one that counts
		if row.Done >= 0 && k.number > stored.number {
			r.find(&r.Stale, "job %s: attempt %d was in hand, and the outcome of attempt %d is stored", row.ID, k.number, stored.number)
			break
		}
	}
}

// fence looks for outcomes that were taken from somebody who had lost the job before he sent it.
func (c *Checker) fence(id uuid.UUID, h *history) {
	accepted := h.accepted()
	if len(accepted) > 1 {
		c.result.find(&c.result.Twice, "job %s: %d attempts were told that theirs is the outcome", id, len(accepted))
	}
	for _, f := range accepted {
		begun := int64(0) // when the attempt came into hand
		for _, k := range h.claims {
			if k.attempt == f.attempt && (begun == 0 || k.at < begun) {
				begun = k.at
			}
		}
		for _, k := range h.claims {
			if k.attempt != f.attempt && k.number >= f.number && k.at > begun && k.at < f.asked {
				c.result.find(&c.result.Stale, "job %s: attempt %d of worker %d was in hand %s before the outcome of attempt %d of worker %d was sent, and accepted",
					id, k.number, k.worker, time.Duration(f.asked-k.at), f.number, f.worker)
				break
			}
		}
	}
}

// pauseBegins is how long after a fault the pause that it caused may begin: answers that were on their way still arrive.
const pauseBegins = int64(2 * time.Second)

// pause measures the longest pause in acknowledgements that a fault caused.
func (c *Checker) pause(e Event) {
	from, _ := slices.BinarySearch(c.acks, e.At)
	for i := max(from, 1); i < len(c.acks) && c.acks[i-1] < e.At+pauseBegins; i++ {
		c.recovered(c.acks[i] - max(c.acks[i-1], e.At))
	}
}

func (c *Checker) recovered(nanoseconds int64) {
	c.result.Recovery = max(c.result.Recovery, float64(nanoseconds/1000)/1000)
}

// takenUp measures when the jobs that a worker had in hand were in another's.
func (c *Checker) takenUp(e Event) {
	for id, h := range c.jobs {
		held := slices.ContainsFunc(h.claims, func(k claim) bool {
			return k.life == e.Life && k.at < e.At && !slices.ContainsFunc(h.finishes, func(f finish) bool {
				return f.attempt == k.attempt && (f.accepted || f.at < e.At)
			})
		})
		if !held {
			continue
		}
		next := int64(0)
		for _, k := range h.claims {
			if k.life != e.Life && k.at > e.At && (next == 0 || k.at < next) {
				next = k.at
			}
		}
		if next == 0 {
			continue // committed before the end, or given to nobody: then the row says so
		}
		c.result.Retaken++
		c.recovered(next - e.At)
		if took := time.Duration(next - e.At); e.Limit > 0 && took > e.Limit {
			c.result.find(&c.result.Stuck, "job %s: taken up again after %s, %s are allowed", id, took.Round(time.Millisecond), e.Limit)
		}
	}
}
