package runner_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store/storetest"
)

func limited(id, content, inputs, limits string) string {
	return fmt.Sprintf(`{"id":%q,"value":{"type":"rawscript","language":"x","content":%q,"input_transforms":{%s},%s}}`, id, content, inputs, limits)
}

// TestLimitsOfSteps: of the steps of one key only so many run at once, over flows and within a parallel loop, and those that wait hold
// no slot.
func TestLimitsOfSteps(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	var mu sync.Mutex
	now, most := 0, 0
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		if j.Source != "one" {
			return j.Args, true
		}
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		defer func() {
			mu.Lock()
			now--
			mu.Unlock()
		}()
		return j.Args, true
	}
	flow := modules(`{"id":"l","value":{"type":"forloopflow","parallel":true,"iterator":{"type":"static","value":[1,2,3,4,5]},"modules":[` +
		limited("a", "one", js("v", "flow_input.iter.value"), `"concurrent_limit":1`) + `]}}`)
	_, first := b.ask(flow, `{}`)
	_, second := b.ask(flow, `{}`)
	for _, c := range []chan engine.Outcome{first, second} {
		if o := <-c; o.State != engine.StateSuccess || string(o.Result) != `[{"v":1},{"v":2},{"v":3},{"v":4},{"v":5}]` {
			t.Errorf("%s with %s", o.State, o.Result)
		}
	}
	if most != 1 {
		t.Errorf("%d ran at once", most)
	}
	b.empty()
}

// TestAStepThatDoesNotWait fails when its limit is reached, and its flow goes on with that.
func TestAStepThatDoesNotWait(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	at, release := make(chan struct{}, 1), make(chan struct{})
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		at <- struct{}{}
		<-release
		return j.Args, true
	}
	flow := modules(limited("a", "one", "", `"concurrent_limit":1,"on_concurrency_limit":"fail"`))
	_, first := b.ask(flow, `{}`)
	<-at
	if o := b.run(flow, `{}`); o.State != engine.StateFailure || !strings.Contains(string(o.Result), "the limit one is reached") {
		t.Errorf("%s with %s", o.State, o.Result)
	}
	close(release)
	if o := <-first; o.State != engine.StateSuccess {
		t.Errorf("%s with %s", o.State, o.Result)
	}
	b.empty()
}

// TestDebouncedSteps: of two flows that come to a debounced step the later one's runs it, with the lists of both; the other flow ends
// there, as skipped.
func TestDebouncedSteps(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	step := `{"id":"a","value":{"type":"rawscript","language":"x","content":"d","input_transforms":{` + js("list", "flow_input.list") + `}},
		"debouncing":{"debounce_delay_s":600,"debounce_args_to_accumulate":["list"],"max_total_debounces_amount":3}}`
	flow := modules(step, raw("b", "b", js("got", "results.a.list"), ""))
	var ids []uuid.UUID
	var ends []chan engine.Outcome
	for _, args := range []string{`{"list":[1]}`, `{"list":[2,3]}`, `{"list":[4]}`} {
		id, c := b.ask(flow, args)
		for n := 0; n == 0; { // it is known to be the latest
			storetest.Row(t, b.db, fmt.Sprintf("select count(*) from debounce d join job j on j.id = d.job_id where j.parent = '%s'", id), &n)
		}
		ids, ends = append(ids, id), append(ends, c)
	}
	for i, c := range ends[:2] {
		if o := <-c; o.State != engine.StateSuccess || !strings.Contains(string(o.Result), "debounced_by") {
			t.Errorf("flow %s: %s with %s", ids[i], o.State, o.Result)
		}
	}
	if o := <-ends[2]; string(o.Result) != `{"got":[1,2,3,4]}` && string(o.Result) != `{"got": [1,2,3,4]}` {
		t.Errorf("%s with %s", o.State, o.Result)
	}
	b.empty()
}

// TestAFlowWithinWaitsForItsLimit: the runs of a flow with a limit that several flows name come one after another.
func TestAFlowWithinWaitsForItsLimit(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	var mu sync.Mutex
	now, most := 0, 0
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		mu.Lock()
		defer mu.Unlock()
		if j.Source == "in" {
			now++
			most = max(most, now)
		}
		if j.Source == "out" {
			now--
		}
		return j.Args, true
	}
	b.deploy("f/x/one", &format.Flow{Value: value(t, `{"concurrent_limit":1,"modules":[`+raw("i", "in", js("x", "flow_input.y"), "")+`,`+
		raw("s", "mid", js("x", "results.i.x"), `"sleep":{"type":"static","value":0.01}`)+`,`+raw("o", "out", js("x", "results.s.x"), "")+`]}`)})
	flow := modules(`{"id":"l","value":{"type":"forloopflow","parallel":true,"iterator":{"type":"static","value":[1,2,3,4]},"modules":[` +
		`{"id":"f","value":{"type":"flow","path":"f/x/one","input_transforms":{` + js("y", "flow_input.iter.value") + `}}}]}}`)
	start := time.Now()
	if o := b.run(flow, `{}`); o.State != engine.StateSuccess || string(o.Result) != `[{"x":1},{"x":2},{"x":3},{"x":4}]` {
		t.Errorf("%s with %s after %s", o.State, o.Result, time.Since(start))
	}
	if most != 1 {
		t.Errorf("%d ran at once", most)
	}
	b.empty()
}
