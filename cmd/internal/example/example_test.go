package example

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/millrace/millrace/cmd/internal/clitest"
)

// answers are what the four scripts really give, shortened.
var answers = map[string]string{
	"f/example/read_orders":  `{"orders": [{"id": "A-1000", "country": "Italy"}], "unreadable": [{"line": 125, "why": "as soon as possible"}]}`,
	"f/example/check_orders": `{"currency": "EUR", "amounts": [354.3, 12], "countries": [{"country": "Italy", "total": 354.3}, {"country": "Spain", "total": 12}], "rejected": [{"id": "A-1017"}]}`,
	"f/example/statistics":   `{"count": 2, "sum": 366.3}`,
	"f/example/report":       `"Italy leads with 97 % of 366.30"`,
}

func TestRun(t *testing.T) {
	d := clitest.New(t)
	given := map[string]string{}
	d.Run = func(path string, args json.RawMessage) clitest.Outcome {
		given[path] = string(args)
		return clitest.Outcome{Logs: "log of " + path, Result: answers[path]}
	}
	var out strings.Builder
	if err := Run(t.Context(), d.Client(t), &out); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"f/example/read_orders":  `{"file":"order,date,customer`,
		"f/example/check_orders": `{"orders":[{"id":"A-1000","country":"Italy"}]}`,
		"f/example/statistics":   `{"amounts":[354.3,12]}`,
		"f/example/report":       `{"table":"Italy;354.30\nSpain;12.00","width":"30"}`,
	} {
		if !strings.HasPrefix(given[path], want) {
			t.Errorf("%s was run with %.200s, want %s", path, given[path], want)
		}
	}
	for _, want := range []string{
		"Example: 200 orders", "| resolving dependencies of f/example/read_orders\n", "deployed f/example/read_orders", "(TypeScript)\n  | log of f/example/check_orders\n",
		"result    1 orders read, 1 lines unreadable", "result    2 orders kept, 1 rejected, 2 countries; first Italy with 354.30 EUR",
		`result    "Italy leads with 97 % of 366.30"`, "4.7 ms, of which 1.2 waiting",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

func TestRunStopsAtAFailure(t *testing.T) {
	for _, wrong := range []clitest.Outcome{{Failed: true, Result: `{"error": {"message": "out of water"}}`}, {Result: `"not orders"`}} {
		d := clitest.New(t)
		runs := 0
		d.Run = func(string, json.RawMessage) clitest.Outcome { runs++; return wrong }
		err := Run(t.Context(), d.Client(t), new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), "f/example/read_orders") || runs != 1 {
			t.Errorf("%d runs, error %v", runs, err)
		}
	}
}
