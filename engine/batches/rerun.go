package batches

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

const (
	rerunLimit = 10_000  // jobs of a rerun by filter, unless told
	rerunMost  = 100_000 // that can be told
	rerunPage  = 200     // jobs whose arguments are held at a time
	listPage   = 1000
)

var completed = []engine.JobState{engine.StateSuccess, engine.StateFailure, engine.StateCanceled}

// Rerun makes a new batch of the arguments of the rows of a batch that ended in one of states.
func (b *Batches) Rerun(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, states []engine.JobState, r engine.RerunRequest) (*engine.Batch, error) {
	if err := b.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	old, err := b.get(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	if err := b.cfg.Gate.Can(p, "run", ws, old.Path); err != nil {
		return nil, err
	}
	n := &engine.Batch{Kind: old.Kind, Path: old.Path, Name: r.Name, Source: &old.ID}
	if !r.Latest {
		n.Hash = old.Hash
	}
	if n.Name == "" {
		n.Name = old.Name
	}
	after, limit := id, r.Limit
	ids := func(ctx context.Context) ([]uuid.UUID, error) {
		n := rerunPage
		if limit > 0 {
			n = min(n, limit)
		}
		if n == 0 || (r.Limit > 0 && limit == 0) {
			return nil, nil
		}
		list, err := b.cfg.DB.BatchEnded(ctx, after, states, n)
		if len(list) > 0 {
			after = list[len(list)-1]
			limit -= min(limit, len(list))
		}
		return list, err
	}
	return b.again(ctx, p, ws, n, ids, r)
}

// RerunJobs makes a new batch of the completed jobs that f selects, oldest first.
func (b *Batches) RerunJobs(ctx context.Context, p engine.Principal, ws string, f engine.JobFilter, r engine.RerunRequest) (*engine.Batch, error) {
	chosen, err := b.choose(ctx, p, ws, f, &r)
	if err != nil {
		return nil, err
	}
	templates := b.templates(p, ws, r)
	for _, v := range chosen.targets { // all of them, before anything is stored
		if _, err := templates.of(ctx, v); err != nil {
			return nil, err
		}
	}
	n := &engine.Batch{Name: r.Name}
	if len(chosen.targets) == 1 {
		n.Kind, n.Path = chosen.targets[0].Kind, chosen.targets[0].Path
		if !r.Latest {
			n.Hash = chosen.targets[0].Hash
		}
	}
	rest := chosen.ids
	ids := func(context.Context) ([]uuid.UUID, error) {
		page := rest[:min(rerunPage, len(rest))]
		rest = rest[len(page):]
		return page, nil
	}
	return b.again(ctx, p, ws, n, ids, r)
}

// CountRerun says what RerunJobs would run.
func (b *Batches) CountRerun(ctx context.Context, p engine.Principal, ws string, f engine.JobFilter, r engine.RerunRequest) (engine.RerunCount, error) {
	chosen, err := b.choose(ctx, p, ws, f, &r)
	if err != nil {
		return engine.RerunCount{}, err
	}
	return engine.RerunCount{Count: len(chosen.ids), ByPath: chosen.byPath}, nil
}

// choice is what a filter selects.
type choice struct {
	ids     []uuid.UUID
	targets []*engine.Job // one of each thing that they run
	byPath  map[string]int
}

func (b *Batches) choose(ctx context.Context, p engine.Principal, ws string, f engine.JobFilter, r *engine.RerunRequest) (*choice, error) {
	if err := b.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	if r.Limit == 0 {
		r.Limit = rerunLimit
	}
	if r.Limit < 1 || r.Limit > rerunMost {
		return nil, engine.Errorf(engine.Invalid, "job.rerun", "limit must be from 1 to %d", rerunMost)
	}
	if len(f.States) == 0 {
		f.States = completed
	}
	// Jobs that complete meanwhile push others back but take none away: what is seen twice is known by its id.
	f.Ascending, f.Page, f.PerPage = true, 1, listPage
	if now := time.Now(); f.CreatedBefore.IsZero() || f.CreatedBefore.After(now) {
		f.CreatedBefore = now
	}
	c := &choice{byPath: map[string]int{}}
	seen, targets := map[uuid.UUID]bool{}, map[target]bool{}
	for ; ; f.Page++ {
		list, err := b.cfg.Queue.List(ctx, ws, f)
		if err != nil {
			return nil, err
		}
		for _, v := range list {
			if seen[v.ID] || v.Kind == engine.KindDependencies || v.Kind == engine.KindFlowDependencies {
				continue
			}
			seen[v.ID] = true
			c.ids = append(c.ids, v.ID)
			c.byPath[v.Path]++
			if t := targetOf(&v.Job); v.Kind == engine.KindPreview || !targets[t] {
				targets[t] = true
				c.targets = append(c.targets, &v.Job)
			}
			if len(c.ids) == r.Limit {
				return c, nil
			}
		}
		if len(list) < listPage {
			return c, nil
		}
	}
}

// again pushes the jobs that ids gives page by page, as the batch n.
func (b *Batches) again(ctx context.Context, p engine.Principal, ws string, n *engine.Batch, ids func(context.Context) ([]uuid.UUID, error), r engine.RerunRequest) (*engine.Batch, error) {
	n.ID, n.Workspace, n.CreatedBy, n.State, n.CreatedAt = engine.NewBatchID(), ws, p.Username, engine.BatchReceiving, time.Now()
	if n.Source == nil {
		n.Source = &n.ID // of itself: not to be taken up, its rows might be chosen differently
	}
	stored, err := b.cfg.DB.BatchInsert(ctx, n, r.IdempotencyKey)
	if err != nil {
		return nil, wrap("job.rerun", err)
	}
	if !stored {
		first, err := b.cfg.DB.BatchByKey(ctx, ws, r.IdempotencyKey)
		if err != nil {
			return nil, wrap("job.rerun", err)
		}
		return first, settledBefore(first)
	}
	src := &history{b: b, ctx: ctx, ws: ws, ids: ids, templates: b.templates(p, ws, r)}
	return b.fill(ctx, &filling{b: b, batch: n}, src)
}

// history is a source of the arguments of completed jobs.
type history struct {
	b         *Batches
	ctx       context.Context // of the one call that reads it
	ws        string
	ids       func(context.Context) ([]uuid.UUID, error)
	templates *templates
	page      []*engine.Job
}

func (h *history) next() (row, error) {
	for len(h.page) == 0 {
		ids, err := h.ids(h.ctx)
		if err != nil {
			return row{}, wrap("job.rerun", err)
		}
		if len(ids) == 0 {
			return row{}, io.EOF
		}
		if h.page, err = h.b.cfg.DB.BatchJobs(h.ctx, h.ws, ids); err != nil {
			return row{}, wrap("job.rerun", err)
		}
	}
	j := h.page[0]
	h.page = h.page[1:]
	place := "job " + j.ID.String()
	tmpl, err := h.templates.of(h.ctx, j)
	if err != nil {
		return row{}, wrong(place, "%v", errText(err))
	}
	if len(j.Args) == 0 {
		j.Args = json.RawMessage("{}")
	}
	return row{args: j.Args, where: place, job: tmpl}, nil
}

// errText is what an error says, with the thing it is about.
func errText(err error) string {
	var e *engine.Error
	if errors.As(err, &e) && e.Path != "" {
		return e.Path + ": " + e.Msg
	}
	return said(err)
}

// target is what a job runs, if it is deployed.
type target struct {
	kind engine.JobKind
	path string
	hash engine.Hash
	// event: its arguments are a request, of which its preprocessor is yet to make those of main.
	event bool
}

func targetOf(j *engine.Job) target {
	return target{j.Kind, j.Path, j.Hash, j.Trigger == engine.TriggerWebhook && !j.Preprocessed}
}

// templates makes the jobs that run what others ran, once for each thing.
type templates struct {
	b    *Batches
	p    engine.Principal
	ws   string
	r    engine.RerunRequest
	made map[target]*engine.Job
}

func (b *Batches) templates(p engine.Principal, ws string, r engine.RerunRequest) *templates {
	return &templates{b: b, p: p, ws: ws, r: r, made: map[target]*engine.Job{}}
}

func (t *templates) of(ctx context.Context, j *engine.Job) (*engine.Job, error) {
	key := targetOf(j)
	if tmpl := t.made[key]; tmpl != nil && j.Kind != engine.KindPreview {
		return tmpl, nil
	}
	run := engine.RunRequest{Workspace: t.ws, Tag: t.r.Tag, Priority: t.r.Priority, Trigger: t.r.Trigger}
	switch {
	case j.Kind == engine.KindNoop:
		run.Kind = engine.KindNoop
	case j.Kind == engine.KindPreview:
		run.Path, run.Source, run.Language, run.Lock, run.Network = j.Path, j.Source, j.Language, j.Lock, j.Network
	case j.Kind == engine.KindScript && t.r.Latest:
		run.Path = j.Path
	case j.Kind == engine.KindScript:
		run.Hash = j.Hash
	case j.Kind == engine.KindFlow && t.r.Latest:
		run.Kind, run.Path = engine.KindFlow, j.Path
	case j.Kind == engine.KindFlow:
		run.Kind, run.Hash = engine.KindFlow, j.Hash
	default:
		return nil, engine.Errorf(engine.Invalid, "job.rerun", "jobs of kind %s are not run again", j.Kind)
	}
	tmpl, err := t.b.cfg.Jobs.Template(ctx, t.p, run)
	if err == nil {
		if key.event {
			tmpl.Trigger = engine.TriggerWebhook
		}
		t.made[key] = tmpl
	}
	return tmpl, err
}

// RerunEach runs completed jobs again, each as a job of its own; one that cannot be does not keep the others back.
func (b *Batches) RerunEach(ctx context.Context, p engine.Principal, ws string, s engine.RerunSelection, trigger string) ([]engine.RerunOutcome, error) {
	if err := b.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	out := make([]engine.RerunOutcome, len(s.IDs))
	original, latest := b.templates(p, ws, engine.RerunRequest{Trigger: trigger}), b.templates(p, ws, engine.RerunRequest{Trigger: trigger, Latest: true})
	for from := 0; from < len(s.IDs); from += rerunPage {
		ids := s.IDs[from:min(from+rerunPage, len(s.IDs))]
		jobs, err := b.cfg.DB.BatchJobs(ctx, ws, ids)
		if err != nil {
			return nil, wrap("job.rerun", err)
		}
		found := make(map[uuid.UUID]*engine.Job, len(jobs))
		for _, j := range jobs {
			found[j.ID] = j
		}
		for i, id := range ids {
			o := &out[from+i]
			j := found[id]
			if j == nil {
				o.Err = &engine.Error{Code: engine.NotFound, Op: "job.rerun", Path: id.String(), Msg: "there is no such job in this workspace"}
				continue
			}
			t := original
			if s.Latest[j.Path] {
				t = latest
			}
			o.ID, o.Err = b.rerunOne(ctx, t, j, s.Args[j.Path])
		}
	}
	return out, nil
}

func (b *Batches) rerunOne(ctx context.Context, t *templates, old *engine.Job, replaced map[string]json.RawMessage) (uuid.UUID, error) {
	tmpl, err := t.of(ctx, old)
	if err != nil {
		return uuid.Nil, err
	}
	j := *tmpl
	j.ID, j.CreatedAt, j.Args = engine.NewJobID(), time.Now(), old.Args
	if len(j.Args) == 0 {
		j.Args = json.RawMessage("{}")
	}
	if len(replaced) > 0 {
		args := map[string]json.RawMessage{}
		if err := json.Unmarshal(j.Args, &args); err != nil {
			return uuid.Nil, engine.Errorf(engine.Invalid, "job.rerun", "the arguments of job %s are no object", old.ID)
		}
		for name, v := range replaced {
			args[name] = v
		}
		if j.Args, err = json.Marshal(args); err != nil {
			return uuid.Nil, engine.Errorf(engine.Invalid, "job.rerun", "arguments: %v", err)
		}
	}
	if err := b.cfg.Jobs.Relimit(ctx, &j); err != nil {
		return uuid.Nil, err
	}
	_, err = b.cfg.Queue.PushMany(ctx, []*engine.Job{&j})
	return j.ID, err
}
