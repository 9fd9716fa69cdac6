package runner_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/expr"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestMain makes the test binary the process that runs expressions that may never end.
func TestMain(m *testing.M) {
	if expr.IsHelper() {
		if err := expr.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestWhatGoesTooFar: what would never end, or take all there is, ends as a failure that says what it was.
func TestWhatGoesTooFar(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		if n, sized := strings.CutPrefix(j.Source, "MB:"); sized {
			mb := 0
			if _, err := fmt.Sscan(n, &mb); err != nil {
				return json.RawMessage(`"no number"`), false
			}
			return fmt.Appendf(nil, `{"n":7,"big":"%s"}`, strings.Repeat("x", mb<<20)), true
		}
		return j.Args, true
	}
	if _, err := format.ParseValue([]byte(modules(strings.Repeat(`{"id":"x","value":{"type":"branchone","branches":[],"default":[`, 10_000) +
		strings.Repeat(`]}}`, 10_000)))); err == nil || !strings.Contains(err.Error(), "max depth") {
		t.Errorf("10,000 deep: %v", err)
	}
	for name, c := range map[string]struct{ flow, want string }{
		"a throw":              {modules(raw("a", "a", js("x", "(() => { throw new Error('no such customer') })()"), "")), "no such customer"},
		"a loop in an input":   {modules(raw("a", "a", js("x", "(() => { while (true) {} })()"), "")), "input_transforms.x: "},
		"a loop in skip_if":    {modules(raw("a", "a", "", `"skip_if":{"expr":"(() => { for (;;) {} })()"}`)), "skip_if: "},
		"memory in a sleep":    {modules(raw("a", "a", "", `"sleep":{"type":"javascript","expr":"(() => { const l = []; for (;;) l.push('x'.repeat(1 << 20) + l.length) })()"}`), raw("b", "b", "", "")), "sleep: "},
		"no number of seconds": {modules(raw("a", "a", "", `"timeout":{"type":"javascript","expr":"'soon'"}`)), "timeout: it must be a number"},
		"70 MB":                {modules(raw("a", "MB:70", "", "")), "are allowed"},
		"a deleted script":     {modules(`{"id":"a","value":{"type":"script","path":"f/x/gone"}}`), "there is no such script"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			o := b.run(c.flow, `{}`)
			if o.State != engine.StateFailure || !strings.Contains(string(o.Result), c.want) || len(o.Result) > 4096 {
				t.Errorf("%s with %.300s", o.State, o.Result)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	// 50 MB are a result like any other: the next step reads what it wants of it.
	if o := b.run(modules(raw("a", "MB:50", "", ""), raw("b", "b", js("n", "results.a.n"), "")), `{}`); string(o.Result) != `{"n":7}` {
		t.Errorf("%s with %.300s", o.State, o.Result)
	}
	b.empty()
}

// TestOvertimeOfALoop: iterations that sleep are ended when their loop has run for too long, and the flow goes on.
func TestOvertimeOfALoop(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	loop := `{"id":"l","timeout":0.2,"continue_on_error":true,"value":{"type":"forloopflow","parallel":true,"iterator":{"type":"static","value":[1,2,3]},"modules":[` +
		raw("x", "x", "", `"sleep":{"type":"static","value":3600}`) + `,` + raw("y", "y", "", "") + `]}}`
	o := b.run(modules(loop, raw("z", "z", js("e", "previous_result.error.name"), "")), `{}`)
	if string(o.Result) != `{"e":"Timeout"}` {
		t.Errorf("%s with %s", o.State, o.Result)
	}
	b.mu.Lock()
	ran := len(b.ran)
	b.mu.Unlock()
	if ran != 4 {
		t.Errorf("%d steps ran, wanted x three times and z", ran)
	}
	b.empty()
}
