package runner_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/dispatch"
	"github.com/millrace/millrace/engine/expr"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/flow/runner"
	"github.com/millrace/millrace/engine/queue"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// box is a process without HTTP and sandboxes: queue, dispatcher, runner, and steps that are functions of this test.
type box struct {
	t      testing.TB
	db     *store.DB
	queue  *queue.Queue
	runner *runner.Runner
	work   *dispatch.Dispatcher

	mu    sync.Mutex
	ran   []string // contents of the steps that ran; guarded by mu
	ended map[uuid.UUID]chan engine.Outcome
	step  func(j *engine.Job) (json.RawMessage, bool)
	noop  func()                  // called for each step that does nothing; nil: not
	flows map[string]*format.Flow // guarded by mu
	gone  []uuid.UUID             // flows whose folder has been left; guarded by mu
	// answered is called when a flow has an answer before its end.
	answered func()
}

// open starts a box; change may alter the queue's configuration.
func open(t testing.TB, url string, change func(*queue.Config)) *box {
	t.Helper()
	b := prepare(t, url, change)
	b.start()
	return b
}

func prepare(t testing.TB, url string, change func(*queue.Config)) *box {
	t.Helper()
	b := &box{t: t, db: storetest.Open(t, url), ended: map[uuid.UUID]chan engine.Outcome{}, flows: map[string]*format.Flow{},
		step: func(j *engine.Job) (json.RawMessage, bool) { return j.Args, true }}
	var err error
	b.work, err = dispatch.New(dispatch.Config{Executor: b, ProcessSlots: 4, ProcessTags: []string{"step", "home-box"}, NativeTags: []string{"flow"},
		Flows: b, Log: storetest.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	cfg := queue.Config{DB: b.db, Tags: b.work.Tags(), Capacity: 4, Slots: b.work, OnCancel: b.work.Cancel, Flows: b, Log: storetest.Log(t)}
	if change != nil {
		change(&cfg)
	}
	if b.queue, err = queue.New(cfg); err != nil {
		t.Fatal(err)
	}
	b.runner = runner.New(runner.Config{Queue: b.queue, Store: b.db, Catalog: b, Expr: expr.New(expr.Config{Helper: []string{os.Args[0]}, Timeout: 2 * time.Second}), Ended: b.over, Answered: b.early, Home: "home-box", Left: b.left, Log: storetest.Log(t)})
	return b
}

func (b *box) start() {
	b.t.Helper()
	for _, err := range []error{b.queue.Start(b.t.Context()), b.work.Start(b.t.Context(), b.queue), b.runner.Start(b.t.Context())} {
		if err != nil {
			b.t.Fatal(err)
		}
	}
	b.t.Cleanup(b.close)
}

func (b *box) close() {
	b.work.Drain(context.Background())
	b.runner.Stop()
	b.queue.Stop()
}

// Begin and Finish make the box the dispatcher's Flows.
func (b *box) Begin(ctx context.Context, c *engine.Claim) error { return b.runner.Begin(ctx, c) }

func (b *box) Finish(ctx context.Context, c *engine.Claim, o engine.Outcome, slot []string) (bool, *engine.Claim, error) {
	return b.runner.Finish(ctx, c, o, slot)
}

// Cancel and End make it the queue's.
func (b *box) Cancel(ctx context.Context, id uuid.UUID, by, reason string) error {
	return b.runner.Cancel(ctx, id, by, reason)
}

func (b *box) End(ctx context.Context, j *engine.Job, o engine.Outcome) (bool, error) {
	return b.runner.End(ctx, j, o)
}

// Execute runs a step.
func (b *box) Execute(ctx context.Context, c *engine.Claim) (engine.Outcome, bool) {
	b.mu.Lock()
	step, noop := b.step, b.noop
	if c.Job.Kind != engine.KindNoop {
		b.ran = append(b.ran, c.Job.Source)
	}
	b.mu.Unlock()
	out := engine.Outcome{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt, State: engine.StateSuccess}
	if c.Job.Kind == engine.KindNoop {
		if noop != nil {
			noop()
		}
		out.Result = json.RawMessage("null")
		return out, true
	}
	var ok bool
	if c.Broken != nil {
		out.State, out.Result = engine.StateFailure, fmt.Appendf(nil, `{"error":{"name":"Error","message":%q}}`, c.Broken)
		return out, true
	}
	if out.Result, ok = step(c.Job); !ok {
		out.State = engine.StateFailure
	}
	if string(out.Result) == "hold" {
		<-ctx.Done()
		return out, false
	}
	return out, true
}

func (b *box) Finished(*engine.Claim, *engine.Outcome) {}

func (b *box) Flow(_ context.Context, _, path string, _ engine.Hash) (*format.Flow, engine.Hash, error) {
	b.mu.Lock()
	f := b.flows[path]
	b.mu.Unlock()
	if f != nil {
		return f, 1, nil
	}
	return nil, 0, &engine.Error{Code: engine.NotFound, Op: "flow.get", Path: path, Msg: "there is no such flow"}
}

// deploy makes a flow that steps can name.
func (b *box) deploy(path string, f *format.Flow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flows[path] = f
}

// Arguments refuses those that say so.
func (b *box) Arguments(_ *format.Flow, args json.RawMessage) error {
	if bytes.Contains(args, []byte(`"refuse"`)) {
		return engine.Errorf(engine.Invalid, "arguments", "they are wrong")
	}
	return nil
}

func (b *box) Step(_ context.Context, j *engine.Job, st runner.StepOf) error {
	switch s := st.Module.Value.(type) {
	case *format.RawScript:
		if s.Language == "noop" {
			j.Kind, j.Tag = engine.KindNoop, "flow"
			return nil
		}
		j.Kind, j.Source, j.Language, j.Tag = engine.KindPreview, s.Content, s.Language, cmp.Or(st.Home, "step")
		if s.Lock != "" {
			j.Lock = &s.Lock
		}
		if s.ConcurrentLimit > 0 {
			j.Limit = &engine.Limit{Key: s.Content, Slots: s.ConcurrentLimit, Fail: s.OnConcurrencyLimit == "fail"}
		}
		if d := st.Module.Debouncing; d != nil {
			j.Debounce = &engine.Debounce{Key: s.Content, Delay: time.Duration(d.DebounceDelayS) * time.Second, Accumulate: d.DebounceArgsToAccumulate,
				MaxCount: d.MaxTotalDebouncesAmount}
		}
		return nil
	case *format.Script:
		return &engine.Error{Code: engine.NotFound, Op: "script.get", Path: s.Path, Msg: "there is no such script"}
	}
	return fmt.Errorf("%T is no step", st.Module.Value)
}

func (b *box) LimitFlow(j *engine.Job, v *format.Value) {
	if v.ConcurrentLimit > 0 {
		j.Limit = &engine.Limit{Key: j.Path, Slots: v.ConcurrentLimit}
	}
}

// left keeps the runs whose folder is not needed any more.
func (b *box) left(id uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = append(b.gone, id)
}

func (b *box) early(uuid.UUID) {
	if b.answered != nil {
		b.answered()
	}
}

// over keeps the outcome of a run for who waits for it.
func (b *box) over(j *engine.Job, o engine.Outcome) { b.end(j.ID) <- o }

// ask pushes a flow; the channel has its outcome.
func (b *box) ask(value, args string) (uuid.UUID, chan engine.Outcome) {
	b.t.Helper()
	j := &engine.Job{Workspace: "main", Kind: engine.KindFlowPreview, Tag: "flow", Source: value, Args: json.RawMessage(args),
		CreatedBy: "ann", Email: "ann@example.org", PermissionedAs: "u/ann", Trigger: "api"}
	if _, err := b.runner.Push(b.t.Context(), j); err != nil {
		b.t.Fatal(err)
	}
	return j.ID, b.end(j.ID)
}

// end is where the outcome of a run comes.
func (b *box) end(id uuid.UUID) chan engine.Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.ended[id]
	if c == nil {
		c = make(chan engine.Outcome, 1)
		b.ended[id] = c
	}
	return c
}

func (b *box) run(value, args string) engine.Outcome {
	b.t.Helper()
	id, c := b.ask(value, args)
	select {
	case o := <-c:
		return o
	case <-time.After(time.Minute):
		b.t.Fatalf("the flow %s has no end", id)
		return engine.Outcome{}
	}
}

// empty fails when anything is left in the queue, or a slot is taken by nobody.
func (b *box) empty() {
	b.t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for slots, free := b.work.Stats(); free != slots; _, free = b.work.Stats() { // the last job gives its slot back after its outcome
		select {
		case <-tick.C:
		case <-limit:
			b.t.Fatalf("%d of %d slots are free", free, slots)
		}
	}
	var n int
	storetest.Row(b.t, b.db, "select count(*) from q", &n)
	if n != 0 {
		b.t.Errorf("%d rows are left in the queue", n)
	}
}

func raw(id, content, inputs, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"id":%q,"value":{"type":"rawscript","language":"x","content":%q,"input_transforms":{%s}}%s}`, id, content, inputs, more)
}

func js(name, expr string) string {
	return fmt.Sprintf(`%q:{"type":"javascript","expr":%q}`, name, expr)
}

func modules(list ...string) string { return `{"modules":[` + strings.Join(list, ",") + `]}` }

// TestFlows runs flows of every kind of module on a real queue and compares results.
func TestFlows(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		switch {
		case j.Source == "fail":
			return json.RawMessage(`{"error":{"name":"Error","message":"it fails"}}`), false
		case strings.HasPrefix(j.Source, "fail once") && count(b, j.Source) == 1:
			return json.RawMessage(`{"error":{"name":"Error","message":"not yet"}}`), false
		}
		return j.Args, true
	}
	b.deploy("f/x/sub", &format.Flow{Value: value(t, modules(raw("s", "sub", js("x", "flow_input.y + 1"), "")))})
	b.deploy("f/x/self", &format.Flow{Value: value(t, modules(`{"id":"r","value":{"type":"flow","path":"f/x/self"}}`))})
	body := func(list ...string) string { return `"modules":[` + strings.Join(list, ",") + `]` }
	for name, c := range map[string]struct{ flow, result, state string }{
		"one after another": {modules(raw("a", "a", js("n", "flow_input.n * 2"), ""), raw("b", "b", js("m", "results.a.n + previous_result.n"), "")), `{"m":84}`, ""},
		"nothing":           {modules(), `{"n":21}`, ""},
		"identity and mock": {modules(raw("a", "a", "", `"mock":{"enabled":true,"return_value":5}`), `{"id":"i","value":{"type":"identity"}}`), `5`, ""},
		"a failure":         {modules(raw("a", "fail", "", ""), raw("b", "b", "", "")), `{"error":{"name":"Error","message":"it fails"}}`, "failure"},
		"a failure handled": {`{"modules":[` + raw("a", "fail", "", "") + `],"failure_module":` + raw("failure", "h", js("m", "error.message"), "") + `}`, `{"m":"it fails"}`, "failure"},
		"a retry":           {modules(raw("a", "fail once 1", js("n", "1"), `"retry":{"constant":{"attempts":2,"seconds":0}}`)), `{"n":1}`, ""},
		"a retry later":     {modules(raw("a", "fail once 2", js("n", "1"), `"retry":{"constant":{"attempts":2,"seconds":1}}`)), `{"n":1}`, ""},
		"a sleep":           {modules(raw("a", "a", js("n", "1"), `"sleep":{"type":"static","value":0.2}`), `{"id":"i","value":{"type":"identity"}}`), `{"n":1}`, ""},
		"a loop of one step": {modules(`{"id":"l","value":{"type":"forloopflow","iterator":{"type":"javascript","expr":"[1,2,3]"},` + body(raw("x", "x", js("v", "flow_input.iter.value * flow_input.n"), "")) + `}}`),
			`[{"v":21},{"v":42},{"v":63}]`, ""},
		"a loop of two steps": {modules(raw("a", "a", js("k", "10"), ""), `{"id":"l","value":{"type":"forloopflow","iterator":{"type":"javascript","expr":"[1,2]"},`+body(raw("x", "x", js("v", "flow_input.iter.value"), ""), raw("y", "y", js("w", "results.x.v + results.a.k + flow_input.iter.index"), ""))+`}}`),
			`[{"w":11},{"w":13}]`, ""},
		"a parallel loop": {modules(`{"id":"l","value":{"type":"forloopflow","parallel":true,"parallelism":2,"iterator":{"type":"javascript","expr":"Array.from({length: 9}, (_, i) => i)"},` + body(raw("x", "x", js("v", "flow_input.iter.value"), "")) + `}}`),
			`[{"v":0},{"v":1},{"v":2},{"v":3},{"v":4},{"v":5},{"v":6},{"v":7},{"v":8}]`, ""},
		"a while loop": {modules(`{"id":"w","value":{"type":"whileloopflow",` + body(raw("x", "x", js("v", "flow_input.iter.index"), `"stop_after_if":{"expr":"result.v >= 2"}`)) + `}}`), `[{"v":0},{"v":1},{"v":2}]`, ""},
		"a branch":     {modules(`{"id":"b","value":{"type":"branchone","branches":[{"expr":"flow_input.n > 20","modules":[` + raw("x", "x", js("v", "1"), "") + `]}],"default":[]}}`), `{"v":1}`, ""},
		"all branches": {modules(`{"id":"b","value":{"type":"branchall","branches":[{"modules":[` + raw("x", "x", js("v", "1"), "") + `,` + raw("x2", "x", js("v", "results.x.v + 1"), "") + `]},{"modules":[` + raw("y", "fail", "", "") + `]},{"modules":[]}]}}`),
			`[{"v":2},{"error":{"name":"Error","message":"it fails"}},{"n":21}]`, ""},
		"a flow in a flow": {modules(`{"id":"f","value":{"type":"flow","path":"f/x/sub","input_transforms":{` + js("y", "flow_input.n") + `}}}`), `{"x":22}`, ""},
		"a flow in a flow that refuses its arguments": {modules(`{"id":"f","value":{"type":"flow","path":"f/x/sub","input_transforms":{` + js("y", "'refuse'") + `}}}`), "they are wrong", "failure"},
		"a flow that runs itself":                     {modules(`{"id":"f","value":{"type":"flow","path":"f/x/self"}}`), "deep", "failure"},
		"a script that is gone":                       {modules(`{"id":"f","value":{"type":"script","path":"f/x/gone"}}`), "there is no such script", "failure"},
		"an expression that throws":                   {modules(raw("a", "a", js("n", "nope.x"), "")), "nope", "failure"},
		"loops in loops": {modules(`{"id":"l","value":{"type":"forloopflow","iterator":{"type":"javascript","expr":"[1,2]"},` + body(raw("h", "h", js("v", "flow_input.iter.value"), ""),
			`{"id":"m","value":{"type":"forloopflow","parallel":true,"iterator":{"type":"javascript","expr":"[1,2,3]"},`+body(raw("x", "x", js("v", "flow_input.iter.value * results.h.v"), ""))+`}}`) + `}}`),
			`[[{"v":1},{"v":2},{"v":3}],[{"v":2},{"v":4},{"v":6}]]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := b.run(c.flow, `{"n":21}`)
			if string(o.State) != cmpOr(c.state, "success") || !(string(o.Result) == c.result || c.state != "" && strings.Contains(string(o.Result), c.result)) {
				t.Errorf("%s with %s\nwanted %s with %s", o.State, o.Result, cmpOr(c.state, "success"), c.result)
			}
			state, result, err := b.db.FlowResult(t.Context(), o.ID)
			if err != nil || state != o.State || string(result) != string(o.Result) {
				t.Errorf("stored is %s, %s, %v", state, result, err)
			}
		})
	}
	b.empty()
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func count(b *box, content string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.ran {
		if s == content {
			n++
		}
	}
	return n
}

