package control

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

const op = "flow.approve"

// anonymous is what an approver is called who has no account and whom the link does not name.
const anonymous = "anonymous"

// maxPayload bounds what an answer brings.
const maxPayload = 1 << 20

// gate is what an answer is for.
type gate struct {
	flow    *engine.JobView // the outermost run
	run     *seen
	module  *format.Module // that asks; nil: the flow asks for nothing at present, and the answer is kept until it does
	waiting bool
	gone    string // why no answer is needed any more
}

// gate finds what a link is for.
func (c *Control) gate(ctx context.Context, ws string, id uuid.UUID) (*gate, error) {
	v, err := c.job(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	root, ok, err := c.root(ctx, &v.Job)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &engine.Error{Code: engine.Conflict, Op: op, Path: id.String(), Msg: "the job does not wait for approval now"}
	}
	g := &gate{}
	if g.flow, err = c.job(ctx, ws, root); err != nil {
		return nil, err
	}
	if isFlow(&v.Job) {
		return g, c.flowGate(ctx, g, v)
	}
	if g.run, err = c.see(ctx, *v.Parent, nil); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(g.run.def.Modules, func(m *format.Module) bool { return m.ID == v.Step })
	if at < 0 || !g.run.def.Modules[at].Suspend.Gate() {
		return nil, engine.Errorf(engine.Invalid, op, "step %s asks for no approval", v.Step)
	}
	g.module = g.run.def.Modules[at]
	switch st := g.run.state; {
	case st.Phase == flow.Over:
		g.gone = "the flow has ended"
	case st.At != at || st.Phase == flow.Sleeping:
		g.gone = "the flow has gone on"
	default:
		g.waiting = st.Phase == flow.Waiting
	}
	return g, nil
}

// flowGate finds what waits in a flow.
func (c *Control) flowGate(ctx context.Context, g *gate, v *engine.JobView) (err error) {
	if g.run, err = c.see(ctx, v.ID, &v.Job); err != nil {
		return err
	}
	if v.FinishedAt != nil {
		g.gone = "the flow has ended"
		return nil
	}
	budget := mostLooked
	at, err := c.waiting(ctx, g.run, &budget)
	if err == nil && at != nil {
		g.run, g.module, g.waiting = at, at.def.Working(at.state), true
	}
	return err
}

// mostLooked is how many runs of a flow are searched for one that waits.
const mostLooked = 1000

// waiting finds the first run that waits for approval: s, or one within it.
func (c *Control) waiting(ctx context.Context, s *seen, budget *int) (*seen, error) {
	if *budget--; *budget < 0 || !s.begun {
		return nil, nil
	}
	if s.state.Phase == flow.Waiting {
		return s, nil
	}
	children, err := c.cfg.Store.FlowChildren(ctx, s.job.ID)
	for _, child := range children {
		if !child.Run || err != nil {
			continue
		}
		var in *seen
		if in, err = c.see(ctx, child.ID, nil); err != nil {
			return nil, err
		}
		if found, err := c.waiting(ctx, in, budget); found != nil || err != nil {
			return found, err
		}
	}
	return nil, err
}

// Vote keeps an answer that came by a link, of somebody who is who when they are known here.
func (c *Control) Vote(ctx context.Context, who engine.Principal, a engine.Answer) error {
	if err := c.verify(ctx, a); err != nil {
		return err
	}
	if q, err := c.asked(ctx, a); q != nil || err != nil {
		return c.tell(ctx, who, q, a, err)
	}
	g, err := c.gate(ctx, a.Workspace, a.Job)
	if err != nil {
		return err
	}
	return c.vote(ctx, who, g, a)
}

// Resume answers what a flow waits for, for those who may run it: no link is needed.
func (c *Control) Resume(ctx context.Context, who engine.Principal, a engine.Answer) error {
	v, err := c.job(ctx, a.Workspace, a.Job)
	if err != nil {
		return err
	}
	if err := c.cfg.Gate.Can(who, "run", a.Workspace, v.Path); err != nil {
		return err
	}
	a.ResumeID = 1<<32 + rand.Int64N(1<<62) // beyond those of links
	if q, err := c.asked(ctx, a); q != nil || err != nil {
		return c.tell(ctx, who, q, a, err)
	}
	g, err := c.gate(ctx, a.Workspace, a.Job)
	if err != nil {
		return err
	}
	if g.gone == "" && !g.waiting {
		return &engine.Error{Code: engine.Conflict, Op: op, Path: a.Job.String(), Msg: "the flow does not wait for approval now"}
	}
	return c.vote(ctx, who, g, a)
}

