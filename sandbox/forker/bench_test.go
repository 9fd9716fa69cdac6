package forker_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

// BenchmarkExec is the floor of an executed job: a static program that does nothing, fully confined, from Start to Wait.
func BenchmarkExec(b *testing.B) {
	benchmark(b, sandbox.Template{}, sandbox.Spec{Argv: []string{"true", "exit", "0"}, Exec: sandboxtest.Probe(b)})
}

// BenchmarkExecInit is the same under the minimal init.
func BenchmarkExecInit(b *testing.B) {
	benchmark(b, sandbox.Template{}, sandbox.Spec{Argv: []string{"true", "exit", "0"}, Exec: sandboxtest.Probe(b), Init: true})
}

// BenchmarkPython is the floor of a forked job: a child of a booted interpreter that reads an empty request.
func BenchmarkPython(b *testing.B) { benchmark(b, zygote(b), sandbox.Spec{}) }

func benchmark(b *testing.B, tmpl sandbox.Template, spec sandbox.Spec) {
	needRoot(b)
	slot, err := (&harness{t: b}).Open(context.Background(), tmpl)
	if err != nil {
		b.Fatal(err)
	}
	defer slot.Close()
	ctx := context.Background()
	var cpu time.Duration
	b.ResetTimer()
	for b.Loop() {
		p, err := slot.Start(ctx, spec)
		if err != nil {
			b.Fatal(err)
		}
		if len(tmpl.Zygote) > 0 {
			_ = p.Conn().(interface{ CloseWrite() error }).CloseWrite()
		}
		_, _ = io.Copy(io.Discard, p.Output())
		e, err := p.Wait(ctx)
		if err != nil || e.Code != 0 || e.Error != "" {
			b.Fatalf("%+v %v", e, err)
		}
		p.Close()
		cpu += e.Usage.CPUUser + e.Usage.CPUSystem
	}
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "job-cpu-µs/op")
}
