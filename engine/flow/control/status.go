package control

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

// mostParts bounds the jobs of one run that are looked at: what is beyond is not shown.
const mostParts = 20_000

// Status tells how far a flow, or an iteration or branch of one, is, and what it runs.
func (c *Control) Status(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) (*engine.FlowStatus, json.RawMessage, error) {
	if err := c.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, nil, err
	}
	v, err := c.job(ctx, ws, id)
	if err != nil {
		return nil, nil, err
	}
	return c.status(ctx, v)
}

func (c *Control) status(ctx context.Context, v *engine.JobView) (*engine.FlowStatus, json.RawMessage, error) {
	s, err := c.see(ctx, v.ID, &v.Job)
	if err != nil {
		return nil, nil, err
	}
	look := &look{seen: s, over: v.FinishedAt != nil}
	if s.begun {
		if err := c.read(ctx, look); err != nil {
			return nil, nil, err
		}
	}
	raw := *s.value
	raw.Modules = s.def.Modules // with the one that a wait at the end needs
	text, err := raw.MarshalJSON()
	if err != nil {
		return nil, nil, err
	}
	return look.status(), text, nil
}

// look is a run with everything that its status is made of.
type look struct {
	*seen
	over   bool
	steps  map[string]store.FlowStep      // the last word on each module that has ended
	branch map[string]int                 // that was taken
	lists  map[string]int                 // lengths of the lists of loops
	reused map[string]map[int32]uuid.UUID // the jobs of another run that stand for items
	parts  map[string][]store.FlowPart
	votes  map[string][]store.Vote
	states map[string]json.RawMessage
}

func (c *Control) read(ctx context.Context, l *look) error {
	id := l.job.ID
	l.steps, l.branch, l.lists = map[string]store.FlowStep{}, map[string]int{}, map[string]int{}
	l.parts, l.votes, l.reused = map[string][]store.FlowPart{}, map[string][]store.Vote{}, map[string]map[int32]uuid.UUID{}
	steps, err := c.cfg.Store.FlowSteps(ctx, id)
	if err != nil {
		return err
	}
	for _, s := range steps {
		switch {
		case s.Item == nil:
			l.steps[s.Module] = s
		case *s.Item == store.FlowBranchItem:
			n, err := strconv.Atoi(string(s.Value))
			if err != nil {
				return err
			}
			l.branch[s.Module] = n
		case *s.Item == store.FlowListItem:
			var list []json.RawMessage
			if err := json.Unmarshal(s.Value, &list); err != nil {
				return err
			}
			l.lists[s.Module] = len(list)
		case *s.Item >= 0 && s.Job != nil:
			if l.reused[s.Module] == nil {
				l.reused[s.Module] = map[int32]uuid.UUID{}
			}
			l.reused[s.Module][*s.Item] = *s.Job
		}
	}
	parts, err := c.cfg.Store.FlowParts(ctx, id, mostParts)
	if err != nil {
		return err
	}
	for _, p := range parts {
		l.parts[p.Step] = append(l.parts[p.Step], p)
	}
	votes, err := c.cfg.Store.VotesOf(ctx, id, "")
	if err != nil {
		return err
	}
	for _, v := range votes {
		l.votes[*v.Module] = append(l.votes[*v.Module], v)
	}
	if l.root == id {
		l.states, err = c.cfg.Store.FlowUserStates(ctx, id)
	}
	return err
}

func (l *look) status() *engine.FlowStatus {
	st := l.state
	out := &engine.FlowStatus{Step: st.At, UserStates: l.states, RestartedFrom: restarted(st.Again), Modules: []engine.FlowStatusModule{},
		FailureModule: engine.FlowStatusModule{Type: engine.ModuleWaitsForPrior, ID: "failure"}}
	waits := st.Phase == flow.Waiting
	if waits || st.Phase == flow.Sleeping { // it is the next module that waits
		out.Step++
	}
	if st.At == flow.AtFailure {
		out.Step = len(l.def.Modules)
	}
	if l.def.Preprocessor != nil {
		m := l.module(l.def.Preprocessor, st.At == flow.AtPreprocessor)
		out.PreprocessorModule = &m
	}
	for i, m := range l.def.Modules {
		one := l.module(m, i == st.At)
		if waits && i == st.At+1 {
			gate := l.def.Modules[st.At]
			one = engine.FlowStatusModule{Type: engine.ModuleWaitsForEvents, ID: m.ID, Count: gate.Suspend.RequiredEvents - st.Votes}
			if parts := l.parts[gate.ID]; len(parts) > 0 {
				one.Job = &parts[len(parts)-1].ID
			}
		}
		out.Modules = append(out.Modules, one)
	}
	if l.def.Failure != nil {
		out.FailureModule = l.module(l.def.Failure, st.At == flow.AtFailure)
	}
	if m := l.def.Working(st); m != nil && st.Fails > 0 && st.Phase != flow.Over {
		out.Retry = engine.FlowRetry{FailCount: st.Fails, FailedJobs: failed(l.parts[m.ID], st.Phase == flow.Retrying)}
	}
	if waits {
		gate := l.def.Modules[st.At].Suspend
		out.ApprovalConditions = &engine.ApprovalConditions{UserAuthRequired: login(gate), UserGroupsRequired: groups(st.Groups),
			SelfApprovalDisabled: gate.SelfApprovalDisabled}
	}
	return out
}

