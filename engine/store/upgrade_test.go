package store_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/queue"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// testdata/release1.sql.gz is a dump of a database that the first release made and worked with (migrations 1 and 2): jobs of
// all kinds and states in two weeks and, with ids of their own, in the default partition; running jobs of a daemon that died.
// testdata/release1.json.gz is what that release answered about each of them.

// old is what the first release said.
type old struct {
	Jobs    []*oldJob
	Lists   map[string][]uuid.UUID // by workspace, newest first
	Counts  map[string][2]int64    // queued and running
	Tags    []engine.TagCount
	Keys    map[string]uuid.UUID // "workspace/key"
	Scripts []*engine.Script
	Tokens  []engine.Token
	Members []store.Member
	Tables  map[string]int64 // rows
}

type oldJob struct {
	View                       engine.JobView // without what follows
	Args, Result, Logs, Stream string
}

func (o *old) job(id uuid.UUID) *oldJob {
	for _, j := range o.Jobs {
		if j.View.ID == id {
			return j
		}
	}
	return nil
}

// farFuture is after now and before the time of the jobs of the old database that were scheduled for later.
var farFuture = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)

func unzip(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// restore makes the old database and opens it, which migrates it.
func restore(t *testing.T) (*store.DB, *old) {
	t.Helper()
	ctx := t.Context()
	url := storetest.URL(t)
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"drop schema public cascade; create schema public", string(unzip(t, "release1.sql.gz"))} {
		if _, err := c.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			t.Fatalf("restore: %v", err)
		}
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	o := &old{}
	d := json.NewDecoder(bytes.NewReader(unzip(t, "release1.json.gz")))
	d.DisallowUnknownFields() // a field that is no more is something lost
	if err := d.Decode(o); err != nil {
		t.Fatal(err)
	}
	return storetest.Open(t, url), o
}

// TestUpgrade brings a database of the first release up to date and looks for everything in it, works with what was left
// to do, and lets it expire.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	db, o := restore(t)
	storetest.Open(t, db.URL()) // nothing is left to migrate
	q, err := queue.New(queue.Config{DB: db, Log: storetest.Log(t), Name: "new", Tags: []string{"default", "noop", "dependency", "gpu"},
		Heartbeat: 20 * time.Millisecond, Lease: 100 * time.Millisecond, Poll: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Stop)
	rowsKept(t, db, o)
	rightsKept(t, db, o)
	jobsKept(t, q, o)
	listsKept(t, q, o)
	keysKept(t, q, o)
	if _, err := db.BlobSweep(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	jobsKept(t, q, o)
	flowsFit(t, db)
	workOn(t, db, q, o)
	expire(t, db, q, o)
}

// rowsKept compares the counts of rows, table by table, partition by partition.
func rowsKept(t *testing.T, db *store.DB, o *old) {
	t.Helper()
	for table, want := range o.Tables {
		if table == "migration" {
			want = int64(store.Migrations())
		}
		var got int64
		if storetest.Row(t, db, "select count(*) from "+table, &got); got != want {
			t.Errorf("%d rows in %s, want %d", got, table, want)
		}
	}
	for sql, want := range map[string]string{
		"select count(*)::text from job j left join spec s on s.id = j.spec where s.id is null or s.workspace <> j.workspace":                 "0",
		"select count(*)::text from pg_class where relname like 'old\\_%' or relname like 'job\\_next%'":                                      "0",
		"select string_agg(relname, ' ' order by relname) from pg_inherits join pg_class on oid = inhrelid where inhparent = 'job'::regclass": "job_20261102 job_20261109 job_default",
		"select count(*)::text from job_20261102 where id < '" + store.IDAt(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)).String() +
			"' or id >= '" + store.IDAt(time.Date(2026, 11, 9, 0, 0, 0, 0, time.UTC)).String() + "'": "0",
	} {
		var got string
		if storetest.Row(t, db, sql, &got); got != want {
			t.Errorf("%s: got %s, want %s", sql, got, want)
		}
	}
}

