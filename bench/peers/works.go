package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
	once   bool   // in the first two rounds only: it takes long
	run    func(context.Context, *adapter) (sample, error)
}

// sample is what one system got in one round. A value is what ratios are taken of; the histogram holds single latencies.
type sample struct {
	value float64
	hist  *hdrhistogram.Histogram
	cpu   float64 // share of a core that this program took meanwhile
}

// size says how much of everything is measured.
type size struct {
	rounds     int
	warm       time.Duration
	closed     int
	rates      []float64 // of the open loop, a second
	open       time.Duration
	clients    []int
	saturate   time.Duration
	fiboRuns   int
	fibo33     int // steps
	steps      int
	fans       []int
	burn       time.Duration // that a burn-down should take
	burnMost   int
	payload    int
	payloads   []int // bytes
	idle       time.Duration
	backlog    int
	probes     int
	pinned     time.Duration
	pinClients int
}

// smoke is enough to see that a peer works, and not enough for any figure.
func smoke() size {
	return size{rounds: 1, warm: time.Millisecond, closed: 3, rates: []float64{20}, open: 200 * time.Millisecond, clients: []int{4},
		saturate: 200 * time.Millisecond, fiboRuns: 1, fibo33: 1, steps: 2, fans: []int{10}, burn: time.Millisecond, burnMost: 200,
		payload: 1, payloads: []int{1 << 10}, idle: 100 * time.Millisecond, backlog: 50, probes: 2}
}

func sizeOf(quick, slow bool) size {
	full := size{rounds: 5, warm: 5 * time.Second, closed: 400, rates: []float64{50, 200}, open: 2 * time.Second,
		clients: []int{1, 4, 16, 64, 256}, saturate: time.Second, fiboRuns: 5, fibo33: 10, steps: 200, fans: []int{100, 1000, 10_000},
		burn: 3 * time.Second, burnMost: 100_000, payload: 30, payloads: []int{1 << 10, 100 << 10, 1 << 20}, idle: 15 * time.Second,
		backlog: 1_000_000, probes: 300, pinned: 15 * time.Second, pinClients: 16}
	brief := size{rounds: 2, warm: time.Second, closed: 150, rates: []float64{50}, open: time.Second,
		clients: []int{1, 16, 64}, saturate: 700 * time.Millisecond, fiboRuns: 2, fibo33: 10, steps: 50, fans: []int{100, 1000},
		burn: time.Second, burnMost: 20_000, payload: 10, payloads: []int{1 << 10, 100 << 10, 1 << 20}, idle: 3 * time.Second,
		backlog: 20_000, probes: 50}
	s := full
	if quick {
		s = brief
	}
	if slow {
		s.rounds, s.closed, s.rates, s.clients, s.fiboRuns, s.steps = 2, 3, nil, []int{4}, 1, 2
		s.saturate, s.fans, s.payload, s.warm, s.burn = 20*time.Second, []int{100}, 1, time.Millisecond, 20*time.Second
		s.pinned, s.backlog = 0, 0
		if quick {
			s.rounds, s.saturate, s.fans, s.fibo33, s.payloads = 1, 5*time.Second, nil, 0, s.payloads[:1]
		}
	}
	return s
}

func workNames() []string {
	return []string{"W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W10", "W11"}
}

func (z size) works() []work {
	list := []work{
		{name: "W1", key: "empty", title: "empty job, one client, to its result", unit: "ms", needs: "empty", run: z.closedLoop("empty", z.closed)},
		{name: "W2", key: "fibo10", title: "40 x fibo(10), one step after the other", unit: "ms", needs: "fibo", run: z.fibo10},
		{name: "W3", key: "fibo33", title: "10 x fibo(33): time above the steps' own computing", unit: "ms", needs: "fibo", once: true, run: z.fibo33Overhead},
		{name: "W4", key: "steps", title: "3 steps that must not be lost, one client", unit: "ms", needs: "steps", run: z.closedLoop("steps", z.steps)},
		{name: "W6", key: "burn", title: "burn-down of empty jobs, from the bulk call on", unit: "1/s", higher: true, needs: "many", run: z.burnDown},
	}
	for _, r := range z.rates {
		list = append(list, work{name: "W1", key: fmt.Sprintf("open-%g", r), title: fmt.Sprintf("empty job, %g a second at random moments", r),
			unit: "ms", needs: "empty", run: z.openLoop(r)})
	}
	for _, c := range z.clients {
		list = append(list,
			work{name: "W1", key: fmt.Sprintf("rate-%d", c), title: fmt.Sprintf("empty jobs a second, %d clients", c), unit: "1/s", higher: true,
				needs: "empty", run: z.rate("empty", c)})
	}
	if c := z.clients[len(z.clients)-1]; c > 4 {
		list = append(list, work{name: "W4", key: "steps-rate", title: "runs of 3 steps a second, 64 clients", unit: "1/s", higher: true, needs: "steps", run: z.rate("steps", 64)})
	}
	for _, n := range z.fans {
		list = append(list, work{name: "W5", key: fmt.Sprintf("fan-%d", n), title: fmt.Sprintf("fan-out to %d and join", n), unit: "ms", needs: "fan",
			once: n > 1000, run: z.repeat(request{Work: "fan", N: n}, 1)})
	}
	for _, n := range z.payloads {
		list = append(list, work{name: "W11", key: fmt.Sprintf("payload-%d", n), title: fmt.Sprintf("argument and result of %d KB", n>>10), unit: "ms",
			needs: "payload", run: z.repeat(request{Work: "payload", Arg: strings.Repeat("x", n)}, z.payload)})
	}
	return slices.DeleteFunc(list, func(w work) bool { return w.key == "fibo33" && z.fibo33 == 0 })
}

func record(h *hdrhistogram.Histogram, d time.Duration) error {
	return h.RecordValue(max(1, d.Microseconds()))
}

// closedLoop is one client that asks again when it is answered.
func (z size) closedLoop(name string, n int) func(context.Context, *adapter) (sample, error) {
	return func(ctx context.Context, a *adapter) (sample, error) {
		h := newHistogram()
		for i := range n {
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
		for range n {
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

// burnDown finds out with few jobs how many take the time wanted, and runs that many.
func (z size) burnDown(ctx context.Context, a *adapter) (sample, error) {
	n := 20
	if !a.variant.Slow {
		n = 200
	}
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
