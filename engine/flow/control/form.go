package control

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

// Approval is what somebody is shown who follows a link.
func (c *Control) Approval(ctx context.Context, a engine.Answer) (*engine.Approval, error) {
	if err := c.verify(ctx, a); err != nil {
		return nil, err
	}
	if q, err := c.asked(ctx, a); q != nil || err != nil {
		return c.shown(ctx, q, err)
	}
	g, err := c.gate(ctx, a.Workspace, a.Job)
	if err != nil {
		return nil, err
	}
	out := &engine.Approval{Workspace: a.Workspace, Flow: g.flow.ID, Path: g.flow.Path, AskedBy: g.flow.CreatedBy, AskedAt: g.flow.CreatedAt,
		FlowState: g.flow.State, State: engine.ApprovalEarly}
	switch {
	case g.gone != "":
		out.State = engine.ApprovalOver
	case g.waiting:
		out.State = engine.ApprovalWaiting
		out.Until = &g.run.state.Until
	}
	if err := c.question(ctx, g, out); err != nil {
		return nil, err
	}
	mine, err := c.cfg.Store.VoteGet(ctx, a.Job, a.ResumeID)
	if store.IsNotFound(err) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.State = engine.ApprovalAnswered
	out.Mine = &engine.Answered{Approved: mine.Approved, Approver: mine.Approver, At: mine.At}
	return out, nil
}

// question fills in what the step asks.
func (c *Control) question(ctx context.Context, g *gate, out *engine.Approval) error {
	if g.module == nil {
		return nil
	}
	s := g.module.Suspend
	out.Step, out.Summary, out.Required, out.Description = g.module.ID, g.module.Summary, s.RequiredEvents, s.Description
	out.HideCancel, out.NoSelf, out.Login, out.Groups = s.HideCancel, s.SelfApprovalDisabled, login(s), groups(g.run.state.Groups)
	out.Minimal = s.Skin == format.SkinMinimal
	votes, err := c.cfg.Store.VotesOf(ctx, g.run.job.ID, g.module.ID)
	if err != nil {
		return err
	}
	for _, v := range votes {
		if v.Approved {
			out.Approvers = append(out.Approvers, engine.FlowApprover{ResumeID: v.ResumeID, Approver: v.Approver})
		}
	}
	said, err := c.said(ctx, g)
	if err != nil {
		return err
	}
	if len(said.Description) > 0 {
		out.Description = said.Description
	}
	if s.ResumeForm != nil {
		out.Schema = fill(s.ResumeForm.Schema, said)
	}
	return nil
}

// said is what the result of a step that asks may say about how it asks.
type said struct {
	Enums       map[string]json.RawMessage `json:"enums"`
	DefaultArgs map[string]json.RawMessage `json:"default_args"`
	Description json.RawMessage            `json:"description"`
}

func (c *Control) said(ctx context.Context, g *gate) (out said, err error) {
	steps, err := c.cfg.Store.FlowSteps(ctx, g.run.job.ID)
	if err != nil {
		return out, err
	}
	for _, s := range steps {
		if s.Module != g.module.ID || s.Item != nil {
			continue
		}
		result := s.Value
		if s.Job != nil && *s.Job != uuid.Nil {
			if _, result, err = c.cfg.Store.FlowResult(ctx, *s.Job); err != nil && !store.IsNotFound(err) {
				return out, err
			}
		}
		out = said{}
		_ = json.Unmarshal(result, &out) // a result of another shape says nothing
	}
	return out, nil
}

// fill puts the choices and defaults that a step gave into the schema of its form.
func fill(schema json.RawMessage, s said) json.RawMessage {
	var doc map[string]json.RawMessage
	var fields map[string]map[string]json.RawMessage
	if json.Unmarshal(schema, &doc) != nil || json.Unmarshal(doc["properties"], &fields) != nil {
		return schema
	}
	put := func(name, key string, v json.RawMessage) {
		if fields[name] != nil {
			fields[name][key] = v
		}
	}
	for name, v := range s.Enums {
		put(name, "enum", v)
	}
	for name, v := range s.DefaultArgs {
		put(name, "default", v)
	}
	var err error
	if doc["properties"], err = json.Marshal(fields); err != nil {
		return schema
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return schema
	}
	return out
}

// Waiting is the flow that a link is for, with who has approved: what Windmill's own approval page reads.
func (c *Control) Waiting(ctx context.Context, who engine.Principal, a engine.Answer) (*engine.JobView, []engine.FlowApprover, error) {
	if err := c.verify(ctx, a); err != nil {
		return nil, nil, err
	}
	if q, err := c.asked(ctx, a); q != nil || err != nil {
		return c.waitingOf(ctx, who, q, err)
	}
	g, err := c.gate(ctx, a.Workspace, a.Job)
	if err != nil {
		return nil, nil, err
	}
	if g.module != nil && login(g.module.Suspend) { // so it is not for anybody's eyes either
		if err := c.cfg.Gate.Can(who, "read", a.Workspace, g.flow.Path); err != nil {
			return nil, nil, err
		}
	}
	var shown engine.Approval
	if err := c.question(ctx, g, &shown); err != nil {
		return nil, nil, err
	}
	if shown.Approvers == nil {
		shown.Approvers = []engine.FlowApprover{}
	}
	return g.flow, shown.Approvers, nil
}
