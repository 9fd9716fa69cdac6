package workflow

import (
	"strings"
	"testing"
	"time"
)

const approved = `{"value":{"n":1},"approver":"ann","approved":true}`

func TestApproval(t *testing.T) {
	const ask = `{"op":"approval","key":"boss","name":"boss","seconds":3600,"options":{"self_approval":false}}`
	t.Run("while the process waits", func(t *testing.T) {
		w := newWorld(t, 10*time.Hour)
		s := w.start(1)
		s.Ask([]byte(ask), w)
		for {
			w.mu.Lock()
			c, ok := w.marks[0]
			w.mu.Unlock()
			if ok {
				if c.Kind != "approval" || c.Wait != time.Hour || string(c.Options) != `{"self_approval":false}` {
					t.Errorf("stored: %+v", c)
				}
				break
			}
		}
		w.approve(0, approved)
		w.want("boss approval true true " + approved)
		s.Close(true)
	})
	t.Run("ended, and begun anew", func(t *testing.T) {
		w := newWorld(t, time.Second)
		s := w.start(1)
		s.Ask([]byte(ask), w)
		<-w.stopped
		waits, err := s.Outcome()
		if err != nil || waits == nil || waits.Wait < 59*time.Minute || len(waits.Asks) != 1 || waits.Asks[0] != 0 || len(waits.Awaits) != 0 {
			t.Fatalf("it waits for %+v, %v", waits, err)
		}
		s.Close(false)
		s = w.start(2) // for nothing
		s.Ask([]byte(`{"op":"open"}`), w)
		w.want("boss approval false false null")
		w.want("  false false ")
		<-w.stopped
		s.Close(false)
		w.approve(0, approved)
		s = w.start(3)
		s.Ask([]byte(`{"op":"open"}`), w)
		w.want("boss approval true true " + approved)
		w.want("  false false ")
		s.Close(true)
	})
	t.Run("nobody answers", func(t *testing.T) {
		w := newWorld(t, time.Hour)
		s := w.start(1)
		s.Ask([]byte(`{"op":"approval","key":"boss","name":"boss","seconds":0.01}`), w)
		w.want("boss approval true false " + string(late))
		s.Close(true)
	})
	t.Run("no time", func(t *testing.T) {
		w := newWorld(t, time.Hour)
		s := w.start(1)
		s.Ask([]byte(`{"op":"approval","key":"boss","name":"boss","seconds":0}`), w)
		<-w.stopped
		if _, err := s.Outcome(); err == nil || !strings.Contains(err.Error(), "want seconds") {
			t.Errorf("got %v", err)
		}
		s.Close(true)
	})
}
