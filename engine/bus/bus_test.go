package bus

import (
	"sync"
	"testing"

	"github.com/millrace/millrace/engine"
)

func TestSignalsMergeAndReachOnlyTheirJob(t *testing.T) {
	t.Parallel()
	b := New()
	a, other := engine.NewJobID(), engine.NewJobID()
	ca, stopA := b.Watch(a)
	co, stopO := b.Watch(other)
	defer stopO()
	for range 5 {
		b.Publish(a)
	}
	<-ca
	select {
	case <-ca:
		t.Fatal("signals did not merge")
	case <-co:
		t.Fatal("a signal went to another job")
	default:
	}
	stopA()
	stopA()
	b.Publish(a)
	if len(b.of(a).subs[a]) != 0 {
		t.Fatal("subscription left behind")
	}
}

// Who waits for the end of a job is not woken by its progress.
func TestProgressIsForThoseWhoWatch(t *testing.T) {
	t.Parallel()
	b := New()
	id := engine.NewJobID()
	watched, stopWatch := b.Watch(id)
	defer stopWatch()
	awaited, stopAwait := b.Await(id)
	b.Progress(id)
	<-watched
	select {
	case <-awaited:
		t.Fatal("progress woke who waits for the end")
	default:
	}
	b.Publish(id)
	<-watched
	<-awaited
	stopAwait()
	if n := len(b.of(id).subs[id]); n != 1 || !b.Watched(id) {
		t.Fatalf("%d subscriptions are left", n)
	}
}

func TestConcurrentWatchers(t *testing.T) {
	t.Parallel()
	b := New()
	id := engine.NewJobID()
	var wg sync.WaitGroup
	for range 50 {
		c, stop := b.Watch(id)
		wg.Go(func() {
			<-c
			stop()
		})
	}
	b.Publish(id)
	wg.Wait()
}

func TestRemembersTheLastCompletedJobs(t *testing.T) {
	t.Parallel()
	b := New()
	id := engine.NewJobID()
	c, stop := b.Watch(id)
	defer stop()
	b.PublishDone(&engine.JobView{Job: engine.Job{ID: id}, State: engine.StateSuccess})
	<-c
	if v, ok := b.Done(id); !ok || v.State != engine.StateSuccess {
		t.Fatal("completed job not remembered")
	}
	big := engine.NewJobID()
	b.PublishDone(&engine.JobView{Job: engine.Job{ID: big}, Result: make([]byte, recentMax+1)})
	if _, ok := b.Done(big); ok {
		t.Fatal("a large result is kept in memory")
	}
	_, stop1 := b.Watch(big)
	_, stop2 := b.Await(big)
	b.PublishDone(&engine.JobView{Job: engine.Job{ID: big}, Result: make([]byte, recentMax+1)})
	stop1()
	if v, ok := b.Done(big); !ok || len(v.Result) != recentMax+1 {
		t.Error("a large result is not kept for who waits for it")
	}
	stop2()
	if _, ok := b.Done(big); ok || len(b.of(big).held) > 0 {
		t.Error("a large result is kept in memory when nobody waits any more")
	}
	for range recent {
		other := engine.NewJobID()
		other[15] = id[15]
		b.PublishDone(&engine.JobView{Job: engine.Job{ID: other}})
	}
	if _, ok := b.Done(id); ok {
		t.Fatal("the oldest job is not forgotten")
	}
	if n := len(b.of(id).done); n != recent {
		t.Fatalf("%d jobs remembered, want %d", n, recent)
	}
}
