package queue

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestListEnded: lists by how jobs ended, of all and of one path, are what is left of a list of all jobs.
func TestListEnded(t *testing.T) {
	t.Parallel()
	s := newSlots(48)
	q := start(t, quiet(storetest.New(t), s))
	base := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	for i := range 60 {
		j := noop()
		j.CreatedAt, j.Path, j.CreatedBy = base.Add(time.Duration(i)*time.Second), []string{"u/ann/x", "u/ann/y", "u/bob/z"}[i%3], []string{"ann", "bob"}[i%2]
		switch i % 5 {
		case 1:
			j.ID = uuid.UUID{0xf0, byte(60 - i), 6: 0x40, 8: 0x80} // says nothing of time, and the other way round
		case 2:
			j.ID = uuid.UUID{0x00, byte(60 - i), 6: 0x40, 8: 0x80}
		}
		push(t, q, j) // 48 run, 12 wait
		if i >= 54 {
			if err := q.Cancel(t.Context(), "main", j.ID, "bob", ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 44 {
		o := success(<-s.claims)
		o.Result = json.RawMessage("1")
		switch i % 7 {
		case 0, 3, 5:
			o.State = engine.StateFailure
		case 6:
			o.State, o.CanceledBy = engine.StateCanceled, "bob"
		}
		if !finish(t, q, o) {
			t.Fatal("refused")
		}
	}
	all, err := q.List(t.Context(), "main", engine.JobFilter{PerPage: 100})
	if err != nil || len(all) != 60 {
		t.Fatalf("%d jobs, %v", len(all), err)
	}
	const ok, bad, out, runs = engine.StateSuccess, engine.StateFailure, engine.StateCanceled, engine.StateRunning
	for _, states := range [][]engine.JobState{{ok}, {bad}, {out}, {bad, out}, {bad, bad}, {ok, bad}, {ok, bad, out}, {out, runs}} {
		for _, f := range []engine.JobFilter{
			{}, {PathExact: "u/ann/y"}, {PathStart: "u/ann/"}, {PathExact: "u/no/body"}, {CreatedBy: "bob"}, {PathExact: "u/bob/z", CreatedBy: "ann", HasNoParent: true},
			{PathStart: "u/", Result: json.RawMessage("1")}, {PathExact: "u/ann/x", CreatedAfter: base.Add(8500 * time.Millisecond), CreatedBefore: base.Add(40 * time.Second)},
			{Tag: "noop", Worker: "nobody"},
		} {
			f.States = states
			for _, f.Ascending = range []bool{false, true} {
				for f.Page = 1; f.Page <= 3; f.Page++ {
					f.PerPage = 5
					got, err := q.List(t.Context(), "main", f)
					if err != nil {
						t.Fatal(err)
					}
					if g, w := brief(got), brief(pick(all, f)); g != w {
						t.Errorf("%+v:\ngot  %s\nwant %s", f, g, w)
					}
				}
			}
		}
	}
}

// pick is the page of all, the youngest first, that f selects.
func pick(all []*engine.JobView, f engine.JobFilter) (out []*engine.JobView) {
	for _, v := range all {
		if slices.Contains(f.States, v.State) && (f.PathExact == "" || v.Path == f.PathExact) && strings.HasPrefix(v.Path, f.PathStart) &&
			(f.CreatedBy == "" || v.CreatedBy == f.CreatedBy) && (f.CreatedAfter.IsZero() || v.CreatedAt.After(f.CreatedAfter)) &&
			(f.CreatedBefore.IsZero() || v.CreatedAt.Before(f.CreatedBefore)) && f.Worker == "" &&
			(f.Result == nil || v.FinishedAt != nil && v.StartedAt != nil) { // those that did not run have another result
			out = append(out, v)
		}
	}
	if f.Ascending {
		slices.Reverse(out)
	}
	lo := min((f.Page-1)*f.PerPage, len(out))
	return out[lo:min(lo+f.PerPage, len(out))]
}

func brief(list []*engine.JobView) (out string) {
	for _, v := range list {
		out += fmt.Sprintf(" %s %s %s %s", v.ID.String()[:13], v.Path, v.State, v.WorkerName)
	}
	return out
}
