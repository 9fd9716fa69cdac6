package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/engine"
)

// The steps of TestModel: each is taken with a real queue and with the model, and what comes of it is compared.

func (w *modelWorld) push(rt *rapid.T) {
	q := w.pick(rt)
	j, m := w.draw(rt)
	if rapid.Bool().Draw(rt, "id made by the push") {
		j.ID = uuid.Nil
	}
	free := rapid.IntRange(0, 1).Draw(rt, "free slots")
	w.send(rt, q, &modelPush{job: j, model: m, free: free})
}

// modelPush is a push of what may be there already.
type modelPush struct {
	job   *engine.Job
	model *modelJob
	free  int // slots
}

// send pushes a job and compares what comes of it with what should.
func (w *modelWorld) send(rt *rapid.T, q *modelQueue, p *modelPush) {
	q.slots.mu.Lock()
	q.slots.free = p.free
	q.slots.mu.Unlock()
	res, err := q.Push(context.Background(), p.job)
	if err != nil {
		rt.Fatalf("push: %v", err)
	}
	p.model.id = p.job.ID
	cut := q.cut
	q.cut = false
	first, twice := w.model.keys[p.model.key]
	if was := w.model.jobs[p.model.id]; was != nil && !twice {
		first, twice = was.id, true
	}
	if twice {
		if !res.Duplicate && !cut || res.Claimed || res.ID != first {
			rt.Fatalf("pushed %s again: %+v", first, res)
		}
	} else {
		direct := int32(0)
		if p.free > 0 && !p.model.later {
			direct = q.Worker()
		}
		w.stored(rt, p.model, direct)
		if runs := p.model.state == modelRunning; res.Duplicate || res.Claimed != runs || res.ID != p.model.id {
			rt.Fatalf("pushed %v: %+v", p.model, res)
		}
	}
	if res.Claimed {
		p.free--
		if c := <-q.slots.claims; c.Job.ID != p.model.id || c.Attempt != 1 || c.Worker != q.Worker() {
			rt.Fatalf("delivered %+v for %v", c, p.model)
		}
	}
	if left := q.slots.left(); left != p.free || len(q.slots.claims) != 0 {
		rt.Fatalf("%d slots are free, want %d; %d more were delivered", left, p.free, len(q.slots.claims))
	}
}

// known draws a job that was pushed before.
func (w *modelWorld) known(rt *rapid.T) *modelJob {
	if len(w.model.order) == 0 {
		rt.Skip("no job yet")
	}
	return w.model.jobs[w.model.order[rapid.IntRange(0, len(w.model.order)-1).Draw(rt, "job")]]
}

// pushAgain is what a client does that has not heard whether its push was stored.
func (w *modelWorld) pushAgain(rt *rapid.T) {
	m := w.known(rt)
	q := w.pick(rt)
	j := noop()
	j.ID, j.Tag, j.Priority, j.Args, j.IdempotencyKey = m.id, m.tag, m.prio, json.RawMessage(m.args), m.key
	if m.limit != "" {
		j.Limit = &engine.Limit{Key: m.limit, Slots: w.model.slots[m.limit]}
	}
	w.send(rt, q, &modelPush{job: j, model: m, free: rapid.IntRange(0, 1).Draw(rt, "free slots")})
}

func (w *modelWorld) pushMany(rt *rapid.T) {
	q := w.pick(rt)
	var jobs []*engine.Job
	var news []*modelJob
	for range rapid.IntRange(1, 4).Draw(rt, "jobs") {
		j, m := w.draw(rt)
		if m.key != "" {
			m.key, j.IdempotencyKey = "", "" // those are pushed one by one
		}
		jobs, news = append(jobs, j), append(news, m)
	}
	if twin := rapid.Bool().Draw(rt, "one twice"); twin {
		again := *jobs[0]
		jobs = append(jobs, &again)
	}
	list, err := q.PushMany(context.Background(), jobs)
	if err != nil || len(list) != len(jobs) {
		rt.Fatalf("push many: %+v, %v", list, err)
	}
	for i, res := range list {
		if res.ID != jobs[i].ID || res.Duplicate != (i >= len(news)) || res.Claimed {
			rt.Fatalf("push many: %d is %+v", i, res)
		}
	}
	for _, m := range news { // all are stored before any is admitted
		v, err := q.Get(context.Background(), "main", m.id)
		if err != nil {
			rt.Fatal(err)
		}
		w.model.jobs[m.id], w.model.order = m, append(w.model.order, m.id)
		if m.due = v.ScheduledFor; m.limit != "" {
			m.state = modelWaiting
		}
	}
	for limit := range w.model.slots {
		w.model.admit(limit)
	}
}

