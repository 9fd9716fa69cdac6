package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/control"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// steer returns a Control of the box, in a workspace main of ann and bob, whom eve does not belong to.
func (b *box) steer() *control.Control {
	b.t.Helper()
	if err := b.db.InTx(b.t.Context(), func(tx store.Tx) error {
		_, err := tx.Exec(b.t.Context(), "insert into workspace (id, name, owner) values ('main', 'Main', 'root') on conflict do nothing")
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	return control.New(control.Config{Store: b.db, Runner: b.runner, Workflows: b.queue, Catalog: b, Jobs: pusher{b}, Gate: members{}, Base: "https://mill.example.org/"})
}

// members is a gate that knows ann and bob, and root as administrator; bob is in the group ops.
type members struct{}

func (members) GroupsOf(username, _ string) []string {
	if username == "bob" {
		return []string{"all", "ops"}
	}
	return []string{"all"}
}

func (members) Can(p engine.Principal, verb, ws, _ string) error {
	if ws == "main" && (p.Username == "root" || verb != "admin" && (p.Username == "ann" || p.Username == "bob")) {
		return nil
	}
	return engine.Errorf(engine.Forbidden, verb, "%q may not", p.Username)
}

// pusher runs what Control asks for.
type pusher struct{ *box }

func (b pusher) Run(ctx context.Context, p engine.Principal, r engine.RunRequest) (uuid.UUID, error) {
	j := &engine.Job{Workspace: r.Workspace, Kind: r.Kind, Path: r.Path, Hash: r.Hash, Source: r.Source, Tag: "flow", Args: r.Args, CreatedBy: p.Username,
		Email: p.Email, PermissionedAs: p.PermissionedAs(), Trigger: r.Trigger, TriggerPath: r.TriggerPath, ID: engine.NewJobID()}
	if r.ID != nil {
		j.ID = *r.ID
	}
	if j.Kind == "" {
		j.Kind = engine.KindFlowPreview
	}
	c := make(chan engine.Outcome, 1)
	b.mu.Lock()
	b.ended[j.ID] = c
	b.mu.Unlock()
	_, err := b.queue.Push(ctx, j)
	return j.ID, err
}

// outcome waits for the end of a run that was asked for.
func (b *box) outcome(id uuid.UUID) engine.Outcome {
	b.t.Helper()
	b.mu.Lock()
	c := b.ended[id]
	b.mu.Unlock()
	select {
	case o := <-c:
		return o
	case <-time.After(time.Minute):
		b.t.Fatalf("the flow %s has no end", id)
		return engine.Outcome{}
	}
}

var ann = engine.Principal{Username: "ann", Email: "ann@example.org"}

// until waits for a status.
func (b *box) until(c *control.Control, id uuid.UUID, what string, is func(*engine.FlowStatus) bool) *engine.FlowStatus {
	b.t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		s, _, err := c.Status(b.t.Context(), ann, "main", id)
		if err != nil {
			b.t.Fatal(err)
		}
		if is(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-limit:
			text, _ := json.Marshal(s)
			b.t.Fatalf("%s never came about: %s", what, text)
		}
	}
}

func waits(s *engine.FlowStatus) bool {
	return slices.ContainsFunc(s.Modules, func(m engine.FlowStatusModule) bool { return m.Type == engine.ModuleWaitsForEvents })
}

// answer makes the answer by a link of a job.
func answer(t testing.TB, c *control.Control, l engine.ApprovalLink, approved bool, payload string) engine.Answer {
	t.Helper()
	l.Workspace = "main"
	urls, err := c.URLs(t.Context(), ann, l)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(urls.Resume)
	if err != nil || u.Host != "mill.example.org" {
		t.Fatalf("%s, %v", urls.Resume, err)
	}
	parts := strings.Split(strings.TrimPrefix(u.Path, "/api/w/main/jobs_u/resume/"), "/")
	id := uuid.MustParse(parts[0])
	if n, err := strconv.ParseInt(parts[1], 10, 64); err != nil || n != l.ResumeID {
		t.Fatalf("%s, %v", parts[1], err)
	}
	return engine.Answer{Workspace: "main", Job: id, ResumeID: l.ResumeID, Approver: u.Query().Get("approver"), Signature: parts[2], Approved: approved,
		Payload: json.RawMessage(payload)}
}

func code(t testing.TB, err error, want engine.Code, about string) {
	t.Helper()
	if got := engine.CodeOf(err); got != want {
		t.Errorf("%s: %q (%v), wanted %q", about, got, err, want)
	}
}

const asks = `"suspend":{"required_events":1}`

// TestApproval: links, answers, what the next step sees of them, and what is refused.
func TestApproval(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	c := b.steer()
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		if j.Source == "a" {
			return json.RawMessage(`{"enums":{"n":["x","y"]},"default_args":{"n":"y"}}`), true
		}
		return j.Args, true
	}
	id, _ := b.ask(modules(raw("a", "a", "", `"suspend":{"required_events":2,"description":"shall we?","skin":"minimal","resume_form":{"schema":{"properties":{"n":{"type":"string"}}}}}`),
		raw("b", "b", js("r", "resume")+","+js("all", "resumes")+","+js("who", "approvers"), ""), raw("c", "c", js("r", "resume")+","+js("b", "previous_result"), "")), `{}`)
	s := b.until(c, id, "waiting", waits)
	if s.Step != 1 || s.Modules[0].Type != engine.ModuleSuccess || s.Modules[1].Count != 2 || s.ApprovalConditions == nil {
		t.Errorf("%+v", s)
	}
	job := *s.Modules[0].Job
	first := answer(t, c, engine.ApprovalLink{Job: job, ResumeID: 1, Approver: "carl & co"}, true, `{"n":1}`)
	page, err := c.Approval(t.Context(), first)
	if err != nil || page.State != engine.ApprovalWaiting || string(page.Schema) != `{"properties":{"n":{"default":"y","enum":["x","y"],"type":"string"}}}` ||
		string(page.Description) != `"shall we?"` || !page.Minimal {
		t.Errorf("%+v, %v, %s", page, err, page.Schema)
	}
	for name, change := range map[string]func(*engine.Answer){
		"another signature": func(a *engine.Answer) { a.Signature = strings.Repeat("0", 64) },
		"another job":       func(a *engine.Answer) { a.Job = id },
		"another link":      func(a *engine.Answer) { a.ResumeID = 2 },
		"another approver":  func(a *engine.Answer) { a.Approver = "eve" },
		"no signature":      func(a *engine.Answer) { a.Signature = "" },
		"another workspace": func(a *engine.Answer) { a.Workspace = "none" },
	} {
		wrong := first
		change(&wrong)
		code(t, c.Vote(t.Context(), engine.Principal{}, wrong), engine.Forbidden, name)
	}
	broken := first
	broken.Payload = json.RawMessage(`{`)
	code(t, c.Vote(t.Context(), engine.Principal{}, broken), engine.Invalid, "a payload that is no JSON")
	for range 2 { // the same answer twice is one
		code(t, c.Vote(t.Context(), engine.Principal{}, first), "", "the first answer")
	}
	other := first
	other.Approved = false
	code(t, c.Vote(t.Context(), engine.Principal{}, other), engine.Conflict, "a change of mind")
	if s := b.until(c, id, "one of two", func(s *engine.FlowStatus) bool { return waits(s) && s.Modules[1].Count == 1 }); len(s.Modules[0].Approvers) != 1 {
		t.Errorf("%+v", s.Modules[0])
	}
	second := answer(t, c, engine.ApprovalLink{Job: job, ResumeID: 2}, true, `"two"`)
	code(t, c.Vote(t.Context(), ann, second), "", "the second answer")
	if o := b.outcome(id); string(o.Result) != `{"b":{"all":[{"n":1},"two"],"r":"two","who":["carl \u0026 co","ann"]},"r":null}` {
		t.Errorf("%s with %s", o.State, o.Result)
	}
	code(t, c.Vote(t.Context(), engine.Principal{}, answer(t, c, engine.ApprovalLink{Job: job, ResumeID: 3}, true, "")), engine.Conflict, "a late answer")
	code(t, c.Vote(t.Context(), ann, second), "", "a late answer that was given")
	if page, err = c.Approval(t.Context(), first); err != nil || page.State != engine.ApprovalAnswered || page.Mine.Approver != "carl & co" {
		t.Errorf("%+v, %v", page, err)
	}
	b.empty()
}

