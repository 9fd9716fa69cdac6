package clitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
)

func (d *Daemon) create(w http.ResponseWriter, r *http.Request) {
	var s client.NewScript
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = errors.Join(json.Unmarshal(body, &s), json.Unmarshal(body, &s.More))
	}
	if err != nil || s.Path == "" {
		http.Error(w, "Bad request: the body is not a script", http.StatusBadRequest)
		return
	}
	d.Lock()
	defer d.Unlock()
	d.Scripts[s.Path] = s
	out := Outcome{Logs: "resolving dependencies of " + s.Path + "\n", Result: "null"}
	if why := d.LockError[s.Path]; why != "" {
		out = Outcome{Logs: why + "\n", Failed: true, Result: `{"error": {"name": "DependencyError", "message": ` + fmt.Sprintf("%q", why) + `}}`}
	}
	d.add(&client.Job{JobKind: "dependencies", ScriptPath: &s.Path, ScriptHash: hashOf(s.Path), Language: s.Language}, out)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, hashOf(s.Path))
}

func (d *Daemon) view(s client.NewScript) client.Script {
	v := client.Script{Path: s.Path, Hash: hashOf(s.Path), Language: s.Language, Summary: s.Summary, Content: s.Content, CreatedAt: Noon, CreatedBy: "ann"}
	switch why := d.LockError[s.Path]; {
	case !d.settled[s.Path]:
	case why != "":
		v.LockErrorLogs = why
	default:
		lock := ""
		v.Lock = &lock
	}
	return v
}

func (d *Daemon) script(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	for path, s := range d.Scripts {
		if path == trimmed(r) || hashOf(path) == r.PathValue("hash") {
			reply(w, d.view(s))
			return
		}
	}
	http.Error(w, "Not found: script "+trimmed(r)+r.PathValue("hash"), http.StatusNotFound)
}

func (d *Daemon) listScripts(w http.ResponseWriter, _ *http.Request) {
	d.Lock()
	defer d.Unlock()
	list := []client.Script{}
	for _, path := range slices.Sorted(maps.Keys(d.Scripts)) {
		list = append(list, d.view(d.Scripts[path]))
	}
	reply(w, list)
}

func (d *Daemon) history(w http.ResponseWriter, r *http.Request) {
	reply(w, []client.Version{{Hash: hashOf(trimmed(r)), CreatedAt: Noon, CreatedBy: "ann", Message: "second"},
		{Hash: "00000000000000aa", CreatedAt: Noon.Add(-time.Hour), CreatedBy: "ben"}})
}

func (d *Daemon) archive(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	if _, ok := d.Scripts[trimmed(r)]; !ok {
		http.Error(w, "Not found: script "+trimmed(r), http.StatusNotFound)
		return
	}
	delete(d.Scripts, trimmed(r))
	fmt.Fprint(w, trimmed(r))
}

func (d *Daemon) run(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	j := &client.Job{JobKind: "script", Args: body}
	what := trimmed(r)
	if path := what; path != "" {
		j.ScriptPath = &path
	} else {
		var p client.Preview
		if err := json.Unmarshal(body, &p); err != nil {
			http.Error(w, "Bad request: the body is not a preview", http.StatusBadRequest)
			return
		}
		j.JobKind, j.Language, j.Args, what = "preview", p.Language, p.Args, p.Content
		if p.Event != nil {
			j.Args = json.RawMessage(`{"event":` + string(p.Event) + "}")
		}
	}
	d.Lock()
	defer d.Unlock()
	if j.ScriptPath != nil && r.PathValue("kind") == "f" {
		if j.JobKind = "flow"; d.flowAt(w, what) == nil {
			return
		}
	}
	if j.ScriptPath != nil && r.PathValue("kind") == "p" {
		if _, ok := d.Scripts[what]; !ok {
			http.Error(w, "Not found: script "+what+" (deploy it first)", http.StatusNotFound)
			return
		}
	}
	id := d.add(j, d.Run(what, j.Args))
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, id)
}

// add keeps a job that ends as o says; the caller holds the lock.
func (d *Daemon) add(j *client.Job, o Outcome) uuid.UUID {
	j.ID = d.id()
	j.CreatedAt, j.CreatedBy, j.ScheduledFor, j.Logs = Noon, "ann", Noon, o.Logs
	started := Noon.Add(1200 * time.Microsecond)
	j.StartedAt, j.Status, j.Type = &started, "running", "QueuedJob"
	asFlow(j, o)
	d.jobs[j.ID], d.ended[j.ID] = j, make(chan struct{})
	d.order = append(d.order, j.ID)
	if !o.Forever {
		end, took, success, result := Noon.Add(4700*time.Microsecond), 3.5, !o.Failed, json.RawMessage(o.Result)
		j.CompletedAt, j.DurationMS, j.Success, j.Result = &end, &took, &success, &result
		j.Status, j.Type = "success", "CompletedJob"
		if o.Failed {
			j.Status = "failure"
		}
		d.end(j.ID)
	}
	return j.ID
}

func (d *Daemon) follow(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	j := d.find(w, r)
	if j == nil {
		d.Unlock()
		return
	}
	ended, first := d.ended[j.ID], client.Update{Type: "update", Running: true, NewLogs: j.Logs, LogOffset: int64(len(j.Logs))}
	d.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	first.FlowStatus = halfway(j)
	event(w, first)
	select {
	case <-ended:
	case <-r.Context().Done():
		return
	}
	d.Lock()
	defer d.Unlock()
	if j.JobKind == "dependencies" {
		d.settled[*j.ScriptPath] = true
	}
	event(w, client.Update{Type: "update", Completed: true, LogOffset: int64(len(j.Logs)), Job: j})
}

func event(w http.ResponseWriter, u client.Update) {
	b, err := json.Marshal(u)
	if err != nil {
		panic(err) // an Outcome whose Result is no JSON is the test's mistake
	}
	fmt.Fprintf(w, "data: %s\n\n", b)
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

func (d *Daemon) job(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	if j := d.find(w, r); j != nil {
		reply(w, j)
	}
}

func (d *Daemon) logs(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	if j := d.find(w, r); j != nil {
		fmt.Fprint(w, j.Logs)
	}
}

func (d *Daemon) listJobs(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	list := []client.Job{}
	for _, id := range slices.Backward(d.order) {
		j := *d.jobs[id]
		q := r.URL.Query()
		if kinds := q.Get("job_kinds"); kinds != "" && kinds != string(j.JobKind) {
			continue
		}
		if path := q.Get("script_path_exact"); path != "" && (j.ScriptPath == nil || *j.ScriptPath != path) {
			continue
		}
		if status := q.Get("status"); status != "" && status != string(j.Status) {
			continue
		}
		list = append(list, j)
	}
	reply(w, list)
}

func (d *Daemon) why(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	if j := d.find(w, r); j != nil {
		reply(w, client.Why{State: "queued", Reasons: []string{"no worker takes tag gpu"}, Ahead: 2, Workers: 1, FreeSlots: 8})
	}
}

func (d *Daemon) cancel(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	j := d.find(w, r)
	if j == nil {
		return
	}
	d.Canceled = append(d.Canceled, j.ID.String())
	no, end := false, Noon.Add(time.Second)
	j.Canceled, j.CanceledBy, j.Status, j.Success, j.CompletedAt = true, "ann", "canceled", &no, &end
	d.end(j.ID)
	fmt.Fprint(w, j.ID)
}
