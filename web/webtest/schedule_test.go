package webtest

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/client"
)

const sched = w + "schedules/"

func TestSchedules(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	id := uuid.New()
	yes, fired := true, Hour.Add(1500*time.Microsecond)
	e.AddTicks(engine.Tick{Schedule: "f/demo/hello", At: Hour, State: engine.TickDone, FiredAt: &fired, Drift: 1500 * time.Microsecond, JobID: &id, Success: &yes,
		Attempts: 3, Guard: &id})
	nightly := `{"path":"f/demo/nightly","schedule":"0 0 3 * * *","script_path":"f/demo/hello","is_flow":false,"enabled":true,"labels":["ops"],"summary":"By Night","args":{"a":{"b":[1,2]}}}`
	play(t, d, []scenario{
		{name: "no credentials", path: sched + "list", token: "-", status: 401},
		{name: "of another workspace", path: sched + "list", token: "bound-secret", status: 403},
		{name: "unknown workspace", path: "/api/w/none/schedules/list", status: 404},
		{name: "get unknown", path: sched + "get/f/demo/none", status: 404, kind: "text/plain", exact: "Not found: f/demo/none: no such schedule"},
		{name: "create nothing", method: "POST", path: sched + "create", status: 400, want: []string{"Bad request: "}},
		{name: "create no JSON", method: "POST", path: sched + "create", body: "{", status: 400},
		{name: "create a list", method: "POST", path: sched + "create", body: "[]", status: 400},
		{name: "create null", method: "POST", path: sched + "create", body: "null", status: 400},
		{name: "create without cron", method: "POST", path: sched + "create", body: `{"path":"f/a/b","script_path":"f/a/c"}`, status: 400, want: []string{"needs path, schedule"}},
		{name: "create at no path", method: "POST", path: sched + "create", body: `{"path":"x","script_path":"f/a/c","schedule":"@daily"}`, status: 400, want: []string{"not a valid path"}},
		{name: "create with a wrong cron", method: "POST", path: sched + "create", body: `{"path":"f/a/b","script_path":"f/a/c","schedule":"wrong"}`, status: 400, exact: "Bad request: wrong is no cron expression (use 0 0 12 * * *)"},
		{name: "create with a wrong type", method: "POST", path: sched + "create", body: `{"path":"f/a/b","script_path":"f/a/c","schedule":"@daily","enabled":"yes"}`, status: 400},
		{name: "create with wrong args", method: "POST", path: sched + "create", body: `{"path":"f/a/b","script_path":"f/a/c","schedule":"@daily","args":[1]}`, status: 400, want: []string{"args must be a JSON object"}},
		{name: "create with half a failure", method: "POST", path: sched + "create", body: `{"path":"f/a/b","script_path":"f/a/c","schedule":"@daily","on_failure":"script/f/a/d","on_failure_times":1.5}`, status: 400, want: []string{"on_failure_times"}},
		{name: "create against itself", method: "POST", path: sched + "create", body: `{"path":"f/a/b","script_path":"f/a/c","schedule":"@daily","no_flow_overlap":true,"overlap":"queue"}`, status: 400, want: []string{"overlap is queue"}},
		{name: "create", method: "POST", path: sched + "create", body: nightly, status: 201, kind: "text/plain", exact: "f/demo/nightly"},
		{name: "create again", method: "POST", path: sched + "create", body: nightly, status: 409},
		{name: "exists", path: sched + "exists/f/demo/nightly", status: 200, kind: "application/json", exact: "true"},
		{name: "exists not", path: sched + "exists/f/demo/none", status: 200, kind: "application/json", exact: "false"},
		{name: "list", path: sched + "list", status: 200, want: []string{`"path":"f/demo/hello"`, `"next_at":"2030-01-01T10:00:00Z"`, `"path":"f/demo/nightly"`}},
		{name: "list page", path: sched + "list?page=2&per_page=1", status: 200, want: []string{`"f/demo/nightly"`}, not: []string{`"path":"f/demo/hello"`}},
		{name: "list beyond", path: sched + "list?page=3&per_page=1", status: 200, exact: "[]"},
		{name: "list of a script", path: sched + "list?path=f/demo/none", status: 200, exact: "[]"},
		{name: "list of flows", path: sched + "list?is_flow=true", status: 200, exact: "[]"},
		{name: "list of one", path: sched + "list?schedule_path=f/demo/nightly", status: 200, want: []string{"nightly"}, not: []string{`"path":"f/demo/hello"`}},
		{name: "list of a folder", path: sched + "list?path_start=f/other/", status: 200, exact: "[]"},
		{name: "list by label", path: sched + "list?label=ops", status: 200, want: []string{"nightly"}, not: []string{`"path":"f/demo/hello"`}},
		{name: "list by text", path: sched + "list?summary=NIGHT&broad_filter=demo", status: 200, want: []string{"nightly"}, not: []string{`"path":"f/demo/hello"`}},
		{name: "list by text, page beyond", path: sched + "list?summary=night&page=2", status: 200, exact: "[]"},
		{name: "list by description", path: sched + "list?description=x", status: 200, exact: "[]"},
		{name: "list by args", path: sched + "list?args=%7B%22a%22:%7B%22b%22:%5B2%5D%7D%7D", status: 200, want: []string{"nightly"}, not: []string{`"path":"f/demo/hello"`}},
		{name: "list by other args", path: sched + "list?args=%7B%22a%22:1%7D", status: 200, exact: "[]"},
		{name: "list badly", path: sched + "list?enabled=maybe", status: 400},
		{name: "update unknown", method: "POST", path: sched + "update/f/demo/none", body: nightly, status: 400, want: []string{"keeps its path"}},
		{name: "update unknown without a path", method: "POST", path: sched + "update/f/demo/none", body: `{"schedule":"@daily"}`, status: 404},
		{name: "update without cron", method: "POST", path: sched + "update/f/demo/nightly", body: `{"enabled":true}`, status: 400},
		{name: "update", method: "POST", path: sched + "update/f/demo/nightly", body: `{"schedule":"0 0 4 * * *","timezone":"Europe/Paris","args":{}}`, status: 200, exact: "f/demo/nightly"},
		{name: "updated", path: sched + "get/f/demo/nightly", status: 200, kind: "application/json",
			want: []string{`"schedule":"0 0 4 * * *"`, `"timezone":"Europe/Paris"`, `"script_path":"f/demo/hello"`, `"enabled":true`, `"args":{}`}, not: []string{"labels", "summary"}},
		{name: "disable without a word", method: "POST", path: sched + "setenabled/f/demo/nightly", body: `{}`, status: 400},
		{name: "disable", method: "POST", path: sched + "setenabled/f/demo/nightly", body: `{"enabled":false,"force":true}`, status: 200},
		{name: "list enabled", path: sched + "list?enabled=true", status: 200, not: []string{"nightly"}},
		{name: "update leaves it off", method: "POST", path: sched + "update/f/demo/nightly", body: `{"schedule":"@daily"}`, status: 200},
		{name: "pause without a word", method: "POST", path: sched + "pause/f/demo/nightly", body: `{}`, status: 400},
		{name: "pause at no time", method: "POST", path: sched + "pause/f/demo/nightly", body: `{"until":"soon"}`, status: 400},
		{name: "pause", method: "POST", path: sched + "pause/f/demo/nightly", body: `{"until":"2030-01-01T00:00:00+01:00"}`, status: 200},
		{name: "update leaves it paused", method: "POST", path: sched + "update/f/demo/nightly", body: `{"schedule":"@daily"}`, status: 200},
		{name: "off and paused", path: sched + "get/f/demo/nightly", status: 200, want: []string{`"paused_until":"2029-12-31T23:00:00Z"`, `"enabled":false`}},
		{name: "resume", method: "POST", path: sched + "pause/f/demo/nightly", body: `{"until":null}`, status: 200},
		{name: "resumed", path: sched + "get/f/demo/nightly", status: 200, not: []string{"paused_until"}},
		{name: "run unknown", method: "POST", path: sched + "run/f/demo/none", status: 404},
		{name: "run", method: "POST", path: sched + "run/f/demo/nightly", status: 201, kind: "text/plain", want: []string{"-7"}},
		{name: "with jobs", path: sched + "list_with_jobs?enabled=false", status: 200, want: []string{`"jobs":[{"id":"`, `"success":true,"duration_ms":`}},
		{name: "its jobs", path: w + "jobs/list?schedule_path=f/demo/nightly", status: 200, want: []string{`"trigger":"f/demo/nightly"`}},
		{name: "nobody's jobs", path: w + "jobs/list?schedule_path=f/demo/none", status: 200, exact: "[]"},
		{name: "backfill without range", method: "POST", path: sched + "backfill/f/demo/nightly", body: `{"to":"2026-01-02T00:00:00Z"}`, status: 400},
		{name: "backfill of the future", method: "POST", path: sched + "backfill/f/demo/nightly", body: `{"from":"2100-01-02T00:00:00Z"}`, status: 400},
		{name: "backfill until now", method: "POST", path: sched + "backfill/f/demo/nightly", body: `{"from":"2020-01-02T00:00:00Z"}`, status: 200, want: []string{`{"ticks":`}},
		{name: "backfill backwards", method: "POST", path: sched + "backfill/f/demo/nightly", body: `{"from":"2026-01-02T00:00:00Z","to":"2026-01-01T00:00:00Z"}`, status: 400},
		{name: "backfill", method: "POST", path: sched + "backfill/f/demo/nightly", body: `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}`, status: 200, kind: "application/json", exact: `{"ticks":24}`},
		{name: "ticks of nothing", path: sched + "ticks/f/demo/none", status: 404},
		{name: "ticks", path: sched + "ticks/f/demo/hello", status: 200, kind: "application/json",
			exact: `[{"schedule":"f/demo/hello","at":"2030-01-01T10:00:00Z","state":"done","fired_at":"2030-01-01T10:00:00.0015Z","drift_ms":1.5,"job_id":"` + id.String() + `","attempts":3,"success":true,"dynamic_skip_job_id":"` + id.String() + `"},` +
				`{"schedule":"f/demo/hello","at":"2030-01-01T09:00:00Z","state":"missed","count":5}]`},
		{name: "ticks by state", path: sched + "ticks/f/demo/hello?states=missed,failed", status: 200, want: []string{"missed"}, not: []string{"done"}},
		{name: "ticks by wrong state", path: sched + "ticks/f/demo/hello?states=missing", status: 400, want: []string{"missing"}},
		{name: "ticks before", path: sched + "ticks/f/demo/hello?before=2030-01-01T09:30:00Z&after=2030-01-01T08:30:00Z", status: 200, want: []string{"missed"}, not: []string{"done"}},
		{name: "preview without cron", method: "POST", path: "/api/schedules/preview", body: `{"timezone":"UTC"}`, status: 400},
		{name: "preview of a wrong cron", method: "POST", path: "/api/schedules/preview", body: `{"schedule":"wrong"}`, status: 400},
		{name: "preview of too many", method: "POST", path: "/api/schedules/preview", body: `{"schedule":"@daily","n":1001}`, status: 400},
		{name: "preview with calendars of nowhere", method: "POST", path: "/api/schedules/preview", body: `{"schedule":"@daily","calendars":["f/a/b"]}`, status: 400},
		{name: "preview", method: "POST", path: "/api/schedules/preview", body: `{"schedule":"0 * * * *","timezone":"UTC","cron_version":"v2"}`, status: 200, want: []string{`["2030-01-01T10:00:00Z",`, `"2030-01-01T19:00:00Z"]`}},
		{name: "preview in a workspace", method: "POST", path: sched + "preview", body: `{"path":"f/a/b","schedule":"0 * * * *","calendars":["f/a/b"],"n":1}`, status: 200, exact: `["2030-01-01T10:00:00Z"]`},
		{name: "delete", method: "DELETE", path: sched + "delete/f/demo/nightly", status: 200, exact: "f/demo/nightly"},
		{name: "delete again", method: "DELETE", path: sched + "delete/f/demo/nightly", status: 404},
	})
}

