package bun

import (
	"encoding/json"
	"io"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/frame"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/slot"
)

// BenchmarkJob runs one job after the other in one real slot: a booted Bun each. It needs MILLRACE_TEST_JAIL, the
// path of the helper program, and a built tree. answer-us is request to result; the whole operation includes the end of the process.
func BenchmarkJob(b *testing.B) {
	helper := os.Getenv("MILLRACE_TEST_JAIL")
	if helper == "" {
		b.Skip("MILLRACE_TEST_JAIL does not name millrace-jail")
	}
	lib := testLib(b)
	h, err := New().Detect(b.Context(), lib)
	if err != nil {
		b.Skip(err)
	}
	walls, err := slot.Spawn(b.Context(), slot.Helper{Path: helper, Lib: lib}, slot.Options{Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	defer walls.Close()
	for name, source := range map[string]string{
		"empty": "export function main(n: number) { return n; }",
		"fibo":  "function fibo(n: number): number { return n < 2 ? n : fibo(n - 1) + fibo(n - 2); }\nexport async function main(n: number) { return fibo(n); }",
	} {
		b.Run(name, func(b *testing.B) { benchmarkJob(b, walls, h, source) })
	}
}

func benchmarkJob(b *testing.B, walls sandbox.Isolator, h runtimes.Host, source string) {
	p := runtimes.Program{Workspace: "test", Language: New().Info().Name, Path: "u/test/bench", Source: source, Network: sandbox.NetworkNone}
	launch, err := New().Launch(h, p, runtimes.Artifact{})
	if err != nil {
		b.Fatal(err)
	}
	place, err := walls.Open(b.Context(), launch.Template)
	if err != nil {
		b.Fatal(err)
	}
	defer place.Close()
	request := frame.Request{Source: launch.Source, Path: p.Path, Entry: launch.Entry, Args: json.RawMessage(`{"n": 10}`),
		Env: runtimes.Env{{Name: "WM_WORKSPACE", Value: "test"}, {Name: "WM_JOB_ID", Value: "1"}, {Name: "WM_TOKEN", Value: "t"}}}
	data, err := request.AppendTo(nil)
	if err != nil {
		b.Fatal(err)
	}
	var answers time.Duration
	for b.Loop() {
		proc, err := place.Start(b.Context(), launch.Spec)
		if err != nil {
			b.Fatal(err)
		}
		replies := frame.NewReader(proc.Conn())
		if launch.Warm {
			if r, err := replies.Reply(); err != nil || r.Type != frame.Ready {
				b.Fatalf("not ready: %+v, %v", r, err)
			}
		}
		asked := time.Now()
		if _, err := proc.Conn().Write(data); err != nil {
			b.Fatal(err)
		}
		r, err := replies.Reply()
		if err != nil || r.Type != frame.Result {
			out, _ := io.ReadAll(proc.Output())
			b.Fatalf("got %+v, %v\n%s", r, err, out)
		}
		answers += time.Since(asked)
		if _, err := proc.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		_ = proc.Close()
	}
	b.ReportMetric(float64(answers.Microseconds())/float64(b.N), "answer-us")
}