func (c *Control) vote(ctx context.Context, who engine.Principal, g *gate, a engine.Answer) error {
	v, err := voteOf(who, a)
	if err != nil {
		return err
	}
	if g.module != nil {
		id := g.run.job.ID
		v.Run, v.Module = &id, &g.module.ID
	}
	before, err := c.cfg.Store.VoteGet(ctx, a.Job, a.ResumeID)
	switch {
	case err == nil:
		return c.again(ctx, g, before, a.Approved)
	case !store.IsNotFound(err):
		return err
	case g.gone != "":
		return &engine.Error{Code: engine.Conflict, Op: op, Path: a.Job.String(), Msg: g.gone}
	}
	if err := c.allowed(ctx, who, g); err != nil {
		return err
	}
	fresh, err := c.cfg.Store.VotePut(ctx, v)
	if err != nil {
		return err
	}
	if !fresh { // somebody was faster
		if before, err = c.cfg.Store.VoteGet(ctx, a.Job, a.ResumeID); err != nil {
			return err
		}
		return c.again(ctx, g, before, a.Approved)
	}
	return c.count(ctx, g)
}

// voteOf is a's answer, of who.
func voteOf(who engine.Principal, a engine.Answer) (*store.Vote, error) {
	if len(a.Payload) > maxPayload {
		return nil, engine.Errorf(engine.TooLarge, op, "an answer has at most %d MiB", maxPayload>>20)
	}
	if len(a.Payload) > 0 && !json.Valid(a.Payload) {
		return nil, engine.Errorf(engine.Invalid, op, "the answer is not JSON")
	}
	v := &store.Vote{Job: a.Job, ResumeID: a.ResumeID, Approved: a.Approved, Approver: a.Approver, Account: who.Username, Payload: a.Payload}
	if v.Approver == "" || who.Username != "" {
		v.Approver = who.Username
	}
	if v.Approver == "" {
		v.Approver = anonymous
	}
	return v, nil
}

// again is a second answer by the same link.
func (c *Control) again(ctx context.Context, g *gate, before *store.Vote, approved bool) error {
	if before.Approved != approved {
		return &engine.Error{Code: engine.Conflict, Op: op, Path: before.Job.String(), Msg: "it was answered already, by " + before.Approver}
	}
	return c.count(ctx, g) // the first may not have been told
}

func (c *Control) count(ctx context.Context, g *gate) error {
	if !g.run.begun {
		return nil
	}
	err := c.cfg.Runner.Count(ctx, g.run.job.ID)
	if engine.CodeOf(err) == engine.NotFound {
		return nil // it is over
	}
	return err
}

// allowed tells whether who may answer g.
func (c *Control) allowed(ctx context.Context, who engine.Principal, g *gate) error {
	if g.module != nil {
		return c.allowedBy(ctx, who, g, g.module.Suspend, g.waiting)
	}
	var err error
	g.run.value.Walk(func(m *format.Module, _ format.Place) bool { // it may count for any of them
		if m.Suspend.Gate() && err == nil {
			err = c.allowedBy(ctx, who, g, m.Suspend, false)
		}
		return err == nil
	})
	return err
}

func login(s *format.Suspend) bool {
	return s.UserAuthRequired || s.SelfApprovalDisabled || s.UserGroupsRequired != nil
}

func (c *Control) allowedBy(ctx context.Context, who engine.Principal, g *gate, s *format.Suspend, waiting bool) error {
	if !login(s) {
		return nil
	}
	ws, f := g.flow.Workspace, g.flow
	switch {
	case who.Username == "":
		return &engine.Error{Code: engine.Unauthorized, Op: op, Msg: "this approval needs an account", Hint: "send a token"}
	case who.Via == "job":
		return engine.Errorf(engine.Forbidden, op, "this approval needs a person; jobs cannot give it")
	case s.SelfApprovalDisabled && (who.Username == f.CreatedBy || who.Email != "" && who.Email == f.Email):
		return engine.Errorf(engine.Forbidden, op, "whoever started the flow cannot approve this step")
	}
	if err := c.cfg.Gate.Can(who, "read", ws, f.Path); err != nil {
		return err
	}
	if s.UserGroupsRequired != nil && c.cfg.Gate.Can(who, "admin", ws, "") != nil {
		if !waiting {
			return engine.Errorf(engine.Conflict, op, "the step asks members of some groups; answer when the flow waits for them")
		}
		names := groups(g.run.state.Groups)
		if !slices.ContainsFunc(c.cfg.Gate.GroupsOf(who.Username, ws), func(n string) bool { return slices.Contains(names, n) }) {
			return &engine.Error{Code: engine.Forbidden, Op: op, Msg: who.Username + " is in none of the groups that can approve this step: " + strings.Join(names, ", "),
				Hint: "a member of one of them can, or an administrator of the workspace"}
		}
	}
	if g.module == nil {
		return nil
	}
	votes, err := c.cfg.Store.VotesOf(ctx, g.run.job.ID, g.module.ID)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(votes, func(v store.Vote) bool { return v.Account == who.Username }) {
		return engine.Errorf(engine.Conflict, op, "%s has answered already", who.Username)
	}
	return nil
}

// groups reads the list that user_groups_required gave.
func groups(raw json.RawMessage) []string {
	out := []string{}
	if len(raw) == 0 || json.Unmarshal(raw, &out) != nil {
		return []string{}
	}
	return out
}
