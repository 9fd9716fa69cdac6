package runner

import (
	"encoding/json"
	"slices"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/store"
)

// value fetches the JSON that a reference stands for.
func (o *operation) value(x *run, ref flow.Ref) (json.RawMessage, error) {
	switch {
	case ref.Args:
		return x.input(), nil
	case ref.Items != "":
		if done, ok := x.results[ref.Items]; ok { // it has ended, and the items may be another's by now
			return o.value(x, done)
		}
		return o.collect(x, ref.Items)
	case ref.Job != uuid.Nil:
		return o.result(x, ref.Job)
	case ref.Value == nil:
		return json.RawMessage("null"), nil
	}
	return ref.Value, nil
}

// result is that of a job or a run.
func (o *operation) result(x *run, id uuid.UUID) (json.RawMessage, error) {
	if out, ok := o.ended[id]; ok {
		return orNull(out.Result), nil
	}
	for at := x; at != nil; at = at.parent {
		if v, ok := at.known[id]; ok {
			return orNull(v), nil
		}
	}
	_, v, err := o.runner.cfg.Store.FlowResult(o.ctx, id)
	if store.IsNotFound(err) {
		return nil, engine.Errorf(engine.NotFound, "flow.result", "the result of job %s has been deleted", id)
	}
	if err != nil {
		return nil, err
	}
	x.know(id, v)
	return orNull(v), nil
}

// collect makes a list of the results of the module at work.
func (o *operation) collect(x *run, module string) (json.RawMessage, error) {
	numbers := make([]int32, 0, len(x.items))
	far := 0
	for n, ref := range x.items {
		numbers = append(numbers, n)
		if ref.Job != uuid.Nil && x.known[ref.Job] == nil {
			far++
		}
	}
	slices.Sort(numbers)
	stored := map[uuid.UUID]json.RawMessage{}
	if far > 1 {
		items, err := o.runner.cfg.Store.FlowItems(o.ctx, x.job.ID, module)
		if err != nil {
			return nil, err
		}
		for _, i := range items {
			stored[i.Job] = orNull(i.Result)
		}
	}
	out := []byte{'['}
	for i, n := range numbers {
		if i > 0 {
			out = append(out, ',')
		}
		ref := x.items[n]
		v, ok := stored[ref.Job]
		if !ok {
			var err error
			if v, err = o.value(x, ref); err != nil {
				return nil, err
			}
		}
		out = append(out, v...)
	}
	return append(out, ']'), nil
}

func orNull(v json.RawMessage) json.RawMessage {
	if len(v) == 0 {
		return json.RawMessage("null")
	}
	return v
}
