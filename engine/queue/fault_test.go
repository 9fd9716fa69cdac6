package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestCancelQueued(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	j := noop()
	push(t, q, j)
	if err := q.Cancel(t.Context(), "other", j.ID, "eve", ""); engine.CodeOf(err) != engine.NotFound {
		t.Fatalf("another workspace: %v", err)
	}
	if err := q.Cancel(t.Context(), "main", j.ID, "bob", "too\x00late"); err != nil {
		t.Fatal(err)
	}
	v := get(t, q, j.ID)
	if v.State != engine.StateCanceled || v.CanceledBy != "bob" || v.Reason != "too\uFFFDlate" || !strings.Contains(string(v.Result), `"Canceled"`) {
		t.Fatalf("got %+v", v)
	}
	if list := claim(t, q, 1, "noop"); len(list) != 0 {
		t.Fatal("a canceled job was claimed")
	}
	if err := q.Cancel(t.Context(), "main", j.ID, "bob", ""); engine.CodeOf(err) != engine.Conflict {
		t.Fatalf("twice: %v", err)
	}
	if err := q.Cancel(t.Context(), "main", uuid.New(), "bob", ""); engine.CodeOf(err) != engine.NotFound {
		t.Fatalf("unknown: %v", err)
	}
}

func TestCancelRunning(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	s := newSlots(2)
	here := start(t, quiet(storetest.Open(t, url), s))
	there := start(t, quiet(storetest.Open(t, url), nil))
	for _, from := range []*Queue{here, there} {
		j := noop()
		push(t, here, j)
		c := <-s.claims
		if err := from.Cancel(t.Context(), "main", j.ID, "bob", "why not"); err != nil {
			t.Fatal(err)
		}
		if id := <-s.canceled; id != j.ID {
			t.Fatalf("killed %s, want %s", id, j.ID)
		}
		o := success(c)
		o.State, o.CanceledBy = engine.StateCanceled, "bob"
		if !finish(t, here, o) {
			t.Fatal("refused")
		}
	}
}

func TestRescueOnce(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	s := newSlots(100)
	dead := start(t, quiet(storetest.Open(t, url), s))
	const n = 40
	old := map[uuid.UUID]*engine.Claim{}
	for range n {
		push(t, dead, noop())
		c := <-s.claims
		old[c.Job.ID] = c
	}
	canceled := noop()
	push(t, dead, canceled)
	<-s.claims
	if err := dead.Cancel(t.Context(), "main", canceled.ID, "bob", ""); err != nil {
		t.Fatal(err)
	}
	quick := func() Config {
		cfg := quiet(storetest.Open(t, url), nil)
		cfg.Heartbeat, cfg.Lease, cfg.Poll = 40*time.Millisecond, 300*time.Millisecond, 20*time.Millisecond
		return cfg
	}
	got := make(chan *engine.Claim, 10*n)
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 2 {
		q := start(t, quick())
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-q.Wake():
				}
				list, err := q.Claim(ctx, []string{"noop"}, 7)
				for len(list) > 0 && err == nil {
					for _, c := range list {
						got <- c
					}
					list, err = q.Claim(ctx, []string{"noop"}, 7)
				}
			}
		})
	}
	seen := map[uuid.UUID]bool{}
	for range n {
		c := <-got
		if seen[c.Job.ID] || c.Attempt != 2 || old[c.Job.ID] == nil {
			t.Fatalf("rescued twice or wrong: %+v", c)
		}
		seen[c.Job.ID] = true
		if finish(t, dead, success(old[c.Job.ID])) {
			t.Fatal("the dead worker's outcome was taken")
		}
		if !finish(t, dead, success(c)) {
			t.Fatal("the rescuer's outcome was refused")
		}
	}
	stop()
	wg.Wait()
	if len(got) != 0 {
		t.Fatalf("%d more claims", len(got))
	}
	if v := get(t, dead, canceled.ID); v.State != engine.StateCanceled || v.CanceledBy != "bob" {
		t.Fatalf("the job to be canceled is %+v", v)
	}
	// The worker that was taken for dead finds out at its next heartbeat and goes on under another number.
	was := dead.Worker()
	if _, err := dead.beatOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if dead.Worker() == was {
		t.Fatal("it kept its number")
	}
}

func TestLostTooOften(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	j := noop()
	for i := range 3 {
		cfg := quiet(storetest.Open(t, url), nil)
		cfg.MaxLost = 2
		q := start(t, cfg)
		if i == 0 {
			push(t, q, j)
		}
		if list := claim(t, q, 1, "noop"); len(list) != 1 {
			t.Fatalf("round %d: claimed %d", i, len(list))
		}
		q.Stop() // leaves; what it still owns is lost
	}
	q := start(t, quiet(storetest.Open(t, url), nil))
	v := get(t, q, j.ID)
	if v.State != engine.StateFailure || !strings.Contains(string(v.Result), "WorkerLost") {
		t.Fatalf("got %+v %s", v, v.Result)
	}
}

// TestLostWorkflow: attempts in which a workflow did something, or waited for a task, are not held against it.
func TestLostWorkflow(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	j, child := noop(), noop()
	child.Tag = "nobody"
	for i := range 11 {
		db := storetest.Open(t, url)
		cfg := quiet(db, nil)
		cfg.MaxLost = 2
		q := start(t, cfg)
		if i == 0 {
			push(t, q, j)
			push(t, q, child)
		}
		if list := claim(t, q, 1, "noop"); len(list) != 1 {
			t.Fatalf("round %d: claimed %d", i, len(list))
		}
		switch {
		case i < 4:
			storetest.Exec(t, db, fmt.Sprintf("insert into checkpoint (job, n, key, kind, name, ok, tries) values ('%s', %d, 's', 'step', 's', true, 0)", j.ID, i))
		case i == 4:
			storetest.Exec(t, db, fmt.Sprintf("insert into checkpoint (job, n, key, kind, name, child, tries) values ('%s', %d, 't', 'task', 't', '%s', 0)", j.ID, i, child.ID))
		case i == 8:
			storetest.Exec(t, db, fmt.Sprintf("delete from q where id = '%s'", child.ID)) // the task is over
		}
		q.Stop()
	}
	v := get(t, start(t, quiet(storetest.Open(t, url), nil)), j.ID)
	if v.State != engine.StateFailure || v.Attempt != 11 || !strings.Contains(string(v.Result), "WorkerLost") {
		t.Fatalf("got %+v %s", v, v.Result)
	}
}

