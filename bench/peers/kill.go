package main

import (
	"bufio"
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// slay ends everything of a system but its store, at once.
func (s session) slay(y *system) {
	// Twice: what was being started in the moment of the first.
	for range 2 {
		all := family(y.mark)
		// After the others, so that a server's process that was started in between is known to be the store's.
		spared := map[int]bool{}
		if y.store.group != nil {
			for _, pid := range descendants(y.store.group.cmd.Process.Pid) {
				spared[pid] = true
			}
		}
		for _, pid := range all {
			if !spared[pid] {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone already
			}
		}
	}
	<-y.group.exited
	_ = y.in.Close() // nobody reads it any more
	<-y.gone
}

// listener hears from jobs that they ran: a number and a line feed on a connection of its own. The first jobs are answered; those that
// come then hang in mid-run until the kill, so that however fast a peer is, it is killed with work in its hands. What counts as run is what
// was answered.
type listener struct {
	port int
	net  net.Listener

	lock   sync.Mutex
	open   int         // jobs that are answered before the kill
	runs   map[int]int // by job, those that were answered
	last   time.Time   // when a job was answered for the first time
	kill   time.Time
	first  time.Time     // the first after the kill
	free   chan struct{} // closed at the kill
	change chan struct{}
}

func listen(open int) (*listener, error) {
	n, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &listener{port: n.Addr().(*net.TCPAddr).Port, net: n, open: open, runs: map[int]int{}, free: make(chan struct{}), change: make(chan struct{}, 1)}
	go func() {
		for {
			c, err := n.Accept()
			if err != nil {
				return // closed
			}
			go l.hear(c)
		}
	}()
	return l, nil
}

func (l *listener) close() { _ = l.net.Close() } // only once

func (l *listener) hear(c net.Conn) {
	defer func() { _ = c.Close() }() // which is the answer
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return // a job that was killed while it spoke
	}
	i, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return
	}
	if !l.ran(i) {
		<-l.free // and its process with it
	}
}

// ran counts a job, unless it is one that hangs.
func (l *listener) ran(i int) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.kill.IsZero() && len(l.runs) >= l.open {
		return false
	}
	l.runs[i]++
	if !l.kill.IsZero() && l.first.IsZero() {
		l.first = time.Now()
	}
	if l.runs[i] == 1 {
		l.last = time.Now()
	}
	select {
	case l.change <- struct{}{}:
	default:
	}
	return true
}

func (l *listener) seen() int {
	l.lock.Lock()
	defer l.lock.Unlock()
	return len(l.runs)
}

func (l *listener) killed() {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.kill = time.Now()
	close(l.free)
}

// await waits until n jobs have run, or for a time.
func (l *listener) await(ctx context.Context, n int, limit time.Duration) {
	over := time.After(limit)
	for l.seen() < n {
		select {
		case <-l.change:
		case <-over:
			return
		case <-ctx.Done():
			return
		}
	}
}

// killed is what came of n jobs. Times are in seconds since the kill, at least a millisecond, since 0 means never.
type killed struct {
	Jobs    int     `json:"jobs"`
	Before  int     `json:"before_the_kill"`
	Twice   int     `json:"twice"`   // ran to their end more than once
	Missing int     `json:"missing"` // had not run when the limit was over
	First   float64 `json:"first_s,omitempty"`
	All     float64 `json:"all_s,omitempty"` // 0 when some are missing
	Limit   float64 `json:"limit_s"`
}

func (l *listener) count(n int) killed {
	l.lock.Lock()
	defer l.lock.Unlock()
	out := killed{Jobs: n}
	for i := range n {
		switch runs := l.runs[i]; {
		case runs == 0:
			out.Missing++
		case runs > 1:
			out.Twice++
		}
	}
	if !l.first.IsZero() {
		out.First = max(0.001, round3(l.first.Sub(l.kill).Seconds()))
	}
	if out.Missing == 0 {
		out.All = max(0.001, round3(l.last.Sub(l.kill).Seconds()))
	}
	return out
}
