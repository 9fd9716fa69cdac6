package dispatch

import "sync/atomic"

// lane is a kind of slots.
type lane struct {
	name    string
	tags    []string
	size    int64
	spare   int64        // how many urgent jobs it takes beyond its size
	free    atomic.Int64 // below zero: some of spare are taken
	backlog atomic.Bool  // rows of these tags may wait in the database
	gate    Gate         // nil: a free slot is enough
}

// take takes up to n slots and says how many it got.
func (l *lane) take(n int64) int64 {
	if l.gate != nil {
		return l.enter()
	}
	for {
		free := l.free.Load()
		got := min(n, free)
		if got <= 0 {
			return 0
		}
		if l.free.CompareAndSwap(free, free-got) {
			return got
		}
	}
}

// exceed takes a slot although others wait: a free one, or one of those to spare. What is behind a gate is not there sooner for anybody.
func (l *lane) exceed() bool {
	if l.gate != nil {
		return false
	}
	for {
		free := l.free.Load()
		if free <= -l.spare {
			return false
		}
		if l.free.CompareAndSwap(free, free-1) {
			return true
		}
	}
}
