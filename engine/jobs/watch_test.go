package jobs

import (
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// TestWatchTicksForJobsThatRunElsewhere: a signal of the bus comes through at once, and while there are other daemons a job that
// does not run here ticks.
func TestWatchTicksForJobsThatRunElsewhere(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	var others, asked atomic.Int64
	looked := make(chan struct{}, 100)
	s.cfg.Others = func() int {
		if asked.Add(1) <= 100 {
			looked <- struct{}{}
		}
		return int(others.Load())
	}
	id, err := s.Run(t.Context(), ann, engine.RunRequest{Workspace: "main", Path: "f/a/b"})
	if err != nil {
		t.Fatal(err)
	}
	changed, stop, err := s.Watch(t.Context(), ann, "main", id)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	s.cfg.Bus.Publish(id)
	<-changed
	<-looked // alone: nothing to tell
	<-looked
	if len(changed) != 0 {
		t.Fatal("it ticks although this daemon is alone")
	}
	others.Store(1)
	<-changed
	s.cfg.Live.Open(id) // it runs here now
	for len(looked) > 0 {
		<-looked
	}
	<-looked
	<-looked
	for len(changed) > 0 {
		<-changed
	}
	<-looked
	<-looked
	if len(changed) != 0 {
		t.Fatal("it ticks although the job runs here")
	}
	stop()
	stop()
	if _, _, err := s.Watch(t.Context(), ann, "main", uuid.New()); engine.CodeOf(err) != engine.NotFound {
		t.Errorf("an unknown job: %v", err)
	}
}
