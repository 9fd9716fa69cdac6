package webtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// Batches is the engine seen as api.Batches: rows are lines whatever their format, each is a job that has succeeded with its
// arguments as result, except that a line "bad" is wrong and one with "fail" in it has failed.
type Batches struct{ *Engine }

type fakeBatch struct {
	batch engine.Batch
	asked engine.BatchRequest
	rows  []engine.BatchRow
	bytes int
}

// Received returns what the batch with an id was asked for, and how many bytes its rows had.
func (e *Engine) Received(id uuid.UUID) (engine.BatchRequest, int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.batches[id].asked, e.batches[id].bytes
}

// Progress changes a batch, as time does.
func (e *Engine) Progress(id uuid.UUID, change func(*engine.Batch)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.batches[id].batch)
}

// Receive implements api.Batches.
func (e Batches) Receive(_ context.Context, p engine.Principal, r engine.BatchRequest) (*engine.Batch, error) {
	b := &fakeBatch{asked: r, batch: engine.Batch{ID: engine.NewBatchID(), Workspace: r.Run.Workspace, Name: r.Name, Kind: engine.KindScript,
		Path: r.Run.Path, State: engine.BatchDone, CreatedBy: p.Username, CreatedAt: time.Now()}}
	if err := e.target(&b.batch, r.Run); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(r.Rows, 64<<10)
	for n := int64(1); ; n++ {
		line, err := in.ReadSlice('\n')
		if b.bytes += len(line); len(line) == 0 {
			if err.Error() != "EOF" {
				return nil, engine.Errorf(engine.Invalid, "batch.receive", "the rows broke off after row %d: %v", n-1, err)
			}
			break
		}
		if string(line) == "bad\n" {
			return nil, engine.Errorf(engine.Invalid, "batch.receive", "line %d: not valid JSON", n)
		}
		b.add(line)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keep(b)
	return &b.batch, nil
}

func (e Batches) target(b *engine.Batch, r engine.RunRequest) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(r.Workspace); err != nil || r.Kind == engine.KindNoop {
		b.Kind = engine.KindNoop
		return err
	}
	if r.Kind == engine.KindFlow {
		f, err := e.flow(r.Path, int64(r.Hash))
		if err == nil {
			b.Kind, b.Path, b.Hash = engine.KindFlow, f.Path, f.Hash()
		}
		return err
	}
	s, err := e.script(r)
	if err == nil {
		b.Path, b.Hash = s.Path, s.Hash
	}
	return err
}

// add counts a row; its result is kept of the first ones only, so that many rows need no memory here.
func (b *fakeBatch) add(line []byte) {
	b.batch.Inserted++
	b.batch.Done++
	if b.batch.Inserted > 100 {
		return
	}
	row := engine.BatchRow{Row: b.batch.Inserted, Job: engine.BatchJobID(b.batch.ID, b.batch.Inserted), State: engine.StateSuccess, Result: json.RawMessage(slices.Clone(line))}
	if slices.Contains([]string{"{\"fail\":true}\n"}, string(line)) {
		row.State, row.Result = engine.StateFailure, json.RawMessage(`{"error":{"name":"E","message":"m"}}`)
		b.batch.Failed++
	}
	b.rows = append(b.rows, row)
}

// keep stores a batch. Called with mu held.
func (e Batches) keep(b *fakeBatch) {
	n := b.batch.Inserted
	b.batch.Total = &n
	if e.batches == nil {
		e.batches = map[uuid.UUID]*fakeBatch{}
	}
	e.batches[b.batch.ID] = b
	e.batchOrder = append(e.batchOrder, b.batch.ID)
}

func (e Batches) find(ws string, id uuid.UUID) (*fakeBatch, error) {
	if b := e.batches[id]; b != nil && b.batch.Workspace == ws {
		return b, nil
	}
	return nil, &engine.Error{Code: engine.NotFound, Op: "batch.get", Path: id.String(), Msg: "there is no such batch in this workspace"}
}

// Get implements api.Batches.
func (e Batches) Get(_ context.Context, _ engine.Principal, ws string, id uuid.UUID) (*engine.Batch, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(ws, id)
	if err != nil {
		return nil, err
	}
	copied := b.batch
	return &copied, nil
}

