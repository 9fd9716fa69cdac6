package slot

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

func BenchmarkOpen(b *testing.B) {
	root(b)
	i := spawn(b, newPlace(b))
	for b.Loop() {
		s, err := i.Open(context.Background(), sandbox.Template{Name: "exec", Network: sandbox.NetworkNone})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkClose(b *testing.B) {
	root(b)
	i := spawn(b, newPlace(b))
	for b.Loop() {
		b.StopTimer()
		s, err := i.Open(context.Background(), sandbox.Template{Name: "exec", Network: sandbox.NetworkNone})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHelper(b *testing.B) {
	root(b)
	p := newPlace(b)
	for b.Loop() {
		i, err := Spawn(context.Background(), p.helper, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := i.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart is one job: from asking for a static program to its end being known.
func BenchmarkStart(b *testing.B) {
	root(b)
	i := spawn(b, newPlace(b))
	s, err := i.Open(context.Background(), sandbox.Template{Name: "exec", Network: sandbox.NetworkNone})
	if err != nil {
		b.Fatal(err)
	}
	spec := sandbox.Spec{Argv: []string{"probe", "exit"}, Exec: sandboxtest.Probe(b)}
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		p, err := s.Start(context.Background(), spec)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
		_ = p.Close()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
