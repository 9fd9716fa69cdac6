package queue

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestModel takes random steps with one to three queues on one database and with a model, and compares the two after each. What fails
// is cut down to a few steps and printed. MILLRACE_MODEL_CHECKS says how many runs of some 40 steps; 40.
func TestModel(t *testing.T) {
	checks := os.Getenv("MILLRACE_MODEL_CHECKS")
	if checks == "" && testing.Short() {
		checks = "8"
	}
	if n, err := strconv.Atoi(checks); checks != "" && (err != nil || n < 1) {
		t.Fatalf("MILLRACE_MODEL_CHECKS=%s is no number of runs", checks)
	} else if n == 0 {
		checks = "40"
	}
	for name, value := range map[string]string{"rapid.checks": checks, "rapid.steps": "40", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	w := &modelWorld{db: storetest.New(t)}
	var err error
	if w.conn, err = pgx.Connect(t.Context(), w.db.URL()); err != nil {
		t.Fatal(err)
	}
	defer w.conn.Close(context.Background()) //nolint:errcheck // a test's connection
	rapid.Check(t, func(rt *rapid.T) {
		w.begin(rt)
		defer w.end()
		rt.Repeat(map[string]func(*rapid.T){
			"Push": w.push, "PushAgain": w.pushAgain, "PushMany": w.pushMany, "PushTogether": w.pushTogether,
			"Claim": w.claim, "Finish": w.finish, "FinishAndClaim": w.finishAndClaim, "FinishTogether": w.finishTogether,
			"HandBack": w.handBack, "Cancel": w.cancel, "Die": w.die, "Rescue": w.rescue, "ComeBack": w.comeBack,
			"Restart": w.restart, "Break": w.cut,
			"PushOne": w.push, "PushOneMore": w.push, "ClaimSome": w.claim, "ClaimMore": w.claim, "FinishOne": w.finish, "Lane": w.lane, "TimePasses": w.timePasses, "": w.check,
		})
	})
}

// modelWorld is some queues on one database, and what should be in it.
type modelWorld struct {
	db     *store.DB
	conn   *pgx.Conn
	queues []*modelQueue
	model  *model
	handed []engine.Outcome // attempts that anybody was ever given
	ended  []engine.Outcome // outcomes that were sent
	serial int
	batch  uuid.UUID
}

// modelQueue is one queue and what the test knows of it.
type modelQueue struct {
	*Queue
	slots *slots
	fresh bool // nobody else has changed anything since it looked
	cut   bool // its writer has lost its connection and may not know what it had stored: what is a duplicate is uncertain then
}

// GoString is how runs are printed.
func (q *modelQueue) GoString() string { return fmt.Sprintf("worker %d", q.Worker()) }

var modelTags = []string{"noop", "other"}

func (w *modelWorld) begin(rt *rapid.T) {
	*w = modelWorld{db: w.db, conn: w.conn, model: newModel(), batch: uuid.New()}
	w.sql(rt, "truncate q, job, done, job_log, idempotency, worker, gate, gate_use, batch")
	w.sql(rt, "insert into batch (id, workspace, kind, path, script, created_by) values ('"+w.batch.String()+"', 'main', 'script', '', 0, 'ann')")
	for range rapid.IntRange(1, 3).Draw(rt, "queues") {
		w.queues = append(w.queues, w.open(rt))
	}
}

// open starts a queue that does nothing by itself.
func (w *modelWorld) open(rt *rapid.T) *modelQueue {
	s := newSlots(0)
	cfg := quiet(w.db, s)
	cfg.MaxLost, cfg.Log = modelLost, zerolog.Nop()
	cfg.OnCancel = func(uuid.UUID, string, string) bool { return true }
	q, err := New(cfg)
	if err != nil {
		rt.Fatal(err)
	}
	q.look = nil // the test looks, so that it knows what the queue knows
	if err := q.Start(context.Background()); err != nil {
		rt.Fatal(err)
	}
	for beaten := false; !beaten; { // the heartbeats that follow are the test's
		w.row(rt, fmt.Sprintf("select heartbeat > started from worker where id = %d", q.Worker()), &beaten)
	}
	return &modelQueue{Queue: q, slots: s, fresh: true} // its first claim looks
}

func (w *modelWorld) end() {
	for _, q := range w.queues {
		q.Stop()
	}
}

func (w *modelWorld) sql(rt *rapid.T, sql string) {
	rt.Helper()
	if _, err := w.conn.Exec(context.Background(), sql); err != nil {
		rt.Fatalf("%s: %v", sql, err)
	}
}

// pick draws a queue that changes something now: the others do not know it yet.
func (w *modelWorld) pick(rt *rapid.T) *modelQueue {
	q := rapid.SampledFrom(w.queues).Draw(rt, "queue")
	w.changed(q)
	return q
}

func (w *modelWorld) changed(by *modelQueue) {
	for _, o := range w.queues {
		o.fresh = o.fresh && o == by
	}
}

// draw makes up a job.
func (w *modelWorld) draw(rt *rapid.T) (*engine.Job, *modelJob) {
	w.serial++
	m := &modelJob{id: engine.NewJobID(), args: fmt.Sprintf(`{"nr":  %d}`, w.serial), tag: modelTags[rapid.IntRange(0, 3).Draw(rt, "other tag")/3],
		prio: rapid.SampledFrom([]int16{0, 0, 0, 0, 5, -3}).Draw(rt, "prio")}
	j := noop()
	j.ID, j.Tag, j.Priority, j.Args = m.id, m.tag, m.prio, json.RawMessage(m.args)
	switch rapid.IntRange(0, 5).Draw(rt, "due") {
	case 0:
		j.ScheduledFor, m.later = time.Now().Add(24*time.Hour+time.Duration(w.serial)*time.Second), true
	case 1, 2:
		j.ScheduledFor = time.Now().Add(-time.Hour + time.Duration(rapid.IntRange(0, 3).Draw(rt, "minutes"))*time.Minute)
	}
	switch rapid.IntRange(0, 5).Draw(rt, "extra") {
	case 0:
		m.key = "key " + rapid.StringMatching("[ab]").Draw(rt, "key")
		j.IdempotencyKey = m.key
	case 1, 2:
		m.limit = rapid.SampledFrom([]string{"one", "two"}).Draw(rt, "limit")
		j.Limit = &engine.Limit{Key: m.limit, Slots: w.model.slots[m.limit]}
	case 3:
		j.Batch, m.batch = &w.batch, true
	}
	return j, m
}

// stored takes a new job into the model, with the time due that the server gave it.
func (w *modelWorld) stored(rt *rapid.T, m *modelJob, direct int32) {
	v, err := w.queues[0].Get(context.Background(), "main", m.id)
	if err != nil {
		rt.Fatalf("get %s: %v", m.id, err)
	}
	m.due = v.ScheduledFor
	if w.model.push(m, direct); m.state == modelRunning {
		w.handed = append(w.handed, engine.Outcome{ID: m.id, Worker: m.worker, Attempt: m.attempt})
	}
}

// check compares the whole database with the model.
func (w *modelWorld) check(rt *rapid.T) {
	rows, err := w.conn.Query(context.Background(), `select id, state, worker, attempt, lost, canceled_by is not null and state = 1, scheduled_for, '' from q
		union all select d.id, d.state, d.worker, d.attempt, -1, false, null, coalesce(d.result::text, '') from done d`)
	if err != nil {
		rt.Fatal(err)
	}
	defer rows.Close()
	seen := map[uuid.UUID]bool{}
	for rows.Next() {
		var g modelJob
		var due *time.Time
		if err := rows.Scan((*[16]byte)(&g.id), &g.state, &g.worker, &g.attempt, &g.lost, &g.canceled, &due, &g.result); err != nil {
			rt.Fatal(err)
		}
		m := w.model.jobs[g.id]
		if m == nil || seen[g.id] {
			rt.Fatalf("a job that is not to be there, or twice: %v", &g)
		}
		seen[g.id] = true
		if g.state != m.state || g.attempt != m.attempt || g.worker != m.worker || m.result != "" && g.result != m.result {
			rt.Fatalf("the database has %v\nthe model has    %v", &g, m)
		}
		if due != nil && (g.lost != m.lost || g.canceled != m.canceled || !due.Equal(m.due)) {
			rt.Fatalf("the database has %v due %s\nthe model has    %v due %s", &g, due, m, m.due)
		}
	}
	if err := rows.Err(); err != nil {
		rt.Fatal(err)
	}
	if len(seen) != len(w.model.jobs) {
		rt.Fatalf("%d jobs are there, want %d", len(seen), len(w.model.jobs))
	}
	var without int
	w.row(rt, "select count(*) from done d join job j on j.id = d.id where d.spec is distinct from case when d.state <> 2 then j.spec end", &without)
	if without != 0 {
		rt.Fatalf("%d completed jobs are not in the indexes of what did not succeed, or are and should not", without)
	}
	w.checkBatch(rt)
}

// checkBatch compares the counters of the batch with its jobs.
func (w *modelWorld) checkBatch(rt *rapid.T) {
	var got, want [3]int64
	w.row(rt, "select done, failed, canceled from batch where id = '"+w.batch.String()+"'", &got[0], &got[1], &got[2])
	for _, m := range w.model.jobs {
		if !m.batch || !m.state.done() {
			continue
		}
		want[0]++
		switch m.state {
		case modelFailure:
			want[1]++
		case modelCanceled:
			want[2]++
		}
	}
	if got != want {
		rt.Fatalf("the batch counts %v ended, failed and canceled jobs, want %v", got, want)
	}
}
