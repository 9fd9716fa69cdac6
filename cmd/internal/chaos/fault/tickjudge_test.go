package fault

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
)

// ticksOf are the lines of a schedule whose ticks from..to all ran, and what their runs wrote.
func ticksOf(path string, from, to int64) (text, log []string) {
	for at := from; at <= to; at++ {
		id := uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%s %d", path, at))
		text = append(text, fmt.Sprintf("tick %s %d done 1 %s 1", path, at, id), fmt.Sprintf("job %s %s 2", path, id))
		log = append(log, path+" "+time.Unix(at, 0).UTC().Format(time.RFC3339))
	}
	return text, log
}

func TestCompareTicks(t *testing.T) {
	t.Parallel()
	made := []schedule{{"f/a", 1, "catch_up", 99}, {"f/b", 1, "skip", 99}}
	for _, c := range []struct {
		name   string
		change func(text, log []string) ([]string, []string)
		want   check.Result
	}{
		{"all is well", func(x, l []string) ([]string, []string) { return x, l }, check.Result{}},
		{"a tick is gone", func(x, l []string) ([]string, []string) { return append(x[:4:4], x[6:]...), append(l[:2:2], l[3:]...) }, check.Result{LostPushes: 1}},
		{"missed although it catches up", func(x, l []string) ([]string, []string) {
			return append(x[:4:4], append([]string{"tick f/a 102 missed 1 - -1"}, x[6:]...)...), append(l[:2:2], l[3:]...)
		}, check.Result{LostPushes: 1}},
		{"missed where that is wanted", func(x, l []string) ([]string, []string) {
			return append(x[:len(x)-2:len(x)-2], "tick f/b 105 missed 1 - -1"), l[:len(l)-1]
		}, check.Result{}},
		{"missed, and ran", func(x, l []string) ([]string, []string) {
			return append(x[:len(x)-2:len(x)-2], "tick f/b 105 missed 1 - -1"), l
		}, check.Result{Twice: 1}},
		{"two jobs", func(x, l []string) ([]string, []string) { return append(x, "job f/a "+uuid.NewString()+" 2"), l }, check.Result{Twice: 1}},
		{"did not run", func(x, l []string) ([]string, []string) { return x, l[1:] }, check.Result{LostCompletions: 1}},
		{"began again, once for each kill", func(x, l []string) ([]string, []string) { return x, append(l, l[0]) }, check.Result{}},
		{"began again without a kill", func(x, l []string) ([]string, []string) { return x, append(l, l[0], l[1]) }, check.Result{Twice: 1}},
		{"not settled", func(x, l []string) ([]string, []string) {
			return append(x[:len(x)-2:len(x)-2], "tick f/b 105 due 1 - -1"), l[:len(l)-1]
		}, check.Result{Stuck: 1}},
		{"a run of no tick", func(x, l []string) ([]string, []string) { return x, append(l, "f/a 2026-01-01T00:00:00Z") }, check.Result{Phantom: 1}},
	} {
		text, log := ticksOf("f/a", 100, 105)
		more, ran := ticksOf("f/b", 100, 105)
		text, log = c.change(append(text, more...), append(log, ran...))
		seen, err := readTicks(strings.Join(text, "\n"), strings.Join(log, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		got := seen.compare(made, 105, 1)
		if got.Pushes != 12 || (got.Violations() > 0) != (len(got.Findings) > 0) {
			t.Errorf("%s: %+v", c.name, got)
		}
		got.Findings, got.Pushes, got.Completions = nil, 0, 0
		if fmt.Sprint(*got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, *got, c.want)
		}
	}
	for _, bad := range [][2]string{{"tick f/a x", ""}, {"job f/a 5 2", ""}, {"", "f/a yesterday"}} {
		if _, err := readTicks(bad[0], bad[1]); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
