package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
	"github.com/millrace/millrace/cmd/internal/chaos/fault"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	for _, kills := range []int{20, 200, 1000} {
		sum := 0
		for _, s := range plan(fault.All(), names(), kills) {
			if s.hits < 1 {
				t.Errorf("%d kills: %s never hits", kills, s.Name)
			}
			if (s.Share == 0) == (s.Hits == nil) || s.About == "" || s.Run == nil {
				t.Errorf("%s must have a share or a number of hits, and say what it does", s.Name)
			}
			if s.Share > 0 {
				sum += s.hits
			}
		}
		if sum != kills {
			t.Errorf("%d kills were asked for, %d are planned", kills, sum)
		}
	}
	if one := plan(fault.All(), []string{"postmaster-kill"}, 7); len(one) != 1 || one[0].hits != 7 {
		t.Errorf("got %+v", one)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"--faults", "stop,reset", "--kills", "3"})
	if err != nil || len(o.faults) != 2 || o.kills != 3 || o.seed == 0 {
		t.Fatalf("got %+v, %v", o, err)
	}
	for _, bad := range [][]string{{"--faults", "none"}, {"--kills", "0"}, {"more"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

// TestReport shows when a run fails: for a broken promise, for a control that lost nothing, for a fault that could not be
// inflicted, and not for one that this host does not allow.
func TestReport(t *testing.T) {
	t.Parallel()
	lost := &check.Result{LostPushes: 1, Findings: []string{"job x: gone"}}
	r := &report{Seed: 7, Faults: []*fault.Report{
		{Fault: "good", Hits: 2, Kills: 2, Result: &check.Result{Pushes: 10, Recovery: 12.3}},
		{Fault: "control-good", Control: true, Result: lost},
		{Fault: "not-here", Skipped: "no disk", Result: &check.Result{}},
	}}
	if bad := r.bad(); len(bad) != 0 {
		t.Fatalf("complains of %v", bad)
	}
	if text := r.table(); !strings.Contains(text, "| good ") || !strings.Contains(text, " 12 |") || r.Kills != 2 {
		t.Errorf("%d kills in\n%s", r.Kills, text)
	}
	r.Faults = append(r.Faults, &fault.Report{Fault: "broken", Result: lost}, &fault.Report{Fault: "control-blind", Control: true, Result: &check.Result{}},
		&fault.Report{Fault: "failed", Failed: "no server", Result: &check.Result{}})
	bad := strings.Join(r.bad(), "; ")
	for _, want := range []string{"broken: 1 promises", "control-blind: nothing", "failed: no server"} {
		if !strings.Contains(bad, want) {
			t.Errorf("%q is not in %q", want, bad)
		}
	}
	if got := line(r.Faults[3]); !strings.Contains(got, "BROKEN") || !strings.Contains(got, "job x: gone") {
		t.Errorf("got %q", got)
	}
	path := filepath.Join(t.TempDir(), "chaos.json")
	if err := r.save(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	var back report
	if err != nil || json.Unmarshal(text, &back) != nil || back.Seed != 7 || len(back.Faults) != 6 || back.Faults[0].Pushes != 10 {
		t.Fatalf("read %s, %v", text, err)
	}
	table, err := os.ReadFile(strings.TrimSuffix(path, "json") + "md")
	if err != nil || !bytes.Contains(table, []byte("| fault")) {
		t.Fatalf("read %s, %v", table, err)
	}
}
