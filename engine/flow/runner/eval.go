package runner

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/expr"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

// eval answers what a flow asks about one run.
type eval struct {
	operation *operation
	run       *run
	err       error // the database could not be asked: the operation fails, and not the step
}

// Now implements flow.Eval.
func (v *eval) Now() time.Time { return v.run.at }

// Random implements flow.Eval.
func (*eval) Random() float64 { return rand.Float64() }

// Item implements flow.Eval.
func (v *eval) Item(loop *format.Module, n int) (json.RawMessage, error) {
	list := v.run.lists[loop.ID]
	if n >= len(list) {
		return nil, errors.New("the list of the loop is shorter than it was")
	}
	return list[n], nil
}

// Value implements flow.Eval.
func (v *eval) Value(in *format.Input, l flow.Look) (json.RawMessage, error) {
	switch in.Type {
	case format.JavaScript:
		return v.answer(v.operation.runner.cfg.Expr.Eval(v.operation.ctx, in.Expr, &scope{v, l}))
	case format.Static, "":
		return orNull(in.Value), nil
	}
	return nil, errors.New("an input of the kind " + in.Type + " has a value in an agent only")
}

// True implements flow.Eval.
func (v *eval) True(text string, l flow.Look) (bool, error) {
	raw, err := v.answer(v.operation.runner.cfg.Expr.Eval(v.operation.ctx, text, &scope{v, l}))
	return err == nil && expr.Truthy(raw), err
}

// answer tells a mistake of the expression from trouble of ours.
func (v *eval) answer(raw json.RawMessage, err error) (json.RawMessage, error) {
	var mistake *expr.Error
	if err != nil && (engine.CodeOf(err) == engine.Unavailable || !errors.As(err, &mistake) && v.operation.ctx.Err() != nil) {
		v.err = err
	}
	return raw, err
}

// scope is what an expression of a run sees.
type scope struct {
	eval *eval
	look flow.Look
}

// Fetch implements expr.Scope.
func (s *scope) Fetch(ctx context.Context, ref expr.Ref) (json.RawMessage, error) {
	o, x := s.eval.operation, s.eval.run
	switch ref.Name {
	case "flow_input":
		return s.input(), nil
	case "iter":
		if iter := s.iter(); iter != nil {
			return json.Marshal(iter)
		}
		return nil, nil
	case "flow_env":
		return s.environment()
	case expr.Results:
		return s.step(ref.Key)
	case "previous_result":
		return o.value(x, s.look.Run.Last)
	case "result":
		if s.look.Result != nil {
			return o.value(x, *s.look.Result)
		}
		return o.value(x, s.look.Run.Last)
	case "all_iters":
		if s.look.All && s.look.Result != nil {
			return o.value(x, *s.look.Result)
		}
		return nil, nil
	case "error":
		return s.failure()
	case "flow_job_id":
		return json.Marshal(x.root)
	case "started_at":
		return json.Marshal(x.job.CreatedAt)
	case "resume", "resumes", "approvers":
		return s.approvals(ctx, ref.Name)
	case "flow_user_state":
		v, err := o.runner.cfg.Store.FlowUserState(ctx, x.root, ref.Key)
		if store.IsNotFound(err) {
			return nil, nil
		}
		return v, err
	case "params":
		if s.look.Params == nil {
			return nil, nil
		}
		return json.Marshal(s.look.Params)
	case "variable":
		if o.runner.cfg.Values == nil {
			return nil, nil
		}
		return o.runner.cfg.Values.Variable(ctx, x.job, ref.Key)
	case "resource":
		if o.runner.cfg.Values == nil {
			return nil, nil
		}
		return o.runner.cfg.Values.Resource(ctx, x.job, ref.Key)
	}
	return nil, nil
}

// environment is flow_env, with the variables and resources that it names.
func (s *scope) environment() (json.RawMessage, error) {
	o, x := s.eval.operation, s.eval.run
	env, err := json.Marshal(x.value.FlowEnv)
	if err != nil || o.runner.cfg.Values == nil {
		return env, err
	}
	return o.runner.cfg.Values.Fill(o.ctx, x.job, env)
}

func (s *scope) iter() *flow.Iter {
	if s.look.Iter != nil {
		return s.look.Iter
	}
	for at := s.eval.run; at != nil; at = at.parent {
		if at.iter != nil {
			return at.iter
		}
		if at.def == at.job.ID {
			break
		}
	}
	return nil
}

func (s *scope) input() json.RawMessage {
	x := *s.eval.run
	if s.look.Iter != nil {
		x.iter = s.look.Iter
	}
	return x.input()
}

// step is the result of a module of this run, or of one around it within the same flow.
func (s *scope) step(id string) (json.RawMessage, error) {
	o := s.eval.operation
	if fresh, ok := s.look.Recorded[id]; ok {
		return o.value(s.eval.run, fresh)
	}
	if ref, ok := s.lastItem(id); ok {
		return o.value(s.eval.run, ref)
	}
	for at := s.eval.run; at != nil; at = at.parent {
		if ref, ok := at.results[id]; ok {
			return o.value(at, ref)
		}
		ref, ok, err := s.before(at, id)
		if err != nil {
			return nil, err
		}
		if ok {
			return o.value(at, ref)
		}
		if at.def == at.job.ID {
			break
		}
	}
	return nil, nil
}

// failure is what error means: that of the module that failed, or of the previous result.
func (s *scope) failure() (json.RawMessage, error) {
	ref := s.look.Run.Last
	if s.look.Run.Failed != nil {
		ref = *s.look.Run.Failed
	}
	if s.look.Result != nil {
		ref = *s.look.Result
	}
	v, err := s.eval.operation.value(s.eval.run, ref)
	if err != nil {
		return nil, err
	}
	return failureIn(v), nil
}

// failureIn is the error that a result is, if it is one: its own, or what several items failed with.
func failureIn(v json.RawMessage) json.RawMessage {
	var one struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(v, &one) == nil && one.Error != nil {
		return one.Error
	}
	var many []struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(v, &many) != nil {
		return nil
	}
	var list []json.RawMessage
	for _, m := range many {
		if m.Error != nil {
			list = append(list, m.Error)
		}
	}
	if len(list) == 0 {
		return nil
	}
	b, err := json.Marshal(map[string]any{"name": "MultipleErrors", "message": "several items failed", "errors": list})
	if err != nil {
		return nil
	}
	return b
}
