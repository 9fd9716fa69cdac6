package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// request does one whole exchange on c and returns an error when the answer is not right. i is the number of the exchange.
type request func(c *conn, i int) error

// sample is a set of latencies.
type sample []time.Duration

// at returns the value at quantile q (0.5, 0.99) by the nearest rank; it sorts s.
func (s sample) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	slices.Sort(s)
	rank := int(q*float64(len(s)) + 0.999999)
	return s[min(max(rank, 1), len(s))-1]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// closedLoop is one client that asks again as soon as it is answered: the latency of an unloaded system.
func closedLoop(s server, n int, do request) (sample, error) { return pausedLoop(s, n, 0, do) }

// pausedLoop is a closed loop whose client waits between an answer and the next request.
func pausedLoop(s server, n int, pause time.Duration, do request) (sample, error) {
	c, err := s.dial()
	if err != nil {
		return nil, err
	}
	defer c.close()
	out := make(sample, 0, n)
	for i := range n {
		start := time.Now()
		if err := do(c, i); err != nil {
			return nil, fmt.Errorf("request %d: %w", i, err)
		}
		out = append(out, time.Since(start))
		if pause > 0 {
			t := time.NewTimer(pause)
			<-t.C
		}
	}
	return out, nil
}

// saturate keeps clients in a closed loop for a time and returns the completions a second.
func saturate(s server, clients int, during time.Duration, do request) (rate float64, n int, err error) {
	var count, next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, clients)
	conns := make([]*conn, clients)
	for i := range conns {
		if conns[i], err = s.dial(); err != nil {
			return 0, 0, err
		}
		defer conns[i].close()
	}
	start := time.Now()
	end := start.Add(during)
	for i, c := range conns {
		wg.Go(func() {
			for time.Now().Before(end) {
				if errs[i] = do(c, int(next.Add(1))); errs[i] != nil {
					return
				}
				// What is answered after the end was not served within the time.
				if time.Now().Before(end) {
					count.Add(1)
				}
			}
		})
	}
	wg.Wait()
	n = int(count.Load())
	return float64(n) / during.Seconds(), n, errors.Join(errs...)
}

// openLoop sends requests at random moments (Poisson arrivals) whatever the answers do. Latency counts from the moment a
// request was meant to be sent, so a stall is charged to every request that it delayed.
func openLoop(s server, perSecond float64, n, connections int, do request) (sample, error) {
	type arrival struct {
		at time.Time
		i  int
	}
	arrivals := make(chan arrival, n)
	out := make(sample, n)
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for k := range connections {
		c, err := s.dial()
		if err != nil {
			close(arrivals)
			return nil, err
		}
		wg.Go(func() {
			defer c.close()
			for a := range arrivals {
				if errs[k] == nil {
					errs[k] = do(c, a.i)
				}
				out[a.i] = time.Since(a.at)
			}
		})
	}
	clock := newMetronome()
	random := rand.New(rand.NewPCG(1, uint64(n)))
	at := time.Now()
	for i := range n {
		at = at.Add(time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)))
		clock.until(at)
		arrivals <- arrival{at, i}
	}
	close(arrivals)
	clock.stop()
	wg.Wait()
	return out, errors.Join(errs...)
}

// metronome sleeps to within a few microseconds. The runtime's own timers are good to a millisecond, which is what is measured.
type metronome struct{}

func newMetronome() metronome {
	runtime.LockOSThread()
	// Without the right to set it the slack stays at 50 us, which is good enough.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0)
	return metronome{}
}

func (metronome) until(t time.Time) {
	for {
		left := time.Until(t)
		if left <= 0 {
			return
		}
		spec := unix.NsecToTimespec(left.Nanoseconds())
		_ = unix.Nanosleep(&spec, nil) // interrupted: sleep the rest
	}
}

func (metronome) stop() { runtime.UnlockOSThread() }
