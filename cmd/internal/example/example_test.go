package example

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/clitest"
	"github.com/millrace/millrace/engine/flow/check"
	"github.com/millrace/millrace/engine/flow/format"
)

// answer is what the flow really gives, shortened.
const answer = `[{"count": 2, "sum": 366.3}, "Italy leads with 97 % of 366.30"]`

func TestRun(t *testing.T) {
	d := clitest.New(t)
	var given string
	d.Run = func(path string, args json.RawMessage) clitest.Outcome {
		given = path + " " + string(args)
		d.AddStep(uuid.MustParse("00000000-0000-7000-8000-00000000000c"), "a", "bash", "log of a step\n") // which all steps of a flow here run as
		return clitest.Outcome{Result: answer}
	}
	var out strings.Builder
	if err := Run(t.Context(), d.Client(t), "http://127.0.0.1:8000", &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(given, `f/example/orders {"file":"order,date,customer`) {
		t.Errorf("it ran %.200s", given)
	}
	for _, want := range []string{
		"Example: 200 orders", "| resolving dependencies of f/example/read_orders\n", "deployed f/example/read_orders", "deployed f/example/orders         flow",
		"  a            bash           4.7 ms, of which 1.2 waiting\n  | log of a step\n", `statistics  {"count":2,"sum":366.3}`,
		"report      Italy leads with 97 % of 366.30\n", "POST http://127.0.0.1:8000/api/w/main/jobs/run_wait_result/f/f/example/orders with",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

func TestRunStopsAtAFailure(t *testing.T) {
	for _, wrong := range []clitest.Outcome{{Failed: true, Result: `{"error": {"message": "out of water"}}`}, {Result: `"not orders"`}} {
		d := clitest.New(t)
		d.Run = func(string, json.RawMessage) clitest.Outcome {
			d.AddStep(uuid.MustParse("00000000-0000-7000-8000-00000000000c"), "a", "bash", "")
			return wrong
		}
		err := Run(t.Context(), d.Client(t), "http://127.0.0.1:8000", new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), "f/example/orders") {
			t.Errorf("error %v", err)
		}
	}
}

// TestFlow: nothing is wrong with the flow, and it runs the scripts that are deployed.
func TestFlow(t *testing.T) {
	folder, err := fs.Sub(flowFolder, "orders__flow")
	if err != nil {
		t.Fatal(err)
	}
	f, err := format.ReadFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := check.Flow(t.Context(), f, check.Lookup{Path: flowPath}); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
	for _, s := range list {
		if !strings.Contains(string(f.JSON()), `"`+s.path()+`"`) {
			t.Errorf("the flow does not run %s", s.path())
		}
	}
}
