package batches

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/engine"
)

// said is what an error says, without the operation's name.
func said(err error) string {
	var e *engine.Error
	if errors.As(err, &e) && e.Msg != "" {
		return e.Msg
	}
	return err.Error()
}

// broken ends receiving that did not come to its end, and returns what to answer.
func (f *filling) broken(ctx context.Context, cause error) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), brokenPatience)
	defer stop()
	var bad *rowError
	switch {
	case errors.Is(cause, errCanceled):
		return f.unwanted(ctx)
	case errors.As(cause, &bad):
		return f.fail(ctx, engine.Invalid, bad.text)
	case f.resumable:
		return f.interrupt(ctx, cause)
	}
	code := engine.CodeOf(wrap("batch.receive", cause))
	if errors.As(cause, new(readError)) {
		code = engine.Invalid
	}
	if code == engine.Internal {
		f.b.cfg.Log.Error().Err(cause).Stringer("batch", f.batch.ID).Msg("receive a batch")
	}
	return f.fail(ctx, code, f.brokeOff(cause))
}

func (f *filling) brokeOff(cause error) string {
	return fmt.Sprintf("the rows broke off after row %d: %s", f.inserted, said(cause))
}

// brokenPatience is how long ending a broken batch may take; Round goes on from there.
const brokenPatience = 2 * time.Minute

func (f *filling) interrupt(ctx context.Context, cause error) error {
	why := f.brokeOff(cause)
	if err := f.b.cfg.DB.BatchInterrupt(ctx, f.batch.ID, f.inserted, why); err != nil {
		f.b.cfg.Log.Warn().Err(err).Stringer("batch", f.batch.ID).Msg("note that a batch was interrupted; its receiver will be missed")
	}
	code := engine.Unavailable
	if engine.CodeOf(cause) == engine.TooMany {
		code = engine.TooMany
	}
	return &engine.Error{Code: code, Op: "batch.receive", Path: f.batch.ID.String(), Msg: why,
		Hint: "send all rows again with the same idempotency key: it goes on where it was"}
}

// fail marks the batch as failed and, unless they are to be kept, cancels its jobs.
func (f *filling) fail(ctx context.Context, code engine.Code, why string) error {
	answer := &engine.Error{Code: code, Op: "batch.receive", Msg: why, Hint: fmt.Sprintf("batch %s has failed, its %d stored rows are canceled", f.batch.ID, f.inserted)}
	if f.batch.Keep {
		answer.Hint = fmt.Sprintf("batch %s has failed, its %d stored rows run", f.batch.ID, f.inserted)
	}
	failed, err := f.b.cfg.DB.BatchFail(ctx, f.batch.ID, why)
	switch {
	case err == nil && !failed:
		return f.unwanted(ctx)
	case err == nil && f.batch.Keep:
		err = f.b.cfg.DB.BatchSettle(ctx, f.batch.ID)
	case err == nil:
		err = f.b.sweep(ctx, f.batch.Workspace, f.batch.ID, true)
	}
	if err != nil {
		f.b.cfg.Log.Warn().Err(err).Stringer("batch", f.batch.ID).Msg("end a batch that has failed; a later look will")
	}
	return answer
}

// unwanted ends a batch that somebody canceled, or that another request has received, while its rows came in.
func (f *filling) unwanted(ctx context.Context) error {
	now, err := f.b.cfg.DB.BatchGet(ctx, f.batch.Workspace, f.batch.ID)
	if err != nil {
		return wrap("batch.receive", err)
	}
	*f.batch = *now
	switch now.State {
	case engine.BatchCanceled:
		if err := f.b.sweep(ctx, now.Workspace, now.ID, true); err != nil {
			f.b.cfg.Log.Warn().Err(err).Stringer("batch", now.ID).Msg("end a batch that was canceled; a later look will")
		}
		return &engine.Error{Code: engine.Conflict, Op: "batch.receive", Path: now.ID.String(), Msg: "the batch was canceled by " + now.CanceledBy}
	case engine.BatchFailed:
		return &engine.Error{Code: engine.Conflict, Op: "batch.receive", Path: now.ID.String(), Msg: "the batch has failed: " + now.Error}
	}
	return nil
}
