package clitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/web/client"
)

// aFlow is a deployed flow: its versions as they were sent, the newest last. Their numbers count from 1.
type aFlow struct {
	versions []json.RawMessage
	archived bool
}

func (d *Daemon) flowRoutes(mux *http.ServeMux) {
	const w = "/api/w/main/flows/"
	mux.HandleFunc("POST "+w+"create", d.createFlow)
	mux.HandleFunc("POST "+w+"update/{path...}", d.createFlow)
	mux.HandleFunc("GET "+w+"get/{path...}", d.flow)
	mux.HandleFunc("GET "+w+"get/v/{version}", d.flow)
	mux.HandleFunc("GET "+w+"list", d.listFlows)
	mux.HandleFunc("GET "+w+"history/p/{path...}", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, []client.FlowVersion{{ID: 2, CreatedAt: Noon, CreatedBy: "ann", Message: "second"}, {ID: 1, CreatedAt: Noon.Add(-time.Hour), CreatedBy: "ben"}})
	})
	mux.HandleFunc("POST "+w+"archive/{path...}", d.archiveFlow)
}

// flowAt is the flow in use at a path, or the answer that there is none.
func (d *Daemon) flowAt(w http.ResponseWriter, path string) *aFlow {
	if f := d.Flows[path]; f != nil && !f.archived {
		return f
	}
	http.Error(w, "Not found: "+path+": no such flow in workspace main", http.StatusNotFound)
	return nil
}

func (d *Daemon) createFlow(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	d.Lock()
	defer d.Unlock()
	var f client.FlowListed
	if err := json.Unmarshal(body, &f); err != nil || f.Path == "" {
		http.Error(w, "Bad request: the body is not a flow", http.StatusBadRequest)
		return
	}
	known := d.Flows[f.Path]
	if path := trimmed(r); path != "" {
		if known = d.flowAt(w, path); known == nil {
			return
		}
	}
	if known == nil {
		known = &aFlow{}
		d.Flows[f.Path] = known
	}
	done := client.FlowDeployed{Path: f.Path, Version: int64(len(known.versions)), Warnings: nil}
	if n := len(known.versions); n == 0 || known.archived || !bytes.Equal(known.versions[n-1], body) {
		known.archived = false
		known.versions = append(known.versions, body)
		done.Version, done.Created = int64(n+1), true
		out := Outcome{Logs: "resolving dependencies of " + f.Path + "\n", Result: "null"}
		if why := d.LockError[f.Path]; why != "" {
			out = Outcome{Logs: why + "\n", Failed: true, Result: `{"error": {"name": "DependencyError", "message": ` + fmt.Sprintf("%q", why) + `}}`}
		}
		d.add(&client.Job{JobKind: "flowdependencies", ScriptPath: &f.Path, ScriptHash: fmt.Sprintf("%016x", done.Version)}, out)
	}
	reply(w, done)
}

// view is a version as it is answered.
func (f *aFlow) view(path string, version int) json.RawMessage {
	sent := bytes.Clone(bytes.TrimSuffix(bytes.TrimSpace(f.versions[version-1]), []byte("}")))
	return fmt.Appendf(sent, `,"version_id":%d,"edited_by":"ann","edited_at":%q,"ws_error_handler_muted":false,"archived":%v}`, version, Noon.Format(time.RFC3339), f.archived)
}

func (d *Daemon) flow(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	path, version := trimmed(r), 0
	if v := r.PathValue("version"); v != "" {
		if _, err := fmt.Sscan(v, &version); err != nil {
			http.Error(w, "Bad request: version", http.StatusBadRequest)
			return
		}
		for p := range d.Flows {
			path = p
		}
	}
	if f := d.flowAt(w, path); f != nil {
		if version == 0 {
			version = len(f.versions)
		}
		reply(w, f.view(path, version))
	}
}

func (d *Daemon) listFlows(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	list := []json.RawMessage{}
	for _, path := range slices.Sorted(maps.Keys(d.Flows)) {
		f := d.Flows[path]
		if f.archived == (r.URL.Query().Get("show_archived") == "true") && strings.HasPrefix(path, r.URL.Query().Get("path_start")) {
			list = append(list, f.view(path, len(f.versions)))
		}
	}
	reply(w, list)
}

func (d *Daemon) archiveFlow(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	if f := d.flowAt(w, trimmed(r)); f != nil {
		f.archived = true
		fmt.Fprint(w, trimmed(r))
	}
}
