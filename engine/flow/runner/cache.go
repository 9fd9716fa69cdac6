package runner

import (
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/cached"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

// keep looks for a result that stands for running j. True: there is one, and the step has ended. Otherwise j's own result will be one,
// if the step, or what it runs, says so.
func (o *operation) keep(x *run, e flow.Start, j *engine.Job) (bool, error) {
	ttl, anyPath := seconds(e.Step.CacheTTL), e.Step.CacheIgnoreS3Path
	if ttl <= 0 {
		ttl, anyPath = j.CacheFor, j.CacheAnyPath
	}
	if ttl <= 0 || j.Debounce != nil {
		return false, nil
	}
	key := cached.Key(j, anyPath)
	if id, ours := o.line.kept[string(key)]; ours && o.ended[id].State == engine.StateSuccess { // by this very operation
		o.reuse(x, e, id)
		return true, nil
	}
	id, err := o.runner.cfg.Store.CacheGet(o.ctx, key)
	if store.IsNotFound(err) {
		j.ID = engine.NewJobID()
		if o.line.kept == nil || len(o.line.kept) > mostKept {
			o.line.kept = map[string]uuid.UUID{}
		}
		o.line.kept[string(key)] = j.ID
		o.op.Caches = append(o.op.Caches, store.FlowCache{Key: key, Job: j.ID, For: ttl})
		return false, nil
	}
	if err != nil {
		return false, err
	}
	o.reuse(x, e, id)
	return true, nil
}

// mostKept bounds the jobs of a flow of which it is remembered that their results are kept.
const mostKept = 1000

// reuse ends a step with the result of a job of another run: its row names that job.
func (o *operation) reuse(x *run, e flow.Start, job uuid.UUID) {
	ref := flow.Ref{Job: job}
	if x.state.Items != nil {
		item := int32(e.Item)
		x.items[item] = ref
		o.row(x, stepRow(e.Module.ID, &item, true, false, ref))
	}
	o.todo = append(o.todo, todo{x, flow.Ended{Item: e.Item, OK: true, Result: ref}})
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// discard notes what of a flow that ends is to be deleted, and when.
func (o *operation) discard(x *run) {
	if x.def != x.job.ID || x.value == nil {
		return
	}
	purge := func(step string, after int) {
		o.op.Purges = append(o.op.Purges, store.FlowPurge{Run: x.job.ID, Root: x.root, Step: step, After: time.Duration(after) * time.Second})
	}
	if n := x.value.DeleteAfterSecs; n != nil {
		purge("", *n)
	}
	x.value.Walk(func(m *format.Module, at format.Place) bool {
		if n, ok := m.DeleteAfter(); ok {
			purge(m.ID, n)
		}
		return true
	})
}
