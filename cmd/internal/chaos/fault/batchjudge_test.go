package fault

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
)

func TestCompareBatches(t *testing.T) {
	t.Parallel()
	sent := []batchSent{{"a", 10, false}, {"b", 10, true}}
	good := map[string]string{"a": "a 10 10 10 0 0 1 10 0 10 0", "b": "b 10 10 10 0 4 1 10 0 6 4"}
	for _, c := range []struct {
		name, batch, row string
		want             check.Result // counts
	}{
		{"all is well", "a", good["a"], check.Result{}},
		{"rows are gone", "a", "a 10 10 8 0 0 1 8 0 8 0", check.Result{LostPushes: 2}},
		{"too many rows", "a", "a 10 10 12 0 0 1 12 0 12 0", check.Result{Phantom: 2}},
		{"mixed up", "a", "a 10 10 10 0 0 1 10 3 10 0", check.Result{LostPushes: 3}},
		{"no end", "a", "a 10 10 9 0 0 0 10 0 9 0", check.Result{Stuck: 2}},
		{"not counted", "a", "a 10 10 9 0 0 1 10 0 10 0", check.Result{LostCompletions: 1}},
		{"counted twice", "a", "a 10 10 11 0 0 1 10 0 10 0", check.Result{Twice: 1}},
		{"failed", "a", "a 10 10 10 1 0 1 10 0 9 0", check.Result{Stuck: 1, Twice: 1, LostCompletions: 1}},
		{"canceled by nobody", "a", "a 10 10 10 0 2 1 10 0 8 2", check.Result{LostCompletions: 2}},
		{"canceled ones not counted", "b", "b 10 10 10 0 3 1 10 0 6 4", check.Result{LostCompletions: 1}},
		{"wrong total", "b", "b 9 10 10 0 4 1 10 0 6 4", check.Result{LostPushes: 1}},
		{"an unknown one", "c", "c 1 1 1 0 0 1 1 0 1 0", check.Result{Phantom: 1}},
	} {
		text := good["a"] + "\n" + good["b"] + "\n" + c.row + "\n" // the later line of a batch counts
		seen, err := readBatches(text)
		if err != nil {
			t.Fatal(err)
		}
		got := compareBatches(sent, seen)
		if got.Pushes != 20 || (got.Violations() > 0) != (len(got.Findings) > 0) {
			t.Errorf("%s: %+v", c.name, got)
		}
		got.Findings, got.Pushes, got.Completions = nil, 0, 0
		if fmt.Sprint(*got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, *got, c.want)
		}
	}
	if got := compareBatches(sent, nil); got.LostPushes != 20 {
		t.Errorf("of no batches: %+v", got)
	}
	if _, err := readBatches("a b c\n"); err == nil {
		t.Error("read what is no batch")
	}
}
