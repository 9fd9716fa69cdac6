package batches

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// forgetEvery is how often batches are removed whose jobs retention has taken.
const forgetEvery = time.Hour

// Start begins to look after batches that nobody else looks after.
func (b *Batches) Start(context.Context) error {
	b.started.Do(func() { b.services.Go(func() { b.loop(b.base) }) })
	return nil
}

// Stop ends that, for good; safe to call twice, and unstarted.
func (b *Batches) Stop() {
	b.stop()
	b.services.Wait()
}

func (b *Batches) loop(ctx context.Context) {
	forgot := time.Now()
	for {
		t := time.NewTimer(b.cfg.Look/2 + rand.N(b.cfg.Look))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		err := b.Round(ctx)
		if time.Since(forgot) > forgetEvery {
			_, forgetErr := b.cfg.DB.BatchForget(ctx)
			err, forgot = errors.Join(err, forgetErr), time.Now()
		}
		if err != nil && ctx.Err() == nil {
			b.cfg.Log.Warn().Err(err).Msg("look after batches; the next round will try again")
		}
	}
}

// Round notes the ends of batches, fails those whose receiver is gone, and ends the jobs of those that were canceled or
// failed while whoever was at it died. Any number of daemons may do it at the same time.
func (b *Batches) Round(ctx context.Context) error {
	open, err := b.cfg.DB.BatchOpen(ctx)
	if err != nil || !open {
		return err
	}
	if _, err := b.cfg.DB.BatchFinish(ctx, nil); err != nil {
		return err
	}
	stale, err := b.cfg.DB.BatchStale(ctx, b.cfg.Dead, b.cfg.Resume)
	if err != nil {
		return err
	}
	for _, s := range stale {
		failed, err := b.cfg.DB.BatchFail(ctx, s.ID, "the rows broke off and nobody sent the rest")
		if err != nil {
			return err
		}
		if failed {
			b.cfg.Log.Warn().Stringer("batch", s.ID).Msg("a batch whose rows broke off has failed")
			if err := b.cfg.DB.BatchSettle(ctx, s.ID); err != nil {
				return err
			}
		}
	}
	unswept, err := b.cfg.DB.BatchUnswept(ctx, b.cfg.Alive)
	if err != nil {
		return err
	}
	for _, s := range unswept {
		if err := b.sweep(ctx, s.Workspace, s.ID, true); err != nil {
			return err
		}
	}
	return nil
}

// Cancel stops receiving, ends what is queued and kills what runs. It returns when that is done or takes long; then it goes on.
func (b *Batches) Cancel(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, reason string) error {
	batch, err := b.get(ctx, ws, id)
	if err != nil {
		return err
	}
	if err := b.cfg.Gate.Can(p, "run", ws, batch.Path); err != nil {
		return err
	}
	marked, err := b.cfg.DB.BatchCancel(ctx, ws, id, p.Username, reason)
	if err != nil {
		return wrap("batch.cancel", err)
	}
	if !marked {
		return &engine.Error{Code: engine.Conflict, Op: "batch.cancel", Path: id.String(), Msg: "the batch is over already"}
	}
	done := make(chan error, 1)
	b.services.Go(func() { done <- b.sweep(b.base, ws, id, batch.State != engine.BatchReceiving) })
	t := time.NewTimer(cancelPatience)
	defer t.Stop()
	select {
	case err := <-done:
		return wrap("batch.cancel", err)
	case <-t.C:
	case <-ctx.Done():
	}
	return nil // the mark is durable: should the sweep end early, Round takes over
}

const (
	cancelPatience = 5 * time.Second
	cancelRows     = 2000 // in one transaction
)

// sweep ends the jobs of a batch that was canceled or has failed. settled: nobody inserts into it any more.
func (b *Batches) sweep(ctx context.Context, ws string, id uuid.UUID, settled bool) error {
	batch, err := b.cfg.DB.BatchGet(ctx, ws, id)
	if err != nil {
		return err
	}
	by, reason := batch.CanceledBy, batch.Reason
	if batch.State == engine.BatchFailed {
		by, reason = "system", "the batch failed: "+batch.Error
	}
	c := store.Cancel{Workspace: ws, ID: id, By: by, Reason: reason, Result: canceled(by, reason)}
	if err := b.kill(ctx, batch, by, reason); err != nil { // they need not go on until the last row has ended; it is done again below
		b.cfg.Log.Warn().Err(err).Stringer("batch", id).Msg("kill what runs of a canceled batch; will try again")
	}
	for after, ended := int64(0), 0; ; {
		n, last, err := b.cfg.DB.BatchCancelQueued(ctx, c, after, cancelRows)
		if err != nil {
			return err
		}
		ended += n
		if after = last; n == cancelRows {
			continue
		}
		if ended == 0 {
			break // not one from the first to the last
		}
		after, ended = 0, 0 // those that somebody held meanwhile, and those that came
	}
	if err := b.kill(ctx, batch, by, reason); err != nil {
		return err
	}
	if settled {
		if err := b.cfg.DB.BatchSettle(ctx, id); err != nil {
			return err
		}
		b.finish(ctx, &id)
	}
	return nil
}

// kill has the running jobs of a batch killed.
func (b *Batches) kill(ctx context.Context, batch *engine.Batch, by, reason string) error {
	running, err := b.cfg.DB.BatchRunning(ctx, batch.ID)
	if err != nil {
		return err
	}
	for _, job := range running {
		err := b.cfg.Queue.Cancel(ctx, batch.Workspace, job, by, reason)
		if code := engine.CodeOf(err); err != nil && code != engine.Conflict && code != engine.NotFound {
			return err
		}
	}
	return nil
}

// finish notes ends. It may fail: whoever looks next does it.
func (b *Batches) finish(ctx context.Context, id *uuid.UUID) {
	if _, err := b.cfg.DB.BatchFinish(ctx, id); err != nil && ctx.Err() == nil {
		b.cfg.Log.Warn().Err(err).Msg("note the end of a batch; the next look will")
	}
}
