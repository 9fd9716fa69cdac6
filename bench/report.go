package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// metric is one figure.
type metric struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"` // "ms", "1/s", "MB" or "%"
	N     int     `json:"n"`    // samples, completions or seconds behind it
}

// report is the file that make bench writes.
type report struct {
	Machine machine           `json:"machine"`
	Metrics map[string]metric `json:"metrics"`
}

// target is what a metric is meant to reach. Keys never change their meaning; the order is that of the printed table.
type target struct {
	key   string
	value float64
	most  bool // the value is a limit from above (latency, memory), not from below
}

var targets = []target{
	{"noop_start_p50", 0.5, true}, {"noop_start_p99", 1.5, true}, {"noop_result_p50", 1, true}, {"noop_result_p99", 3, true},
	{"noop_rate_c64", 20000, false}, {"noop_rate_c256", 35000, false},
	{"backlog_start_p50", 2, true}, {"backlog_start_p99", 10, true}, {"pinned_xmin_kept", 90, false},
	{"remote_start_p50", 2, true}, {"remote_start_p99", 10, true},
	{"http_ack_p50", 0.8, true}, {"http_ack_p99", 3, true},
	{"http_result_python_p50", 2.5, true}, {"http_result_python_p99", 8, true},
	{"http_result_bun_p50", 2.5, true}, {"http_result_bun_p99", 10, true},
	{"http_result_go_p50", 3, true}, {"http_result_go_p99", 10, true},
	{"http_result_bash_p50", 3, true}, {"http_result_bash_p99", 10, true},
	{"rate_python", 500, false}, {"rate_bun", 120, false}, {"rate_go", 500, false}, {"rate_bash", 400, false},
	{"dedicated_rate_python", 12000, false}, {"dedicated_rate_bun", 12000, false}, {"hot_pandas_p50", 15, true},
	{"flow3_isolated_p50", 7, true}, {"flow3_isolated_p99", 20, true}, {"flow40_isolated_p50", 90, true}, {"flow40_dedicated_p50", 30, true},
	{"steps3_inline_p50", 3.5, true}, {"steps3_inline_p99", 10, true}, {"steps3_inline_rate", 1500, false},
	{"steps3_dedicated_p50", 3.5, true}, {"steps3_dedicated_p99", 10, true}, {"steps3_dedicated_rate", 1500, false},
	{"fibo33_overhead", 30, true}, {"flow40_noop", 14, true},
	{"fanout10k_noop", 1000, true}, {"fanout10k_dedicated", 2000, true}, {"fanout10k_isolated", 20000, true},
	{"cold_python", 100, true}, {"cold_bun", 60, true}, {"cold_go", 700, true},
	{"startup", 1500, true}, {"idle_cpu", 1, true}, {"idle_rss", 400, true},
	{"sandbox_pss_python", 6, true}, {"sandbox_pss_bun", 15, true},
}

func newReport() *report { return &report{Metrics: map[string]metric{}} }

func round(v float64) float64 {
	switch {
	case math.Abs(v) >= 100:
		return math.Round(v)
	case math.Abs(v) >= 10:
		return math.Round(v*10) / 10
	}
	return math.Round(v*1000) / 1000
}

func (r *report) set(key string, value float64, unit string, n int) {
	r.Metrics[key] = metric{round(value), unit, n}
}

// latency keeps the quantiles of s under key; targets have p50 and p99, the others tell about the tail.
func (r *report) latency(key string, s sample) {
	for _, q := range []struct {
		suffix string
		q      float64
	}{{"_p50", 0.5}, {"_p90", 0.9}, {"_p99", 0.99}, {"_p999", 0.999}, {"_max", 1}} {
		if q.q < 1 && float64(len(s))*(1-q.q) < 1 {
			continue // not enough samples to say
		}
		r.set(key+q.suffix, ms(s.at(q.q)), "ms", len(s))
	}
}

// save writes the report. With merge the figures that it does not have are kept from the file.
func (r *report) save(file string, merge bool) error {
	out := report{Machine: r.Machine, Metrics: maps.Clone(r.Metrics)}
	if merge {
		var old report
		b, err := os.ReadFile(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		default:
			if err := json.Unmarshal(b, &old); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		for key, m := range old.Metrics {
			if _, measured := out.Metrics[key]; !measured {
				out.Metrics[key] = m
			}
		}
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file+".tmp", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
}

// print shows the figures beside their targets.
func (r *report) print(w io.Writer) {
	m := r.Machine
	_, _ = fmt.Fprintf(w, "\n%s, %d cores, %.1f GB, Linux %s, fdatasync p50 %.2f ms, p99 %.2f ms, fibonacci(32) %.1f ms, a process %.2f ms, a wake-up there and back %.0f us\n\n",
		m.CPU, m.Cores, m.MemoryGB, m.Kernel, m.FsyncP50, m.FsyncP99, m.Speed.ComputeMs, m.Speed.ProcessMs, m.Speed.WakeUs)
	_, _ = fmt.Fprintf(w, "%-26s %12s %-4s %12s  %s\n", "metric", "measured", "", "target", "n")
	shown := map[string]bool{}
	for _, t := range targets {
		shown[t.key] = true
		got, ok := r.Metrics[t.key]
		if !ok {
			continue
		}
		verdict := ""
		if t.most && got.Value > t.value || !t.most && got.Value < t.value {
			verdict = "  missed"
		}
		_, _ = fmt.Fprintf(w, "%-26s %12v %-4s %12v  %d%s\n", t.key, got.Value, got.Unit, t.value, got.N, verdict)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Metrics)) {
		if got := r.Metrics[key]; !shown[key] {
			_, _ = fmt.Fprintf(w, "%-26s %12v %-4s %12s  %d\n", key, got.Value, got.Unit, "", got.N)
		}
	}
}
