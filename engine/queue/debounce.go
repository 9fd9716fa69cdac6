package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Debouncing: the latest request of a key stands for those before it. All that happens is one transaction on a side connection,
// which holds the key's row: the job that stood for the key ends as canceled, unless it is due, and the new one is stored.

// debouncers is how many of these transactions a process has open: each may need a second connection.
const debouncers = 4

// maxDelay bounds delay and wait of a debounce.
const maxDelay = 366 * 24 * time.Hour

// errTaken rolls back a debounce whose job is there already.
var errTaken = errors.New("the job is there already")

func checkDebounce(j *engine.Job) error {
	d := j.Debounce
	invalid := func(format string, args ...any) error {
		return &engine.Error{Code: engine.Invalid, Op: "job.push", Path: j.Path, Msg: fmt.Sprintf(format, args...)}
	}
	switch {
	case d.Delay <= 0 || d.Delay > maxDelay:
		return invalid("the delay of a debounce must be over 0 and at most %s, not %s", maxDelay, d.Delay)
	case d.MaxWait < 0 || d.MaxCount < 0:
		return invalid("the bounds of a debounce must not be negative")
	}
	if problem := checkKey(d.Key); problem != "" {
		return invalid("the key of the debounce %s", problem)
	}
	return nil
}

// pushDebounced stores a job with a debounce; j's ScheduledFor and accumulated arguments are changed.
func (q *Queue) pushDebounced(ctx context.Context, j *engine.Job) (engine.PushResult, error) {
	var none engine.PushResult
	if err := checkDebounce(j); err != nil {
		return none, err
	}
	if _, err := accumulate(nil, j.Args, j.Debounce.Accumulate); err != nil {
		return none, err
	}
	i, err := q.prepare(ctx, j)
	if err != nil {
		return none, err
	}
	s, err := q.seat(ctx, j)
	if err != nil {
		return none, err
	}
	defer func() { s.settle(func(int) bool { return waiting(i) }) }()
	select {
	case q.debouncing <- struct{}{}:
		defer func() { <-q.debouncing }()
	case <-ctx.Done():
		return none, ctx.Err()
	}
	o, asked := &op{insert: i}, j.ScheduledFor
	m := &merge{q: q, insert: i, latest: j.Args, blob: i.ArgsBlob}
	err = q.patiently(ctx, func() error {
		o.retried = m.tried
		m.tried, m.replaced, m.step, m.gates = true, nil, false, nil
		j.ScheduledFor, j.Args, i.ArgsBlob = asked, m.latest, m.blob
		return q.cfg.DB.InTx(ctx, func(tx store.Tx) error { return m.do(ctx, tx) })
	})
	if errors.Is(err, errTaken) {
		return q.twice(ctx, o)
	}
	if err != nil {
		return none, wrap(err)
	}
	res := engine.PushResult{ID: j.ID, Replaced: m.replaced}
	if i.Gate != 0 {
		m.gates = append(m.gates, i.Gate)
	} else {
		q.lanes.added(j.Tag, j.Priority, j.ScheduledFor)
		q.news.queued(j)
		q.left()
	}
	q.admitAt(context.WithoutCancel(ctx), m.gates)
	if m.step && q.cfg.Flows != nil {
		go q.replacedStep(context.WithoutCancel(ctx), m)
		res.Replaced = nil // it ends with its flow
	}
	return res, nil
}

// merge is one debounced push.
type merge struct {
	q        *Queue
	insert   *store.JobInsert
	latest   json.RawMessage // arguments of this request,
	blob     []byte          // and where they are when they are large
	tried    bool            // an earlier try may have been committed
	replaced *uuid.UUID
	step     bool    // that one is a step, which its flow has to end
	stored   bool    // the job is stored already: it is a step
	gates    []int32 // where a place became free
}

func (m *merge) do(ctx context.Context, tx store.Tx) error {
	db, j := m.q.cfg.DB, m.insert.Job
	d, err := db.DebounceLock(ctx, tx, j.Workspace, j.Debounce.Key, j.ID)
	if err != nil {
		return err
	}
	if d.Count > 0 && d.Job == j.ID {
		return errTaken
	}
	args, waits := []byte(nil), false
	if d.Count > 0 {
		if args, waits, m.step, err = db.DebounceFormer(ctx, tx, d); err != nil {
			return err
		}
	}
	if waits {
		if err := m.replace(ctx, tx, d, args); err != nil {
			return err
		}
	} else {
		d.First, d.Count, m.step = d.Now, 0, false
	}
	d.Job, d.Count = j.ID, d.Count+1
	j.ScheduledFor = due(j, d)
	if m.stored {
		return db.DebounceStep(ctx, tx, d, m.insert, waits && len(j.Debounce.Accumulate) > 0)
	}
	if err := db.DebounceSet(ctx, tx, d, m.insert); err != nil {
		return err
	}
	if !m.insert.Inserted {
		return errTaken
	}
	return nil
}