// TestAnswersInTime: answers before the step has ended, for the flow as a whole, and by those who may run it.
func TestAnswersInTime(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	c := b.steer()
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		switch j.Source {
		case "early":
			code(t, c.Vote(t.Context(), engine.Principal{}, answer(t, c, engine.ApprovalLink{Job: j.ID, ResumeID: 1}, true, `1`)), "", "an answer from inside")
		case "level":
			code(t, c.Vote(t.Context(), engine.Principal{}, answer(t, c, engine.ApprovalLink{Job: j.ID, ResumeID: 1, FlowLevel: true}, true, `2`)), "", "an answer for the flow")
		}
		return j.Args, true
	}
	if o := b.run(modules(raw("a", "early", "", asks), raw("b", "b", js("r", "resume"), "")), `{}`); string(o.Result) != `{"r":1}` {
		t.Errorf("early: %s with %s", o.State, o.Result)
	}
	if o := b.run(modules(raw("a", "level", "", ""), raw("x", "x", "", asks), raw("b", "b", js("r", "resume"), "")), `{}`); string(o.Result) != `{"r":2}` {
		t.Errorf("for the flow: %s with %s", o.State, o.Result)
	}
	if o := b.run(modules(raw("a", "a", "", asks+`,"skip_if":{"expr":"true"}`), raw("b", "b", js("r", "approvers"), "")), `{}`); string(o.Result) != `{"r":[]}` {
		t.Errorf("skipped: %s with %s", o.State, o.Result)
	}
	for approved, want := range map[bool]string{true: `[{"r":"go"},{"y":1}]`, false: `SuspendDisapproved`} {
		id, _ := b.ask(modules(`{"id":"p","value":{"type":"branchall","branches":[{"skip_failure":false,"modules":[`+raw("a", "a", "", asks)+`,`+raw("b", "b", js("r", "resume"), "")+`]},{"modules":[`+
			raw("y", "y", js("y", "1"), "")+`]}]}}`), `{}`)
		b.until(c, id, "the other branch is over", func(s *engine.FlowStatus) bool {
			done := s.Modules[0].JobsSuccess
			if len(done) != 2 || done[1] == nil || done[0] != nil {
				return false
			}
			inner, _, err := c.Status(t.Context(), ann, "main", s.Modules[0].FlowJobs[0])
			return err == nil && waits(inner)
		})
		code(t, c.Resume(t.Context(), engine.Principal{Username: "eve"}, engine.Answer{Workspace: "main", Job: id, Approved: approved}), engine.Forbidden, "a stranger")
		code(t, c.Resume(t.Context(), ann, engine.Answer{Workspace: "main", Job: id, Approved: approved, Payload: json.RawMessage(`"go"`)}), "", "the owner")
		if o := b.outcome(id); !strings.Contains(string(o.Result), want) {
			t.Errorf("in a branch: %s with %s", o.State, o.Result)
		}
	}
	id, _ := b.ask(modules(raw("a", "a", "", `"sleep":{"type":"static","value":3600}`)), `{}`)
	b.until(c, id, "sleeping", func(s *engine.FlowStatus) bool { return s.Step == 1 })
	code(t, c.Resume(t.Context(), ann, engine.Answer{Workspace: "main", Job: id, Approved: true}), engine.Conflict, "a flow that sleeps")
	if err := b.runner.Cancel(t.Context(), id, "ann", ""); err != nil {
		t.Fatal(err)
	}
	b.outcome(id)
	if o := b.run(modules(raw("a", "a", "", `"suspend":{"required_events":1,"timeout":1,"continue_on_disapprove_timeout":true}`), raw("b", "b", js("e", "previous_result.error.name"), "")), `{}`); string(o.Result) != `{"e":"SuspendTimeout"}` {
		t.Errorf("nobody answers: %s with %s", o.State, o.Result)
	}
}

