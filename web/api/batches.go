package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/stream"
	"github.com/millrace/millrace/web/wire"
)

// Batches runs one thing for many rows.
type Batches interface {
	// Receive returns when all rows are durable. Rows that can be made to stop have a method Abort.
	Receive(ctx context.Context, p engine.Principal, r engine.BatchRequest) (*engine.Batch, error)
	Get(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) (*engine.Batch, error)
	List(ctx context.Context, p engine.Principal, ws string, f engine.BatchFilter) ([]*engine.Batch, error)
	// Results returns a page of rows after one of them; more tells whether others may follow.
	Results(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, after int64, states []engine.JobState) (rows []engine.BatchRow, more bool, err error)
	Cancel(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, reason string) error
	Rerun(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, states []engine.JobState, r engine.RerunRequest) (*engine.Batch, error)
	RerunJobs(ctx context.Context, p engine.Principal, ws string, f engine.JobFilter, r engine.RerunRequest) (*engine.Batch, error)
	CountRerun(ctx context.Context, p engine.Principal, ws string, f engine.JobFilter, r engine.RerunRequest) (engine.RerunCount, error)
	RerunEach(ctx context.Context, p engine.Principal, ws string, s engine.RerunSelection, trigger string) ([]engine.RerunOutcome, error)
}

const typeLines = "application/x-ndjson"

func (h *API) batchRoutes() []Route {
	const b = "/api/w/{workspace}/batches/"
	list := join([]Param{
		query("script_path_exact", "string", "path of the script"),
		query("script_path_start", "string", "start of the path"),
		query("created_by", "string", "username"),
		query("state", "string", "comma separated: receiving, running, done, canceled, failed"),
	}, pageParams)
	status := query("status", "string", "comma separated: success, failure, canceled; for results also queued, running")
	return append(h.batchRunRoutes(), append([]Route{
		{Method: "GET", Path: b + "list", Name: "listBatches", Group: "batches", Access: User, Params: list,
			Summary: "Batches, newest first", Answer: JSONOf([]wire.Batch{}), Handle: h.listBatches},
		{Method: "GET", Path: b + "get/{batch}", Name: "getBatch", Group: "batches", Access: User,
			Summary: "A batch and how far it is", Answer: JSONOf(wire.Batch{}), Handle: h.getBatch},
		{Method: "GET", Path: b + "progress_sse/{batch}", Name: "getBatchProgressSSE", Group: "batches", Access: User,
			Summary: "The progress of a batch as server-sent events, until it is over", Answer: Shape{Type: typeSSE, Value: wire.BatchUpdate{}}, Handle: h.followBatch},
		{Method: "GET", Path: b + "results/{batch}", Name: "getBatchResults", Group: "batches", Access: User,
			Params:  []Param{status, query("after", "integer", "only rows after this one")},
			Summary: "The rows of a batch in their order, with what became of them", Answer: Shape{Type: typeLines, Doc: `a line a row: {"row", "job", "status", "result"}`}, Handle: h.batchResults},
		{Method: "POST", Path: b + "cancel/{batch}", Name: "cancelBatch", Group: "batches", Access: User, Body: JSONOf(wire.CancelBody{}),
			Summary: "Cancels what is queued or running of a batch", Answer: TextOf("the batch's id"), Handle: h.cancelBatch},
		{Method: "POST", Path: b + "rerun/{batch}", Name: "rerunBatch", Group: "batches", Access: User, Params: append([]Param{status}, rerunParams...), Status: statusNew,
			Summary: "Runs rows of a batch again as a new batch; those that failed, unless told", Answer: TextOf("the new batch's id"), Handle: h.rerunBatch},
	}, h.rerunRoutes()...)...)
}

