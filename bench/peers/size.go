package main

import (
	"fmt"
	"slices"
	"time"
)

// size says how much of everything is measured. A peer that is slow is not measured less carefully, but less often.
type size struct {
	prefix     string        // of the keys
	limit      time.Duration // that a peer may take for all of it, once it is started
	rounds     int
	warm       time.Duration
	cold       bool          // no run that does not count, where few are asked for
	turn       time.Duration // that a closed loop may take
	least      int           // runs of it whatever they take
	closed     int
	rates      []float64 // of the open loop, a second
	open       time.Duration
	clients    []int
	saturate   time.Duration
	fiboRuns   int
	fibo33     int // steps
	steps      int
	stepsRate  int // clients
	fans       []int
	fanAlone   int           // branches of the one that is too large for turns
	burn       time.Duration // that a burn-down should take
	burnMost   int
	jobs       []int // of burn-downs of a fixed size
	jobsLimit  time.Duration
	burnFirst  int // jobs to find out with
	payload    int
	payloads   []int // bytes
	idle       time.Duration
	backlog    int
	probes     int
	pinned     time.Duration
	pinClients int
	kill       int           // jobs of which a quarter has run when the peer is killed
	recovery   time.Duration // that it then has for the rest
}

// smoke is enough to see that a peer works, and not enough for any figure.
func smoke(slow bool) size {
	s := size{limit: 3 * time.Minute, cold: true, rounds: 1, warm: time.Millisecond, turn: time.Minute, closed: 3, rates: []float64{20}, open: 200 * time.Millisecond, clients: []int{4},
		saturate: 200 * time.Millisecond, fiboRuns: 1, fibo33: 1, steps: 2, stepsRate: 4, fans: []int{10}, burn: time.Millisecond, burnMost: 200, burnFirst: 200,
		payload: 1, payloads: []int{1 << 10}, idle: 100 * time.Millisecond, backlog: 50, probes: 2, kill: 40, recovery: 10 * time.Second}
	if slow {
		s.limit = 8 * time.Minute
		s.closed, s.rates, s.stepsRate, s.burnFirst, s.clients, s.fans, s.kill, s.recovery = 1, nil, 0, 4, []int{2}, []int{3}, 4, time.Minute
	}
	return s
}

func sizeOf(quick, slow bool) size {
	s := size{limit: 20 * time.Minute, rounds: 3, warm: 2 * time.Second, turn: 1200 * time.Millisecond, least: 10, closed: 400, rates: []float64{50, 200}, open: 2 * time.Second,
		clients: []int{1, 4, 16, 64, 256}, saturate: 600 * time.Millisecond, fiboRuns: 3, fibo33: 10, steps: 100, stepsRate: 64, fans: []int{100, 1000}, fanAlone: 10_000,
		burn: 800 * time.Millisecond, burnMost: 100_000, burnFirst: 200, payload: 10, payloads: []int{1 << 10, 100 << 10, 1 << 20}, idle: 5 * time.Second,
		backlog: 1_000_000, probes: 200, pinned: 5 * time.Second, pinClients: 16, kill: 2000, recovery: 20 * time.Second}
	if quick {
		s.limit = 3 * time.Minute
		s.rounds, s.warm, s.turn, s.closed, s.rates, s.open = 2, 500*time.Millisecond, 500*time.Millisecond, 100, s.rates[:1], 500*time.Millisecond
		s.clients, s.saturate, s.fiboRuns, s.fibo33, s.steps, s.stepsRate = []int{16, 64}, 400*time.Millisecond, 2, 3, 30, 0
		s.fans, s.fanAlone, s.burn, s.burnMost, s.burnFirst, s.payload, s.payloads = s.fans[:1], 0, 400*time.Millisecond, 20_000, 100, 3, []int{1 << 10, 1 << 20}
		s.idle, s.backlog, s.probes, s.pinned, s.kill, s.recovery = 2*time.Second, 20_000, 40, time.Second, 400, 5*time.Second
	}
	if slow {
		s.rounds, s.least, s.warm, s.rates, s.clients, s.stepsRate, s.fiboRuns, s.fans, s.fanAlone = 2, 1, time.Millisecond, nil, []int{4}, 0, 1, s.fans[:1], 0
		s.cold, s.turn, s.saturate, s.burn, s.pinned, s.backlog, s.kill = true, 6*time.Second, 8*time.Second, 8*time.Second, 0, 0, 12
		s.recovery, s.burnFirst = time.Minute, 12
		if quick {
			s.rounds, s.turn, s.saturate, s.fans, s.payloads, s.burn = 1, 4*time.Second, 4*time.Second, nil, s.payloads[:1], time.Millisecond
			s.fibo33, s.kill, s.clients = 0, 0, nil
		}
	}
	return s
}