// pushTogether pushes one job from several queues and callers at the same time.
func (w *modelWorld) pushTogether(rt *rapid.T) {
	j, m := w.draw(rt)
	if m.limit != "" {
		j.Limit, m.limit = nil, ""
	}
	n := rapid.IntRange(2, 4).Draw(rt, "callers")
	results, by := make([]engine.PushResult, n), make([]*modelQueue, n)
	var release []func()
	for _, q := range w.queues {
		q.slots.mu.Lock()
		q.slots.free = rapid.IntRange(0, 2).Draw(rt, "free slots")
		q.slots.mu.Unlock()
		if rapid.Bool().Draw(rt, "in one flush") {
			release = append(release, holdWriter(q.Queue))
		}
	}
	var wg, begun sync.WaitGroup
	for i := range n {
		by[i] = w.pick(rt)
		twin := *j
		wg.Add(1)
		begun.Add(1)
		go func() {
			defer wg.Done()
			begun.Done()
			var err error
			if results[i], err = by[i].Push(context.Background(), &twin); err != nil {
				results[i].ID = uuid.Nil
			}
		}()
	}
	begun.Wait()
	for _, r := range release {
		r()
	}
	wg.Wait()
	w.changed(nil)
	first, twice := w.model.keys[m.key]
	if !twice {
		first = m.id
	}
	direct, news, cut := int32(0), 0, false
	for i, res := range results {
		if res.ID != first || res.Claimed && res.Duplicate {
			rt.Fatalf("pushed together: %+v", results)
		}
		if !res.Duplicate {
			news++
		}
		cut = cut || by[i].cut
		if res.Claimed {
			direct = by[i].Worker()
			if c := <-by[i].slots.claims; c.Job.ID != m.id {
				rt.Fatalf("delivered %+v", c)
			}
		}
	}
	for _, q := range by {
		q.cut = false
	}
	if want := map[bool]int{true: 0, false: 1}[twice]; news != want && !(cut && news > want) {
		rt.Fatalf("pushed together, %d were new: %+v", news, results)
	}
	if !twice {
		w.stored(rt, m, direct)
	}
	for _, q := range w.queues {
		if len(q.slots.claims) != 0 {
			rt.Fatal("one job was delivered twice")
		}
	}
}

func (w *modelWorld) look(rt *rapid.T, q *modelQueue) {
	if _, err := q.lookUp(context.Background()); err != nil {
		rt.Fatal(err)
	}
	q.fresh = true
}

func (w *modelWorld) claim(rt *rapid.T) {
	q := w.pick(rt)
	if rapid.IntRange(0, 2).Draw(rt, "look") == 0 {
		w.look(rt, q)
	}
	w.claimAt(rt, q, rapid.SampledFrom([][]string{{"noop"}, {"other"}, {"other", "noop"}}).Draw(rt, "tags"))
}

func (w *modelWorld) claimAt(rt *rapid.T, q *modelQueue, tags []string) {
	a := modelAsk{tags: tags, n: rapid.IntRange(1, 4).Draw(rt, "n"), worker: q.Worker(), all: q.fresh}
	list, err := q.Claim(context.Background(), a.tags, a.n)
	if err != nil {
		rt.Fatalf("claim: %v", err)
	}
	if err := w.model.claim(list, a); err != nil {
		rt.Fatal(err)
	}
	w.given(list...)
}

// lane keeps to one tag and priority for a while, where claims leave a mark behind them: what is pushed or handed back behind it
// must be found all the same.
func (w *modelWorld) lane(rt *rapid.T) {
	q := w.pick(rt)
	w.look(rt, q)
	for range rapid.IntRange(3, 8).Draw(rt, "steps") {
		switch rapid.IntRange(0, 3).Draw(rt, "what") {
		case 0, 1:
			w.serial++
			j, m := noop(), &modelJob{id: engine.NewJobID(), args: fmt.Sprintf(`{"nr": %d}`, w.serial), tag: "noop"}
			j.ID, j.Args = m.id, json.RawMessage(m.args)
			j.ScheduledFor = time.Now().Add(-time.Duration(rapid.IntRange(1, 5).Draw(rt, "hours due")) * time.Hour)
			w.send(rt, q, &modelPush{job: j, model: m})
		case 2:
			w.claimAt(rt, q, []string{"noop"})
		case 3:
			mine := slices.DeleteFunc(slices.Clone(w.handed), func(o engine.Outcome) bool { return !w.model.owns(o) || o.Worker != q.Worker() })
			if len(mine) > 0 {
				w.handBackAt(rt, q, mine[rapid.IntRange(0, len(mine)-1).Draw(rt, "which")])
			}
		}
	}
}

