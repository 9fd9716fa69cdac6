package trim

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"
)

func TestNeedsToKnowOfJobs(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a service that cannot know when nothing runs was made")
	}
}

func TestOnceAfterEachBurst(t *testing.T) {
	var end atomic.Int64
	freed := make(chan int64)
	s, err := New(Config{LastEnd: func() time.Time { return time.Unix(0, end.Load()) }, Quiet: time.Millisecond, Every: time.Millisecond, Least: 1,
		Free: func() { freed <- end.Load() }})
	if err != nil {
		t.Fatal(err)
	}
	end.Store(1)
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s.Start(context.Background()) == nil {
		t.Error("started twice")
	}
	for n := int64(1); n <= 3; n++ { // a second time for the same end would be told with the same number again
		if got := <-freed; got != n {
			t.Errorf("burst %d: given back after that of %d", n, got)
		}
		end.Store(n + 1)
	}
	<-freed
	s.Stop()
	select {
	case <-freed:
		t.Error("given back once more, for nothing")
	default:
	}
}

func TestNotWhileJobsEnd(t *testing.T) {
	looked := make(chan struct{})
	s, err := New(Config{LastEnd: func() time.Time { looked <- struct{}{}; return time.Now() }, Quiet: time.Hour, Every: time.Millisecond, Least: 1,
		Free: func() { t.Error("given back while jobs end") }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-looked
	}
	over := make(chan struct{})
	go func() { s.Stop(); close(over) }()
	for {
		select {
		case <-looked:
		case <-over:
			return
		}
	}
}

func TestUnusedCountsWhatNobodyHolds(t *testing.T) {
	// The runtime gives memory back by itself too, as fast as it likes; without a goal for the collector it keeps what it has.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	debug.FreeOSMemory()
	before := unused()
	func() { runtime.KeepAlive(make([]byte, 64<<20)) }()
	runtime.GC()
	if got := unused(); got < before+32<<20 {
		t.Errorf("64 MB that nobody holds: from %d to %d bytes", before, got)
	}
}