func viewBatch(b *engine.Batch) *wire.Batch {
	v := &wire.Batch{ID: b.ID, WorkspaceID: b.Workspace, Name: b.Name, JobKind: b.Kind, ScriptPath: b.Path, State: b.State, Total: b.Total,
		Inserted: b.Inserted, Queued: b.Queued, Running: b.Running, Done: b.Done, Failed: b.Failed, Canceled: b.Canceled, Over: b.Over(),
		Rate: math.Round(b.Rate*10) / 10, CreatedBy: b.CreatedBy, CreatedAt: b.CreatedAt.UTC(), ReceivedAt: b.ReceivedAt, FinishedAt: b.FinishedAt,
		Error: b.Error, CanceledBy: b.CanceledBy, CanceledReason: b.Reason}
	if b.Hash != 0 {
		v.ScriptHash = b.Hash.String()
	}
	if b.Source != nil && *b.Source != b.ID {
		v.Source = b.Source
	}
	if d, ok := b.Left(); ok && !v.Over {
		s := math.Round(d.Seconds()*10) / 10
		v.ETA = &s
	}
	return v
}

var batchStates = []engine.BatchState{engine.BatchReceiving, engine.BatchRunning, engine.BatchDone, engine.BatchCanceled, engine.BatchFailed}

func (h *API) listBatches(a *Ask) error {
	o := a.options()
	f := engine.BatchFilter{PathExact: o.text("script_path_exact"), PathStart: o.text("script_path_start"), CreatedBy: o.text("created_by")}
	for _, s := range o.list("state") {
		if !slices.Contains(batchStates, engine.BatchState(s)) {
			o.fail("state %q is none of receiving, running, done, canceled, failed", s)
		}
		f.States = append(f.States, engine.BatchState(s))
	}
	f.Page, f.PerPage = o.page(false)
	if o.err != nil {
		return o.err
	}
	found, err := h.batches.List(a.Base, a.Who, a.Workspace, f)
	if err != nil {
		return err
	}
	list := []*wire.Batch{}
	for _, b := range found {
		list = append(list, viewBatch(b))
	}
	return JSON(a.RequestCtx, list)
}

func (a *Ask) batchID() (uuid.UUID, error) {
	s, err := a.param("batch")
	if err != nil {
		return uuid.Nil, err
	}
	return parseID("batch id", s)
}

func (h *API) getBatch(a *Ask) error {
	id, err := a.batchID()
	if err != nil {
		return err
	}
	b, err := h.batches.Get(a.Base, a.Who, a.Workspace, id)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, viewBatch(b))
}

// batchLook is how often a followed batch is looked at: its counters change too often to tell of each change.
const batchLook = 500 * time.Millisecond

func (h *API) followBatch(a *Ask) error {
	id, err := a.batchID()
	if err != nil {
		return err
	}
	first, err := h.batches.Get(a.Base, a.Who, a.Workspace, id)
	if err != nil {
		return err
	}
	base, who, ws := a.Base, a.Who, a.Workspace // the request is over when the stream begins
	h.streams.Add(1)
	stream.Serve(a.RequestCtx, h.log, func(w *stream.Writer) {
		defer h.streams.Add(-1)
		life, ping, look := time.NewTimer(streamLife), time.NewTicker(pingEvery), time.NewTicker(batchLook)
		defer life.Stop()
		defer ping.Stop()
		defer look.Stop()
		var told []byte
		for b := first; ; {
			text, err := encode(wire.BatchUpdate{Type: "update", Batch: viewBatch(b)})
			if err != nil || (!bytes.Equal(text, told) && w.Event("", text) != nil) || b.Over() {
				return
			}
			told = text
			for looking := false; !looking; {
				select {
				case <-look.C:
					looking = true
				case <-ping.C:
					if w.Ping() != nil {
						return
					}
				case <-life.C:
					_ = w.Event("", []byte(`{"type":"timeout"}`)) // an error means that the client is gone already
					return
				case <-h.draining:
					_ = w.Event("", []byte(`{"type":"timeout"}`)) // likewise
					return
				case <-base.Done():
					return
				}
			}
			if b, err = h.batches.Get(base, who, ws, id); err != nil {
				_ = w.Event("", []byte(`{"type":"timeout"}`)) // the client comes back and is told then
				return
			}
		}
	})
	return nil
}

