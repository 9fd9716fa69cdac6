package expr

import (
	"context"
	"encoding/json"
	"slices"
)

// Ref is something that an expression reads: the value of a name, or for the names that need one, of a key under that name.
type Ref struct {
	Name string // one of Names
	Key  string // of results: the id of the step; of variable and resource: the path; of flow_user_state: the key
}

// Scope gives expressions what they read. Fetch is called at most once for each Ref of one evaluation, only for what is really
// read, and from one goroutine at a time; it may do input and output. A nil answer means that there is no such thing:
// undefined, or null under results.
type Scope interface {
	Fetch(ctx context.Context, ref Ref) (json.RawMessage, error)
}

// Values is a Scope of values at hand. Names without a value are undefined.
type Values map[Ref]json.RawMessage

// Fetch implements Scope.
func (v Values) Fetch(_ context.Context, ref Ref) (json.RawMessage, error) { return v[ref], nil }

// Results is the name under which expressions find the results of steps: results.<id>.
const Results = "results"

// Names that have a value, in the places where flows evaluate expressions.
var names = []string{"flow_input", "flow_env", Results, "previous_result", "result", "all_iters", "iter", "resume", "resumes",
	"approvers", "error", "params", "started_at", "flow_job_id"}

// functions are the names that are called with a key.
var functions = []string{"variable", "resource", "flow_user_state"}

// Names are all names that an expression may find defined; which of them have a value depends on the place.
func Names() []string { return append(slices.Clone(names), functions...) }

func isName(s string) bool     { return slices.Contains(names, s) }
func isFunction(s string) bool { return slices.Contains(functions, s) }

// once remembers what was fetched.
type once struct {
	scope Scope
	ctx   context.Context
	seen  map[Ref]json.RawMessage
}

func (o *once) fetch(ref Ref) (json.RawMessage, error) {
	if raw, ok := o.seen[ref]; ok {
		return raw, nil
	}
	raw, err := o.scope.Fetch(o.ctx, ref)
	if err != nil {
		return nil, err
	}
	if o.seen == nil {
		o.seen = map[Ref]json.RawMessage{}
	}
	o.seen[ref] = raw
	return raw, nil
}
