package queue

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// op is one operation on its way through the writer: an insert, or a finish with perhaps a claim.
type op struct {
	insert *store.JobInsert
	finish *store.JobFinish
	claim  *ask
	flow   *store.FlowOp
	mark   *store.Checkpoint // alone, or with an insert
	seats  *seats            // of an insert that may have to wait
	// patient: it may wait for others to share a flush with
	patient bool
	taken   bool // the job of an insert was claimed by the flush that stored it
	// urgent: it is of a job with a priority
	urgent bool

	done    chan struct{} // closed when the op is over
	err     error         // nil: it is committed
	retried bool          // the connection was lost under it: an earlier try may have been committed
}

// ask is the wish to claim jobs in the transaction of a finish.
type ask struct {
	tags []string
	most int
	got  []*engine.Claim
}

func (o *op) bytes() int {
	if o.mark != nil && o.insert == nil {
		return len(o.mark.Value)
	}
	if o.insert != nil {
		return len(o.insert.Job.Args) + len(o.insert.Job.Source)
	}
	if o.flow != nil {
		return flowBytes(o.flow)
	}
	return len(o.finish.Result) + len(o.finish.LogTail)
}

// writer is the group commit in front of the one connection that creates and completes jobs.
type writer struct {
	q       *Queue
	conn    *store.JobWriter
	group   group[*op]
	flushes atomic.Int64
	began   atomic.Int64  // when the flush in flight began, Unix nanoseconds; 0: none
	took    time.Duration // the last flush; of whoever flushes
}

func newWriter(q *Queue) *writer {
	w := &writer{q: q, conn: q.cfg.DB.NewJobWriter()}
	w.group = group[*op]{run: w.run, max: 512, big: (*op).bytes, lim: 16 << 20,
		urgent: func(o *op) bool { return o.urgent }}
	return w
}

