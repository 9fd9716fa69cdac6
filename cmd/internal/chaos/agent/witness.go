package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
	"github.com/millrace/millrace/engine"
)

// Execute takes a claimed job in hand: its record is written before anything else. It does not hear that a job was taken
// away, so that late outcomes are sent and must be refused.
func (a *agent) Execute(_ context.Context, c *engine.Claim) (engine.Outcome, bool) {
	a.claimed(c)
	if n := int(c.Job.ID[15]) + int(c.Job.ID[14])<<8; n%100 < a.cfg.Slow {
		t := time.NewTimer(time.Duration(50+n%350) * time.Millisecond)
		<-t.C
	}
	result, err := json.Marshal(map[string]any{"by": fmt.Sprintf("%s/%d", a.cfg.Name, c.Worker), "attempt": c.Attempt, "at": ledger.Now()})
	if err != nil {
		panic(err) // texts and numbers
	}
	return engine.Outcome{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt, State: engine.StateSuccess, Result: result}, true
}

// Finished is the executor's last word of an attempt; the witness has noted it already.
func (a *agent) Finished(*engine.Claim, *engine.Outcome) {}

func (a *agent) claimed(c *engine.Claim) {
	a.note(ledger.Record{Kind: ledger.Claimed, ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt, At: ledger.Now()})
}

// witness is the queue as the dispatcher sees it, and writes down what it answers.
type witness struct{ a *agent }

func (w witness) Wake() <-chan struct{} { return w.a.queue.Wake() }

func (w witness) HandBack(ctx context.Context, claims []*engine.Claim) error {
	return w.a.queue.HandBack(ctx, claims)
}

func (w witness) Claim(ctx context.Context, tags []string, n int) ([]*engine.Claim, error) {
	list, err := w.a.queue.Claim(ctx, tags, n)
	for _, c := range list {
		w.a.claimed(c)
	}
	return list, err
}

func (w witness) Finish(ctx context.Context, o engine.Outcome) (bool, error) {
	ok, _, err := w.finish(ctx, o, nil)
	return ok, err
}

func (w witness) FinishAndClaim(ctx context.Context, o engine.Outcome, tags []string) (bool, *engine.Claim, error) {
	ok, next, err := w.finish(ctx, o, tags)
	if next != nil {
		w.a.claimed(next)
	}
	return ok, next, err
}

// finish sends an outcome, in duplicate mode twice at the same time, and notes every answer.
func (w witness) finish(ctx context.Context, o engine.Outcome, tags []string) (ok bool, next *engine.Claim, err error) {
	second := make(chan struct{})
	if w.a.cfg.Twice {
		go func() {
			asked := ledger.Now()
			ok, err := w.a.queue.Finish(ctx, o)
			w.noteFinish(o, asked, ok, err)
			close(second)
		}()
	} else {
		close(second)
	}
	asked := ledger.Now()
	if tags == nil {
		ok, err = w.a.queue.Finish(ctx, o)
	} else {
		ok, next, err = w.a.queue.FinishAndClaim(ctx, o, tags)
	}
	w.noteFinish(o, asked, ok, err)
	<-second
	return ok, next, err
}

func (w witness) noteFinish(o engine.Outcome, asked int64, ok bool, err error) {
	r := ledger.Record{Kind: ledger.Finished, ID: o.ID, Worker: o.Worker, Attempt: o.Attempt, Asked: asked, At: ledger.Now(), Text: string(o.Result)}
	if !ok {
		r.Kind = ledger.Refused
	}
	if err == nil {
		w.a.note(r)
	}
}
