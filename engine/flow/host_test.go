package flow

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine/flow/format"
)

// host carries out effects in memory, with a clock of its own: what the engine does with a database and jobs.
type host struct {
	t     *testing.T
	now   time.Time
	trace []string
	// job runs a step; n counts its runs from 0.
	job  func(id string, n int, args map[string]json.RawMessage) (any, bool)
	runs map[string]int
	// vote answers the n-th gate; nil: nobody answers.
	vote func(gate int) *Vote
	// pick chooses which of the things that can happen next happens, out of n.
	pick  func(n int) int
	gates int
	kept  map[string]json.RawMessage // results of loops and branches
	// starts: the trace has the beginnings of jobs too.
	starts bool
	// check is called after every step of a run.
	check func(r *hosted)
	live  []*hosted
}

// hosted is a run with what a database would hold of it.
type hosted struct {
	host    *host
	def     *Def
	run     Run
	parent  *hosted
	item    int
	args    map[string]json.RawMessage
	iter    *Iter
	results map[string]json.RawMessage
	skipped map[string]bool
	before  map[string]json.RawMessage // results within the item that ended last
	list    []json.RawMessage
	items   map[int]json.RawMessage // results of the items of the module at work
	ready   []func()                // jobs that have been started and may end
	end     *End
	result  json.RawMessage
	answer  json.RawMessage
}

func newHost(t *testing.T) *host {
	return &host{t: t, now: time.Unix(1_800_000_000, 0), runs: map[string]int{}, kept: map[string]json.RawMessage{}, pick: func(int) int { return 0 },
		job: func(id string, _ int, _ map[string]json.RawMessage) (any, bool) { return id, true }}
}