// jobStatuses reads a list of states of jobs out of allowed ones.
func (o *options) jobStatuses(name string, allowed []engine.JobState) (out []engine.JobState) {
	for _, s := range o.list(name) {
		if !slices.Contains(allowed, engine.JobState(s)) {
			o.fail("query parameter %s: %q is none of %v", name, s, allowed)
		}
		out = append(out, engine.JobState(s))
	}
	return out
}

func (h *API) batchResults(a *Ask) error {
	id, err := a.batchID()
	if err != nil {
		return err
	}
	o := a.options()
	after, _ := o.whole("after", 0, engine.MaxBatchRows)
	states := o.jobStatuses("status", allStates)
	if o.err != nil {
		return o.err
	}
	if _, err := h.batches.Get(a.Base, a.Who, a.Workspace, id); err != nil {
		return err
	}
	rows, more, err := h.batches.Results(a.Base, a.Who, a.Workspace, id, after, states)
	if err != nil {
		return err
	}
	base, who, ws, conn := a.Base, a.Who, a.Workspace, a.Conn() // the request is over when the stream begins
	a.SetStatusCode(fasthttp.StatusOK)
	a.Response.Header.SetContentType(typeLines)
	a.SetBodyStreamWriter(func(w *bufio.Writer) {
		for {
			if writeRows(w, conn, rows) != nil || !more || len(rows) == 0 {
				return
			}
			after = rows[len(rows)-1].Row
			if rows, more, err = h.batches.Results(base, who, ws, id, after, states); err != nil {
				h.log.Error().Err(err).Stringer("batch", id).Msg("results of a batch break off")
				_, _ = w.WriteString(`{"error":"the results break off here; ask for the rest with after"}` + "\n") // the client may be gone
				return
			}
		}
	})
	return nil
}

// resultPatience is how long a client may leave a page of results unread.
const resultPatience = time.Minute

func writeRows(w *bufio.Writer, conn net.Conn, rows []engine.BatchRow) error {
	for _, r := range rows {
		line := wire.BatchRow{Row: r.Row, Job: r.Job, Status: r.State}
		if done(r.State) {
			result, err := resultOf(&engine.JobView{State: r.State, Result: r.Result})
			if err != nil {
				return err
			}
			line.Result = &result
		}
		text, err := encode(line)
		if err != nil {
			return err
		}
		if conn != nil {
			_ = conn.SetWriteDeadline(time.Now().Add(resultPatience)) // fails only on a closed connection, which writing reports
		}
		if _, err := w.Write(append(text, '\n')); err != nil {
			return err
		}
	}
	return w.Flush()
}

func (h *API) cancelBatch(a *Ask) error {
	id, err := a.batchID()
	if err != nil {
		return err
	}
	var c wire.CancelBody
	if len(a.PostBody()) > 0 {
		if err := a.body(&c); err != nil {
			return err
		}
	}
	if err := h.batches.Cancel(a.Base, a.Who, a.Workspace, id, c.Reason); err != nil {
		return err
	}
	Text(a.RequestCtx, fasthttp.StatusOK, id.String())
	return nil
}

// cancelSelection cancels several jobs; those that are completed, or not there, are left out of the answer.
func (h *API) cancelSelection(a *Ask) error {
	var ids []uuid.UUID
	if err := a.body(&ids); err != nil {
		return err
	}
	canceled := []uuid.UUID{}
	for _, id := range ids {
		err := h.jobs.Cancel(a.Base, a.Who, a.Workspace, id, "")
		switch engine.CodeOf(err) {
		case "":
			canceled = append(canceled, id)
		case engine.NotFound, engine.Conflict:
		default:
			return err
		}
	}
	return JSON(a.RequestCtx, canceled)
}

// staticInputs reads the arguments that Windmill's transforms replace.
func staticInputs(path string, in map[string]wire.InputTransform) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	for name, t := range in {
		if t.Type != "static" && t.Type != "" {
			return nil, invalid("%s: input %s is of type %s; only static ones are understood here", path, name, strings.TrimSpace(t.Type))
		}
		if out[name] = t.Value; len(t.Value) == 0 {
			out[name] = json.RawMessage("null")
		}
	}
	return out, nil
}
