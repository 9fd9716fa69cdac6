package queue

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestListCompleted: whoever made a job's id, it has its place in a list of completed jobs, and pages neither repeat nor leave out.
func TestListCompleted(t *testing.T) {
	t.Parallel()
	s := newSlots(8)
	q := start(t, quiet(storetest.New(t), s))
	base := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	number := map[uuid.UUID]int{}
	for i := range 12 {
		j := noop()
		j.CreatedAt = base.Add(time.Duration(i) * time.Second)
		switch i % 4 {
		case 1:
			j.ID = uuid.UUID{0xf0, byte(12 - i), 6: 0x40, 8: 0x80} // says nothing of time, and the other way round
		case 2:
			j.ID = uuid.UUID{0x00, byte(12 - i), 6: 0x40, 8: 0x80}
		}
		push(t, q, j) // eight run, four wait
		number[j.ID] = i
	}
	for i := range 8 {
		o := success(<-s.claims)
		if o.Result = json.RawMessage("1"); i%2 == 1 {
			o.State = engine.StateFailure
		}
		finish(t, q, o)
	}
	all := []engine.JobState{engine.StateSuccess, engine.StateFailure, engine.StateCanceled}
	for i, c := range []struct {
		f    engine.JobFilter
		want []int
	}{
		{engine.JobFilter{States: all}, []int{7, 6, 5, 4, 3, 2, 1, 0}},
		{engine.JobFilter{States: all, Ascending: true}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{engine.JobFilter{States: all, PerPage: 3}, []int{7, 6, 5}},
		{engine.JobFilter{States: all, PerPage: 3, Page: 2}, []int{4, 3, 2}},
		{engine.JobFilter{States: all, PerPage: 3, Page: 3}, []int{1, 0}},
		{engine.JobFilter{States: all[1:2]}, []int{7, 5, 3, 1}},
		{engine.JobFilter{States: all, CreatedAfter: base.Add(1500 * time.Millisecond), CreatedBefore: base.Add(5500 * time.Millisecond)}, []int{5, 4, 3, 2}},
		{engine.JobFilter{States: all, CreatedBefore: base.AddDate(-9, 0, 0)}, nil},
		{engine.JobFilter{States: all[:1], Result: json.RawMessage("1"), HasNoParent: true}, []int{6, 4, 2, 0}},
	} {
		views, err := q.List(t.Context(), "main", c.f)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, v := range views {
			got = append(got, number[v.ID])
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%d: %+v: got %v, want %v", i, c.f, got, c.want)
		}
	}
}
