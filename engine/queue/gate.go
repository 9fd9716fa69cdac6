package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// A job with a limit is stored as waiting and has to be admitted by the gate of its key:
//
//	          Push             admitted, a slot is free here
//	waiting ---------> waiting ----------------------------> running
//	                      | admitted                            ^
//	                      +-----------> queued -----------------+ Claim
//
// What counts are the admitted rows themselves, so no crash can leave a count wrong. Places are filled by whoever frees one, in
// the same transaction: a flush of the writer that finishes or inserts jobs with limits admits at its end. What frees places in
// other ways (cancel, rescue) admits afterwards, and so does gateLoop for what only time brings about: jobs that become due, and
// starts that fall out of a window. Its polls also forgive what was lost between freeing and admitting.

const (
	gatesKept  = 50_000         // in memory
	gateFresh  = 24 * time.Hour // after this a remembered gate is marked as used again; maintenance forgets after days
	gatesAtOne = 256            // for which jobs are admitted in one transaction of gateLoop
	gatePause  = 5 * time.Millisecond
	maxSlots   = 1_000_000
	maxWindow  = 366 * 24 * time.Hour
)

// gates is what this process knows of gates.
type gates struct {
	mu    sync.Mutex
	known map[gateName]gate        // guarded by mu
	last  map[int32]store.Admitted // who was left queued last; guarded by mu
	next  map[int32]time.Time      // when it is worth looking at a gate again; guarded by mu
	first time.Time                // the earliest of next, or earlier; zero: none; guarded by mu
	kick  chan struct{}            // first has become earlier
}

type gateName struct{ workspace, key string }

type gate struct {
	id     int32
	slots  int
	window time.Duration
	marked time.Time // when last_used was written
}

func (g *gates) init() {
	g.known, g.last, g.next, g.kick = map[gateName]gate{}, map[int32]store.Admitted{}, map[int32]time.Time{}, make(chan struct{}, 1)
}

// checkLimit verifies a limit.
func checkLimit(j *engine.Job) error {
	l := j.Limit
	invalid := func(format string, args ...any) error {
		return &engine.Error{Code: engine.Invalid, Op: "job.push", Path: j.Path, Msg: fmt.Sprintf(format, args...)}
	}
	switch {
	case l.Slots < 1 || l.Slots > maxSlots:
		return invalid("a limit must be from 1 to %d, not %d", maxSlots, l.Slots)
	case l.Window < 0 || l.Window > maxWindow:
		return invalid("the window of a limit must be from 0 to %s, not %s", maxWindow, l.Window)
	}
	if problem := checkKey(l.Key); problem != "" {
		return invalid("the key of the limit %s", problem)
	}
	return nil
}

// checkKey says what is wrong with the key of a limit or debounce; "" when nothing is.
func checkKey(k string) string {
	switch {
	case k == "" || len(k) > 1000:
		return fmt.Sprintf("has %d bytes, 1 to 1000 are allowed", len(k))
	case !utf8.ValidString(k) || strings.IndexByte(k, 0) >= 0:
		return "is not valid UTF-8 without NUL"
	}
	return ""
}

// gateOf returns the number of the gate that a job has to pass, 0 when it has no limit. Of two jobs that name different limits
// for one key, the later one says what it is.
func (q *Queue) gateOf(ctx context.Context, j *engine.Job) (int32, error) {
	if j.Limit == nil {
		return 0, nil
	}
	if err := checkLimit(j); err != nil {
		return 0, err
	}
	l, name := *j.Limit, gateName{j.Workspace, j.Limit.Key}
	q.gates.mu.Lock()
	g, ok := q.gates.known[name]
	q.gates.mu.Unlock()
	if ok && g.slots == l.Slots && g.window == l.Window && time.Since(g.marked) < gateFresh {
		return g.id, nil
	}
	g = gate{slots: l.Slots, window: l.Window, marked: time.Now()}
	if err := q.patiently(ctx, func() (err error) {
		g.id, err = q.cfg.DB.GateEnsure(ctx, j.Workspace, &l)
		return err
	}); err != nil {
		return 0, err
	}
	q.gates.mu.Lock()
	defer q.gates.mu.Unlock()
	for old := range q.gates.known {
		if len(q.gates.known) < gatesKept {
			break
		}
		delete(q.gates.known, old) // whichever comes first
	}
	q.gates.known[name] = g
	return g.id, nil
}

