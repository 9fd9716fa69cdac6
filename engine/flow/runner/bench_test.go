package runner_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// noopStep is a step that does nothing, in a slot inside the process: what is left is the engine's own.
func noopStep(id string) string {
	return fmt.Sprintf(`{"id":%q,"value":{"type":"rawscript","language":"noop","content":"x"}}`, id)
}

func noopSteps(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = noopStep(fmt.Sprintf("s%d", i))
	}
	return modules(list...)
}

// durable opens a box on a server that does fsync.
func durable(b *testing.B) *box {
	b.Helper()
	x := open(b, storetest.Durable(b), nil)
	if _, _, err := x.db.Partition(b.Context(), time.Now(), 1, 0); err != nil {
		b.Fatal(err)
	}
	return x
}

// timed runs a flow and tells how long it took until its outcome was stored.
func (b *box) timed(value, want string) time.Duration {
	b.t.Helper()
	began := time.Now()
	o := b.run(value, `{}`)
	took := time.Since(began)
	if o.State != engine.StateSuccess || want != "" && string(o.Result) != want {
		b.t.Fatalf("%s with %.300s, wanted %.300s", o.State, o.Result, want)
	}
	return took
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// BenchmarkSteps is what a step costs that does nothing, after 10 to 10,000 others of its flow. Its figures are named as those of
// bench are.
func BenchmarkSteps(b *testing.B) {
	x := durable(b)
	x.timed(noopSteps(100), "null")
	for _, c := range []struct{ steps, times int }{{10, 200}, {40, 50}, {100, 20}, {1000, 3}, {10000, 1}} {
		b.Run(fmt.Sprintf("n=%d", c.steps), func(b *testing.B) {
			value := noopSteps(c.steps)
			var took []time.Duration
			for range b.N * c.times {
				took = append(took, x.timed(value, "null"))
			}
			b.ReportMetric(ms(median(took))/float64(c.steps), fmt.Sprintf("flow_step_n%d-ms", c.steps))
			b.ReportMetric(float64(len(took)*c.steps), "n")
			if c.steps == 40 {
				b.ReportMetric(ms(median(took)), "flow40_noop-ms")
			}
		})
	}
}

// BenchmarkUnread is what a step costs that does nothing, after twenty whose results nobody reads.
func BenchmarkUnread(b *testing.B) {
	x := durable(b)
	size := 0
	x.step = func(j *engine.Job) (json.RawMessage, bool) {
		if j.Source == "large" {
			return json.RawMessage(`"` + strings.Repeat("x", size) + `"`), true
		}
		return json.RawMessage("null"), true
	}
	const large, steps, times = 20, 100, 5
	for _, kb := range []int{0, 1, 100, 1000} {
		b.Run(fmt.Sprintf("kb=%d", kb), func(b *testing.B) {
			size = kb << 10
			var list []string
			for i := range large {
				list = append(list, raw(fmt.Sprintf("l%d", i), "large", "", ""))
			}
			for i := range steps {
				list = append(list, noopStep(fmt.Sprintf("s%d", i)))
			}
			var took []time.Duration
			var last time.Time
			n := 0
			x.mu.Lock()
			x.noop = func() { // the steps behind the large ones
				if n++; n > 1 {
					took = append(took, time.Since(last))
				}
				last = time.Now()
			}
			x.mu.Unlock()
			for range b.N * times {
				n = 0
				x.timed(modules(list...), "null")
			}
			b.ReportMetric(ms(median(took)), fmt.Sprintf("flow_step_after_%dkb-ms", kb))
			b.ReportMetric(float64(len(took)), "n")
		})
	}
}

// BenchmarkFanOut is a parallel loop over many elements whose step does nothing, from the push to the stored list of results.
func BenchmarkFanOut(b *testing.B) {
	x := durable(b)
	for _, c := range []struct {
		key string
		n   int
	}{{"fanout1k_noop", 1000}, {"fanout10k_noop", 10000}, {"fanout100k_noop", 100000}} {
		b.Run(c.key, func(b *testing.B) {
			value := modules(fmt.Sprintf(`{"id":"l","value":{"type":"forloopflow","parallel":true,"iterator":{"type":"javascript","expr":"Array.from({length: %d}, (_, i) => i)"},"modules":[%s]}}`,
				c.n, noopStep("x")))
			want := "[" + strings.Repeat("null,", c.n-1) + "null]"
			var took []time.Duration
			for range b.N {
				took = append(took, x.timed(value, want))
			}
			b.ReportMetric(ms(median(took)), c.key+"-ms")
		})
	}
}