// do commits o. When ctx ends first it returns ctx's error, and o goes on: see o.done.
func (w *writer) do(ctx context.Context, o *op) error {
	o.done = make(chan struct{})
	if o.patient {
		w.group.addLater(o)
	} else {
		w.group.add(o)
	}
	select {
	case <-o.done:
		return o.err
	default:
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run commits a batch, or says how to once the connection is back.
func (w *writer) run(batch []*op) func() {
	if rest := w.try(batch); rest != nil {
		return func() { w.recover(rest) }
	}
	return nil
}

// try commits ops and settles them; what it returns is unsettled because the connection is lost.
func (w *writer) try(ops []*op) (rest []*op) {
	if !w.conn.Alive() {
		return ops
	}
	err := w.flush(ops)
	switch {
	case err == nil:
		w.settle(ops)
		return nil
	case !w.conn.Alive():
		w.q.suspect()
		for _, o := range ops {
			o.retried = true
			if o.insert != nil {
				o.insert.Fresh = false // it may be there by now
			}
			if o.flow != nil {
				o.flow.Again = true
			}
		}
		return ops
	case len(ops) == 1 && ops[0].insert != nil && ops[0].insert.Fresh && store.IsConflict(err, ""):
		ops[0].insert.Fresh = false // an id that was made here is taken: found by the statement that looks
		return w.try(ops)
	case len(ops) == 1:
		ops[0].err = wrap(err)
		close(ops[0].done)
		return nil
	}
	// One bad operation fails its transaction: each for itself then.
	for i := range ops {
		if rest := w.try(ops[i : i+1]); rest != nil {
			return ops[i:]
		}
	}
	return nil
}

// recover connects again, with backoff, and commits ops; after RetryFor they fail.
func (w *writer) recover(ops []*op) {
	deadline := time.Now().Add(w.q.cfg.RetryFor)
	backoff := 10 * time.Millisecond
	for {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		err := w.conn.Connect(ctx)
		cancel()
		if err == nil {
			if ops = w.try(ops); ops == nil {
				return
			}
			err = errLost
		} else if !store.IsUnavailable(err) && ctx.Err() == nil {
			w.q.cfg.Log.Warn().Err(err).Msg("connect writer; will try again")
		}
		if time.Now().Add(backoff).After(deadline) {
			for _, o := range ops {
				o.err = unavailable(err)
				close(o.done)
			}
			return
		}
		t := time.NewTimer(backoff)
		<-t.C
		backoff = min(2*backoff, time.Second)
	}
}

// flush commits ops in one transaction.
func (w *writer) flush(ops []*op) error {
	var b store.JobBatch
	var asks []*ask
	most := 0
	for _, o := range ops {
		if o.mark != nil {
			b.Marks = append(b.Marks, o.mark)
		}
		if o.insert != nil {
			b.Inserts = append(b.Inserts, o.insert)
			continue
		}
		if o.flow != nil {
			b.Flows = append(b.Flows, o.flow)
		}
		if o.finish != nil {
			b.Finishes = append(b.Finishes, o.finish)
		}
		// One claim a flush, for those who want the same tags; to claim here is a chance, not a promise.
		if o.claim != nil && (len(asks) == 0 || sameTags(asks[0].tags, o.claim.tags)) {
			asks = append(asks, o.claim)
			most += o.claim.most
		}
	}
	b.Gates = w.gateBatch(ops)
	var look laneLook
	if len(asks) > 0 {
		w.expect(b.Gates, asks[0].tags)
		w.bring(b.Inserts, asks[0].tags)
		if look = w.q.lanes.ready(asks[0].tags); len(look.lanes) > 0 {
			b.Claim = &store.JobClaim{Lanes: look.lanes, Max: most, Worker: w.q.worker.Load()}
		}
	}
	began := time.Now()
	w.began.Store(began.UnixNano())
	err := w.conn.Flush(&b)
	w.began.Store(0)
	w.took = time.Since(began)
	w.flushes.Add(1)
	if err != nil {
		return err
	}
	passed(ops, b.Gates)
	if b.Claim == nil {
		w.q.admitted(b.Gates)
		return nil
	}
	w.q.admitted(b.Gates, b.Claim.Claims...)
	w.q.lanes.claimed(look, b.Claim)
	took(ops, b.Claim.Claims)
	sortClaims(b.Claim.Claims)
	deal(b.Claim.Claims, asks)
	return nil
}

// bring has the claim of a flush look at what the flush itself leaves queued.
func (w *writer) bring(inserts []*store.JobInsert, tags []string) {
	for _, i := range inserts {
		if j := i.Job; i.Worker == 0 && i.Gate == 0 && slices.Contains(tags, j.Tag) {
			w.q.lanes.added(j.Tag, j.Priority, j.ScheduledFor)
		}
	}
}

// took tells the inserts of a flush which of them it claimed as well.
func took(ops []*op, claims []*engine.Claim) {
	if len(claims) == 0 {
		return
	}
	for _, o := range ops {
		o.taken = o.insert != nil && slices.ContainsFunc(claims, func(c *engine.Claim) bool { return c.Job.ID == o.insert.Job.ID })
	}
}

// deal gives claims to those who asked.
func deal(claims []*engine.Claim, asks []*ask) {
	for _, a := range asks {
		n := min(a.most, len(claims))
		a.got, claims = claims[:n:n], claims[n:]
	}
}

// settle tells the owners of committed ops, and the world of rows that were left queued.
func (w *writer) settle(ops []*op) {
	for _, o := range ops {
		if i := o.insert; i != nil && i.Inserted && i.Worker == 0 && i.Gate == 0 && !o.taken {
			w.q.lanes.left(i.Job, w.took > slack)
			w.q.news.queued(i.Job)
		}
		if o.flow != nil && o.flow.Done {
			w.q.leftByFlow(o.flow, w.took > slack)
		}
	}
	if w.q.news.any() {
		w.q.left()
	}
	for _, o := range ops {
		close(o.done)
	}
}

// watchdog cuts the connection under a flush that hangs: the flush itself watches neither clock nor context.
func (w *writer) watchdog(ctx context.Context) {
	tick := time.NewTicker(max(w.q.cfg.FlushTime/10, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if began := w.began.Load(); began != 0 && time.Since(time.Unix(0, began)) > w.q.cfg.FlushTime {
				w.q.cfg.Log.Warn().Msg("the database does not answer, connecting again")
				w.conn.Break()
			}
		}
	}
}

// close ends the connection once nothing is in flight. Operations that come later open it again.
func (w *writer) close() {
	w.group.mu.Lock()
	defer w.group.mu.Unlock()
	if !w.group.busy {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w.conn.Close(ctx)
	}
}

func sameTags(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
