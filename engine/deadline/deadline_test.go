package deadline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(32 * time.Second)
		first := s.Context(t.Context())
		<-time.After(time.Second)
		if again := s.Context(t.Context()); again != first {
			t.Error("who asks within a second gets another context")
		}
		<-time.After(time.Millisecond)
		second := s.Context(t.Context())
		if second == first {
			t.Error("who asks later gets the same context")
		}
		<-time.After(31*time.Second + 999*time.Millisecond)
		synctest.Wait()
		if second.Err() != nil {
			t.Errorf("the second ended early, with %v", second.Err())
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if !errors.Is(first.Err(), context.DeadlineExceeded) || !errors.Is(second.Err(), context.DeadlineExceeded) {
			t.Errorf("late: %v, %v", first.Err(), second.Err())
		}
	})
}

func TestEndsWithItsParent(t *testing.T) {
	s := New(time.Hour)
	parent, end := context.WithCancel(t.Context())
	one := s.Context(parent)
	other := s.Context(t.Context())
	end()
	if <-one.Done(); !errors.Is(one.Err(), context.Canceled) || other.Err() != nil {
		t.Errorf("%v, %v", one.Err(), other.Err())
	}
}

func BenchmarkContext(b *testing.B) {
	s := New(time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		s.Context(b.Context())
	}
}
