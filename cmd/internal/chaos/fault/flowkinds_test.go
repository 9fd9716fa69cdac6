package fault

import (
	"encoding/json"
	"testing"
)

// TestReadSteps: the check of the records sees what it is for.
func TestReadSteps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log          string
		again, wrong int // again: of workflows that are side by side, less than 0
	}{
		"in order":                   {"0 1\n0 2\n10 1\n0 3\n10 2\n", 0, 0},
		"the running one again":      {"0 1\n0 2\n0 2\n0 3\n", 1, 0},
		"one that had ended":         {"0 1\n0 2\n0 1\n", 1, 1},
		"items beside each other":    {"3 1\n3 10 0\n3 11 0\n3 10 1\n3 1000\n", 0, 0},
		"an item after the join":     {"3 1\n3 10 0\n3 1000\n3 11 0\n", 0, 1},
		"an item that had gone on":   {"3 10 0\n3 11 0\n3 10 0\n", 1, 1},
		"a retry":                    {"5 1\n5 1\n5 2\n5 2\n5 3\n", 0, 0},
		"more than a retry":          {"5 1\n5 1\n5 1\n", 1, 0},
		"what nobody can have meant": {"x\n", 0, 1},
		"a workflow's again":         {"8 1\n8 2\n8 2\n9 1\n9 1\n9 10 0\n9 10 1\n9 10 0\n", -3, 0},
		"one of it that had ended":   {"9 1\n9 2\n9 1\n", -1, 1},
		"more often than killed":     {"8 1\n8 1\n8 1\n8 1\n", -3, 1},
	} {
		want := stepsAgain{steps: max(c.again, 0), abreast: max(-c.again, 0)}
		if again, wrong := readSteps(c.log, 2); again != want || len(wrong) != c.wrong {
			t.Errorf("%s: %+v again, %v", name, again, wrong)
		}
	}
}

// TestFlowKinds are JSON.
func TestFlowKinds(t *testing.T) {
	t.Parallel()
	for i := range flowKinds {
		if r := (&flowLoad{log: "/x/y"}).run(i); !json.Valid(r.Flow.Value) {
			t.Errorf("kind %d: %s", i, r.Flow.Value)
		}
	}
}