func (w *modelWorld) given(list ...*engine.Claim) {
	for _, c := range list {
		w.handed = append(w.handed, engine.Outcome{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt})
	}
}

// outcome draws an attempt, most often one that still has its job, and how it ended.
func (w *modelWorld) outcome(rt *rapid.T) engine.Outcome {
	if len(w.handed) == 0 {
		rt.Skip("nobody has a job")
	}
	list := w.handed
	if owners := slices.DeleteFunc(slices.Clone(list), func(o engine.Outcome) bool { return !w.model.owns(o) }); len(owners) > 0 &&
		rapid.IntRange(0, 3).Draw(rt, "right") > 0 {
		list = owners
	}
	o := list[rapid.IntRange(0, len(list)-1).Draw(rt, "attempt")]
	switch rapid.IntRange(0, 9).Draw(rt, "fence") {
	case 0:
		o.Attempt++
	case 1:
		o.Worker += 1000
	}
	w.serial++
	o.Result = json.RawMessage(strconv.Quote(fmt.Sprint("result ", w.serial)))
	if len(w.ended) > 0 && rapid.IntRange(0, 5).Draw(rt, "the same again") == 0 {
		return w.ended[rapid.IntRange(0, len(w.ended)-1).Draw(rt, "outcome")]
	}
	o.State = rapid.SampledFrom([]engine.JobState{engine.StateSuccess, engine.StateSuccess, engine.StateFailure, engine.StateCanceled}).Draw(rt, "state")
	w.ended = append(w.ended, o)
	return o
}

func (w *modelWorld) finish(rt *rapid.T) {
	o := w.outcome(rt)
	q := w.finisher(rt, o)
	ok, err := q.Finish(context.Background(), o)
	if err != nil {
		rt.Fatalf("finish: %v", err)
	}
	if want := w.model.finish(o); ok != want {
		rt.Fatalf("finish %+v: %v, want %v", o, ok, want)
	}
	w.poll(rt)
}

// finisher draws the queue that an outcome goes through: any may store it, but one that has the job in hand would not lie about
// whose it is.
func (w *modelWorld) finisher(rt *rapid.T, o engine.Outcome) *modelQueue {
	var could []*modelQueue
	for _, q := range w.queues {
		_, holds := q.holding(o.ID, o.Attempt)
		if q.Worker() == o.Worker && rapid.IntRange(0, 3).Draw(rt, "own") > 0 {
			w.changed(q)
			return q
		}
		if !holds || w.model.owns(o) {
			could = append(could, q)
		}
	}
	if len(could) == 0 {
		rt.Skip("nobody would send this")
	}
	q := rapid.SampledFrom(could).Draw(rt, "queue")
	w.changed(q)
	return q
}

// poll admits what was freed by a queue that did not hold the job, which does not know its limit: a poll does that.
func (w *modelWorld) poll(rt *rapid.T) {
	ctx := context.Background()
	ids, err := w.db.GateLook(ctx)
	if err != nil {
		rt.Fatal(err)
	}
	if len(ids) > 0 {
		w.changed(w.queues[0])
		w.queues[0].admitAt(ctx, ids)
	}
}

func (w *modelWorld) finishAndClaim(rt *rapid.T) {
	o := w.outcome(rt)
	q := w.finisher(rt, o)
	if rapid.Bool().Draw(rt, "look") {
		w.look(rt, q)
	}
	ok, c, err := q.FinishAndClaim(context.Background(), o, modelTags)
	if err != nil {
		rt.Fatalf("finish and claim: %v", err)
	}
	if want := w.model.finish(o); ok != want {
		rt.Fatalf("finish %+v: %v, want %v", o, ok, want)
	}
	if c != nil {
		if err := w.model.claim([]*engine.Claim{c}, modelAsk{tags: modelTags, n: 1, worker: q.Worker()}); err != nil {
			rt.Fatal(err)
		}
		w.given(c)
	}
	w.poll(rt)
}