// rightsKept looks for scripts, tokens and members.
func rightsKept(t *testing.T, db *store.DB, o *old) {
	t.Helper()
	ctx := t.Context()
	for _, want := range o.Scripts {
		got, err := db.ScriptByHash(ctx, want.Workspace, want.Hash)
		if err != nil || !alike(t, got, want) {
			t.Errorf("script %s: %+v, %v\nwant %+v", want.Hash, got, err, want)
		}
	}
	var tokens []engine.Token
	for _, user := range []string{"ann", "bob", "admin"} {
		list, err := db.TokenList(ctx, user)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, list...)
	}
	if !alike(t, tokens, o.Tokens) {
		t.Errorf("tokens: %+v\nwant %+v", tokens, o.Tokens)
	}
	members, err := db.MemberList(ctx)
	if err != nil || !alike(t, members, o.Members) {
		t.Errorf("members: %+v, %v\nwant %+v", members, err, o.Members)
	}
	key, err := db.InstanceKey(ctx, "jobs", []byte("another"))
	if err != nil || string(key) != "0123456789abcdef0123456789abcdef" {
		t.Errorf("the key that signs tokens of jobs is %q, %v", key, err)
	}
}

// flowsFit deploys a flow where the old release had scripts only.
func flowsFit(t *testing.T, db *store.DB) {
	t.Helper()
	ctx := t.Context()
	f := &engine.Flow{Workspace: "main", Path: "f/demo/s3", Value: json.RawMessage(`{"modules": []}`), CreatedBy: "ann"} // the path of a script, too
	if err := db.InTx(ctx, func(tx store.Tx) error { return db.FlowInsert(ctx, tx, f) }); err != nil {
		t.Fatal(err)
	}
	got, err := db.FlowCurrent(ctx, "main", "f/demo/s3")
	if err != nil || got.Version != f.Version || string(got.Value) != string(f.Value) {
		t.Errorf("flow: %+v, %v", got, err)
	}
	f.Workspace = "nowhere"
	if err := db.InTx(ctx, func(tx store.Tx) error { return db.FlowInsert(ctx, tx, f) }); !store.IsUnknownReference(err) {
		t.Errorf("a flow of no workspace: %v", err)
	}
}

