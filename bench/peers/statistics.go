package main

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// quantile of sorted values by the nearest rank.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n > 0 && n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return quantile(s, 0.5)
}

const (
	resamples  = 5000
	confidence = 0.95
)

// interval is a median with its confidence interval by the bootstrap: percentiles of the medians of resampled values. With one value
// there is no interval: it is that value.
type interval struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	N      int     `json:"n"`
}

func bootstrap(values []float64) interval {
	if len(values) == 0 {
		return interval{Median: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	random := rand.New(rand.NewPCG(1, uint64(len(values)))) // the same data give the same interval
	medians := make([]float64, resamples)
	draw := make([]float64, len(values))
	for i := range medians {
		for j := range draw {
			draw[j] = values[random.IntN(len(values))]
		}
		medians[i] = median(draw)
	}
	slices.Sort(medians)
	tail := (1 - confidence) / 2
	return interval{Median: median(values), Low: quantile(medians, tail), High: quantile(medians, 1-tail), N: len(values)}
}

// latencies is a histogram of times, kept as HdrHistogram's own compressed text so that any of its tools reads it.
type latencies struct {
	N    int64   `json:"n"`
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms,omitempty"`
	P999 float64 `json:"p999_ms,omitempty"`
	Max  float64 `json:"max_ms"`
	HDR  string  `json:"hdr"` // microseconds
}

const (
	longest = int64(20 * time.Minute / time.Microsecond)
	digits  = 3
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, longest, digits) }

func summarize(h *hdrhistogram.Histogram) (latencies, error) {
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return latencies{}, fmt.Errorf("encode histogram: %w", err)
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	l := latencies{N: h.TotalCount(), P50: at(50), P90: at(90), Max: float64(h.Max()) / 1000, HDR: string(text)}
	if l.N >= 100 { // a quantile needs values beyond it
		l.P99 = at(99)
	}
	if l.N >= 1000 {
		l.P999 = at(99.9)
	}
	return l, nil
}

// histogram is the way back.
func (l latencies) histogram() (*hdrhistogram.Histogram, error) {
	if _, err := base64.StdEncoding.DecodeString(l.HDR); err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	return hdrhistogram.Decode([]byte(l.HDR))
}