// List implements api.Batches; it knows the filters of states and paths, and pages.
func (e Batches) List(_ context.Context, _ engine.Principal, ws string, f engine.BatchFilter) ([]*engine.Batch, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return nil, err
	}
	var found []*engine.Batch
	for _, id := range slices.Backward(e.batchOrder) {
		b := e.batches[id].batch
		if (len(f.States) == 0 || slices.Contains(f.States, b.State)) && (f.PathExact == "" || f.PathExact == b.Path) {
			found = append(found, &b)
		}
	}
	return page(found, f.Page, f.PerPage), nil
}

// Results implements api.Batches: pages of two rows.
func (e Batches) Results(_ context.Context, _ engine.Principal, ws string, id uuid.UUID, after int64, states []engine.JobState) (rows []engine.BatchRow, more bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(ws, id)
	if err != nil {
		return nil, false, err
	}
	for _, r := range b.rows {
		if r.Row > after && (len(states) == 0 || slices.Contains(states, r.State)) {
			if len(rows) == 2 {
				return rows, true, nil
			}
			rows = append(rows, r)
		}
	}
	return rows, false, nil
}

// Cancel implements api.Batches.
func (e Batches) Cancel(_ context.Context, p engine.Principal, ws string, id uuid.UUID, reason string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(ws, id)
	if err != nil {
		return err
	}
	if b.batch.Over() {
		return &engine.Error{Code: engine.Conflict, Op: "batch.cancel", Path: id.String(), Msg: "the batch is over already"}
	}
	b.batch.State, b.batch.CanceledBy, b.batch.Reason = engine.BatchCanceled, p.Username, reason
	b.batch.Canceled += *b.batch.Total - b.batch.Done
	b.batch.Done = *b.batch.Total
	return nil
}

// Rerun implements api.Batches.
func (e Batches) Rerun(_ context.Context, p engine.Principal, ws string, id uuid.UUID, states []engine.JobState, r engine.RerunRequest) (*engine.Batch, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old, err := e.find(ws, id)
	if err != nil {
		return nil, err
	}
	b := &fakeBatch{batch: engine.Batch{ID: engine.NewBatchID(), Workspace: ws, Name: r.Name, Source: &id, State: engine.BatchDone, CreatedBy: p.Username, CreatedAt: time.Now()}}
	for _, row := range old.rows {
		if slices.Contains(states, row.State) {
			b.add(row.Result)
		}
	}
	e.keep(b)
	return &b.batch, nil
}

// CountRerun implements api.Batches.
func (e Batches) CountRerun(_ context.Context, _ engine.Principal, ws string, f engine.JobFilter, r engine.RerunRequest) (engine.RerunCount, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := engine.RerunCount{ByPath: map[string]int{}}
	for _, id := range e.order {
		v := &e.jobs[id].view
		if v.Workspace == ws && selects(f, v) && (r.Limit == 0 || n.Count < r.Limit) {
			n.Count++
			n.ByPath[v.Path]++
		}
	}
	return n, nil
}

// RerunJobs implements api.Batches.
func (e Batches) RerunJobs(ctx context.Context, p engine.Principal, ws string, f engine.JobFilter, r engine.RerunRequest) (*engine.Batch, error) {
	n, err := e.CountRerun(ctx, p, ws, f, r)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b := &fakeBatch{batch: engine.Batch{ID: engine.NewBatchID(), Workspace: ws, Name: r.Name, State: engine.BatchDone, CreatedBy: p.Username, CreatedAt: time.Now()}}
	for range n.Count {
		b.add([]byte("{}\n"))
	}
	e.keep(b)
	return &b.batch, nil
}

// RerunEach implements api.Batches.
func (e Batches) RerunEach(_ context.Context, _ engine.Principal, ws string, s engine.RerunSelection, _ string) ([]engine.RerunOutcome, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []engine.RerunOutcome
	for _, id := range s.IDs {
		j, err := e.Engine.find(ws, id)
		if err != nil {
			out = append(out, engine.RerunOutcome{Err: err})
			continue
		}
		job := j.view.Job
		job.ID = engine.NewJobID()
		if replaced := s.Args[job.Path]; len(replaced) > 0 {
			text, err := json.Marshal(replaced)
			if err != nil {
				return nil, fmt.Errorf("fake: %w", err)
			}
			job.Args = text
		}
		e.add(job, &engine.Outcome{State: engine.StateSuccess, Result: json.RawMessage("null")})
		out = append(out, engine.RerunOutcome{ID: job.ID})
	}
	return out, nil
}