func TestCalendars(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	const c = w + "calendars/"
	play(t, d, []scenario{
		{name: "put nothing", method: "POST", path: c + "put", status: 400},
		{name: "put at no path", method: "POST", path: c + "put", body: `{"days":[]}`, status: 400},
		{name: "put", method: "POST", path: c + "put", body: `{"path":"f/demo/holidays","summary":"Closed","days":["*-01-01"],"weekdays":["sun"]}`, status: 201, exact: "f/demo/holidays"},
		{name: "get", path: c + "get/f/demo/holidays", status: 200, want: []string{`"days":["*-01-01"],"weekdays":["sun"],"edited_by":"root"`}},
		{name: "list", path: c + "list", status: 200, want: []string{`"f/demo/hello"`, `"f/demo/holidays"`, `"weekdays":[]`}},
		{name: "delete", method: "DELETE", path: c + "delete/f/demo/holidays", status: 200, exact: "f/demo/holidays"},
		{name: "get deleted", path: c + "get/f/demo/holidays", status: 404},
		{name: "delete again", method: "DELETE", path: c + "delete/f/demo/holidays", status: 404},
	})
}

// TestScheduleComesBackAsSent: Windmill's command line compares every key of its file with the record, so each must come back
// as it was sent, in whatever spelling.
func TestScheduleComesBackAsSent(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	for name, sent := range map[string]string{
		"template": `{"schedule":"0 0 */6 * * *","on_failure":"","script_path":"f/a/b","args":{},"timezone":"Etc/UTC","is_flow":false,"enabled":false}`,
		"full": `{"schedule":"0 */5 * * * *","cron_version":"v2","timezone":"Europe/Paris","enabled":true,"script_path":"f/a/b","is_flow":true,
			"args":{"z":1,"a":{"y":[1.50,"é","<b>"]}},"summary":"s","description":"d","tag":"gpu","on_failure":"script/f/a/c","on_failure_times":3,"on_failure_exact":true,
			"on_failure_extra_args":{"x":1},"on_recovery":"flow/f/a/d","on_recovery_times":2,"on_recovery_extra_args":{"x":2},"on_success":"script/f/a/e","on_success_extra_args":{},
			"ws_error_handler_muted":false,"retry":{"constant":{"attempts":2,"seconds":5}},"no_flow_overlap":true,"paused_until":"2031-05-06T07:08:09.100Z",
			"dynamic_skip":"f/a/s","labels":["x","y"],"some_new_field":{"k":null}}`,
		"nulls": `{"schedule":"@daily","timezone":"","script_path":"f/a/b","is_flow":false,"args":null,"summary":null,"tag":null,"on_failure":null,"on_failure_times":1,
			"on_failure_exact":false,"on_failure_extra_args":{"a":1},"on_recovery_times":null,"paused_until":null,"no_flow_overlap":false,"retry":null,"enabled":true}`,
		"ours":                      `{"schedule":"@daily","timezone":"UTC","script_path":"f/a/b","missed":"catch_up","overlap":"skip","catch_up_limit":7,"grace_s":2.5,"calendars":["f/a/h"],"enabled":true}`,
		"ours, said although usual": `{"schedule":"@daily","timezone":"UTC","script_path":"f/a/b","missed":"coalesce","overlap":"allow","catch_up_limit":100,"grace_s":1,"calendars":[],"enabled":true}`,
		"both ways":                 `{"schedule":"@daily","timezone":"UTC","script_path":"f/a/b","no_flow_overlap":true,"overlap":"skip","enabled":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := "f/as_sent/" + strings.NewReplacer(" ", "_", ",", "").Replace(name)
			body := `{"path":"` + path + `",` + sent[1:]
			scenario{method: "POST", path: sched + "create", body: body, status: 201}.run(t, d)
			check := func() map[string]any {
				t.Helper()
				got := object(t, d, sched+"get/"+path)
				for k, v := range decode(t, sent) {
					if back, ok := got[k]; !ok || !reflect.DeepEqual(back, v) {
						t.Errorf("%s: sent %v, back came %v (there: %v)", k, v, back, ok)
					}
					delete(got, k)
				}
				for _, k := range []string{"workspace_id", "path", "edited_by", "edited_at", "email", "permissioned_as", "extra_perms", "is_flow", "enabled", "next_at"} {
					delete(got, k)
				}
				return got
			}
			if more := check(); len(more) > 0 {
				t.Errorf("fields that nobody sent: %v", more)
			}
			scenario{method: "POST", path: sched + "update/" + path, body: sent, status: 200}.run(t, d)
			if more := check(); len(more) > 0 {
				t.Errorf("after an update, fields that nobody sent: %v", more)
			}
		})
	}
}

// TestScheduleSpellingIsNotTruth: what was said later wins over how something was spelled.
func TestScheduleSpellingIsNotTruth(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	body := `{"path":"f/a/s","schedule":"@daily","script_path":"f/a/b","paused_until":"2031-05-06T07:08:09.100Z","edited_by":"mallory","email":"x@y","error":"no","next_at":"2001-01-01T00:00:00Z","permissioned_as":"u/mallory"}`
	scenario{method: "POST", path: sched + "create", body: body, status: 201}.run(t, d)
	got := object(t, d, sched+"get/f/a/s")
	if got["paused_until"] != "2031-05-06T07:08:09.100Z" || got["edited_by"] != "root" || got["email"] != "root@localhost" || got["error"] != nil ||
		got["next_at"] != nil || got["permissioned_as"] != "u/root" {
		t.Errorf("created %v", got)
	}
	scenario{method: "POST", path: sched + "pause/f/a/s", body: `{"until":"2032-01-01T00:00:00Z"}`, status: 200}.run(t, d)
	if got := object(t, d, sched+"get/f/a/s"); got["paused_until"] != "2032-01-01T00:00:00Z" {
		t.Errorf("paused %v", got["paused_until"])
	}
	scenario{method: "POST", path: sched + "pause/f/a/s", body: `{"until":null}`, status: 200}.run(t, d)
	if got := object(t, d, sched+"get/f/a/s"); got["paused_until"] != nil {
		t.Errorf("resumed %v", got["paused_until"])
	}
	// Who its runs run as changes with whoever writes it, unless told otherwise.
	as := func(want, change string) {
		t.Helper()
		scenario{method: "POST", path: sched + "update/f/a/s", token: "user-secret", body: `{"schedule":"@daily"` + change + `}`, status: 200}.run(t, d)
		if got := object(t, d, sched+"get/f/a/s"); got["permissioned_as"] != want || got["preserve_permissioned_as"] != nil {
			t.Errorf("%s: %v", change, got)
		}
	}
	as("u/root", `,"preserve_permissioned_as":true`)
	as("u/ann", ``)
	as("u/bob", `,"preserve_permissioned_as":true,"permissioned_as":"u/bob"`)
	as("u/ann", `,"permissioned_as":"u/bob"`)
}

func decode(t *testing.T, s string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}

func object(t *testing.T, d *Daemon, path string) map[string]any {
	t.Helper()
	status, _, body := fetch(t, d, path)
	if status != 200 {
		t.Fatalf("%s: status %d: %s", path, status, body)
	}
	return decode(t, body)
}

// TestManySchedules: what the engine does not filter is filtered over all of its pages.
func TestManySchedules(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	p := engine.Principal{Username: "root"}
	for i := range 2100 {
		s := engine.Schedule{Workspace: "main", Path: "f/many/" + uuid.NewString(), Cron: "@daily", ScriptPath: "f/demo/hello"}
		if i >= 1990 {
			s.Summary = "rare"
		}
		if err := (Schedules{e}).Create(context.Background(), p, s); err != nil {
			t.Fatal(err)
		}
	}
	count := func(query string) int {
		_, _, body := fetch(t, d, sched+"list?"+query)
		var list []map[string]any
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return len(list)
	}
	for query, want := range map[string]int{"summary=rare&per_page=1000": 110, "summary=rare&per_page=100": 100, "summary=rare&per_page=100&page=2": 10,
		"per_page=1000": 1000, "per_page=1000&page=3": 101} {
		if n := count(query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
}

func TestClientSchedules(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	ctx := context.Background()
	c := dial(t, client.Config{Server: d.URL, Token: "admin-secret"})
	on := true
	if err := c.CreateSchedule(ctx, client.NewSchedule{Path: "f/a/s", Cron: "@daily", ScriptPath: "f/demo/hello", Enabled: &on, Tag: "gpu"}); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateSchedule(ctx, client.NewSchedule{Path: "f/a/s", Cron: "wrong", ScriptPath: "f/demo/hello"}); err == nil || !strings.Contains(err.Error(), "no cron expression") {
		t.Errorf("wrong cron: %v", err)
	}
	raw, err := c.RawSchedule(ctx, "f/a/s")
	if err != nil || string(raw["tag"]) != `"gpu"` {
		t.Fatalf("raw %v %v", raw, err)
	}
	raw["labels"] = json.RawMessage(`["x"]`)
	if err := c.UpdateSchedule(ctx, "f/a/s", raw); err != nil {
		t.Error(err)
	}
	if raw, err = c.RawSchedule(ctx, "f/a/s"); err != nil || string(raw["labels"]) != `["x"]` || string(raw["tag"]) != `"gpu"` {
		t.Errorf("updated %s %v", raw, err)
	}
	until := Hour
	if err := errors.Join(c.EnableSchedule(ctx, "f/a/s", false), c.PauseSchedule(ctx, "f/a/s", &until)); err != nil {
		t.Error(err)
	}
	if s, err := c.Schedule(ctx, "f/a/s"); err != nil || s.Enabled || s.PausedUntil == nil || !s.PausedUntil.Equal(until) || s.Cron != "@daily" {
		t.Errorf("%+v %v", s, err)
	}
	if err := c.PauseSchedule(ctx, "f/a/s", nil); err != nil {
		t.Error(err)
	}
	id, err := c.RunSchedule(ctx, "f/a/s")
	if err != nil {
		t.Error(err)
	}
	if l, err := c.Schedules(ctx, url.Values{"schedule_path": {"f/a/s"}}); err != nil || len(l) != 1 || len(l[0].Jobs) != 1 || l[0].Jobs[0].ID != id || !l[0].Jobs[0].Success || l[0].PausedUntil != nil {
		t.Errorf("%+v %v", l, err)
	}
	if n, err := c.BackfillSchedule(ctx, "f/a/s", Hour, Hour.Add(3*time.Hour)); err != nil || n != 3 {
		t.Errorf("backfill %d %v", n, err)
	}
	if l, err := c.Ticks(ctx, "f/demo/hello", nil); err != nil || len(l) != 1 || l[0].State != "missed" || l[0].Count != 5 {
		t.Errorf("ticks %+v %v", l, err)
	}
	if l, err := c.PreviewSchedule(ctx, client.SchedulePreview{Cron: "@hourly", N: 2}); err != nil || len(l) != 2 || !l[1].Equal(Hour.Add(time.Hour)) {
		t.Errorf("preview %v %v", l, err)
	}
	if err := c.DeleteSchedule(ctx, "f/a/s"); err != nil {
		t.Error(err)
	}
	if there, err := c.ScheduleExists(ctx, "f/a/s"); err != nil || there {
		t.Errorf("exists %v %v", there, err)
	}
	if err := c.PutCalendar(ctx, client.NewCalendar{Path: "f/a/c", Weekdays: []string{"sun"}}); err != nil {
		t.Error(err)
	}
	if k, err := c.Calendar(ctx, "f/a/c"); err != nil || len(k.Weekdays) != 1 {
		t.Errorf("calendar %+v %v", k, err)
	}
	if l, err := c.Calendars(ctx); err != nil || len(l) != 2 {
		t.Errorf("calendars %+v %v", l, err)
	}
	if err := c.DeleteCalendar(ctx, "f/a/c"); err != nil {
		t.Error(err)
	}
	if _, err := c.Calendar(ctx, "f/a/c"); !client.IsNotFound(err) {
		t.Errorf("deleted calendar: %v", err)
	}
}
