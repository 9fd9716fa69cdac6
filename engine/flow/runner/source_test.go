package runner_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestSourceIsStoredOnce: the jobs of one step of a flow have their script in one row, and who reads a job sees it all the same.
func TestSourceIsStoredOnce(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	long := strings.Repeat("x", 10_000)
	loop := func(content, lock string) string {
		return modules(`{"id":"l","value":{"type":"forloopflow","parallel":true,"iterator":{"type":"javascript","expr":"Array.from({length: 50}, (_, i) => i)"},"modules":[` +
			strings.Replace(raw("x", content, "", ""), `"language"`, `"lock":"`+lock+`","language"`, 1) + `]}}`)
	}
	for _, x := range []struct{ content, lock string }{{long, "a"}, {long, "a"}, {long, "b"}, {long + "y", "a"}} {
		if o := b.run(loop(x.content, x.lock), `{}`); o.State != engine.StateSuccess {
			t.Fatalf("%s with %.200s", o.State, o.Result)
		}
	}
	var specs, bytes int
	storetest.Row(t, b.db, "select count(*) from spec where source is not null", &specs)
	storetest.Row(t, b.db, "select coalesce(sum(octet_length(source)), 0) from job where step = 'l'", &bytes)
	if specs != 3 || bytes != 0 {
		t.Errorf("%d specs have a script, and jobs %d bytes of it", specs, bytes)
	}
	list, err := b.db.JobList(t.Context(), "main", engine.JobFilter{Page: 1, PerPage: 300})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, j := range list {
		if j.Step != "" && strings.HasPrefix(j.Source, long) && j.Lock != nil {
			seen++
		}
	}
	if seen != 200 {
		t.Errorf("%d of 200 jobs show their script", seen)
	}
}