// alike compares what two values look like as JSON, which has no zones of time and no nil.
func alike(t *testing.T, a, b any) bool {
	t.Helper()
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

// jobsKept asks for every job, its result and its output.
func jobsKept(t *testing.T, q *queue.Queue, o *old) {
	t.Helper()
	ctx := t.Context()
	binary := 0 // logs that are no text
	for _, want := range o.Jobs {
		ws, id := want.View.Workspace, want.View.ID
		v, err := q.Get(ctx, ws, id)
		if err != nil {
			t.Fatalf("get %s: %v", id, err)
		}
		got := &oldJob{View: *v, Args: string(v.Args), Result: string(v.Result)}
		got.View.Args, got.View.Result = nil, nil
		r, err := q.Result(ctx, ws, id)
		if err != nil || r.State != v.State || string(r.Result) != got.Result {
			t.Fatalf("result of %s: %+v, %v", id, r, err)
		}
		if got.Logs, _, err = q.Logs(ctx, id, 0); err != nil {
			t.Fatal(err)
		}
		if got.Stream, _, err = q.Stream(ctx, id, 0); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(got.Logs, "the end\x00\xff\n") {
			binary++
		}
		got.Logs = strings.ToValidUTF8(got.Logs, "\uFFFD") // as JSON keeps it
		if !alike(t, got, want) {
			t.Fatalf("job %s is\n%+v\nand was\n%+v", id, got, want)
		}
		if state := v.State; state == engine.StateQueued {
			why, err := q.Why(ctx, ws, id)
			if err != nil || len(why.Reasons) == 0 {
				t.Fatalf("why %s waits: %+v, %v", id, why, err)
			}
		}
	}
	if binary == 0 {
		t.Error("no log kept its bytes")
	}
}

// listsKept compares lists and counts with those of the old release, and filtered lists with what the jobs say.
func listsKept(t *testing.T, q *queue.Queue, o *old) {
	t.Helper()
	ctx := t.Context()
	for ws, want := range o.Counts {
		queued, running, err := q.Counts(ctx, ws)
		if err != nil || [2]int64{queued, running} != want {
			t.Errorf("%s has %d queued and %d running jobs, %v, want %v", ws, queued, running, err, want)
		}
	}
	if tags, err := q.TagCounts(ctx); err != nil || !alike(t, tags, o.Tags) {
		t.Errorf("tags: %+v, %v\nwant %+v", tags, err, o.Tags)
	}
	parent := o.Jobs[8].View.ID
	for name, c := range map[string]struct {
		filter engine.JobFilter
		match  func(j *oldJob) bool
	}{
		"all":     {engine.JobFilter{}, func(*oldJob) bool { return true }},
		"queued":  {engine.JobFilter{States: []engine.JobState{engine.StateQueued}}, func(j *oldJob) bool { return j.View.State == engine.StateQueued }},
		"running": {engine.JobFilter{States: []engine.JobState{engine.StateRunning}}, func(j *oldJob) bool { return j.View.State == engine.StateRunning }},
		"ended badly": {engine.JobFilter{States: []engine.JobState{engine.StateFailure, engine.StateCanceled}},
			func(j *oldJob) bool {
				return j.View.State == engine.StateFailure || j.View.State == engine.StateCanceled
			}},
		"path":     {engine.JobFilter{PathExact: "f/demo/s3"}, func(j *oldJob) bool { return j.View.Path == "f/demo/s3" }},
		"prefix":   {engine.JobFilter{PathStart: "f/demo/"}, func(j *oldJob) bool { return strings.HasPrefix(j.View.Path, "f/demo/") }},
		"kind":     {engine.JobFilter{Kinds: []engine.JobKind{engine.KindPreview}}, func(j *oldJob) bool { return j.View.Kind == engine.KindPreview }},
		"tag":      {engine.JobFilter{Tag: "gpu"}, func(j *oldJob) bool { return j.View.Tag == "gpu" }},
		"person":   {engine.JobFilter{CreatedBy: "bob"}, func(j *oldJob) bool { return j.View.CreatedBy == "bob" }},
		"worker":   {engine.JobFilter{Worker: "second-host:202"}, func(j *oldJob) bool { return j.View.WorkerName == "second-host:202" }},
		"children": {engine.JobFilter{Parent: &parent}, func(j *oldJob) bool { return j.View.Parent != nil && *j.View.Parent == parent }},
		"args": {engine.JobFilter{Args: json.RawMessage(`{"a":[2,"käse"]}`)},
			func(j *oldJob) bool { return strings.Contains(j.Args, "käse") }},
	} {
		for ws, all := range o.Lists {
			var want, got []uuid.UUID
			for _, id := range all {
				if c.match(o.job(id)) {
					want = append(want, id)
				}
			}
			c.filter.PerPage = 1000
			list, err := q.List(ctx, ws, c.filter)
			if err != nil {
				t.Fatalf("list %s: %v", name, err)
			}
			for _, v := range list {
				got = append(got, v.ID)
			}
			if !reflect.DeepEqual(got, want) || len(want) == 0 && ws == "main" && name != "person" {
				t.Errorf("list %s of %s:\ngot  %v\nwant %v", name, ws, got, want)
			}
		}
	}
}

// keysKept pushes with old keys and old ids: no new jobs.
func keysKept(t *testing.T, q *queue.Queue, o *old) {
	t.Helper()
	for k, want := range o.Keys {
		ws, key, _ := strings.Cut(k, "/")
		j := &engine.Job{Workspace: ws, Kind: engine.KindNoop, Tag: "noop", CreatedBy: "ann", IdempotencyKey: key}
		if res, err := q.Push(t.Context(), j); err != nil || !res.Duplicate || res.ID != want {
			t.Errorf("push with the key %q: %+v, %v, want %s", key, res, err, want)
		}
	}
	for _, was := range []*oldJob{o.Jobs[0], o.Jobs[170], o.Jobs[230]} {
		j := was.View.Job
		if res, err := q.Push(t.Context(), &j); err != nil || !res.Duplicate || res.ID != j.ID {
			t.Errorf("push %s again: %+v, %v", j.ID, res, err)
		}
	}
}

// workOn takes part as a worker until everything that was due is done: what was queued, and what the dead daemon ran.
func workOn(t *testing.T, db *store.DB, q *queue.Queue, o *old) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	left := map[uuid.UUID]*oldJob{}
	killed := 0
	for _, j := range o.Jobs {
		switch v := &j.View; {
		case v.State == engine.StateRunning && v.CanceledBy != "":
			killed++
		case v.State == engine.StateRunning, v.State == engine.StateQueued && v.ScheduledFor.Before(farFuture):
			left[v.ID] = j
		}
	}
	if len(left) < 60 || killed == 0 {
		t.Fatalf("the old database has %d jobs to do and %d to kill", len(left), killed)
	}
	if err := q.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for len(left) > 0 {
		select {
		case <-q.Wake():
		case <-ctx.Done():
			t.Fatalf("%d jobs were never claimed", len(left))
		}
		for list := claimAll(t, q); len(list) > 0; list = claimAll(t, q) {
			for _, c := range list {
				finishOld(t, q, c, left[c.Job.ID])
				delete(left, c.Job.ID)
			}
		}
	}
	var lost, marked int
	storetest.Row(t, db, "select count(*) from q where state = 1", &lost)
	storetest.Row(t, db, "select count(*) from q where scheduled_for < '2040-01-01'", &marked)
	if lost != 0 || marked != 0 {
		t.Fatalf("%d jobs run and %d wait, want none", lost, marked)
	}
	for _, j := range o.Jobs {
		if j.View.State == engine.StateRunning && j.View.CanceledBy != "" {
			v, err := q.Get(ctx, j.View.Workspace, j.View.ID)
			if err != nil || v.State != engine.StateCanceled || v.CanceledBy != j.View.CanceledBy {
				t.Errorf("a job to be killed when its daemon died: %+v, %v", v, err)
			}
		}
	}
}

