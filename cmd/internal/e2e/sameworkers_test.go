package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// TestSameWorkerOfTwo has two daemons share a database: all steps of a flow with same_worker run at the one that has its folder, whoever
// sees to what comes next, and when that one is killed for good the other ends the flow.
func TestSameWorkerOfTwo(t *testing.T) {
	binary(t)
	address, _ := emptyDatabase(t)
	serve := func(name string) *daemon {
		return start(t, folder(t), "--database-url", address, "--name", name, "--lease", "3s", "--slots", "2")
	}
	both := []*daemon{serve("ann"), serve("bea")}
	ask := func(d *daemon, flow, wait string) uuid.UUID {
		id, err := d.Run(t.Context(), client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(flow)}, Args: json.RawMessage(`{"wait": ` + wait + `}`)})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	var ids []uuid.UUID
	for n := range 8 { // more than there are slots, and in between either of them finds that it is time to go on
		ids = append(ids, ask(both[n%2], sharingFlow, fmt.Sprint(float64(n)/10)))
	}
	homes := map[string]bool{}
	for _, id := range ids {
		if got := result(both[0].wait(t.Context(), id)); strings.Join(strings.Fields(got), "") != `["ab",["1","2","a","d"],["x"],false]` {
			t.Fatalf("%s: %s", id, got)
		}
		at := both[0].stepWorkers(t, id)
		if len(at) != 1 {
			t.Errorf("the steps of %s ran at %v", id, at)
		}
		for name := range at {
			homes[name] = true
		}
		shares(t, id, false)
	}
	if len(homes) != 2 {
		t.Errorf("only %v had folders", homes)
	}
	// One waits between two steps, the other is in one; both had left something in the folder.
	busy := strings.Replace(sharingFlow, `echo mine > alone`, `echo mine > alone; sleep 600`, 1)
	waits, works := ask(both[1], sharingFlow, "5"), ask(both[1], busy, "0")
	both[1].reaches(t, waits, func(j *wire.Job) bool { return j.FlowStatus.Step >= 4 })
	both[1].reaches(t, works, func(j *wire.Job) bool { return j.FlowStatus.Step == 1 })
	if at := both[0].stepWorkers(t, waits); !at["bea"] {
		t.Fatalf("the steps of what is to be lost ran at %v", at)
	}
	killed := time.Now()
	both[1].stop(syscall.SIGKILL)
	for _, id := range []uuid.UUID{waits, works} {
		j := both[0].wait(t.Context(), id)
		if j.Status != "failure" || !strings.Contains(result(j), "SharedFolderLost") || !strings.Contains(result(j), "run the flow again") {
			t.Errorf("after its daemon was killed: %s %s", j.Status, result(j))
		}
	}
	t.Logf("the flows of a daemon that is gone ended after %s", time.Since(killed).Round(time.Second))
	again := both[0].finish(client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(sharingFlow)}, Args: json.RawMessage(`{"wait": 0}`)})
	if again.Status != "success" {
		t.Errorf("run again: %s %s", again.Status, result(again))
	}
}

// reaches waits until the flow id is where yes says.
func (d *daemon) reaches(t *testing.T, id uuid.UUID, yes func(*wire.Job) bool) {
	t.Helper()
	for {
		j, err := d.Job(t.Context(), id, false)
		switch {
		case err != nil:
			t.Fatal(err)
		case j.Success != nil:
			t.Fatalf("the flow has ended: %s %s", j.Status, result(j))
		case j.FlowStatus != nil && yes(j):
			return
		}
	}
}

// stepWorkers are the daemons that ran steps of a flow, those in its loops too.
func (d *daemon) stepWorkers(t *testing.T, flow uuid.UUID) map[string]bool {
	t.Helper()
	at := map[string]bool{}
	list, err := d.Jobs(t.Context(), filter("parent_job", flow.String()))
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range list {
		if j.RawFlow == nil && j.JobKind != "flowpreview" {
			at[j.Worker] = true
			continue
		}
		for name := range d.stepWorkers(t, j.ID) {
			at[name] = true
		}
	}
	return at
}
