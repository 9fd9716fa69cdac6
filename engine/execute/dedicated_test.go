package execute

import (
	"encoding/json"
	"testing"

	"github.com/millrace/millrace/engine"
)

// Runs of a dedicated script as one user share a process, those of another user, of another version and previews do not.
func TestDedicated(t *testing.T) {
	t.Parallel()
	x := setup(t)
	empty := ""
	for _, h := range []engine.Hash{1, 2} {
		x.shelf.scripts[h] = &engine.Script{Hash: h, Path: "f/x", Language: "mock", Content: "runs", Lock: &empty, Options: engine.Options{Dedicated: true}}
	}
	x.shelf.scripts[3] = &engine.Script{Hash: 3, Path: "f/y", Language: "mock", Content: "runs", Lock: &empty}
	for i, c := range []struct {
		hash  engine.Hash
		owner string
		want  string
	}{
		{1, "u/ann", "1"}, {1, "u/ann", "2"}, {1, "u/bob", "1"}, {1, "u/ann", "3"}, {1, "u/bob", "2"}, {2, "u/ann", "1"},
		{3, "u/ann", "0"}, {3, "u/ann", "0"}, // in a process of its own a run is not counted
	} {
		claim := preview("")
		claim.Job.Kind, claim.Job.Hash, claim.Job.PermissionedAs, claim.Job.Args = engine.KindScript, c.hash, c.owner, json.RawMessage("{}")
		out, done := x.Execute(t.Context(), claim)
		if !done || out.State != engine.StateSuccess || string(out.Result) != c.want {
			t.Errorf("run %d: %v %s %s, want %s", i, done, out.State, out.Result, c.want)
		}
	}
}

// BenchmarkDedicated is what a run of a dedicated script costs besides the queue and its process.
func BenchmarkDedicated(b *testing.B) {
	x := setup(b)
	empty := ""
	x.shelf.scripts[1] = &engine.Script{
		Hash: 1, Path: "f/x", Language: "mock", Content: "param n integer\nreturn 1", Lock: &empty, Options: engine.Options{Dedicated: true},
		Schema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`),
	}
	x.cfg.Env = Env("http://127.0.0.1:8000", func(*engine.Job) string { return "token" })
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			claim := preview("")
			claim.Job.Kind, claim.Job.Hash, claim.Job.PermissionedAs = engine.KindScript, 1, "u/ann"
			out, done := x.Execute(b.Context(), claim)
			if !done || out.State != engine.StateSuccess {
				b.Errorf("%v %s", done, out.Result)
				return
			}
			x.Finished(claim, &out)
		}
	})
}
