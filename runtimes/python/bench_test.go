package python

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

// BenchmarkJob runs one job after the other in one real slot: a fork of the zygote each. It needs MILLRACE_TEST_JAIL, the
// path of the helper program, and a built tree. answer-us is request to result; the whole operation includes the end of the process;
// slot-cpu-us is what all processes of the slot used, which is steadier than time on a machine that does other things.
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
		"empty": "def main(n): return n",
		"fibo":  "def fibo(n): return n if n < 2 else fibo(n - 1) + fibo(n - 2)\ndef main(n: int) -> int:\n    return fibo(n)\n",
		"async": "async def main(n): return n",
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
	var answers, used time.Duration
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
		exit, err := proc.Wait(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		used += exit.Usage.CPUUser + exit.Usage.CPUSystem
		_ = proc.Close()
	}
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "slot-cpu-us")
	b.ReportMetric(float64(answers.Microseconds())/float64(b.N), "answer-us")
}
