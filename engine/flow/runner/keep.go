package runner

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

// mostKeptBytes is the largest result of a loop or of branches that is kept for further runs.
const mostKeptBytes = 1 << 20

// kept is such a result on its way to the store.
type kept struct {
	key   []byte
	value json.RawMessage
	ttl   time.Duration
}

// Kept implements flow.Eval. Trouble with looking is no failure: the module is run.
func (v *eval) Kept(m *format.Module, l flow.Look) (json.RawMessage, bool) {
	o := v.operation
	key, err := o.keyOf(&scope{v, l}, m)
	if err != nil {
		return nil, false
	}
	value, err := o.runner.cfg.Store.CacheValue(o.ctx, key)
	if err != nil && !store.IsNotFound(err) {
		o.runner.cfg.Log.Warn().Err(err).Stringer("run", v.run.job.ID).Msg("look for the result of a loop; it is run")
	}
	return value, err == nil
}

// keepValue notes the result of a module that has ended.
func (o *operation) keepValue(x *run, e flow.Keep) error {
	value, err := o.value(x, e.Result)
	if err != nil || len(value) > mostKeptBytes {
		return err
	}
	v := &eval{operation: o, run: x}
	state := x.state
	state.Last = e.Last
	key, err := o.keyOf(&scope{v, flow.Look{Run: state, Module: e.Module}}, e.Module)
	if err != nil {
		return err
	}
	o.kept = append(o.kept, kept{key, value, seconds(e.Module.CacheTTL)})
	return nil
}

// keyOf names the result of a loop or of branches by all that they can depend on: what they are, who runs them, the arguments, what came
// before, and the results that they name.
func (o *operation) keyOf(s *scope, m *format.Module) ([]byte, error) {
	x := s.eval.run
	what, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	env, err := json.Marshal(x.value.FlowEnv)
	if err != nil {
		return nil, err
	}
	last, err := o.value(x, s.look.Run.Last)
	if err != nil {
		return nil, err
	}
	parts := [][]byte{[]byte("container"), []byte(x.job.Workspace), []byte(x.job.PermissionedAs), what, env, s.input(), last}
	for _, id := range outer(x, s.look.Recorded) {
		if !strings.Contains(string(what), "results."+id) && !strings.Contains(string(what), "results[") {
			continue
		}
		v, err := s.step(id)
		if err != nil {
			return nil, err
		}
		parts = append(parts, []byte(id), v)
	}
	h := sha256.New()
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return h.Sum(nil), nil
}

// outer are the modules whose results x sees, in order.
func outer(x *run, recorded map[string]flow.Ref) []string {
	ids := slices.Collect(maps.Keys(recorded))
	for at := x; at != nil; at = at.parent {
		for id := range at.results {
			ids = append(ids, id)
		}
		if at.def == at.job.ID {
			break
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// store keeps what an operation has found worth keeping. What is lost here is computed again.
func (r *Runner) store(ctx context.Context, list []kept) {
	for _, k := range list {
		if err := r.cfg.Store.CacheKeep(ctx, k.key, k.value, k.ttl); err != nil {
			r.cfg.Log.Warn().Err(err).Msg("keep the result of a loop")
		}
	}
}
