package clitest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
)

// record is a schedule or calendar as it was sent, with what a daemon adds.
type record = map[string]json.RawMessage

func (d *Daemon) scheduleRoutes(mux *http.ServeMux) {
	const w = "/api/w/main/"
	mux.HandleFunc("POST "+w+"schedules/create", d.createSchedule)
	mux.HandleFunc("POST "+w+"schedules/update/{path...}", d.updateSchedule)
	mux.HandleFunc("GET "+w+"schedules/get/{path...}", d.withSchedule(func(w http.ResponseWriter, _ *http.Request, s record) { reply(w, s) }))
	mux.HandleFunc("GET "+w+"schedules/list_with_jobs", d.listSchedules)
	mux.HandleFunc("DELETE "+w+"schedules/delete/{path...}", d.withSchedule(func(_ http.ResponseWriter, r *http.Request, _ record) {
		delete(d.schedules, trimmed(r))
	}))
	mux.HandleFunc("POST "+w+"schedules/setenabled/{path...}", d.withSchedule(func(_ http.ResponseWriter, r *http.Request, s record) {
		s["enabled"] = field(r, "enabled")
	}))
	mux.HandleFunc("POST "+w+"schedules/pause/{path...}", d.withSchedule(func(_ http.ResponseWriter, r *http.Request, s record) {
		if s["paused_until"] = field(r, "until"); string(s["paused_until"]) == "null" {
			delete(s, "paused_until")
		}
	}))
	mux.HandleFunc("POST "+w+"schedules/run/{path...}", d.withSchedule(func(w http.ResponseWriter, r *http.Request, s record) {
		path := word(s["script_path"])
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, d.add(&client.Job{JobKind: "script", ScriptPath: &path}, d.Run(path, s["args"])))
	}))
	mux.HandleFunc("POST "+w+"schedules/backfill/{path...}", d.withSchedule(func(w http.ResponseWriter, r *http.Request, _ record) {
		b := struct{ From, To time.Time }{To: Noon}
		if json.NewDecoder(r.Body).Decode(&b) == nil {
			reply(w, map[string]int{"ticks": int(b.To.Sub(b.From) / time.Hour)})
		}
	}))
	mux.HandleFunc("GET "+w+"schedules/ticks/{path...}", d.withSchedule(ticks))
	mux.HandleFunc("POST "+w+"schedules/preview", preview)
	mux.HandleFunc("POST "+w+"calendars/put", d.putCalendar)
	mux.HandleFunc("GET "+w+"calendars/list", func(w http.ResponseWriter, _ *http.Request) {
		d.Lock()
		defer d.Unlock()
		list := []record{}
		for _, path := range slices.Sorted(maps.Keys(d.calendars)) {
			list = append(list, d.calendars[path])
		}
		reply(w, list)
	})
	mux.HandleFunc("GET "+w+"calendars/get/{path...}", d.withCalendar(func(w http.ResponseWriter, _ *http.Request, c record) { reply(w, c) }))
	mux.HandleFunc("DELETE "+w+"calendars/delete/{path...}", d.withCalendar(func(_ http.ResponseWriter, r *http.Request, _ record) {
		delete(d.calendars, trimmed(r))
	}))
	mux.HandleFunc("GET /api/workers/list", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, []client.Worker{{ID: 3, Name: "mill-1:42", Host: "mill-1", PID: 42, Tags: []string{"gpu", "noop"}, Slots: 8, Busy: 2, StartedAt: Noon, PingAt: Noon, LastPing: 4, WMVersion: "v1.2.3",
			GPUs: []client.GPU{{ID: "0000:17:00.0", UUID: "GPU-1", Name: "NVIDIA H100", Job: "0190-1"}, {ID: "0000:65:00.0", UUID: "GPU-2", Name: "NVIDIA H100"}}}})
	})
}

// with hands do the record at the path, under the lock.
func (d *Daemon) with(all map[string]record, what string, do func(http.ResponseWriter, *http.Request, record)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.Lock()
		defer d.Unlock()
		if x := all[trimmed(r)]; x != nil {
			do(w, r, x)
			return
		}
		http.Error(w, "Not found: "+trimmed(r)+": no such "+what, http.StatusNotFound)
	}
}

func (d *Daemon) withSchedule(do func(http.ResponseWriter, *http.Request, record)) http.HandlerFunc {
	return d.with(d.schedules, "schedule", do)
}

