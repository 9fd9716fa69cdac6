package runner

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/store"
)

// Count has a run look at the answers that are stored for it. They are stored first and counted then, so that one that was given
// before a crash, or before the step that asked for it had ended, counts; and how often they are counted changes nothing.
func (r *Runner) Count(ctx context.Context, run uuid.UUID) error {
	return r.send(ctx, &event{run: run, votes: true})
}

// look counts answers that came before the run began to wait.
func (r *Runner) look(ctx context.Context, run uuid.UUID) {
	if err := r.Count(ctx, run); err != nil && engine.CodeOf(err) != engine.NotFound {
		r.cfg.Log.Warn().Err(err).Stringer("run", run).Msg("count the answers to a run; they will be when it is due")
	}
}

// count lets the run decide about every answer to it that it has not counted.
func (o *operation) count(x *run) error {
	m := x.flow.Working(x.state)
	if x.state.Phase != flow.Waiting || m == nil {
		return nil
	}
	votes, err := o.votes(x, m.ID, m.Suspend.RequiredEvents)
	if err != nil {
		return err
	}
	n := 0
	for _, v := range votes {
		if v.Approved {
			n++
		}
		if err := o.step(x, flow.Vote{N: n, Approved: v.Approved, By: v.Approver}); err != nil {
			return err
		}
	}
	return nil
}

// votes are the answers that count for a gate of x; what is missing is taken from those that were given for the flow as a whole.
func (o *operation) votes(x *run, module string, want int) ([]store.Vote, error) {
	db := o.runner.cfg.Store
	votes, err := db.VotesOf(o.ctx, x.job.ID, module)
	tried := map[uuid.UUID]bool{}
	for at := x; at != nil && err == nil && len(votes) < want; at = at.parent {
		for _, id := range []uuid.UUID{at.job.ID, at.def, at.root} {
			if tried[id] || err != nil || len(votes) >= want {
				continue
			}
			tried[id] = true
			if err = db.VoteTake(o.ctx, id, x.job.ID, module, want-len(votes)); err == nil {
				votes, err = db.VotesOf(o.ctx, x.job.ID, module)
			}
		}
	}
	return votes, err
}

// approvals is what resume, resumes and approvers are: of the gate before the module at work, here or around it.
func (s *scope) approvals(ctx context.Context, name string) (json.RawMessage, error) {
	votes := []store.Vote{}
	for at := s.eval.run; at != nil; at = at.parent {
		gate := at.state.Gate
		if at == s.eval.run {
			gate = s.look.Run.Gate // as it is now
		}
		if gate != "" {
			all, err := s.eval.operation.runner.cfg.Store.VotesOf(ctx, at.job.ID, gate)
			if err != nil {
				return nil, err
			}
			for _, v := range all {
				if v.Approved {
					votes = append(votes, v)
				}
			}
			break
		}
		if at.def == at.job.ID {
			break
		}
	}
	payloads, approvers := []json.RawMessage{}, []string{}
	for _, v := range votes {
		payloads, approvers = append(payloads, orNull(v.Payload)), append(approvers, v.Approver)
	}
	switch {
	case name == "approvers":
		return json.Marshal(approvers)
	case name == "resumes":
		return json.Marshal(payloads)
	case len(payloads) == 0:
		return nil, nil
	}
	return payloads[len(payloads)-1], nil
}

// changed tells of the runs that the operation has moved, and of those around them.
func (o *operation) changed() {
	tell := o.runner.cfg.Changed
	if tell == nil {
		return
	}
	told := map[uuid.UUID]bool{}
	for _, x := range o.touched {
		for at := x; at != nil && !told[at.job.ID]; at = at.parent {
			told[at.job.ID] = true
			tell(at.job.ID)
		}
	}
}
