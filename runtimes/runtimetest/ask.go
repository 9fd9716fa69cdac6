package runtimetest

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/millrace/millrace/runtimes/frame"
)

// What workflows as code say is in sections of their cases: "history" has answers of earlier starts and "answers" what is told, in this
// order, when something is asked for that is no step; "asks" is what must be asked for, in order. One JSON object a line, in all of them.

// answer does what the engine does when a workflow asks for something.
func (d *Driver) answer(to io.Writer, ask []byte) error {
	var a struct{ Op, Key, Kind string }
	if err := json.Unmarshal(ask, &a); err != nil {
		return fmt.Errorf("a workflow asks for %q: %w", ask, err)
	}
	var list []string
	switch a.Op {
	case "open":
		list = append(append(list, d.History...), `{"opened":true}`)
		d.History = nil
	case "step":
		list = append(list, fmt.Sprintf(`{"key":%q,"stored":true}`, a.Key))
	case "begin":
	default:
		if len(d.Answers) > 0 {
			list, d.Answers = append(list, d.Answers[0]), d.Answers[1:]
		}
	}
	for _, s := range list {
		if _, err := to.Write(frame.Append(nil, frame.Answer, s)); err != nil {
			return err
		}
	}
	return nil
}

// lines are those of a section.
func (a *archive) lines(section string) (out []string) {
	text, _ := a.get(section)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// judgeAsks compares what a workflow asked for.
func (a *archive) judgeAsks(t *testing.T, got []string) {
	t.Helper()
	if _, ok := a.get("asks"); !ok {
		return
	}
	want := a.lines("asks")
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			t.Errorf("it did not ask for %s", want[i])
		case i >= len(want):
			t.Errorf("it asks for %s as well", got[i])
		case !SameJSON([]byte(want[i]), []byte(got[i])):
			t.Errorf("it asks for %s, want %s", got[i], want[i])
		}
	}
}