func parse(t *testing.T, value string) *format.Value {
	t.Helper()
	v, err := format.ParseValue([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// flow runs a whole flow until it is over, or until nothing can happen any more.
func (h *host) flow(value, args string) *hosted {
	h.t.Helper()
	r := h.begin(Root(parse(h.t, value), false), nil, 0)
	if err := json.Unmarshal([]byte(args), &r.args); err != nil {
		h.t.Fatal(err)
	}
	r.step(Begin{})
	h.drive(r)
	return r
}

func (h *host) begin(d *Def, parent *hosted, item int) *hosted {
	r := &hosted{host: h, def: d, run: Run{Phase: Ready}, parent: parent, item: item, args: map[string]json.RawMessage{},
		results: map[string]json.RawMessage{}, skipped: map[string]bool{}, items: map[int]json.RawMessage{}}
	h.live = append(h.live, r)
	return r
}

// drive lets things happen in the order that pick says.
func (h *host) drive(root *hosted) {
	h.t.Helper()
	for i := 0; root.end == nil; i++ {
		if i > 100_000 {
			h.t.Fatal("it goes on and on")
		}
		var can []func()
		for _, r := range h.live {
			for k, f := range r.ready {
				can = append(can, func() {
					r.ready = slices.Delete(r.ready, k, k+1)
					f()
				})
			}
		}
		if len(can) > 0 {
			can[h.pick(len(can))]()
			continue
		}
		var next *hosted // nothing runs: time passes
		for _, r := range h.live {
			if r.end == nil && !r.run.Wake().IsZero() && (next == nil || r.run.Wake().Before(next.run.Wake())) {
				next = r
			}
		}
		if next == nil {
			return
		}
		if at := next.run.Wake(); h.now.Before(at) {
			h.note("%s", at.Sub(h.now))
			h.now = at
		}
		next.step(Due{})
	}
}

func (h *host) note(format string, args ...any) {
	h.trace = append(h.trace, fmt.Sprintf(format, args...))
}

// step lets e happen, as replayed from what would have been stored: the state goes through JSON.
func (r *hosted) step(e Event) {
	h := r.host
	h.t.Helper()
	stored, err := json.Marshal(r.run)
	if err != nil {
		h.t.Fatal(err)
	}
	var before Run
	if err := json.Unmarshal(stored, &before); err != nil {
		h.t.Fatal(err)
	}
	after, effects := Step(r.def, before, e, r)
	if again, err := json.Marshal(before); err != nil || string(again) != string(stored) {
		h.t.Fatalf("the state was changed: %s, %s, %v", stored, again, err)
	}
	r.run = after
	for _, e := range effects {
		r.effect(e)
	}
	if h.check != nil {
		h.check(r)
	}
}

func (r *hosted) effect(e Effect) {
	h := r.host
	h.t.Helper()
	switch e := e.(type) {
	case Start:
		r.start(e)
	case List:
		r.list = nil
		if err := json.Unmarshal(e.Values, &r.list); err != nil {
			h.t.Fatal(err)
		}
	case Record:
		if e.Skipped {
			h.note("%s skipped", e.Module.ID)
			r.skipped[e.Module.ID] = true
			return
		}
		v := r.value(e.Result)
		if e.Module == r.def.Preprocessor {
			r.args = map[string]json.RawMessage{}
			if err := json.Unmarshal(v, &r.args); err != nil {
				h.t.Fatal(err)
			}
		}
		r.results[e.Module.ID] = v
		r.items = map[int]json.RawMessage{}
		if !e.OK {
			h.note("%s failed", e.Module.ID)
		}
	case Gate:
		n := h.gates
		h.gates++
		h.note("gate %s", e.Module.ID)
		if h.vote != nil {
			if v := h.vote(n); v != nil {
				for i := range max(e.Module.Suspend.RequiredEvents, 1) {
					one := *v
					one.N = i + 1
					r.ready = append(r.ready, func() { r.step(one) }, func() { r.step(one) }) // told twice, it counts once
				}
			}
		}
	case Stop:
		h.note("stop %s", e.Module.ID)
		for _, c := range h.live {
			if c.parent == r && c.end == nil {
				r.ready = append(r.ready, func() { c.step(Canceled{By: "flow"}) })
			}
		}
	case Keep:
		h.note("keep %s", e.Module.ID)
		h.kept[e.Module.ID] = r.value(e.Result)
	case RecordItem:
		r.items[e.Item] = r.value(e.Result)
	case Answer:
		r.answer = r.value(e.Result)
		h.note("answer %s", r.answer)
	case End:
		r.end, r.result = &e, r.value(e.Result)
		if r.parent != nil {
			r.parent.before = r.results
			r.parent.itemEnded(r.item, e.OK, r.result, e.Stopped)
		}
	}
}

func (r *hosted) start(e Start) {
	h := r.host
	if e.Step == nil {
		c := h.begin(Inner(e.Modules), r, e.Item)
		c.args, c.iter = r.args, e.Iter
		for k, v := range r.results {
			c.results[k] = v
		}
		if _, while := e.Module.Value.(*format.WhileLoop); while && e.Item > 0 {
			maps.Copy(c.results, r.before)
		}
		r.ready = append(r.ready, func() { c.step(Begin{}) })
		return
	}
	if h.starts {
		h.note("%s", begun(e))
	}
	r.ready = append(r.ready, func() {
		id := e.Step.ID
		n := h.runs[id]
		h.runs[id]++
		v, ok := h.job(id, n, e.Args)
		b, err := json.Marshal(v)
		if err != nil {
			h.t.Fatal(err)
		}
		if !ok {
			b = []byte(fmt.Sprintf(`{"error":{"name":"Error","message":%s}}`, b))
		}
		h.note("%s=%s", id, b)
		r.itemEnded(e.Item, ok, b, false)
	})
}

// begun is the beginning of a job in a trace.
func begun(e Start) string {
	args, err := json.Marshal(e.Args)
	if err != nil {
		return err.Error()
	}
	s := "start " + e.Step.ID + " " + string(args)
	if e.Iter != nil {
		s += fmt.Sprintf(" of item %d", e.Item)
	}
	if e.Timeout > 0 {
		s += " within " + e.Timeout.String()
	}
	if e.Attempt > 0 {
		s += fmt.Sprintf(" attempt %d", e.Attempt+1)
	}
	return s
}

func (r *hosted) itemEnded(item int, ok bool, result json.RawMessage, stopped bool) {
	r.items[item] = result
	r.step(Ended{Item: item, OK: ok, Result: Ref{Value: result}, Stopped: stopped})
}

// value fetches a result.
func (r *hosted) value(f Ref) json.RawMessage {
	switch {
	case f.Args:
		b, _ := json.Marshal(r.args)
		return b
	case f.Items != "" && len(r.items) == 0:
		return r.results[f.Items]
	case f.Items != "":
		list := make([]json.RawMessage, 0, len(r.items))
		for i := range len(r.items) {
			list = append(list, r.items[i])
		}
		b, err := json.Marshal(list)
		if err != nil {
			r.host.t.Fatal(err)
		}
		return b
	case f.Job != uuid.Nil:
		r.host.t.Fatal("results have no jobs here")
	}
	return orNull(f.Value)
}

func (r *hosted) Now() time.Time { return r.host.now }
func (r *hosted) Kept(m *format.Module, _ Look) (json.RawMessage, bool) {
	v, ok := r.host.kept[m.ID]
	return v, ok
}
func (r *hosted) Random() float64 { return 0.5 }

func (r *hosted) Item(_ *format.Module, n int) (json.RawMessage, error) { return r.list[n], nil }

func (r *hosted) Value(in *format.Input, l Look) (json.RawMessage, error) {
	if in.Type == format.Static {
		return orNull(in.Value), nil
	}
	return r.expr(in.Expr, l)
}

func (r *hosted) True(expr string, l Look) (bool, error) {
	v, err := r.expr(expr, l)
	s := string(v)
	return err == nil && s != "false" && s != "null" && s != "0" && s != `""`, err
}

// expr knows "a == b", "a >= b", paths, JSON and throw: enough to steer a flow.
func (r *hosted) expr(expr string, l Look) (json.RawMessage, error) {
	for _, op := range []string{" == ", " >= "} {
		a, b, found := strings.Cut(expr, op)
		if !found {
			continue
		}
		x, err := r.expr(a, l)
		y, err2 := r.expr(b, l)
		if err := errors.Join(err, err2); err != nil {
			return nil, err
		}
		if op == " == " {
			return strconv.AppendBool(nil, string(x) == string(y)), nil
		}
		f, _ := strconv.ParseFloat(string(x), 64)
		g, _ := strconv.ParseFloat(string(y), 64)
		return strconv.AppendBool(nil, f >= g), nil
	}
	if expr == "throw" {
		return nil, errors.New("thrown")
	}
	if expr == "result && result.recover === true" {
		expr = "result.recover"
	}
	if json.Valid([]byte(expr)) {
		return json.RawMessage(expr), nil
	}
	name, path, _ := strings.Cut(expr, ".")
	var v json.RawMessage
	switch name {
	case "result":
		v = r.value(l.Run.Last)
		if l.Result != nil {
			v = r.value(*l.Result)
		}
	case "previous_result":
		v = r.value(l.Run.Last)
	case "results":
		name, path, _ = strings.Cut(path, ".")
		v = r.results[name]
		if fresh, ok := l.Recorded[name]; ok {
			v = r.value(fresh)
		}
	case "flow_input":
		iter := r.iter
		if l.Iter != nil {
			iter = l.Iter
		}
		args, _ := json.Marshal(r.args)
		if p := r.def.Preprocessor; p != nil {
			if fresh, ok := l.Recorded[p.ID]; ok {
				args = r.value(fresh)
			}
		}
		v, _ = json.Marshal(struct {
			Iter *Iter           `json:"iter,omitempty"`
			Args json.RawMessage `json:"args"`
		}{iter, args})
	case "params":
		v, _ = json.Marshal(l.Params)
	case "error":
		v = r.value(*l.Run.Failed)
		path = strings.TrimPrefix("error."+path, "")
	default:
		return nil, fmt.Errorf("%s is not defined", name)
	}
	for path != "" {
		var m map[string]json.RawMessage
		if json.Unmarshal(v, &m) != nil {
			return json.RawMessage("null"), nil
		}
		name, path, _ = strings.Cut(path, ".")
		v = m[name]
	}
	return orNull(v), nil
}
