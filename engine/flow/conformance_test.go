package flow

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/flow/format"
)

var update = flag.Bool("update", false, "write the traces anew")

const conformanceDir = "testdata/conformance"

// The conformance suite: a file for each field of the format, "<type>.<field>.txtar", and for each trap of its semantics,
// "trap.<name>.txtar". The sections of a file are the flow, the events that it meets (what the steps do, who answers its gates) and the
// trace that is expected of it.
//
//	args JSON            the arguments
//	fail ID N            the first N attempts at step ID fail; -1: all
//	return ID JSON       what step ID returns, unless it fails
//	approve, deny NAME   who answers every gate
//	trigger              the flow was started by a trigger
//	timeout SECONDS      of the flow
type conformance struct {
	flow    *format.Flow
	args    string
	fails   map[string]int
	returns map[string]json.RawMessage
	vote    *Vote
	trigger bool
}

// readCase reads the text of a file, up to the trace, and the trace.
func readCase(t *testing.T, text string) (c *conformance, head, trace string) {
	t.Helper()
	head, trace, _ = strings.Cut(text, "-- trace --\n")
	comment, rest, ok := strings.Cut(head, "-- flow.json --\n")
	if !ok || strings.TrimSpace(comment) == "" {
		t.Fatal("it has no flow, or does not say what it shows")
	}
	flow, events, _ := strings.Cut(rest, "-- events --\n")
	c = &conformance{args: `{"n":1}`, fails: map[string]int{}, returns: map[string]json.RawMessage{}}
	var err error
	if c.flow, err = format.Parse([]byte(flow)); err != nil {
		t.Fatal(err)
	}
	c.survives(t, []byte(flow))
	c.flow.Value.FillIDs()
	for line := range strings.Lines(events) {
		c.event(t, strings.TrimSpace(line))
	}
	return c, head, trace
}

// survives fails when anything that was written is not there any more after the flow was read and written.
func (c *conformance) survives(t *testing.T, text []byte) {
	t.Helper()
	var before, after any
	if err := json.Unmarshal(text, &before); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(c.flow.JSON(), &after); err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("read and written it is %s, %v", c.flow.JSON(), err)
	}
}

func (c *conformance) event(t *testing.T, line string) {
	t.Helper()
	what, rest, _ := strings.Cut(line, " ")
	id, more, _ := strings.Cut(rest, " ")
	switch what {
	case "args":
		c.args = rest
	case "fail":
		var n int
		if _, err := fmt.Sscan(more, &n); err != nil {
			t.Fatal(err)
		}
		c.fails[id] = n
	case "return":
		c.returns[id] = json.RawMessage(more)
	case "approve", "deny":
		c.vote = &Vote{Approved: what == "approve", By: rest}
	case "trigger":
		c.trigger = true
	case "":
	default:
		t.Fatalf("event %q", line)
	}
}

// run is the trace.
func (c *conformance) run(t *testing.T) string {
	t.Helper()
	h := newHost(t)
	h.starts = true
	h.job = func(id string, n int, _ map[string]json.RawMessage) (any, bool) {
		if most, bad := c.fails[id]; bad && (most < 0 || n < most) {
			return id, false
		}
		if v, ok := c.returns[id]; ok {
			return v, true
		}
		return id, true
	}
	if c.vote != nil {
		h.vote = func(int) *Vote { return c.vote }
	}
	d := Root(&c.flow.Value, c.trigger)
	d.Timeout = seconds(float64(c.flow.Timeout))
	r := h.begin(d, nil, 0)
	if err := json.Unmarshal([]byte(c.args), &r.args); err != nil {
		t.Fatal(err)
	}
	r.step(Begin{})
	h.drive(r)
	end := "it goes on"
	if e := r.end; e != nil {
		end = "failure"
		switch {
		case e.Skipped:
			end = "skipped"
		case e.OK && e.Stopped:
			end = "stopped"
		case e.OK:
			end = "success"
		}
	}
	return strings.Join(append(h.trace, fmt.Sprintf("%s: %s", end, orNull(r.result))), "\n") + "\n"
}

