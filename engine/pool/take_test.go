package pool

import (
	"testing"
	"time"
)

// TestTake: the order in which idle slots are used.
func TestTake(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ready := make(chan struct{})
	close(ready)
	idle := func(age time.Duration, next *started, r chan struct{}) *entry {
		return &entry{used: now.Add(-age), next: next, ready: r}
	}
	old, young := idle(time.Minute, newStarted(), ready), idle(time.Second, newStarted(), ready)
	fresh, fresher := idle(2*time.Millisecond, newStarted(), ready), idle(time.Millisecond, newStarted(), ready)
	coming, bare := idle(time.Second, newStarted(), make(chan struct{})), idle(time.Minute, nil, nil)
	c := &class{idle: []*entry{old, bare, coming, young, fresh, fresher}}
	for i, want := range []*entry{young, old, fresh, fresher, coming, bare, nil} {
		if got := c.takeAt(now); got != want {
			t.Fatalf("%d: took %+v, want %+v", i, got, want)
		}
	}
}
