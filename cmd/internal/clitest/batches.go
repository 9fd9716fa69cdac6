package clitest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
)

// batch is a batch whose rows are lines: each ends as Run says, one that is "bad" is wrong.
type batch struct {
	view client.Batch
	rows []client.BatchRow
	args []json.RawMessage
}

func (d *Daemon) batchRoutes(mux *http.ServeMux) {
	const w = "/api/w/main/"
	mux.HandleFunc("POST "+w+"jobs/run/batch/{kind}/{path...}", d.runBatch)
	mux.HandleFunc("POST "+w+"jobs/run/batch/noop", d.runBatch)
	mux.HandleFunc("GET "+w+"batches/list", d.listBatches)
	mux.HandleFunc("GET "+w+"batches/get/{id}", d.withBatch(func(w http.ResponseWriter, _ *http.Request, b *batch) { reply(w, b.view) }))
	mux.HandleFunc("GET "+w+"batches/progress_sse/{id}", d.followBatch)
	mux.HandleFunc("GET "+w+"batches/results/{id}", d.withBatch(func(w http.ResponseWriter, r *http.Request, b *batch) {
		for _, row := range b.rows {
			if status := r.URL.Query().Get("status"); status == "" || status == string(row.Status) {
				reply(w, row)
			}
		}
	}))
	mux.HandleFunc("POST "+w+"batches/cancel/{id}", d.withBatch(d.cancelBatch))
	mux.HandleFunc("POST "+w+"batches/rerun/{id}", d.withBatch(d.rerunBatch))
	mux.HandleFunc("POST "+w+"jobs/rerun", d.rerunJobs)
}

func (d *Daemon) runBatch(w http.ResponseWriter, r *http.Request) {
	what, key := trimmed(r), r.Header.Get("Idempotency-Key")
	d.Lock()
	broken := d.BreakBatches > 0
	d.BreakBatches -= min(d.BreakBatches, 1)
	_, known := d.Scripts[what]
	d.Unlock()
	if r.PathValue("kind") == "p" && !known {
		http.Error(w, "Not found: "+what+": no such script", http.StatusNotFound)
		return
	}
	var lines []json.RawMessage
	for in := bufio.NewScanner(r.Body); in.Scan(); {
		if lines = append(lines, slices.Clone(in.Bytes())); in.Text() == "bad" {
			http.Error(w, fmt.Sprintf("Bad request: line %d: not valid JSON", len(lines)), http.StatusBadRequest)
			return
		}
	}
	d.Lock()
	defer d.Unlock()
	d.Keys = append(d.Keys, key)
	if broken {
		http.Error(w, "Unavailable: the rows broke off", http.StatusServiceUnavailable)
		return
	}
	b := d.newBatch(what, r.URL.Query(), lines)
	if r.Header.Get("Content-Type") == "text/csv" {
		b.view.Name += "(csv)"
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, b.view.ID)
}

// newBatch runs rows; the caller holds the lock.
func (d *Daemon) newBatch(what string, q url.Values, lines []json.RawMessage) *batch {
	n := int64(len(lines))
	id := uuid.MustParse(fmt.Sprintf("00000000-0000-7000-9000-%04d00000000", len(d.batches)+1))
	b := &batch{args: lines, view: client.Batch{ID: id, ScriptPath: what, Name: q.Get("name"), State: "done", Total: &n, Inserted: n, Done: n, Over: true,
		Rate: 1234.5, CreatedBy: "ann", CreatedAt: Noon}}
	end := Noon.Add(time.Minute)
	b.view.FinishedAt = &end
	if what == "" {
		b.view.JobKind = "noop"
	}
	for i, args := range lines {
		row := client.BatchRow{Row: int64(i + 1), Job: d.id(), Status: "success"}
		o := d.Run(what+" "+string(args), args)
		result := json.RawMessage(o.Result)
		switch row.Result = &result; {
		case o.Forever:
			b.view.State, b.view.Over, b.view.FinishedAt, row.Status, row.Result = "running", false, nil, "running", nil
			b.view.Done--
			b.view.Running++
		case o.Failed:
			b.view.Failed++
			row.Status = "failure"
		}
		b.rows = append(b.rows, row)
	}
	d.batches = append(d.batches, b)
	return b
}

// withBatch finds the batch and holds the lock.
func (d *Daemon) withBatch(do func(http.ResponseWriter, *http.Request, *batch)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.Lock()
		defer d.Unlock()
		for _, b := range d.batches {
			if b.view.ID.String() == r.PathValue("id") {
				do(w, r, b)
				return
			}
		}
		http.Error(w, "Not found: batch "+r.PathValue("id"), http.StatusNotFound)
	}
}

func (d *Daemon) listBatches(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	list := []client.Batch{}
	for _, b := range slices.Backward(d.batches) {
		if state := r.URL.Query().Get("state"); state == "" || state == string(b.view.State) {
			list = append(list, b.view)
		}
	}
	reply(w, list)
}

// followBatch tells how a batch is; one that is not over stays so until the client goes.
func (d *Daemon) followBatch(w http.ResponseWriter, r *http.Request) {
	over := true
	d.withBatch(func(w http.ResponseWriter, _ *http.Request, b *batch) {
		w.Header().Set("Content-Type", "text/event-stream")
		text, err := json.Marshal(client.BatchUpdate{Type: "update", Batch: &b.view})
		if err != nil {
			panic(err) // it is made of plain fields
		}
		fmt.Fprintf(w, "data: %s\n\n", text)
		over = b.view.Over
	})(w, r)
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	if !over {
		<-r.Context().Done()
	}
}

func (d *Daemon) cancelBatch(w http.ResponseWriter, r *http.Request, b *batch) {
	if b.view.Over {
		http.Error(w, "Conflict: "+b.view.ID.String()+": the batch is over already", http.StatusConflict)
		return
	}
	var body struct{ Reason string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, "Bad request: "+err.Error(), http.StatusBadRequest)
		return
	}
	b.view.State, b.view.CanceledBy, b.view.CanceledReason, b.view.Over = "canceled", "ann", body.Reason, d.Lingering == 0
	b.view.Canceled, b.view.Running, b.view.Queued, b.view.Done = b.view.Running, 0, d.Lingering, *b.view.Total-d.Lingering
	fmt.Fprint(w, b.view.ID)
}

func (d *Daemon) rerunBatch(w http.ResponseWriter, r *http.Request, b *batch) {
	var again []json.RawMessage
	for i, row := range b.rows {
		if strings.Contains(r.URL.Query().Get("status"), string(row.Status)) {
			again = append(again, b.args[i])
		}
	}
	n := d.newBatch(b.view.ScriptPath, r.URL.Query(), again)
	n.view.Source = &b.view.ID
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, n.view.ID)
}

func (d *Daemon) rerunJobs(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	n := client.RerunCount{ByPath: map[string]int{}}
	var again []json.RawMessage
	for _, id := range d.order {
		if j := d.jobs[id]; string(j.Status) == r.URL.Query().Get("status") && j.JobKind != "dependencies" {
			path := ""
			if j.ScriptPath != nil {
				path = *j.ScriptPath
			}
			n.Count++
			n.ByPath[path]++
			again = append(again, j.Args)
		}
	}
	if r.URL.Query().Get("dry_run") == "true" {
		reply(w, n)
		return
	}
	b := d.newBatch("f/demo/hello", r.URL.Query(), again)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, b.view.ID)
}
