package pool

import (
	"slices"
	"testing"
)

// TestDedicatedPriority: urgent runs pass those that wait for the process, and are among themselves in the order in which they came.
func TestDedicatedPriority(t *testing.T) {
	l := &line{d: &keep(t, Dedicated{}).dedicated}
	l.shift = &shift{line: l} // not open yet, so that nothing is sent
	var came []*turn
	for _, priority := range []int{0, 5, 0, 5, -1, 9, 0} {
		turn := newTurn(Task{Priority: priority})
		came = append(came, turn)
		if !l.join(turn) {
			t.Fatal("the line is closed")
		}
	}
	var got []int
	for _, turn := range l.waiting {
		got = append(got, slices.Index(came, turn))
	}
	if want := []int{5, 1, 3, 0, 2, 6, 4}; !slices.Equal(got, want) {
		t.Errorf("in the order %v, want %v", got, want)
	}
}