// TestWhoMayApprove: accounts, groups, and not oneself.
func TestWhoMayApprove(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	c := b.steer()
	bob, root := engine.Principal{Username: "bob", Email: "bob@example.org"}, engine.Principal{Username: "root"}
	job := bob
	job.Via = "job"
	for name, x := range map[string]struct {
		suspend string
		refused map[string]engine.Principal
		by      engine.Principal
	}{
		"an account": {`"user_auth_required":true`, map[string]engine.Principal{"unauthorized": {}, "forbidden": {Username: "eve"}}, ann},
		"a job":      {`"user_auth_required":true`, map[string]engine.Principal{"forbidden": job}, bob},
		"another":    {`"self_approval_disabled":true`, map[string]engine.Principal{"unauthorized": {}, "forbidden": ann}, bob},
		"a group":    {`"user_groups_required":{"type":"static","value":["wheel"]}`, map[string]engine.Principal{"unauthorized": {}, "forbidden": bob}, root},
		"one of two": {`"user_groups_required":{"type":"static","value":["wheel","ops"]}`, map[string]engine.Principal{"unauthorized": {}, "forbidden": ann}, bob},
		"all":        {`"user_groups_required":{"type":"javascript","expr":"[flow_input.g]"}`, map[string]engine.Principal{"unauthorized": {}}, bob},
	} {
		t.Run(name, func(t *testing.T) {
			id, _ := b.ask(modules(raw("a", "a", "", `"suspend":{"required_events":1,`+x.suspend+`}`)), `{"g":"all"}`)
			s := b.until(c, id, "waiting", waits)
			for want, who := range x.refused {
				code(t, c.Vote(t.Context(), who, answer(t, c, engine.ApprovalLink{Job: *s.Modules[0].Job, ResumeID: 1}, true, "")), engine.Code(want), fmt.Sprintf("%+v", who))
			}
			code(t, c.Vote(t.Context(), x.by, answer(t, c, engine.ApprovalLink{Job: *s.Modules[0].Job, ResumeID: 2}, true, "")), "", x.by.Username)
			if o := b.outcome(id); o.State != engine.StateSuccess {
				t.Errorf("%s with %s", o.State, o.Result)
			}
		})
	}
	id, _ := b.ask(modules(raw("a", "a", "", `"suspend":{"required_events":2,"user_auth_required":true}`)), `{}`)
	s := b.until(c, id, "waiting", waits)
	for n, want := range []engine.Code{"", engine.Conflict} {
		code(t, c.Vote(t.Context(), bob, answer(t, c, engine.ApprovalLink{Job: *s.Modules[0].Job, ResumeID: int64(n)}, true, "")), want, "one person is not two")
	}
	code(t, c.Vote(t.Context(), ann, answer(t, c, engine.ApprovalLink{Job: *s.Modules[0].Job, ResumeID: 5}, true, "")), "", "the second")
	b.outcome(id)
	code(t, func() error {
		_, err := c.URLs(t.Context(), engine.Principal{Username: "eve"}, engine.ApprovalLink{Workspace: "main", Job: id})
		return err
	}(), engine.Forbidden, "links for a stranger")
}

