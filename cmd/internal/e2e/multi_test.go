package e2e

import (
	"context"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// emptyDatabase makes a database without tables, which a daemon without privileges can reach.
func emptyDatabase(t *testing.T) (address string, db *store.DB) {
	t.Helper()
	address = storetest.URL(t)
	db = storetest.Open(t, address)
	storetest.Exec(t, db, "drop schema public cascade")
	storetest.Exec(t, db, "create schema public")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if socket := u.Query().Get("host"); strings.HasPrefix(socket, "/") {
		if err := os.Chmod(socket, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return address, db
}

// TestSeveralDaemons has three daemons share one database: who takes what, who tells whom, and who steps in when one is killed.
func TestSeveralDaemons(t *testing.T) {
	binary(t)
	address, db := emptyDatabase(t)
	serve := func(name, tags string) *daemon {
		return start(t, folder(t), "--database-url", address, "--name", name, "--tags", tags, "--lease", "3s", "--slots", "1")
	}
	a := serve("ann", "default")
	b := serve("bea", "gpu")
	both := []*daemon{a, b}
	t.Run("Tags", func(t *testing.T) { tagsSayWho(t, both, map[string]string{"": "ann", "gpu": "bea"}) })
	t.Run("Nobody", func(t *testing.T) { nobodyTakes(t, a.with(t)) })
	t.Run("Cancel", func(t *testing.T) { cancelFromAfar(t, both) })
	slow := b.begin(t, a, "gpu", "sleep 3; echo over")
	c := serve("cem", "default,gpu")
	t.Run("Workers", func(t *testing.T) { threeWorkers(t, []*daemon{a, b, c}) })
	t.Run("Kill", func(t *testing.T) {
		killed := time.Now()
		if err := b.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-b.done
		j := a.with(t).wait(t.Context(), slow)
		if result(j) != `"over"` || j.Attempt != 2 || j.Worker != "cem" {
			t.Errorf("the job of the daemon that was killed: %s %s, attempt %d by %s", j.Status, result(j), j.Attempt, j.Worker)
		}
		var started time.Time
		var outcomes int
		storetest.Row(t, db, "select max(started_at), count(*) from done where id = '"+slow.String()+"'", &started, &outcomes)
		// The lease, the time between two looks of the others, and some for a busy machine.
		if late := started.Sub(killed); late > 15*time.Second || late < 0 || outcomes != 1 {
			t.Errorf("it was begun again %s after the kill, and has %d outcomes", late, outcomes)
		}
		if list, err := a.Workers(t.Context()); err != nil || len(list) != 2 {
			t.Errorf("workers after the kill: %+v, %v", list, err)
		}
		tagsSayWho(t, []*daemon{a, c}, map[string]string{"gpu": "cem"})
	})
}

// tagsSayWho asks each daemon for jobs of each tag, and looks who ran them.
func tagsSayWho(t *testing.T, daemons []*daemon, who map[string]string) {
	t.Helper()
	for range 3 {
		for _, d := range daemons {
			for tag, want := range who {
				j := d.with(t).finish(client.Run{Preview: &wire.Preview{Language: "bash", Content: "echo here", Path: "u/test/who"}, Tag: tag})
				if result(j) != `"here"` || j.Worker != want || j.Attempt != 1 {
					t.Errorf("a job of tag %q: %s %s, attempt %d by %s, want %s", tag, j.Status, result(j), j.Attempt, j.Worker, want)
				}
			}
		}
	}
}

// nobodyTakes leaves a job of a tag that no daemon takes, and says why.
func nobodyTakes(t *testing.T, d *daemon) {
	ctx := t.Context()
	id, err := d.Run(ctx, client.Run{Preview: &wire.Preview{Language: "bash", Content: "echo here", Path: "u/test/who"}, Tag: "quantum"})
	if err != nil {
		t.Fatal(err)
	}
	why, err := d.Why(ctx, id)
	if err != nil || !slices.ContainsFunc(why.Reasons, func(s string) bool { return strings.Contains(s, "no worker takes") }) {
		t.Errorf("why: %+v, %v", why, err)
	}
	if err := d.Client.Cancel(ctx, id, ""); err != nil {
		t.Error(err)
	}
}

// begin pushes a job at another daemon that takes this one's tag, and returns when this one has begun with it.
func (d *daemon) begin(t *testing.T, at *daemon, tag, script string) uuid.UUID {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	id, err := at.Run(ctx, client.Run{Preview: &wire.Preview{Language: "bash", Content: "echo begun; " + script, Path: "u/test/slow"}, Tag: tag})
	if err != nil {
		t.Fatal(err)
	}
	begun := false
	_, err = d.Follow(ctx, id, func(u wire.Update) error {
		if begun = strings.Contains(u.NewLogs, "begun"); begun {
			cancel()
		}
		return nil
	})
	if !begun {
		t.Fatalf("the job does not begin: %v", err)
	}
	return id
}

// cancelFromAfar cancels at one daemon what runs in another.
func cancelFromAfar(t *testing.T, daemons []*daemon) {
	here, there := daemons[0].with(t), daemons[1].with(t)
	id := there.begin(t, here, "gpu", "sleep 600")
	asked := time.Now()
	if err := here.Client.Cancel(t.Context(), id, "not needed"); err != nil {
		t.Fatal(err)
	}
	j := here.wait(t.Context(), id)
	if !j.Canceled || j.CanceledReason != "not needed" || j.Worker != "bea" {
		t.Errorf("canceled from afar: %+v", j)
	}
	if took := time.Since(asked); took > 10*time.Second {
		t.Errorf("to cancel took %s", took)
	}
	tagsSayWho(t, daemons, map[string]string{"gpu": "bea"}) // its slot is free again
}

// threeWorkers has each daemon list all.
func threeWorkers(t *testing.T, daemons []*daemon) {
	for _, d := range daemons {
		list, err := d.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, w := range list {
			names = append(names, w.Name)
			gpu, bash := slices.Contains(w.Tags, "gpu"), slices.Contains(w.Tags, "bash")
			if want := map[string][2]bool{"ann": {false, true}, "bea": {true, false}, "cem": {true, true}}[w.Name]; want != [2]bool{gpu, bash} {
				t.Errorf("%s takes %v", w.Name, w.Tags)
			}
		}
		slices.Sort(names)
		if !slices.Equal(names, []string{"ann", "bea", "cem"}) {
			t.Errorf("workers are %v", names)
		}
	}
}