// finishTogether sends two outcomes of one attempt at the same time: one counts.
func (w *modelWorld) finishTogether(rt *rapid.T) {
	o := w.outcome(rt)
	list := []engine.Outcome{o, o, o}
	var wg sync.WaitGroup
	oks := make([]bool, len(list))
	errs := make([]error, len(list))
	for i := range list {
		w.serial++
		list[i].Result = json.RawMessage(strconv.Quote(fmt.Sprint("result ", w.serial)))
		q := w.finisher(rt, o)
		wg.Go(func() { oks[i], errs[i] = q.Finish(context.Background(), list[i]) })
	}
	wg.Wait()
	w.changed(nil)
	for _, err := range errs {
		if err != nil {
			rt.Fatal(err)
		}
	}
	if w.model.owns(o) { // the one that is stored was the first
		var stored string
		w.row(rt, "select result::text from done where id = '"+o.ID.String()+"'", &stored)
		for i := range list {
			if string(list[i].Result) == stored {
				list[0], list[i], oks[0], oks[i] = list[i], list[0], oks[i], oks[0]
			}
		}
	}
	for i := range list {
		if want := w.model.finish(list[i]); oks[i] != want {
			rt.Fatalf("finish together %+v: %v, want %v", list[i], oks[i], want)
		}
	}
	w.poll(rt)
}

func (w *modelWorld) row(rt *rapid.T, sql string, dest ...any) {
	rt.Helper()
	if err := w.conn.QueryRow(context.Background(), sql).Scan(dest...); err != nil {
		rt.Fatalf("%s: %v", sql, err)
	}
}

func (w *modelWorld) handBack(rt *rapid.T) {
	o := w.outcome(rt)
	w.handBackAt(rt, w.finisher(rt, o), o)
}

func (w *modelWorld) handBackAt(rt *rapid.T, q *modelQueue, o engine.Outcome) {
	m := w.model.jobs[o.ID]
	job := &engine.Job{ID: o.ID, Workspace: "main", Tag: m.tag, Priority: m.prio}
	if err := q.HandBack(context.Background(), []*engine.Claim{{Job: job, Worker: o.Worker, Attempt: o.Attempt}}); err != nil {
		rt.Fatal(err)
	}
	w.model.handBack(o)
}

func (w *modelWorld) cancel(rt *rapid.T) {
	m := w.known(rt)
	q := w.pick(rt)
	err := q.Cancel(context.Background(), "main", m.id, "bob", "")
	if done := !w.model.cancel(m.id); done && engine.CodeOf(err) != engine.Conflict || !done && err != nil {
		rt.Fatalf("cancel %v: %v", m, err)
	}
}

// die gives a worker up, as happens when its heartbeats stop; it does not know yet.
func (w *modelWorld) die(rt *rapid.T) {
	q := w.pick(rt)
	w.sql(rt, fmt.Sprintf("update worker set gone = now() where id = %d", q.Worker()))
	w.model.gone[q.Worker()] = true
}

func (w *modelWorld) rescue(rt *rapid.T) {
	q := w.pick(rt)
	q.rescue(context.Background())
	w.changed(nil)
	w.model.rescue()
}

// comeBack is a heartbeat. A worker that was given up learns of it, and goes on under another number.
func (w *modelWorld) comeBack(rt *rapid.T) {
	q := w.pick(rt)
	was := q.Worker()
	if _, err := q.beatOnce(context.Background()); err != nil {
		rt.Fatal(err)
	}
	if gone := w.model.gone[was]; gone != (q.Worker() != was) {
		rt.Fatalf("worker %d is %d after a heartbeat, gone %v", was, q.Worker(), gone)
	} else if gone {
		w.changed(nil)
		w.model.rescue()
	}
}

// restart stops a queue as a daemon does and starts another one.
func (w *modelWorld) restart(rt *rapid.T) {
	q := w.pick(rt)
	gone := q.Worker()
	q.Stop()
	w.model.gone[gone] = true
	w.model.rescue()
	w.changed(nil)
	w.queues[slices.Index(w.queues, q)] = w.open(rt)
}

// cut breaks the connection of a writer. What comes next must not notice.
func (w *modelWorld) cut(rt *rapid.T) {
	q := rapid.SampledFrom(w.queues).Draw(rt, "queue")
	q.writer.conn.Break()
	q.cut = true
}

// timePasses brings everything that was scheduled for later, and the polls that find it.
func (w *modelWorld) timePasses(rt *rapid.T) {
	const by = 48 * time.Hour
	w.sql(rt, "with d as (update q set scheduled_for = scheduled_for - interval '48 hours' where scheduled_for > now() returning id) "+
		"update job set scheduled_for = scheduled_for - interval '48 hours' where id in (select id from d)")
	w.model.timePasses(by)
	w.poll(rt)
	w.changed(nil)
	for _, q := range w.queues {
		w.look(rt, q)
	}
}
