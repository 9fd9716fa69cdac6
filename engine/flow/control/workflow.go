package control

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

// asking is a workflow as code that asks people.
type asking struct {
	job  *engine.JobView
	what store.Approval
	how  asks
}

// asks is how a workflow asks, with the names of Windmill's clients.
type asks struct {
	Form         json.RawMessage `json:"form"`
	Description  json.RawMessage `json:"description"`
	SelfApproval *bool           `json:"self_approval"`
	Skin         string          `json:"skin"`
}

// told is what a workflow gets, as Windmill's clients have it.
type told struct {
	Value    json.RawMessage `json:"value"`
	Approver string          `json:"approver"`
	Approved bool            `json:"approved"`
}

func (a asks) noSelf() bool { return a.SelfApproval != nil && !*a.SelfApproval }

// resumeOf is the number of the links of what a workflow asks: it is known before the workflow asks.
func resumeOf(key string) int64 {
	h := sha256.Sum256([]byte(key))
	return int64(binary.BigEndian.Uint32(h[:]))
}

// asked finds what of a workflow a is for; nil: it is for nothing of one.
func (c *Control) asked(ctx context.Context, a engine.Answer) (*asking, error) {
	list, err := c.cfg.Store.Approvals(ctx, a.Job)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	x, err := c.meant(ctx, list, a)
	if x == nil || err != nil {
		return nil, err
	}
	q := &asking{what: *x}
	if q.job, err = c.job(ctx, a.Workspace, a.Job); err != nil {
		return nil, err
	}
	if len(x.Options) > 0 {
		err = json.Unmarshal(x.Options, &q.how)
	}
	return q, err
}

// meant is the approval that a's link is of or has answered, or else the one that the workflow waits for.
func (c *Control) meant(ctx context.Context, list []store.Approval, a engine.Answer) (*store.Approval, error) {
	for i := range list {
		if resumeOf(list[i].Key) == a.ResumeID {
			return &list[i], nil
		}
	}
	votes, err := c.cfg.Store.VotesOf(ctx, a.Job, "")
	if err != nil {
		return nil, err
	}
	for _, v := range votes {
		if i := slices.IndexFunc(list, func(x store.Approval) bool { return v.Module != nil && x.Key == *v.Module }); v.ResumeID == a.ResumeID && i >= 0 {
			return &list[i], nil
		}
	}
	for i := range list {
		if list[i].OK == nil && time.Now().Before(list[i].Due) {
			return &list[i], nil
		}
	}
	return nil, nil
}

// tell keeps an answer for a workflow, and wakes it.
func (c *Control) tell(ctx context.Context, who engine.Principal, q *asking, a engine.Answer, err error) error {
	if err != nil {
		return err
	}
	v, err := voteOf(who, a)
	if err != nil {
		return err
	}
	if err := c.mayTell(who, q); err != nil {
		return err
	}
	fresh := false
	if q.job.FinishedAt == nil && q.what.OK == nil {
		value, err := json.Marshal(told{v.Payload, v.Approver, v.Approved})
		if err != nil {
			return err
		}
		if fresh, err = c.cfg.Store.ApprovalAnswer(ctx, q.what.N, v, value); err != nil {
			return err
		}
	}
	if !fresh {
		before, err := c.toldBefore(ctx, q)
		switch {
		case err != nil:
			return err
		case before == nil:
			return &engine.Error{Code: engine.Conflict, Op: op, Path: a.Job.String(), Msg: "the workflow does not wait for this any more"}
		case before.Approved != v.Approved:
			return &engine.Error{Code: engine.Conflict, Op: op, Path: a.Job.String(), Msg: "it was answered already, by " + before.Approver}
		}
	}
	return c.cfg.Workflows.Answered(ctx, a.Job) // again, if need be: the first may not have been told
}

// mayTell refuses who may not answer q.
func (c *Control) mayTell(who engine.Principal, q *asking) error {
	if !q.how.noSelf() {
		return nil
	}
	switch {
	case who.Username == "":
		return &engine.Error{Code: engine.Unauthorized, Op: op, Msg: "this approval needs an account", Hint: "send a token"}
	case who.Via == "job":
		return engine.Errorf(engine.Forbidden, op, "this approval needs a person; jobs cannot give it")
	case who.Username == q.job.CreatedBy || who.Email != "" && who.Email == q.job.Email:
		return engine.Errorf(engine.Forbidden, op, "whoever started the workflow cannot approve this")
	}
	return c.cfg.Gate.Can(who, "read", q.job.Workspace, q.job.Path)
}

// toldBefore is the answer that a workflow has got; nil: none.
func (c *Control) toldBefore(ctx context.Context, q *asking) (*store.Vote, error) {
	votes, err := c.cfg.Store.VotesOf(ctx, q.job.ID, q.what.Key)
	if err != nil || len(votes) == 0 {
		return nil, err
	}
	return &votes[0], nil
}

// shown is what somebody is shown who follows a link to what a workflow asks.
func (c *Control) shown(ctx context.Context, q *asking, err error) (*engine.Approval, error) {
	if err != nil {
		return nil, err
	}
	j := q.job
	out := &engine.Approval{Workspace: j.Workspace, Flow: j.ID, Path: j.Path, AskedBy: j.CreatedBy, AskedAt: q.what.At, FlowState: j.State, Step: q.what.Key,
		Description: q.how.Description, Schema: q.how.schema(), Login: q.how.noSelf(), NoSelf: q.how.noSelf(), Required: 1, Until: &q.what.Due, State: engine.ApprovalOver,
		Minimal: q.how.Skin == format.SkinMinimal}
	if j.FinishedAt == nil && q.what.OK == nil && time.Now().Before(q.what.Due) {
		out.State = engine.ApprovalWaiting
	}
	before, err := c.toldBefore(ctx, q)
	if err != nil {
		return nil, err
	}
	if before != nil {
		out.State = engine.ApprovalAnswered
		out.Mine = &engine.Answered{Approved: before.Approved, Approver: before.Approver, At: before.At}
		if before.Approved {
			out.Approvers = []engine.FlowApprover{{ResumeID: before.ResumeID, Approver: before.Approver}}
		}
	}
	return out, nil
}

// schema is that of the form: as it is, or within an object, as flows have it.
func (a asks) schema() json.RawMessage {
	var in struct {
		Schema     json.RawMessage `json:"schema"`
		Properties json.RawMessage `json:"properties"`
	}
	if json.Unmarshal(a.Form, &in) == nil && in.Properties == nil && in.Schema != nil {
		return in.Schema
	}
	if in.Properties == nil {
		return nil
	}
	return a.Form
}

// waitingOf is Waiting for a workflow.
func (c *Control) waitingOf(ctx context.Context, who engine.Principal, q *asking, err error) (*engine.JobView, []engine.FlowApprover, error) {
	if err == nil && q.how.noSelf() { // so it is not for anybody's eyes either
		err = c.cfg.Gate.Can(who, "read", q.job.Workspace, q.job.Path)
	}
	shown, err := c.shown(ctx, q, err)
	if err != nil {
		return nil, nil, err
	}
	return q.job, append([]engine.FlowApprover{}, shown.Approvers...), nil
}
