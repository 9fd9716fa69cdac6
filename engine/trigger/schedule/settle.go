package schedule

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// maxWatched is how many jobs are watched for their end; that of others is found by polls.
const maxWatched = 4096

// watch tells loop when a job has ended on this daemon.
func (s *Schedules) watch(ctx context.Context, id uuid.UUID) {
	if s.cfg.Bus == nil {
		return
	}
	select {
	case s.room <- struct{}{}:
	default:
		return
	}
	s.services.Go(func() {
		defer func() { <-s.room }()
		changed, stop := s.cfg.Bus.Await(id)
		defer stop()
		for {
			if _, done := s.cfg.Bus.Done(id); done {
				select {
				case s.ended <- id:
				case <-ctx.Done():
				}
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	})
}

// settle notes the ends of fired ticks whose job is done, of the given jobs or, with nil, of all, and returns whose it has noted.
func (s *Schedules) settle(ctx context.Context, jobs []uuid.UUID) (map[uuid.UUID]bool, error) {
	found := map[uuid.UUID]bool{}
	for {
		var work []store.TickHandler
		var again []store.TickRetry
		n := 0
		err := s.cfg.DB.InTx(ctx, func(tx store.Tx) error {
			work, again = work[:0], nil
			list, err := s.cfg.DB.TickEnded(ctx, tx, jobs, maxTaken)
			if err != nil || len(list) == 0 {
				return err
			}
			n = len(list)
			for i := range list {
				found[list[i].Job] = true
			}
			list, again = s.again(list)
			if len(again) > 0 {
				if err := s.cfg.DB.TickRetry(ctx, tx, again); err != nil {
					return err
				}
			}
			if len(list) == 0 {
				return nil
			}
			ends, counts := judgeAll(list)
			for i, e := range ends {
				if e.Handler != nil || e.Recovery != nil {
					work = append(work, store.TickHandler{TickEnd: e, Job: list[i].Job})
				}
			}
			return s.cfg.DB.TickEnd(ctx, tx, ends, counts)
		})
		if err != nil {
			return nil, err
		}
		for _, r := range again {
			s.retry(ctx, r)
		}
		for _, h := range work {
			s.handle(ctx, h)
		}
		if n < maxTaken {
			return found, nil
		}
	}
}

// judgeAll judges ends in their order; those of one schedule build upon each other.
func judgeAll(list []store.TickEnded) ([]store.TickEnd, map[store.TickKey]store.TickCounts) {
	counts := map[store.TickKey]store.TickCounts{}
	ends := make([]store.TickEnd, 0, len(list))
	for _, t := range list {
		k := store.TickKey{Workspace: t.Workspace, Path: t.Path}
		if c, ok := counts[k]; ok {
			t.Counts = c
		}
		e, c := judge(t)
		ends = append(ends, e)
		counts[k] = c
	}
	return ends, counts
}

// judge counts an end and decides which handlers follow.
func judge(t store.TickEnded) (store.TickEnd, store.TickCounts) {
	e, c := store.TickEnd{TickKey: t.TickKey, Success: t.Success}, t.Counts
	if !t.Success {
		c.Fails, c.Wins = c.Fails+1, 0
		c.Broken = c.Broken || c.Fails >= times(t.OnFailure)
		e.Streak = c.Fails
		e.Handler = follow(t.OnFailure, c.Fails)
		return e, c
	}
	c.Fails, c.Wins = 0, c.Wins+1
	e.Streak = c.Wins
	e.Handler = follow(t.OnSuccess, c.Wins)
	if c.Broken && c.Wins >= times(t.OnRecovery) {
		c.Broken = false
		if t.OnRecovery != nil {
			id := engine.NewJobID()
			e.Recovery = &id
		}
	}
	return e, c
}

func times(h *engine.Handler) int {
	if h == nil || h.Times < 1 {
		return 1
	}
	return h.Times
}

// follow is the id of a handler's run after n ends in a row; nil: it does not run.
func follow(h *engine.Handler, n int) *uuid.UUID {
	if h == nil || n < times(h) || (h.Exact && n != times(h)) {
		return nil
	}
	id := engine.NewJobID()
	return &id
}

// handle pushes the handlers of an ended tick. What cannot be pushed now stays pending; what never can is noted in the ledger.
func (s *Schedules) handle(ctx context.Context, h store.TickHandler) {
	err := s.handlers(ctx, h)
	if ctx.Err() != nil {
		return
	}
	why := ""
	if err != nil && !permanent(err) {
		s.cfg.Log.Warn().Err(err).Str("schedule", h.Path).Time("tick", h.At).Msg("start a handler; will try again")
		return
	}
	if err != nil {
		why = reason(err)
		s.cfg.Log.Warn().Err(err).Str("schedule", h.Path).Time("tick", h.At).Msg("a handler cannot start")
	}
	if err := s.cfg.DB.TickHandled(ctx, h.TickKey, why); err != nil {
		s.cfg.Log.Warn().Err(err).Msg("note handlers; they will be pushed again under the same ids")
	}
}

func (s *Schedules) handlers(ctx context.Context, h store.TickHandler) error {
	x, err := s.cfg.DB.ScheduleGet(ctx, h.Workspace, h.Path)
	if store.IsNotFound(err) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	v, err := s.cfg.Jobs.Get(ctx, s.owner(x), h.Workspace, h.Job, false)
	if err != nil {
		return err
	}
	var failed error
	if h.Recovery != nil {
		failed = s.pushHandler(ctx, x, handlerRun{x.OnRecovery, "recovery", *h.Recovery, v, h.Streak})
	}
	if h.Handler != nil {
		r := handlerRun{x.OnFailure, "failure", *h.Handler, v, h.Streak}
		if h.Success {
			r.handler, r.kind = x.OnSuccess, "success"
		}
		if err := s.pushHandler(ctx, x, r); failed == nil || !permanent(err) {
			failed = err
		}
	}
	return failed
}

// handlerRun is a run of a handler after a job.
type handlerRun struct {
	handler *engine.Handler
	kind    string
	id      uuid.UUID
	job     *engine.JobView
	streak  int
}

func (s *Schedules) pushHandler(ctx context.Context, x *engine.Schedule, r handlerRun) error {
	op := "schedule." + r.kind + "_handler"
	if r.handler == nil {
		return engine.Errorf(engine.Invalid, op, "the handler was taken away before it could run")
	}
	kind, path, err := runnableOf(op, r.handler.Path)
	if err != nil {
		return err
	}
	args, err := r.args(x)
	if err != nil {
		return engine.Errorf(engine.Invalid, op, "%v", err)
	}
	_, err = s.cfg.Jobs.Run(ctx, s.owner(x), engine.RunRequest{Workspace: x.Workspace, Kind: kind, Path: path, Args: args,
		ID: &r.id, Parent: &r.job.ID, Trigger: "schedule_handler", TriggerPath: x.Path})
	return err
}

// args are what a handler is told, with Windmill's names. Extra arguments win.
func (r *handlerRun) args(x *engine.Schedule) (json.RawMessage, error) {
	started := ""
	if r.job.StartedAt != nil {
		started = r.job.StartedAt.UTC().Format(time.RFC3339Nano)
	}
	m := map[string]any{
		"workspace_id": x.Workspace, "job_id": r.job.ID, "path": r.job.Path, "is_flow": x.IsFlow, "started_at": started,
		"email": x.Email, "schedule_path": x.Path,
	}
	result := r.job.Result
	if len(result) == 0 {
		result = json.RawMessage("null")
	}
	if r.kind == "failure" {
		m["error"], m["failed_times"] = errorOf(r.job, result), r.streak
	} else {
		m["result"], m["success_result"], m["success_times"], m["success_started_at"] = result, result, r.streak, started
	}
	if len(r.handler.Extra) > 0 {
		extra := map[string]json.RawMessage{}
		if err := json.Unmarshal(r.handler.Extra, &extra); err != nil {
			return nil, err
		}
		for name, v := range extra {
			m[name] = v
		}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(m)
	return json.RawMessage(strings.TrimSpace(b.String())), err
}

// errorOf is what a failed job's result says, {"error": ...} being the usual form.
func errorOf(v *engine.JobView, result json.RawMessage) any {
	if v.State == engine.StateCanceled {
		return map[string]string{"name": "Canceled", "message": strings.TrimSpace("canceled by " + v.CanceledBy + " " + v.Reason)}
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(result, &m) == nil && len(m["error"]) > 0 {
		return m["error"]
	}
	return result
}
