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
		again, wrong int
	}{
		"in order":                   {"0 1\n0 2\n8 1\n0 3\n8 2\n", 0, 0},
		"the running one again":      {"0 1\n0 2\n0 2\n0 3\n", 1, 0},
		"one that had ended":         {"0 1\n0 2\n0 1\n", 1, 1},
		"items beside each other":    {"3 1\n3 10 0\n3 11 0\n3 10 1\n3 1000\n", 0, 0},
		"an item after the join":     {"3 1\n3 10 0\n3 1000\n3 11 0\n", 0, 1},
		"an item that had gone on":   {"3 10 0\n3 11 0\n3 10 0\n", 1, 1},
		"a retry":                    {"5 1\n5 1\n5 2\n5 2\n5 3\n", 0, 0},
		"more than a retry":          {"5 1\n5 1\n5 1\n", 1, 0},
		"what nobody can have meant": {"x\n", 0, 1},
	} {
		if again, wrong := readSteps(c.log); again != c.again || len(wrong) != c.wrong {
			t.Errorf("%s: %d again, %v", name, again, wrong)
		}
	}
}

// TestFlowKinds are JSON.
func TestFlowKinds(t *testing.T) {
	t.Parallel()
	for i := range flowKinds {
		if p := (&flowLoad{log: "/x/y"}).preview(7, i); !json.Valid(p.Value) {
			t.Errorf("kind %d: %s", i, p.Value)
		}
	}
}