func claimAll(t *testing.T, q *queue.Queue) []*engine.Claim {
	t.Helper()
	list, err := q.Claim(t.Context(), []string{"default", "noop", "dependency", "gpu"}, 20)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// finishOld completes a claim of a job that the old release stored. Its former attempt has nothing to say any more.
func finishOld(t *testing.T, q *queue.Queue, c *engine.Claim, was *oldJob) {
	t.Helper()
	if was == nil {
		t.Fatalf("%s is claimed twice, or should not be", c.Job.ID)
	}
	got, want := *c.Job, was.View.Job
	if string(got.Args) != was.Args || c.Attempt != was.View.Attempt+1 {
		t.Fatalf("claimed %s with %s, attempt %d; was %s, %d", got.ID, got.Args, c.Attempt, was.Args, was.View.Attempt)
	}
	got.Args = nil
	if !alike(t, got, want) {
		t.Fatalf("claimed %+v\nwas     %+v", got, want)
	}
	end := engine.Outcome{ID: got.ID, Worker: was.View.Worker, Attempt: was.View.Attempt, State: engine.StateFailure}
	if ok, err := q.Finish(t.Context(), end); ok || err != nil {
		t.Fatalf("the outcome of a former attempt: %v, %v", ok, err)
	}
	end = engine.Outcome{ID: got.ID, Worker: c.Worker, Attempt: c.Attempt, State: engine.StateSuccess, Result: json.RawMessage(`"new"`)}
	if ok, err := q.Finish(t.Context(), end); !ok || err != nil {
		t.Fatalf("finish %s: %v, %v", got.ID, ok, err)
	}
	if v, err := q.Get(t.Context(), got.Workspace, got.ID); err != nil || v.State != engine.StateSuccess || string(v.Result) != `"new"` {
		t.Fatalf("after its end: %+v, %v", v, err)
	}
}

// expire drops the first week once nothing of it waits any more, and nothing else.
func expire(t *testing.T, db *store.DB, q *queue.Queue, o *old) {
	t.Helper()
	ctx := t.Context()
	first := time.Date(2026, 11, 9, 0, 0, 0, 0, time.UTC) // where the first week ends
	now, keep := first.Add(7*24*time.Hour), 6*24*time.Hour
	if _, dropped, err := db.Partition(ctx, now, 1, keep); dropped != 0 || err != nil {
		t.Fatalf("%d weeks were dropped with jobs still waiting, %v", dropped, err)
	}
	for _, j := range o.Jobs {
		if j.View.ScheduledFor.After(farFuture) && j.View.State == engine.StateQueued {
			if err := q.Cancel(ctx, j.View.Workspace, j.View.ID, "ann", ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, dropped, err := db.Partition(ctx, now, 1, keep); dropped != 1 || err != nil {
		t.Fatalf("%d weeks were dropped, %v, want 1", dropped, err)
	}
	if _, err := db.SpecForget(ctx, -time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, j := range o.Jobs {
		weekly := j.View.ID.Version() == 7
		_, err := q.Get(ctx, j.View.Workspace, j.View.ID)
		if gone := weekly && j.View.CreatedAt.Before(first); gone != (engine.CodeOf(err) == engine.NotFound) || !gone && err != nil {
			t.Fatalf("job %s of %s: %v", j.View.ID, j.View.CreatedAt, err)
		}
	}
	var tables string
	storetest.Row(t, db, "select coalesce(string_agg(relname, ' '), '') from pg_class where relkind = 'r' and relname like '%20261102%'", &tables)
	var specs int
	storetest.Row(t, db, "select count(*) from job left join spec on spec.id = spec where spec.id is null", &specs)
	if tables != "" || specs != 0 {
		t.Errorf("left are %q; %d jobs have lost what they run", tables, specs)
	}
	if !slices.ContainsFunc(o.Jobs, func(j *oldJob) bool { return j.View.CreatedAt.After(first) }) {
		t.Error("the old database has one week only")
	}
}