// TestUserStates are kept, and seen by expressions.
func TestUserStates(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	c := b.steer()
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		if j.Source == "set" {
			code(t, c.SetUserState(t.Context(), ann, "main", j.ID, "k", json.RawMessage(`{"n":7}`)), "", "set")
			code(t, c.SetUserState(t.Context(), ann, "main", j.ID, "k", json.RawMessage(`{`)), engine.Invalid, "no JSON")
		}
		return j.Args, true
	}
	id, _ := b.ask(modules(`{"id":"l","value":{"type":"forloopflow","iterator":{"type":"static","value":[1]},"modules":[`+raw("a", "set", "", "")+`,`+raw("b", "b", "", "")+`]}}`,
		raw("c", "c", js("x", `flow_user_state("k").n`)+","+js("y", `flow_user_state("nothing")`), "")), `{}`)
	if o := b.outcome(id); string(o.Result) != `{"x":7,"y":null}` {
		t.Errorf("%s with %s", o.State, o.Result)
	}
	v, err := c.UserState(t.Context(), ann, "main", id, "k")
	none, err2 := c.UserState(t.Context(), ann, "main", id, "nothing")
	if string(v) != `{"n":7}` || string(none) != "null" || err != nil || err2 != nil {
		t.Errorf("%s, %s, %v, %v", v, none, err, err2)
	}
}