func value(t testing.TB, text string) format.Value {
	t.Helper()
	v, err := format.ParseValue([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return *v
}

// TestOneCommitAStep counts the writer's transactions of a flow of twenty steps.
func TestOneCommitAStep(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	var list []string
	for i := range 20 {
		list = append(list, raw(fmt.Sprintf("s%d", i), "x", "", ""))
	}
	b.run(modules(raw("s", "x", "", "")), `{}`) // by now it is known that nothing waits in the queue
	before := b.queue.Flushes()
	if o := b.run(modules(list...), `{}`); o.State != engine.StateSuccess {
		t.Fatalf("%s %s", o.State, o.Result)
	}
	if n := b.queue.Flushes() - before; n > 21 { // the push, with which it begins, and one for each step
		t.Errorf("%d transactions for 20 steps", n)
	}
}

// TestCancel ends a flow that waits, one that runs, and what they have started.
func TestCancel(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	begun, release := make(chan struct{}, 10), make(chan struct{})
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		begun <- struct{}{}
		if j.Source == "hold" {
			<-release
		}
		return nil, true
	}
	for _, flow := range []string{
		modules(raw("a", "x", "", `"sleep":{"type":"static","value":3600}`), raw("b", "x", "", "")),
		modules(raw("a", "hold", "", ""), raw("b", "x", "", "")),
		modules(`{"id":"l","value":{"type":"forloopflow","iterator":{"type":"static","value":[1,2]},"modules":[` + raw("a", "hold", "", "") + `,` + raw("b", "x", "", "") + `]}}`),
	} {
		id, c := b.ask(flow, `{}`)
		<-begun
		if err := b.runner.Cancel(t.Context(), id, "ann", "enough"); err != nil {
			t.Fatal(err)
		}
		if o := <-c; o.State != engine.StateCanceled || o.CanceledBy != "ann" || !strings.Contains(string(o.Result), "enough") {
			t.Errorf("%s by %s with %s", o.State, o.CanceledBy, o.Result)
		}
	}
	close(release)
	b.work.Drain(context.Background())
	for n := 1; n > 0; { // the iteration is canceled in the background
		storetest.Row(t, b.db, "select count(*) from q", &n)
	}
}

// TestAnotherProcess: a process that stops in the middle of a step leaves its flow to the next, which goes on where it was.
func TestAnotherProcess(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	first := open(t, url, nil)
	at := make(chan struct{})
	first.step = func(j *engine.Job) (json.RawMessage, bool) {
		if j.Source == "c" {
			close(at)
			return json.RawMessage("hold"), true
		}
		return json.RawMessage(`"` + j.Source + `"`), true
	}
	id, _ := first.ask(modules(raw("a", "a", "", ""),
		`{"id":"l","value":{"type":"forloopflow","iterator":{"type":"static","value":[1,2]},"modules":[`+raw("b", "b", "", "")+`,`+raw("c", "c", js("v", "flow_input.iter.value"), "")+`]}}`,
		raw("d", "d", js("all", "results.l"), ""), raw("e", "e", js("first", "results.a")+","+js("all", "results.d.all"), "")), `{}`)
	<-at
	now, cancel := context.WithCancel(context.Background())
	cancel()
	first.work.Drain(now)
	first.close()
	c := make(chan engine.Outcome, 1)
	second := prepare(t, url, nil)
	second.step = func(j *engine.Job) (json.RawMessage, bool) {
		if j.Source == "d" || j.Source == "e" {
			return j.Args, true
		}
		return json.RawMessage(`"` + j.Source + `"`), true
	}
	second.ended[id] = c
	second.start()
	o := <-c
	if o.State != engine.StateSuccess || string(o.Result) != `{"all":["c","c"],"first":"a"}` {
		t.Errorf("%s with %s", o.State, o.Result)
	}
	second.mu.Lock()
	defer second.mu.Unlock()
	if want := []string{"c", "b", "c", "d", "e"}; !slices.Equal(second.ran, want) { // "a" and the first "b" are not run again
		t.Errorf("ran %v, wanted %v", second.ran, want)
	}
}

// TestManyItems: a parallel loop of more items than are started at once comes to an end with all of them, in their order, whether their
// steps are jobs or runs, and whether these sleep.
func TestManyItems(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	for name, body := range map[string]string{
		"jobs":            raw("x", "x", js("v", "flow_input.iter.value"), ""),
		"runs":            `{"id":"i","value":{"type":"identity"}},` + raw("x", "x", js("v", "flow_input.iter.value"), ""),
		"runs that sleep": raw("x", "x", js("v", "flow_input.iter.value"), `"sleep":{"type":"static","value":0.01}`) + `,{"id":"i","value":{"type":"identity"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			const n = 1200
			o := b.run(modules(fmt.Sprintf(`{"id":"l","value":{"type":"forloopflow","parallel":true,"iterator":{"type":"javascript","expr":"Array.from({length: %d}, (_, i) => i)"},"modules":[%s]}}`, n, body)), `{}`)
			var got []struct{ V int }
			if err := json.Unmarshal(o.Result, &got); err != nil || o.State != engine.StateSuccess || len(got) != n {
				t.Fatalf("%s, %d results, %v: %.200s", o.State, len(got), err, o.Result)
			}
			for i, g := range got {
				if g.V != i {
					t.Fatalf("item %d has the result of %d", i, g.V)
				}
			}
		})
	}
	b.empty()
}
