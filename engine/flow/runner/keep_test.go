package runner_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestCachedSteps: a step with cache_ttl runs once for the same code and arguments, over flows and in loops, until its time is over.
func TestCachedSteps(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	b.deploy("f/x/sub", &format.Flow{Value: value(t, modules(raw("s", "inner", js("v", "flow_input.v"), "")))})
	step := raw("a", "dear", js("v", "flow_input.n"), `"cache_ttl":60`)
	sub := `{"id":"f","cache_ttl":60,"value":{"type":"flow","path":"f/x/sub","input_transforms":{` + js("v", "flow_input.n") + `}}}`
	loop := `{"id":"l","value":{"type":"forloopflow","iterator":{"type":"static","value":[1,1,2]},"modules":[` +
		raw("c", "item", js("v", "flow_input.iter.value"), `"cache_ttl":60`) + `]}}`
	for range 3 {
		o := b.run(modules(step, sub, loop, raw("e", "e", js("all", "[results.a.v, results.f.v, results.l]"), "")), `{"n":7}`)
		if o.State != engine.StateSuccess || string(o.Result) != `{"all":[7,7,[{"v":1},{"v":1},{"v":2}]]}` {
			t.Fatalf("%s with %s", o.State, o.Result)
		}
	}
	if n := count(b, "dear"); n != 1 {
		t.Errorf("the step ran %d times", n)
	}
	if n := count(b, "inner"); n != 1 {
		t.Errorf("the flow ran %d times", n)
	}
	if n := count(b, "item"); n != 2 {
		t.Errorf("the steps of the loop ran %d times", n)
	}
	if o := b.run(modules(step), `{"n":8}`); string(o.Result) != `{"v":8}` {
		t.Errorf("other arguments gave %s", o.Result)
	}
	storetest.Exec(t, b.db, "update cache set ttl = '0'") // their time is over
	b.run(modules(step), `{"n":7}`)
	if n := count(b, "dear"); n != 3 {
		t.Errorf("the step ran %d times", n)
	}
	b.step = func(*engine.Job) (json.RawMessage, bool) { return json.RawMessage(`{"error":{}}`), false }
	for range 2 { // a failure is no result
		b.run(modules(raw("a", "fails", "", `"cache_ttl":60`)), `{}`)
	}
	if n := count(b, "fails"); n != 2 {
		t.Errorf("the failing step ran %d times", n)
	}
}

// TestDiscardedData: what a step or a flow asks to have deleted is, after the flow's end, and nothing else.
func TestDiscardedData(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	secret := raw("a", "x", js("password", "'hunter2'"), `"delete_after_use":true`)
	in := `{"id":"l","delete_after_secs":0,"value":{"type":"forloopflow","iterator":{"type":"static","value":[1,2]},"modules":[` +
		raw("c", "x", js("token", "'hunter2'"), "") + `,` + raw("d", "x", js("v", "1"), "") + `]}}`
	id, c := b.ask(modules(secret, in, raw("e", "e", js("n", "results.a.password.length"), "")), `{}`)
	if o := <-c; string(o.Result) != `{"n":7}` {
		t.Fatalf("%s with %s", o.State, o.Result)
	}
	left := func(what string) (n int) {
		storetest.Row(t, b.db, fmt.Sprintf(`select (select count(*) from job where args::text like '%%%[1]s%%') + (select count(*) from done where result::text like '%%%[1]s%%')
			+ (select count(*) from flow_step where value::text like '%%%[1]s%%')`, what), &n)
		return n
	}
	if left("hunter2") == 0 {
		t.Fatal("nothing was there")
	}
	if n, err := b.db.Purge(t.Context()); err != nil || n != 2 {
		t.Fatalf("%d, %v", n, err)
	}
	if n := left("hunter2"); n != 0 {
		t.Errorf("%d places have it still", n)
	}
	if _, result, err := b.db.FlowResult(t.Context(), id); err != nil || string(result) != `{"n":7}` {
		t.Errorf("the flow's result is %s, %v", result, err)
	}
	if n, err := b.db.Purge(t.Context()); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
	all, c := b.ask(`{"delete_after_secs":0,"modules":[`+raw("a", "x", js("password", "'hunter3'"), "")+`]}`, `{"also":"hunter3"}`)
	if o := <-c; o.State != engine.StateSuccess {
		t.Fatalf("%s with %s", o.State, o.Result)
	}
	if n, err := b.db.Purge(t.Context()); err != nil || n != 1 || left("hunter3") != 0 {
		t.Errorf("%d, %v, %d places have it still", n, err, left("hunter3"))
	}
	if state, _, err := b.db.FlowResult(t.Context(), all); err != nil || state != engine.StateSuccess {
		t.Errorf("%s, %v", state, err)
	}
}

// TestAFlowsOwnTime ends it while a step runs, which is killed.
func TestAFlowsOwnTime(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	b.step = func(*engine.Job) (json.RawMessage, bool) { return json.RawMessage("hold"), true }
	b.deploy("f/x/slow", &format.Flow{Timeout: 1, Value: value(t, modules(raw("a", "x", "", "")))})
	began := time.Now()
	o := b.run(modules(`{"id":"f","value":{"type":"flow","path":"f/x/slow"}}`), `{}`)
	if o.State != engine.StateFailure || !strings.Contains(string(o.Result), "the flow ran longer than 1s") {
		t.Errorf("%s with %s after %s", o.State, o.Result, time.Since(began))
	}
}

// TestEarlyReturn: who waits has its answer while the flow goes on.
func TestEarlyReturn(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	answered, release := make(chan struct{}, 1), make(chan struct{})
	b.answered = func() { answered <- struct{}{} }
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		if j.Source == "slow" {
			<-release
		}
		return j.Args, true
	}
	for _, early := range []string{"a", "results.a.n >= 2 ? {early: results.a.n} : null"} {
		text, err := json.Marshal(early)
		if err != nil {
			t.Fatal(err)
		}
		id, c := b.ask(`{"early_return":`+string(text)+`,"modules":[`+raw("a", "a", js("n", "flow_input.n"), "")+`,`+raw("b", "slow", "", "")+`]}`, `{"n":2}`)
		<-answered
		v, ok, err := b.runner.Answer(t.Context(), id)
		if want := map[bool]string{true: `{"n":2}`, false: `{"early":2}`}[early == "a"]; !ok || err != nil || string(v) != want {
			t.Errorf("%s: %s, %v, %v", early, v, ok, err)
		}
		release <- struct{}{}
		if o := <-c; string(o.Result) != "{}" {
			t.Errorf("%s: it ended with %s", early, o.Result)
		}
	}
}