func TestConformance(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(conformanceDir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c, head, want := readCase(t, string(text))
			got := c.run(t)
			if *update {
				if err := os.WriteFile(name, []byte(head+"-- trace --\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				want = got
			}
			if want != got {
				t.Errorf("it did\n%s\nwanted\n%s", got, want)
			}
		})
	}
}

// formatTypes are the types of the format, by the names that files of the suite begin with.
var formatTypes = map[string]reflect.Type{
	"flow": reflect.TypeFor[format.Flow](), "value": reflect.TypeFor[format.Value](), "note": reflect.TypeFor[format.Note](), "group": reflect.TypeFor[format.Group](),
	"module": reflect.TypeFor[format.Module](), "stop_if": reflect.TypeFor[format.StopIf](), "cond": reflect.TypeFor[format.Cond](), "mock": reflect.TypeFor[format.Mock](),
	"debouncing": reflect.TypeFor[format.StepDelay](), "suspend": reflect.TypeFor[format.Suspend](), "resume_form": reflect.TypeFor[format.ResumeForm](),
	"retry": reflect.TypeFor[format.Retry](), "constant": reflect.TypeFor[format.ConstantRetry](), "exponential": reflect.TypeFor[format.ExponentialRetry](),
	"input": reflect.TypeFor[format.Input](), "rawscript": reflect.TypeFor[format.RawScript](), "asset": reflect.TypeFor[format.Asset](),
	"script": reflect.TypeFor[format.Script](), "subflow": reflect.TypeFor[format.SubFlow](), "forloopflow": reflect.TypeFor[format.ForLoop](),
	"whileloopflow": reflect.TypeFor[format.WhileLoop](), "branchone": reflect.TypeFor[format.BranchOne](), "branchall": reflect.TypeFor[format.BranchAll](),
	"branch": reflect.TypeFor[format.Branch](), "identity": reflect.TypeFor[format.Identity](), "aiagent": reflect.TypeFor[format.Agent](),
	"aidecision": reflect.TypeFor[format.Decision](),
}

// traps are those of the description of the format.
var traps = []string{"inputs_left_out", "input_transform_alias", "bare_or_computed_numbers", "unknown_fields", "internal_fields", "hash_is_hex", "ids_are_filled_in",
	"virtual_module", "sleep_is_after", "stop_in_loop_is_each_iteration", "stop_without_skip_if_stopped", "empty_error_message", "constant_before_exponential",
	"exponential_is_a_power", "retry_cap", "suspend_runs_first", "skipped_does_not_gate", "one_disapproval_ends_it", "for_loop_skips_failures",
	"while_loop_stops_on_failure", "branchall_skips_failures", "empty_branch", "empty_loop", "empty_flow", "while_iter_value_is_index", "while_state_by_own_id",
	"approval_in_parallel_branch", "retry_of_a_single_step", "same_worker_after_suspend", "null_error_message", "missing_result_is_null", "failure_module_sees_error"}

// fieldsOf are the names of the fields of t.
func fieldsOf(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && f.Type != reflect.TypeFor[format.Source]():
			names = append(names, fieldsOf(f.Type)...)
		case f.IsExported() && name != "":
			names = append(names, name)
		}
	}
	return names
}

// TestConformanceIsComplete fails when a field of the format, or a trap, has no file, or a file belongs to nothing.
func TestConformanceIsComplete(t *testing.T) {
	t.Parallel()
	want := map[string]bool{}
	for name, typ := range formatTypes {
		for _, f := range fieldsOf(typ) {
			want[name+"."+f] = true
		}
	}
	for _, name := range traps {
		want["trap."+name] = true
	}
	files, err := filepath.Glob(filepath.Join(conformanceDir, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		key := strings.TrimSuffix(filepath.Base(name), ".txtar")
		if !want[key] {
			t.Errorf("%s belongs to no field and no trap", key)
		}
		delete(want, key)
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		typ, field, _ := strings.Cut(key, ".")
		if typ != "trap" && !strings.Contains(string(text), `"`+field+`"`) {
			t.Errorf("%s does not have the field", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		t.Errorf("%s has no file", key)
	}
}
