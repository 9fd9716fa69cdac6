package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/client"
)

// groupsApprove: a step asks for a group and refuses everybody else, whoever started it included.
func groupsApprove(t *testing.T, d *daemon) {
	ctx := t.Context()
	as := map[string]*client.Client{}
	for _, name := range []string{"ann", "bob", "eve"} {
		if err := d.AddMember(ctx, client.NewMember{Email: name + "@example.org", Username: name}); err != nil {
			t.Fatal(err)
		}
		token, err := d.CreateMemberToken(ctx, client.MemberToken{Email: name + "@example.org", WorkspaceID: "main"})
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New(client.Config{Socket: filepath.Join(d.data, "run", "millrace.sock"), Token: token})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		as[name] = c
	}
	if err := as["ann"].CreateGroup(ctx, client.NewGroup{Name: "releasers"}); err == nil {
		t.Error("a member made a group")
	}
	if err := d.CreateGroup(ctx, client.NewGroup{Name: "releasers", Summary: "who releases"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "bob"} {
		if err := d.AddToGroup(ctx, "releasers", name); err != nil {
			t.Fatal(err)
		}
	}
	if me, err := as["bob"].WhoamiHere(ctx); err != nil || me.Username != "bob" || me.IsAdmin || strings.Join(me.Groups, " ") != "all releasers" {
		t.Errorf("bob is %+v, %v", me, err)
	}
	const flow = `{"modules": [
		{"id": "ask", "suspend": {"required_events": 1, "self_approval_disabled": true, "user_groups_required": {"type": "javascript", "expr": "[flow_input.who]"}},
		 "value": {"type": "rawscript", "language": "bash", "content": "echo asked", "input_transforms": {}}},
		{"id": "go", "value": {"type": "rawscript", "language": "bash", "content": "by=\"$1\"\necho \"approved by $by\"",
		 "input_transforms": {"by": {"type": "javascript", "expr": "approvers[0]"}}}}]}`
	id, err := as["ann"].Run(ctx, client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(flow)}, Args: json.RawMessage(`{"who": "releasers"}`)})
	if err != nil {
		t.Fatal(err)
	}
	waits(t, d, id)
	for name, want := range map[string]string{"eve": "eve is in none of the groups that can approve this step: releasers", "ann": "whoever started the flow"} {
		if err := as[name].ResumeFlow(ctx, id, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s approves: %v, want %s", name, err, want)
		}
	}
	if err := as["bob"].ResumeFlow(ctx, id, nil); err != nil {
		t.Error(err)
	}
	if j := d.wait(ctx, id); result(j) != `"approved by bob"` {
		t.Errorf("%s %s", j.Status, result(j))
	}
	if err := d.RemoveMember(ctx, "eve"); err != nil {
		t.Error(err)
	}
	if _, err := as["eve"].WhoamiHere(ctx); err == nil {
		t.Error("eve's token outlives her membership")
	}
}

// waits follows a flow until it waits for approval.
func waits(t *testing.T, d *daemon, id uuid.UUID) {
	t.Helper()
	for t.Context().Err() == nil {
		j, err := d.Job(t.Context(), id, false)
		if err != nil {
			t.Fatal(err)
		}
		if j.CompletedAt != nil {
			t.Fatalf("the flow ended: %s", result(j))
		}
		if j.FlowStatus != nil {
			for _, m := range j.FlowStatus.Modules {
				if m.Type == engine.ModuleWaitsForEvents {
					return
				}
			}
		}
	}
	t.Fatal("the flow does not wait")
}