// gateBatch collects what a flush changes at gates; nil: nothing.
func (w *writer) gateBatch(ops []*op) (b *store.GateBatch) {
	at := func(id int32) *store.GateBatch {
		if b == nil {
			b = &store.GateBatch{Worker: w.q.worker.Load()}
		}
		b.Gates = append(b.Gates, id)
		return b
	}
	for _, o := range ops {
		switch {
		case o.insert != nil && o.insert.Gate != 0:
			o.insert.Admitted = nil
			if b := at(o.insert.Gate); o.insert.Worker != 0 {
				b.Direct = append(b.Direct, o.insert.Job.ID)
			}
		case o.finish != nil && o.finish.Gate != 0:
			b := at(o.finish.Gate)
			b.Ends = append(b.Ends, store.GateEnd{Job: o.finish.ID, Gate: o.finish.Gate})
		case o.flow != nil:
			for _, j := range o.flow.Jobs {
				if j.Gate != 0 {
					j.Admitted = nil
					at(j.Gate)
				}
			}
			for _, f := range slices.Concat(o.flow.Ends, o.flow.Over) {
				if f.Gate != 0 {
					b := at(f.Gate)
					b.Ends = append(b.Ends, store.GateEnd{Job: f.ID, Gate: f.Gate})
				}
			}
		}
	}
	if b != nil {
		b.Gates = distinct(b.Gates)
	}
	return b
}

// passed tells the inserts of a flush which of them were admitted.
func passed(ops []*op, b *store.GateBatch) {
	if b == nil || len(b.Admitted) == 0 {
		return
	}
	in := make(map[uuid.UUID]*store.Admitted, len(b.Admitted))
	for i := range b.Admitted {
		in[b.Admitted[i].ID] = &b.Admitted[i]
	}
	for _, o := range ops {
		if o.insert != nil && o.insert.Gate != 0 {
			o.insert.Admitted = in[o.insert.Job.ID]
		}
		if o.flow == nil {
			continue
		}
		for _, j := range o.flow.Jobs {
			if j.Gate != 0 {
				j.Admitted = in[j.Job.ID]
			}
		}
	}
}

// expect has the claim of a flush look at where the flush itself will admit jobs: the next of a gate is of the lane of the last
// more often than not, and then it need not wait to be claimed.
func (w *writer) expect(b *store.GateBatch, tags []string) {
	if b == nil {
		return
	}
	g := &w.q.gates
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range b.Ends {
		if a, ok := g.last[e.Gate]; ok && slices.Contains(tags, a.Tag) {
			w.q.lanes.added(a.Tag, a.Prio, a.Due)
		}
	}
}

// admitted takes in what came of b: jobs that are queued now but for those that are claimed already, and when to look again. The
// caller wakes who waits.
func (q *Queue) admitted(b *store.GateBatch, claimed ...*engine.Claim) {
	if b == nil {
		return
	}
	g := &q.gates
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range b.Admitted {
		if a.Running {
			continue
		}
		if len(g.last) >= gatesKept {
			clear(g.last)
		}
		g.last[a.Gate] = a
		if slices.ContainsFunc(claimed, func(c *engine.Claim) bool { return c.Job.ID == a.ID }) {
			continue
		}
		q.lanes.added(a.Tag, a.Prio, a.Due)
		q.news.all() // it may have been due for long, and lie behind the marks of others
	}
	if len(g.next) > 0 {
		for _, id := range b.Gates {
			delete(g.next, id)
		}
	}
	for _, n := range b.Next {
		at := time.Now().Add(max(n.In, gatePause))
		g.next[n.Gate] = at
		if g.first.IsZero() || at.Before(g.first) {
			g.first = at
			signal(g.kick)
		}
	}
}