func TestWakeAcrossProcesses(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	a := start(t, quiet(storetest.Open(t, url), nil))
	b := start(t, quiet(storetest.Open(t, url), nil)) // its coming tells a that somebody listens
	claim(t, b, 1, "noop")                            // nothing yet; b has looked
	for a.others.Load() == 0 {
		if _, err := a.beatOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	j := noop()
	j.Priority = 3
	push(t, a, j)
	for {
		<-b.Wake()
		if list := claim(t, b, 1, "noop"); len(list) == 1 {
			if list[0].Job.ID != j.ID {
				t.Fatalf("got %+v", list[0])
			}
			return
		}
	}
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	cfg := quiet(db, nil)
	cfg.BlobQuota = 3 << 20
	cfg.MaxPayload = 2 << 20
	q := start(t, cfg)
	big := func(n int, c string) json.RawMessage {
		return json.RawMessage(`{"x":"` + strings.Repeat(c, n) + `"}`)
	}
	j, twin := noop(), noop()
	j.Args, twin.Args = big(1<<20, "a"), big(1<<20, "a")
	push(t, q, j)
	push(t, q, twin)
	if n, size, err := db.BlobUsage(t.Context()); n != 1 || size != int64(len(j.Args)) || err != nil {
		t.Fatalf("%d blobs of %d bytes, %v", n, size, err)
	}
	list := claim(t, q, 2, "noop")
	if len(list) != 2 || !bytes.Equal(list[0].Job.Args, j.Args) {
		t.Fatal("the arguments did not come back")
	}
	o := success(list[0])
	o.Result = big(1<<20, "b")
	if !finish(t, q, o) {
		t.Fatal("refused")
	}
	v := get(t, q, list[0].Job.ID)
	if !bytes.Equal(v.Result, o.Result) || !bytes.Equal(v.Args, j.Args) {
		t.Fatal("result or arguments did not come back")
	}
	if r, err := q.Result(t.Context(), "main", v.ID); err != nil || !bytes.Equal(r.Result, o.Result) {
		t.Fatalf("result: %v", err)
	}
	over := noop()
	over.Args = big(1<<20, "c") // 1 + 1 + 1 MiB and the frames are more than the quota
	if _, err := q.Push(t.Context(), over); engine.CodeOf(err) != engine.TooLarge {
		t.Fatalf("over quota: %v", err)
	}
	over.Args = big(2<<20, "d")
	if _, err := q.Push(t.Context(), over); engine.CodeOf(err) != engine.TooLarge {
		t.Fatalf("over the limit: %v", err)
	}
	o = success(list[1])
	o.Result = big(1<<20, "e")
	if !finish(t, q, o) {
		t.Fatal("refused")
	}
	if v := get(t, q, list[1].Job.ID); v.State != engine.StateFailure || !strings.Contains(string(v.Result), "used up") {
		t.Fatalf("a result over quota: %s %s", v.State, v.Result)
	}
	if _, _, err := db.BlobPut(t.Context(), []byte("nobody's"), 1<<30); err != nil {
		t.Fatal(err)
	}
	if n, err := db.BlobSweep(t.Context(), 0); n != 1 || err != nil {
		t.Fatalf("swept %d, %v", n, err)
	}
}

func TestUnstorable(t *testing.T) {
	t.Parallel()
	s := newSlots(1)
	q := start(t, quiet(storetest.New(t), s))
	for _, bad := range []string{`{"x":"\u0000"}`, `{"x":"\\\u0000"}`, `{"x":`, "{\"x\":\"\xff\"}"} {
		j := noop()
		j.Args = json.RawMessage(bad)
		if _, err := q.Push(t.Context(), j); engine.CodeOf(err) != engine.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, edit := range []func(*engine.Job){
		func(j *engine.Job) { j.Path = "u/x\x00y" }, func(j *engine.Job) { j.Source = "\xff" }, func(j *engine.Job) { j.Tag = "" },
		func(j *engine.Job) { j.Tag = "a\nb" }, func(j *engine.Job) { j.Workspace = "" },
	} {
		j := noop()
		edit(j)
		if _, err := q.Push(t.Context(), j); engine.CodeOf(err) != engine.Invalid {
			t.Errorf("%+v: %v", j, err)
		}
	}
	j := noop()
	j.Args = json.RawMessage(`{"x":"\\u0000"}`) // a backslash and a word
	push(t, q, j)
	o := success(<-s.claims)
	o.Result = json.RawMessage(`"\u0000"`)
	o.LogTail = "bytes \x00\xff are kept"
	if !finish(t, q, o) {
		t.Fatal("refused")
	}
	v := get(t, q, j.ID)
	if v.State != engine.StateFailure || !strings.Contains(string(v.Result), "cannot store") {
		t.Fatalf("got %s %s", v.State, v.Result)
	}
	if text, _, err := q.Logs(t.Context(), j.ID, 0); text != o.LogTail || err != nil {
		t.Fatalf("log %q, %v", text, err)
	}
}