// module is how far m is; at: it is the one at work, or the one at which the run ended.
func (l *look) module(m *format.Module, at bool) engine.FlowStatusModule {
	out := engine.FlowStatusModule{ID: m.ID, Type: engine.ModuleWaitsForPrior}
	parts := l.parts[m.ID]
	ended, done := l.steps[m.ID]
	switch {
	case done && ended.OK:
		out.Type, out.Skipped, out.Job = engine.ModuleSuccess, ended.Skipped, ended.Job
	case done:
		out.Type, out.Job = engine.ModuleFailure, ended.Job
	case at && l.over:
		out.Type = engine.ModuleFailure
	case at && l.state.Phase != flow.Ready:
		out.Type = engine.ModuleInProgress
	default:
		return out
	}
	if len(parts) > 0 {
		last := parts[len(parts)-1]
		if out.Job == nil {
			out.Job = &last.ID
		}
		out.StartedAt, out.DurationMS = last.StartedAt, duration(last)
		if out.Type == engine.ModuleInProgress && last.State == engine.StateQueued && len(m.Bodies()) == 0 {
			out.Type = engine.ModuleWaitsForExecutor
		}
	}
	for _, v := range l.votes[m.ID] {
		if v.Approved {
			out.Approvers = append(out.Approvers, engine.FlowApprover{ResumeID: v.ResumeID, Approver: v.Approver})
		}
	}
	if len(m.Bodies()) > 0 {
		l.container(m, parts, &out)
	} else if len(parts) > 1 {
		out.FailedRetries = failed(parts, false)
	}
	return out
}

// container adds what loops and branches have.
func (l *look) container(m *format.Module, parts []store.FlowPart, out *engine.FlowStatusModule) {
	items := map[int32]store.FlowPart{} // of several attempts the last one counts
	most := int32(-1)
	for _, p := range parts {
		items[p.Item] = p
		most = max(most, p.Item)
	}
	for n := range l.reused[m.ID] {
		most = max(most, n)
	}
	times := engine.FlowDurations{}
	for n := range most + 1 {
		p, ok := items[n]
		if id, again := l.reused[m.ID][n]; !ok && again {
			yes := true
			out.FlowJobs, out.JobsSuccess = append(out.FlowJobs, id), append(out.JobsSuccess, &yes)
			times.StartedAt, times.DurationMS = append(times.StartedAt, nil), append(times.DurationMS, nil)
		}
		if !ok {
			continue // it is no job of this run, and perhaps never was one
		}
		out.FlowJobs = append(out.FlowJobs, p.ID)
		var success *bool
		if p.FinishedAt != nil {
			ok := p.State == engine.StateSuccess
			success = &ok
		}
		out.JobsSuccess = append(out.JobsSuccess, success)
		times.StartedAt, times.DurationMS = append(times.StartedAt, p.StartedAt), append(times.DurationMS, duration(p))
	}
	if len(out.FlowJobs) > 0 {
		out.JobsDuration = &times
	}
	switch b := m.Value.(type) {
	case *format.ForLoop:
		out.Parallel = b.Parallel
		out.Iterator = &engine.FlowIterator{Index: int(most)}
		if n, ok := l.lists[m.ID]; ok {
			out.Iterator.Len = &n
		}
	case *format.WhileLoop:
		out.WhileLoop, out.Iterator = true, &engine.FlowIterator{Index: int(most)}
	case *format.BranchAll:
		out.Parallel = b.Parallel()
		out.BranchAll = &engine.BranchProgress{Branch: int(most), Len: len(b.Branches)}
	case *format.BranchOne:
		if n, ok := l.branch[m.ID]; ok {
			out.BranchChosen = &engine.BranchChosen{Type: "default"}
			if n >= 0 {
				out.BranchChosen = &engine.BranchChosen{Type: "branch", Branch: &n}
			}
		}
	}
}

// failed are the attempts that failed: all but the last one, or that too.
func failed(parts []store.FlowPart, all bool) (out []uuid.UUID) {
	if !all && len(parts) > 0 {
		parts = parts[:len(parts)-1]
	}
	for _, p := range parts {
		out = append(out, p.ID)
	}
	return out
}

func duration(p store.FlowPart) *float64 {
	if p.StartedAt == nil || p.FinishedAt == nil {
		return nil
	}
	ms := float64(p.FinishedAt.Sub(*p.StartedAt).Microseconds()) / 1000
	return &ms
}

func restarted(a *flow.Again) *engine.RestartedFrom {
	if a == nil {
		return nil
	}
	return &engine.RestartedFrom{FlowJobID: a.From, StepID: a.Step, Item: a.Item, Branch: a.Branch, Nested: restarted(a.Within)}
}