// brief is the size for a variant of a peer that stands beside a better tuned one: as in a quick run, but for what would not be
// the same work then.
func (z size) brief(slow bool) size {
	b := sizeOf(true, slow)
	b.limit, b.backlog = z.limit, 0
	if !slow {
		b.fibo33 = z.fibo33
	}
	return b
}

// scaling is how cost grows with clients and jobs; the caller goes through numbers of slots.
func scaling(quick, slow bool) size {
	s := size{limit: time.Hour, rounds: 1, warm: time.Second, clients: []int{1, 4, 16, 64, 256}, saturate: 2 * time.Second,
		jobs: []int{1000, 10_000, 100_000, 1_000_000}, jobsLimit: 4 * time.Minute}
	if quick {
		s.saturate, s.jobsLimit = 500*time.Millisecond, 6*time.Second
	}
	if slow {
		s.clients, s.saturate, s.jobs = []int{1, 4}, 10*time.Second, nil
	}
	return s
}

// slotSeries are the numbers of slots a core in a run with --scale.
var slotSeries = []int{1, 2, 4}

// slotPrefix is what the keys of such a run begin with.
func slotPrefix(slots int) string { return fmt.Sprintf("s%d-", slots) }

func workNames() []string {
	return []string{"W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W10", "W11"}
}

func (z size) works() []work {
	var list []work
	if z.closed > 0 {
		list = append(list,
			work{name: "W1", key: "empty", title: "empty job, one client, to its result", unit: "ms", needs: "empty", run: z.closedLoop("empty", z.closed)},
			work{name: "W2", key: "fibo10", title: "40 x fibo(10), one step after the other", unit: "ms", needs: "fibo", run: z.fibo10},
			work{name: "W3", key: "fibo33", title: fmt.Sprintf("%d x fibo(33): time above the steps' own computing", z.fibo33), unit: "ms", needs: "fibo", once: true, run: z.fibo33Overhead},
			work{name: "W4", key: "steps", title: "3 steps that must not be lost, one client", unit: "ms", needs: "steps", run: z.closedLoop("steps", z.steps)},
			work{name: "W6", key: "burn", title: "burn-down of empty jobs, from the bulk call on", unit: "1/s", higher: true, needs: "many", run: z.burnDown})
	}
	for _, r := range z.rates {
		list = append(list, work{name: "W1", key: fmt.Sprintf("open-%g", r), title: fmt.Sprintf("empty job, %g a second at random moments", r),
			unit: "ms", needs: "empty", once: true, run: z.openLoop(r)})
	}
	for _, c := range z.clients {
		list = append(list, work{name: "W1", key: fmt.Sprintf("rate-%d", c), title: fmt.Sprintf("empty jobs a second, %d clients", c), unit: "1/s", higher: true,
			needs: "empty", once: true, run: z.rate("empty", c)})
	}
	if c := z.stepsRate; c > 0 {
		list = append(list, work{name: "W4", key: "steps-rate", title: fmt.Sprintf("runs of 3 steps a second, %d clients", c), unit: "1/s", higher: true,
			needs: "steps", once: true, run: z.rate("steps", c)})
	}
	for _, n := range z.fans {
		list = append(list, work{name: "W5", key: fmt.Sprintf("fan-%d", n), title: fmt.Sprintf("fan-out to %d and join", n), unit: "ms", needs: "fan",
			once: n >= 1000, run: z.fan(n)})
	}
	for _, n := range z.payloads {
		list = append(list, work{name: "W11", key: fmt.Sprintf("payload-%d", n), title: fmt.Sprintf("argument and result of %d KB", n>>10), unit: "ms",
			needs: "payload", once: true, run: z.warmed(request{Work: "payload", N: n}, z.payload)})
	}
	for _, n := range z.jobs {
		list = append(list, work{name: "W6", key: fmt.Sprintf("jobs-%d", n), title: fmt.Sprintf("burn-down of %d empty jobs", n), unit: "1/s", higher: true,
			needs: "many", once: true, run: z.burnJobs(n)})
	}
	for i := range list {
		list[i].key = z.prefix + list[i].key
	}
	return slices.DeleteFunc(list, func(w work) bool { return w.key == "fibo33" && z.fibo33 == 0 })
}