// due takes the gates out of next whose moment has come.
func (g *gates) due(now time.Time) (out []int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.first = time.Time{}
	for id, at := range g.next {
		switch {
		case !at.After(now):
			out = append(out, id)
			delete(g.next, id)
		case g.first.IsZero() || at.Before(g.first):
			g.first = at
		}
	}
	return out
}

// wait is how long nothing is to be done but for the poll at the end of poll.
func (g *gates) wait(poll time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.first.IsZero() && g.first.Before(poll) {
		poll = g.first
	}
	return max(time.Until(poll), 0)
}

// admit admits jobs at gates where completed or removed jobs left places. ends are those that counted.
func (q *Queue) admit(ctx context.Context, ends []store.GateEnd) {
	ids := make([]int32, 0, len(ends))
	for _, e := range ends {
		ids = append(ids, e.Gate)
	}
	for list := range slices.Chunk(distinct(ids), gatesAtOne) {
		b := &store.GateBatch{Gates: list}
		for _, e := range ends {
			if _, here := slices.BinarySearch(list, e.Gate); here && e.Job != uuid.Nil {
				b.Ends = append(b.Ends, e)
			}
		}
		q.admitBatch(ctx, b)
	}
}

// admitAt admits jobs at gates, and returns which.
func (q *Queue) admitAt(ctx context.Context, ids []int32) map[uuid.UUID]*store.Admitted {
	in := map[uuid.UUID]*store.Admitted{}
	for list := range slices.Chunk(distinct(ids), gatesAtOne) {
		b := &store.GateBatch{Gates: list}
		q.admitBatch(ctx, b)
		for i := range b.Admitted {
			in[b.Admitted[i].ID] = &b.Admitted[i]
		}
	}
	return in
}

func (q *Queue) admitBatch(ctx context.Context, b *store.GateBatch) {
	if err := q.cfg.DB.GateAdmit(ctx, b); err != nil {
		if ctx.Err() == nil {
			q.cfg.Log.Warn().Err(err).Msg("admit waiting jobs; the next poll will try again")
		}
		return
	}
	q.admitted(b)
	if len(b.Admitted) > 0 {
		q.left()
	}
}

// admitBulk admits jobs that were stored in bulk, and completes those that do not want to wait.
func (q *Queue) admitBulk(ctx context.Context, list []*store.JobInsert) (ended map[uuid.UUID]bool) {
	var ids []int32
	for _, i := range list {
		if i.Gate != 0 && i.Inserted {
			ids = append(ids, i.Gate)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	in := q.admitAt(context.WithoutCancel(ctx), ids)
	for _, i := range list {
		i.Admitted = in[i.Job.ID]
	}
	return q.turnAway(ctx, list)
}

// gateLoop admits jobs when their time has come, and at every Poll those that were forgotten.
func (q *Queue) gateLoop(ctx context.Context) {
	for poll := time.Now(); ; {
		t := time.NewTimer(q.gates.wait(poll))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-q.gates.kick:
			t.Stop()
			continue
		case <-t.C:
		}
		ids := q.gates.due(time.Now())
		if !time.Now().Before(poll) {
			found, err := q.cfg.DB.GateLook(ctx)
			if err != nil && ctx.Err() == nil {
				q.cfg.Log.Warn().Err(err).Msg("look for waiting jobs; will try again")
			}
			ids = append(ids, found...)
			poll = time.Now().Add(q.cfg.Poll - q.cfg.Poll/8 + rand.N(q.cfg.Poll/4+1))
		}
		q.admitAt(ctx, ids)
	}
}

// distinct sorts ids and drops what comes twice.
func distinct(ids []int32) []int32 {
	slices.Sort(ids)
	return slices.Compact(ids)
}
