package check

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
)

var id = uuid.MustParse("0199b8f0-0000-7000-8000-000000000001")

func asked() ledger.Record  { return ledger.Record{Kind: ledger.Intent, ID: id} }
func pushed() ledger.Record { return ledger.Record{Kind: ledger.Pushed, ID: id, At: 1} }
func taken(worker, attempt int32, at int64) ledger.Record {
	return ledger.Record{Kind: ledger.Claimed, ID: id, Worker: worker, Attempt: attempt, At: at}
}
func accepted(worker, attempt int32, at int64) ledger.Record {
	return ledger.Record{Kind: ledger.Finished, ID: id, Worker: worker, Attempt: attempt, Asked: at, At: at + 1, Text: "null"}
}
func refused(worker, attempt int32, at int64) ledger.Record {
	return ledger.Record{Kind: ledger.Refused, ID: id, Worker: worker, Attempt: attempt, Asked: at, At: at + 1}
}
func done(worker, attempt int32) Row {
	return Row{ID: id, Queued: -1, Done: success, Worker: worker, Attempt: attempt, Result: "null"}
}

// TestVerdicts shows that every kind of broken promise is seen, and none where none is broken.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		ledger []ledger.Record
		rows   []Row
		want   Result
	}{
		"a job as it should be": {[]ledger.Record{asked(), pushed(), taken(1, 1, 2), accepted(1, 1, 3)}, []Row{done(1, 1)}, Result{}},
		"rescued, the late outcome refused": {
			[]ledger.Record{asked(), pushed(), taken(1, 1, 2), taken(2, 2, 5), refused(1, 1, 6), accepted(2, 2, 7)}, []Row{done(2, 2)}, Result{}},
		"sent twice, accepted twice": {
			[]ledger.Record{asked(), pushed(), taken(1, 1, 2), accepted(1, 1, 3), accepted(1, 1, 4)}, []Row{done(1, 1)}, Result{}},
		"committed, never acknowledged": {[]ledger.Record{asked()}, []Row{done(1, 1)}, Result{}},
		"asked for, never acknowledged": {[]ledger.Record{asked()}, nil, Result{}},
		"a claim that the server forgot": {
			[]ledger.Record{asked(), pushed(), taken(1, 1, 2), taken(2, 1, 5), refused(1, 1, 6), accepted(2, 1, 7)}, []Row{done(2, 1)}, Result{}},
		"push lost": {[]ledger.Record{asked(), pushed()}, nil, Result{LostPushes: 1}},
		"push half lost": {[]ledger.Record{asked(), pushed()}, []Row{{ID: id, Queued: -1, Done: -1}},
			Result{LostPushes: 1}},
		"completion lost": {[]ledger.Record{asked(), pushed(), taken(1, 1, 2), accepted(1, 1, 3)}, []Row{{ID: id, Queued: 0, Done: -1}},
			Result{LostCompletions: 1, Stuck: 1}},
		"completion lost with its job": {[]ledger.Record{asked(), taken(1, 1, 2), accepted(1, 1, 3)}, nil, Result{LostCompletions: 1}},
		"another result":               {[]ledger.Record{asked(), pushed(), taken(1, 1, 2), accepted(1, 1, 3)}, []Row{{ID: id, Queued: -1, Done: success, Worker: 1, Attempt: 1, Result: "1"}}, Result{LostCompletions: 1}},
		"another answer":               {[]ledger.Record{asked(), pushed(), {Kind: ledger.Answered, ID: id, Text: "1"}}, []Row{done(1, 1)}, Result{LostCompletions: 1}},
		"accepted from two":            {[]ledger.Record{asked(), taken(1, 1, 2), accepted(1, 1, 3), taken(2, 2, 9), accepted(2, 2, 10)}, []Row{done(2, 2)}, Result{Twice: 2}},
		"queued and done":              {[]ledger.Record{asked()}, []Row{{ID: id, Queued: 1, Done: success}}, Result{Twice: 1}},
		"stale": {[]ledger.Record{asked(), taken(1, 1, 2), taken(2, 2, 5), accepted(1, 1, 6)}, []Row{done(1, 1)},
			Result{Stale: 2}},
		"stale after a forgotten claim": {[]ledger.Record{asked(), taken(1, 1, 2), taken(2, 1, 5), accepted(1, 1, 6)}, []Row{done(1, 1)}, Result{Stale: 1}},
		"stuck":                         {[]ledger.Record{asked(), pushed()}, []Row{{ID: id, Queued: 1, Done: -1}}, Result{Stuck: 1}},
		"phantom":                       {nil, []Row{done(1, 1)}, Result{Phantom: 1}},
		"gave up":                       {[]ledger.Record{asked(), pushed(), taken(1, 4, 2)}, []Row{{ID: id, Queued: -1, Done: 3, Attempt: 4}}, Result{GaveUp: 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := New()
			for _, r := range c.ledger {
				k.Add("a", r)
			}
			got := k.Judge(c.rows, nil)
			counts := func(r *Result) [7]int {
				return [7]int{r.LostPushes, r.LostCompletions, r.Twice, r.Stale, r.Stuck, r.Phantom, r.GaveUp}
			}
			if counts(got) != counts(&c.want) {
				t.Errorf("lost pushes, lost completions, twice, stale, stuck, phantom, gave up: got %v, want %v: %s",
					counts(got), counts(&c.want), strings.Join(got.Findings, "; "))
			}
			if (got.Violations() > 0) != (len(got.Findings) > 0) {
				t.Errorf("%d violations, %d findings", got.Violations(), len(got.Findings))
			}
		})
	}
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	ms := func(n int64) int64 { return n * int64(time.Millisecond) }
	k := New()
	k.Add("dead", asked())
	k.Add("dead", taken(1, 1, ms(10)))
	k.Add("other", taken(2, 2, ms(2510)))
	k.Add("other", accepted(2, 2, ms(2511)))
	finished := uuid.New()
	k.Add("dead", ledger.Record{Kind: ledger.Intent, ID: finished})
	k.Add("dead", ledger.Record{Kind: ledger.Claimed, ID: finished, Worker: 1, Attempt: 1, At: ms(1)})
	k.Add("dead", ledger.Record{Kind: ledger.Finished, ID: finished, Worker: 1, Attempt: 1, Asked: ms(2), At: ms(3)})
	rows := []Row{done(2, 2), {ID: finished, Queued: -1, Done: success, Worker: 1, Attempt: 1}}
	got := k.Judge(rows, []Event{{At: ms(100), Life: "dead", Limit: 2 * time.Second}})
	if got.Recovery != 2410 || got.Retaken != 1 || got.Stuck != 1 {
		t.Errorf("got %+v", got)
	}

	k = New()
	for _, at := range []int64{10, 20, 900, 910, 9000} {
		job := uuid.New()
		k.Add("a", ledger.Record{Kind: ledger.Intent, ID: job})
		k.Add("a", ledger.Record{Kind: ledger.Pushed, ID: job, At: ms(at)})
	}
	if got := k.Judge(nil, []Event{{At: ms(15)}}); got.Recovery != 8090 { // the pause began within two seconds
		t.Errorf("got %v", got.Recovery)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	other := uuid.New()
	rows, orphans, err := Parse(id.String() + `,-1,2,7,3,"{""a"": 1}",f` + "\n" + other.String() + ",1,-1,0,0,,t\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Row{ID: id, Queued: -1, Done: 2, Worker: 7, Attempt: 3, Result: `{"a": 1}`}
	if len(rows) != 1 || rows[0] != want || len(orphans) != 1 || orphans[0] != other {
		t.Errorf("got %+v, %v", rows, orphans)
	}
	var r Result
	if r.Orphans(orphans); r.Lost() != 1 {
		t.Error("a row without its job is not counted")
	}
	for _, bad := range []string{"x,1,1,1,1,1,f\n", id.String() + ",a,1,1,1,1,f\n", id.String() + ",1\n"} {
		if _, _, err := Parse(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
