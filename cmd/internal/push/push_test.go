package push

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/millrace/millrace/cmd/internal/clitest"
	"github.com/millrace/millrace/web/client"
)

func TestScriptShowsTheDependencyLog(t *testing.T) {
	d := clitest.New(t)
	var logs strings.Builder
	hash, err := Script(t.Context(), d.Client(t), client.NewScript{Path: "f/a/b", Content: "x", Language: "l"}, &logs)
	if err != nil || len(hash) != 16 {
		t.Fatalf("hash %q, %v", hash, err)
	}
	if logs.String() != "resolving dependencies of f/a/b\n" {
		t.Errorf("logs %q", logs.String())
	}
	logs.Reset()
	if again, err := Script(t.Context(), d.Client(t), client.NewScript{Path: "f/a/b", Content: "x", Language: "l"}, &logs); err != nil || again != hash {
		t.Errorf("pushed again: %q, %v", again, err)
	}
	if logs.Len() != 0 {
		t.Errorf("a settled version shows logs: %q", logs.String())
	}
}

func TestScriptReportsWhatCanNotBeResolved(t *testing.T) {
	d := clitest.New(t)
	d.LockError["f/a/b"] = "no package called nosuchthing"
	for range 2 { // the job's error at first, the version's afterwards
		var logs strings.Builder
		hash, err := Script(t.Context(), d.Client(t), client.NewScript{Path: "f/a/b"}, &logs)
		if hash != "" || err == nil || !strings.Contains(err.Error(), "no package called nosuchthing") {
			t.Errorf("hash %q, error %v", hash, err)
		}
	}
}

func TestScriptReportsRefusal(t *testing.T) {
	if _, err := Script(t.Context(), clitest.New(t).Client(t), client.NewScript{}, new(strings.Builder)); err == nil {
		t.Error("a script without a path is deployed")
	}
}

func TestFailure(t *testing.T) {
	raw := func(s string) *json.RawMessage { r := json.RawMessage(s); return &r }
	cases := []struct {
		job  client.Job
		want string
	}{
		{client.Job{Result: raw(`{"error": {"name": "E", "message": "m", "stack": "s\n"}}`)}, "E: m\ns"},
		{client.Job{Result: raw(`{"error": {"message": "m"}}`)}, "m"},
		{client.Job{Result: raw(`[1]`)}, "the job failed without saying why"},
		{client.Job{}, "the job failed without saying why"},
		{client.Job{Canceled: true, CanceledBy: "ann", CanceledReason: "tired"}, "canceled by ann: tired"},
		{client.Job{Canceled: true}, "canceled"},
	}
	for _, c := range cases {
		if got := Failure(&c.job).Error(); !strings.HasPrefix(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.job, got, c.want)
		}
	}
}