func (d *Daemon) withCalendar(do func(http.ResponseWriter, *http.Request, record)) http.HandlerFunc {
	return d.with(d.calendars, "calendar", do)
}

func field(r *http.Request, name string) json.RawMessage {
	var b record
	if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
		return nil
	}
	return b[name]
}

func word(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s) // what is no text is none
	return s
}

// keep stores what was sent, with the fields of the server.
func (d *Daemon) keep(w http.ResponseWriter, r *http.Request, path string, old record) {
	s := record{}
	if json.NewDecoder(r.Body).Decode(&s) != nil || strings.HasPrefix(word(s["schedule"]), "wrong") {
		http.Error(w, "Bad request: "+word(s["schedule"])+" is no cron expression", http.StatusBadRequest)
		return
	}
	if path == "" {
		path = word(s["path"])
		w.WriteHeader(http.StatusCreated)
	}
	for _, name := range []string{"enabled", "paused_until", "script_path", "is_flow"} {
		if s[name] == nil && old[name] != nil {
			s[name] = old[name]
		}
	}
	for name, value := range map[string]any{"path": path, "workspace_id": "main", "next_at": Noon.Add(15 * time.Hour), "edited_by": "ann",
		"edited_at": Noon, "email": "ann@localhost", "permissioned_as": "u/ann"} {
		s[name], _ = json.Marshal(value) // always encodes
	}
	if string(s["enabled"]) != "true" {
		s["enabled"] = json.RawMessage("false")
		delete(s, "next_at")
	}
	d.schedules[path] = s
	fmt.Fprint(w, path)
}

func (d *Daemon) createSchedule(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	d.keep(w, r, "", nil)
}

func (d *Daemon) updateSchedule(w http.ResponseWriter, r *http.Request) {
	d.withSchedule(func(w http.ResponseWriter, r *http.Request, old record) { d.keep(w, r, trimmed(r), old) })(w, r)
}

func (d *Daemon) listSchedules(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	list := []record{}
	for i, path := range slices.Sorted(maps.Keys(d.schedules)) {
		s := maps.Clone(d.schedules[path])
		if r.URL.Query().Get("enabled") == "true" && string(s["enabled"]) != "true" || !strings.HasPrefix(path, r.URL.Query().Get("path_start")) {
			continue
		}
		runs := []client.ScheduleRun{{ID: uuid.Nil, Success: i%2 == 1, DurationMS: 3.5}}
		s["jobs"], _ = json.Marshal(runs[:min(i, 1)]) // always encodes
		list = append(list, s)
	}
	reply(w, list)
}

func ticks(w http.ResponseWriter, r *http.Request, _ record) {
	if r.URL.Query().Get("states") == "failed" {
		reply(w, []client.Tick{})
		return
	}
	late, yes, no, id := 1.25, true, false, uuid.MustParse("00000000-0000-7000-8000-000000000001")
	reply(w, []client.Tick{{At: Noon, State: "done", FiredAt: &Noon, DriftMS: &late, JobID: &id, Success: &yes},
		{At: Noon.Add(-time.Minute), State: "done", FiredAt: &Noon, DriftMS: &late, JobID: &id, Success: &no, Attempts: 3},
		{At: Noon.Add(-time.Hour), State: "missed", Count: 3}, {At: Noon.Add(-2 * time.Hour), State: "failed", Error: "no such script\nat all"}})
}

func preview(w http.ResponseWriter, r *http.Request) {
	var p client.SchedulePreview
	if json.NewDecoder(r.Body).Decode(&p) != nil || p.Cron == "wrong" {
		http.Error(w, "Bad request: "+p.Cron+" is no cron expression", http.StatusBadRequest)
		return
	}
	ticks := []time.Time{}
	for i := range p.N {
		ticks = append(ticks, Noon.Add(time.Duration(i*i)*7*time.Hour))
	}
	reply(w, ticks)
}

func (d *Daemon) putCalendar(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	c := record{}
	if json.NewDecoder(r.Body).Decode(&c) != nil {
		http.Error(w, "Bad request: no JSON", http.StatusBadRequest)
		return
	}
	c["edited_by"], c["edited_at"] = json.RawMessage(`"ann"`), json.RawMessage(`"2026-11-22T12:00:00Z"`)
	d.calendars[word(c["path"])] = c
	w.WriteHeader(http.StatusCreated)
}
