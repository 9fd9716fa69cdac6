package queue

import (
	"slices"
	"testing"
)

// TestUrgentGoesFirst leaves things while a batch is under way.
func TestUrgentGoesFirst(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan []int), make(chan struct{})
	g := group[int]{max: 512, urgent: func(v int) bool { return v < 0 }, run: func(batch []int) func() {
		begun <- slices.Clone(batch)
		<-goOn
		return nil
	}}
	go g.add(0)
	<-begun
	for v := range 100 {
		g.add(v + 1)
	}
	g.add(-1)
	g.addLater(-2)
	g.add(101)
	goOn <- struct{}{}
	first := <-begun
	if want := 2 + company; len(first) != want || first[0] != -1 || first[1] != -2 || first[2] != 1 || first[want-1] != company {
		t.Fatalf("after the urgent ones: %v", first)
	}
	g.add(-3)
	goOn <- struct{}{}
	second := <-begun
	if len(second) != 1+company || second[0] != -3 || second[1] != company+1 {
		t.Fatalf("then: %v", second)
	}
	goOn <- struct{}{}
	third := <-begun
	if len(third) != 101-2*company || third[0] != 2*company+1 || third[len(third)-1] != 101 {
		t.Fatalf("at last: %v", third)
	}
	goOn <- struct{}{}
}
