package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// work is one comparison: what every system does in its turn.
type work struct {
	name   string // of the workload: W1 to W11 of the protocol
	key    string
	title  string
	unit   string
	higher bool   // more is better
	needs  string // what the adapter must know
	once   bool   // in one round only, unless more are asked for: it takes long, or what it says is in the shape of a curve
	run    func(context.Context, *adapter) (sample, error)
}

// sample is what one system got in one round. A value is what ratios are taken of; the histogram holds single latencies.
type sample struct {
	value float64
	hist  *hdrhistogram.Histogram
	cpu   float64 // share of a core that this program took meanwhile
}

func record(h *hdrhistogram.Histogram, d time.Duration) error {
	return h.RecordValue(max(1, d.Microseconds()))
}

// closedLoop is one client that asks again when it is answered, so often or for the time of a turn.
func (z size) closedLoop(name string, n int) func(context.Context, *adapter) (sample, error) {
	return func(ctx context.Context, a *adapter) (sample, error) {
		h := newHistogram()
		for i, end := 0, time.Now().Add(z.turn); i < n && (i < z.least || time.Now().Before(end)); i++ {
			took, _, err := a.one(ctx, request{Work: name, Arg: i})
			if err != nil {
				return sample{}, err
			}
			if err := record(h, took); err != nil {
				return sample{}, err
			}
		}
		return sample{value: float64(h.ValueAtQuantile(50)) / 1000, hist: h}, nil
	}
}

// repeat is closedLoop with one request.
func (z size) repeat(r request, n int) func(context.Context, *adapter) (sample, error) {
	return func(ctx context.Context, a *adapter) (sample, error) {
		h := newHistogram()
		for i, end := 0, time.Now().Add(z.turn); i < n && (i == 0 || time.Now().Before(end)); i++ {
			took, _, err := a.one(ctx, r)
			if err != nil {
				return sample{}, err
			}
			if err := record(h, took); err != nil {
				return sample{}, err
			}
		}
		return sample{value: float64(h.ValueAtQuantile(50)) / 1000, hist: h}, nil
	}
}

// warmed is repeat after a run that does not count: of what is asked for so few times, the start of a process would be the figure.
func (z size) warmed(r request, n int) func(context.Context, *adapter) (sample, error) {
	return func(ctx context.Context, a *adapter) (sample, error) {
		if !z.cold {
			if _, _, err := a.one(ctx, r); err != nil {
				return sample{}, err
			}
		}
		return z.repeat(r, n)(ctx, a)
	}
}

// fan is a fan-out; one of a hundred branches comes after another that does not count.
func (z size) fan(n int) func(context.Context, *adapter) (sample, error) {
	if n >= 1000 {
		return z.repeat(request{Work: "fan", N: n}, 1)
	}
	return z.warmed(request{Work: "fan", N: n}, 1)
}

const (
	shortFlow = 40 // steps of fibo(10)
	deep      = 33
)

func (z size) fibo10(ctx context.Context, a *adapter) (sample, error) {
	return z.repeat(request{Work: "fibo", N: shortFlow, K: 10}, z.fiboRuns)(ctx, a)
}

// fibo33Overhead subtracts from the whole what the steps themselves say they took to compute, in the same run.
func (z size) fibo33Overhead(ctx context.Context, a *adapter) (sample, error) {
	took, spans, err := a.one(ctx, request{Work: "fibo", N: z.fibo33, K: deep})
	if err != nil {
		return sample{}, err
	}
	if len(spans) != z.fibo33 {
		return sample{}, fmt.Errorf("%s: %d spans of %d steps", a.variant.Name, len(spans), z.fibo33)
	}
	over := milliseconds(took)
	for _, s := range spans {
		over -= (s[2] - s[1]) / 1000
	}
	return sample{value: over}, nil
}

// rate keeps clients asking for a time; what is answered after it does not count.
func (z size) rate(name string, clients int) func(context.Context, *adapter) (sample, error) {
	return func(ctx context.Context, a *adapter) (sample, error) {
		n, err := saturate(ctx, a, name, clients, z.saturate)
		return sample{value: float64(n) / z.saturate.Seconds()}, err
	}
}

func saturate(ctx context.Context, a *adapter, name string, clients int, during time.Duration) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var count, next atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(during)
	for range clients {
		wg.Go(func() {
			for time.Now().Before(end) {
				if _, _, err := a.one(ctx, request{Work: name, Arg: int(next.Add(1))}); err != nil {
					cancel(err)
					return
				}
				if time.Now().Before(end) {
					count.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(count.Load()), context.Cause(ctx)
}

// openLoop asks at random moments whatever the answers do, and counts from when a request was meant to be sent.
func (z size) openLoop(perSecond float64) func(context.Context, *adapter) (sample, error) {
	return func(ctx context.Context, a *adapter) (sample, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		h := newHistogram()
		var lock sync.Mutex
		var wg sync.WaitGroup
		random := rand.New(rand.NewPCG(1, 2))
		at := time.Now()
		end := at.Add(z.open)
		for i := 0; ; i++ {
			at = at.Add(time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)))
			if at.After(end) || ctx.Err() != nil {
				break
			}
			time.Sleep(time.Until(at))
			meant := at
			wg.Go(func() {
				if _, _, err := a.one(ctx, request{Work: "empty", Arg: i}); err != nil {
					cancel(err)
					return
				}
				lock.Lock()
				defer lock.Unlock()
				if err := record(h, time.Since(meant)); err != nil {
					cancel(err)
				}
			})
		}
		wg.Wait()
		return sample{value: float64(h.ValueAtQuantile(50)) / 1000, hist: h}, context.Cause(ctx)
	}
}

// burnJobs is one burn-down of so many. What would take longer than the limit, going by the size before, is not begun.
func (z size) burnJobs(n int) func(context.Context, *adapter) (sample, error) {
	return func(ctx context.Context, a *adapter) (sample, error) {
		if n > 1000 {
			_, took, err := a.many(ctx, 1000)
			if err != nil || took*time.Duration(n/1000) > z.jobsLimit {
				return sample{}, errors.Join(err, errTooLong)
			}
		}
		_, took, err := a.many(ctx, n)
		return sample{value: float64(n) / took.Seconds()}, err
	}
}

// errTooLong is what a system says that is left out of a comparison of that size.
var errTooLong = errors.New("it would take too long")

// burnDown finds out with few jobs how many take the time wanted, and runs that many.
func (z size) burnDown(ctx context.Context, a *adapter) (sample, error) {
	n := z.burnFirst
	_, took, err := a.many(ctx, n)
	if err != nil {
		return sample{}, err
	}
	for took < z.burn/4 && n < z.burnMost {
		n = min(z.burnMost, int(float64(n)*min(8, z.burn.Seconds()/took.Seconds())))
		if _, took, err = a.many(ctx, n); err != nil {
			return sample{}, err
		}
	}
	return sample{value: float64(n) / took.Seconds()}, nil
}