// replace ends the job that stood for the key and takes over its accumulated arguments.
func (m *merge) replace(ctx context.Context, tx store.Tx, d *store.Debounced, args []byte) (err error) {
	j, former := m.insert.Job, d.Job
	if j.Args, err = accumulate(args, m.latest, j.Debounce.Accumulate); err != nil {
		return err
	}
	if len(j.Debounce.Accumulate) > 0 {
		if err := m.q.checkJob(j); err != nil { // it may have become too large
			return err
		}
		if err := m.q.placeArgs(ctx, m.insert); err != nil {
			return err
		}
	}
	result, err := json.Marshal(map[string]uuid.UUID{"debounced_by": j.ID})
	if err != nil {
		return err
	}
	end := func() (int32, error) { return m.q.cfg.DB.DebounceEnd(ctx, tx, former, result) }
	if m.step {
		end = func() (int32, error) { return m.q.cfg.DB.DebounceOut(ctx, tx, former, j.ID) }
	}
	gate, err := end()
	if err != nil {
		return err
	}
	if gate != 0 {
		m.gates = append(m.gates, gate)
	}
	m.replaced = &former
	return nil
}

// due is when a debounced job runs, by the server's clock.
func due(j *engine.Job, d *store.Debounced) time.Time {
	b := j.Debounce
	if b.MaxCount > 0 && d.Count >= b.MaxCount {
		return d.Now
	}
	at := d.Now.Add(b.Delay)
	if j.Step == "" && j.ScheduledFor.After(at) {
		at = j.ScheduledFor
	}
	if last := d.First.Add(b.MaxWait); b.MaxWait > 0 && last.Before(at) {
		at = last
	}
	if at.Before(d.Now) {
		at = d.Now
	}
	return at
}

// accumulate returns latest with the named arrays of former put before its own. The order of its keys is kept.
func accumulate(former, latest json.RawMessage, names []string) (json.RawMessage, error) {
	if len(names) == 0 {
		return latest, nil
	}
	old, err := fields(former)
	if err != nil {
		return nil, err
	}
	list, err := fields(latest)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		before, err := elements(name, old.get(name))
		if err != nil {
			return nil, err
		}
		after, err := elements(name, list.get(name))
		if err != nil {
			return nil, err
		}
		if before != nil {
			list = list.set(name, "["+string(bytes.Join(append(before, after...), []byte(",")))+"]")
		}
	}
	return list.object(), nil
}

// object is a JSON object with its order.
type object []field

type field struct {
	name  string
	value json.RawMessage
}

func fields(b json.RawMessage) (out object, err error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, nil
	}
	bad := func(err error) (object, error) {
		return nil, &engine.Error{Code: engine.Invalid, Op: "job.push", Msg: "arguments that are accumulated must be in a JSON object", Err: err}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return bad(err)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return bad(err)
		}
		name, _ := t.(string)
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return bad(err)
		}
		out = out.set(name, string(v))
	}
	return out, nil
}

func (o object) get(name string) json.RawMessage {
	for _, f := range o {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

func (o object) set(name, value string) object {
	for i := range o {
		if o[i].name == name {
			o[i].value = json.RawMessage(value)
			return o
		}
	}
	return append(o, field{name, json.RawMessage(value)})
}

func (o object) object() json.RawMessage {
	b := []byte{'{'}
	for i, f := range o {
		if i > 0 {
			b = append(b, ", "...)
		}
		name, err := json.Marshal(f.name)
		if err != nil {
			panic(err) // a string
		}
		b = append(append(append(b, name...), ": "...), f.value...)
	}
	return append(b, '}')
}

// elements are those of an array argument; none and null are an empty one.
func elements(name string, v json.RawMessage) (out [][]byte, err error) {
	if len(v) == 0 || string(v) == "null" {
		return nil, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(v, &list); err != nil {
		return nil, engine.Errorf(engine.Invalid, "job.push", "the argument %s is accumulated and must be an array", name)
	}
	out = [][]byte{}
	for _, e := range list {
		out = append(out, e)
	}
	return out, nil
}
