// Package jobs is what the outside asks of jobs: run one, wait for it, look at it, cancel it. It checks permissions, finds the
// code, fills in what was not said, and leaves durability to the queue and execution to the dispatcher.
package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/bus"
	"github.com/millrace/millrace/engine/gpu"
	"github.com/millrace/millrace/engine/live"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/jsontext"
	"github.com/millrace/millrace/runtimes/signature"
)

// Queue is what Jobs needs of engine/queue.
type Queue interface {
	Push(ctx context.Context, j *engine.Job) (engine.PushResult, error)
	Cancel(ctx context.Context, ws string, id uuid.UUID, by, reason string) error
	Get(ctx context.Context, ws string, id uuid.UUID) (*engine.JobView, error)
	List(ctx context.Context, ws string, f engine.JobFilter) ([]*engine.JobView, error)
	Counts(ctx context.Context, ws string) (queued, running int64, err error)
	Why(ctx context.Context, ws string, id uuid.UUID) (*engine.Why, error)
	Workers(ctx context.Context) ([]engine.WorkerView, error)
	Logs(ctx context.Context, id uuid.UUID, offset int64) (text string, next int64, err error)
	Stream(ctx context.Context, id uuid.UUID, offset int64) (text string, next int64, err error)
}

// Scripts finds deployed scripts.
type Scripts interface {
	Latest(ctx context.Context, ws, path string) (*engine.Script, error)
	ByHash(ctx context.Context, ws string, h engine.Hash) (*engine.Script, error)
}

// contacts knows what jobs contacted.
type contacts interface {
	Of(ctx context.Context, job uuid.UUID, ended bool) ([]engine.Contact, error)
}

// Gate decides who may do what.
type Gate interface {
	Can(p engine.Principal, verb, ws, path string) error
}

// Config wires Jobs.
type Config struct {
	Queue    Queue
	Scripts  Scripts
	Flows    Flows // nil: there are none
	Gate     Gate
	Registry *runtimes.Registry
	Bus      *bus.Bus
	Live     *live.Logs
	Network  string   // what a job without a network of its own gets
	Contacts contacts // nil: nothing is known of what jobs contact
	Steps    steps    // nil: nothing is known of what workflows as code ask for
	// Others tells how many other daemons share the queue; nil: it is not known. Only they end jobs without a signal here.
	Others func() int
	GPUs   *gpu.Devices // nil: jobs get none on this host
	Cache  Cache        // nil: no result stands for a run
	// Answer is what a flow that goes on has given those who wait for it; nil: flows do not.
	Answer func(ctx context.Context, id uuid.UUID) (json.RawMessage, bool, error)
	Log    zerolog.Logger
}

// Jobs is safe for concurrent use.
type Jobs struct {
	cfg        Config
	limits     limits
	validators signature.Validators // of the arguments of flows
}

// New returns Jobs.
func New(cfg Config) *Jobs { return &Jobs{cfg: cfg} }

// Run asks for a run; it is durable when Run returns. A script or flow whose results are kept may have one already that is good for these
// arguments: the id is that of the job that has it, then, and nothing runs.
func (s *Jobs) Run(ctx context.Context, p engine.Principal, r engine.RunRequest) (uuid.UUID, error) {
	j, err := s.build(ctx, p, r)
	if err != nil {
		return uuid.Nil, err
	}
	key := s.cacheKey(r, j)
	if id, hit, err := s.reuse(ctx, key); hit || err != nil {
		return id, err
	}
	res, err := s.cfg.Queue.Push(ctx, j)
	if err == nil && key != nil && !res.Duplicate {
		err = s.cfg.Cache.CacheSet(ctx, store.FlowCache{Key: key, Job: res.ID, For: j.CacheFor})
	}
	if res.Ended || res.Replaced != nil {
		s.tell(ctx, j.Workspace, res)
	}
	return res.ID, err
}

// build makes the job that r asks for.
func (s *Jobs) build(ctx context.Context, p engine.Principal, r engine.RunRequest) (*engine.Job, error) {
	j := &engine.Job{
		Workspace: r.Workspace, Kind: r.Kind, Path: r.Path, Language: r.Language, Source: r.Source, Lock: r.Lock, Args: r.Args, Tag: r.Tag,
		Priority: r.Priority, ScheduledFor: r.ScheduledFor, Timeout: r.Timeout, Parent: r.Parent, CreatedBy: p.Username, Email: p.Email,
		PermissionedAs: p.PermissionedAs(), CreatedAt: time.Now(), IdempotencyKey: r.IdempotencyKey, Network: r.Network, Trigger: r.Trigger,
		TriggerPath: r.TriggerPath, Batch: r.Batch, QueueLimit: r.QueueLimit,
		Awaited: r.Awaited,
	}
	if r.ID != nil { // otherwise the queue makes one
		j.ID = *r.ID
	}
	if err := checkArgs(&j.Args); err != nil {
		return nil, err
	}
	if err := checkNetwork(j.Network); err != nil {
		return nil, err
	}
	if err := s.cfg.Gate.Can(p, "run", r.Workspace, j.Path); err != nil { // before looking: hints name scripts
		return nil, err
	}
	if err := s.target(ctx, r, j); err != nil {
		return nil, err
	}
	if r.Hash != 0 { // only now is the path known
		if err := s.cfg.Gate.Can(p, "run", r.Workspace, j.Path); err != nil {
			return nil, err
		}
	}
	if j.Network == "" && j.Kind != engine.KindScript && j.Kind != engine.KindFlowPreview && j.Kind != engine.KindFlow {
		j.Network = s.cfg.Network
	}
	return j, nil
}

// target fills in what runs.
func (s *Jobs) target(ctx context.Context, r engine.RunRequest, j *engine.Job) error {
	if r.Source != "" || j.Kind == engine.KindNoop {
		if err := checkTag(j.Path, j.Tag, 0); err != nil {
			return err
		}
	}
	switch {
	case j.Kind == engine.KindNoop:
		if j.Tag == "" {
			j.Tag = "noop"
		}
		return nil
	case r.Source != "" && (j.Kind == engine.KindDependencies || j.Kind == engine.KindFlowDependencies):
		return s.lockTarget(r, j)
	case j.Kind == engine.KindFlowPreview:
		return s.flowTarget(ctx, r, j)
	case j.Kind == engine.KindFlow, j.Kind == engine.KindFlowDependencies:
		return s.versionTarget(ctx, r, j)
	case r.Source != "":
		j.Kind = engine.KindPreview
		entry, err := s.language(r.Language)
		if err != nil {
			return err
		}
		if j.Tag == "" {
			j.Tag = entry.Info().Tag
		}
		if r.Event == nil {
			return nil
		}
		if sig, err := entry.Parse(r.Source); err != nil || !sig.HasPreprocessor {
			return engine.Errorf(engine.Invalid, "job.run", "the script has no function preprocessor that an event could be for")
		}
		return preprocessed(r, j)
	}
	script, err := s.script(ctx, r)
	if err != nil {
		return err
	}
	if j.Kind == "" {
		j.Kind = engine.KindScript
	}
	j.Path, j.Hash, j.Language, j.Timeout = script.Path, script.Hash, script.Language, pick(j.Timeout, script.Timeout)
	if err := s.devices(ctx, script, j); err != nil {
		return err
	}
	if j.Tag == "" {
		j.Tag = script.Tag
	}
	if j.Kind == engine.KindDependencies {
		j.Tag = "dependency"
	}
	if j.Tag == "" {
		entry, err := s.language(script.Language)
		if err != nil {
			return err
		}
		if j.Tag = entry.Info().Tag; script.Options.Dedicated && entry.Info().Shares {
			j.Tag = entry.Info().DedicatedTag()
		}
	}
	if j.Kind != engine.KindScript {
		return nil
	}
	if script.Options.Preprocessor {
		if err := preprocessed(r, j); err != nil {
			return err
		}
	}
	return s.limit(script, j)
}

func pick(a, b time.Duration) time.Duration {
	if a > 0 {
		return a
	}
	return b
}

func (s *Jobs) script(ctx context.Context, r engine.RunRequest) (*engine.Script, error) {
	if r.Hash != 0 {
		return s.cfg.Scripts.ByHash(ctx, r.Workspace, r.Hash)
	}
	if r.Path == "" {
		return nil, &engine.Error{Code: engine.Invalid, Op: "job.run", Msg: "nothing to run", Hint: "give a path, a hash, or source and language"}
	}
	return s.cfg.Scripts.Latest(ctx, r.Workspace, r.Path)
}

func (s *Jobs) language(name string) (*runtimes.Entry, error) {
	e, ok := s.cfg.Registry.Get(name)
	if !ok {
		var known []byte
		for i, e := range s.cfg.Registry.All() {
			if i > 0 {
				known = append(known, ", "...)
			}
			known = append(known, e.Info().Name...)
		}
		return nil, &engine.Error{Code: engine.Invalid, Op: "job.run", Path: name, Msg: "not a language of this server", Hint: "it has " + string(known)}
	}
	return e, nil
}

func checkArgs(args *json.RawMessage) error {
	b := bytes.TrimSpace(*args)
	if len(b) == 0 || string(b) == "null" {
		*args = json.RawMessage("{}")
		return nil
	}
	if b[0] != '{' || !jsontext.Valid(b) {
		return &engine.Error{Code: engine.Invalid, Op: "job.run", Msg: "arguments must be a JSON object", Hint: `for example {"name": "value"}`}
	}
	*args = b
	return nil
}

// Get returns a job.
func (s *Jobs) Get(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, withLogs bool) (*engine.JobView, error) {
	if err := s.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	v, err := s.cfg.Queue.Get(ctx, ws, id)
	if err != nil || !withLogs {
		return v, err
	}
	v.Logs, _, err = s.text(ctx, id, 0, s.cfg.Queue.Logs, logOf)
	return v, err
}

// List returns the jobs that f selects.
func (s *Jobs) List(ctx context.Context, p engine.Principal, ws string, f engine.JobFilter) ([]*engine.JobView, error) {
	if err := s.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	return s.cfg.Queue.List(ctx, ws, f)
}

// Logs returns the log from offset on, and the offset that follows.
func (s *Jobs) Logs(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, offset int64) (string, int64, error) {
	if _, err := s.Get(ctx, p, ws, id, false); err != nil {
		return "", 0, err
	}
	return s.text(ctx, id, offset, s.cfg.Queue.Logs, logOf)
}

// Update returns what changed since the offsets.
func (s *Jobs) Update(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, logOffset, streamOffset int64) (*engine.Update, error) {
	v, err := s.Get(ctx, p, ws, id, false) // before the texts: a completed view then has its whole log
	if err != nil {
		return nil, err
	}
	u := &engine.Update{View: v}
	if u.Logs, u.LogOffset, err = s.text(ctx, id, logOffset, s.cfg.Queue.Logs, logOf); err != nil {
		return nil, err
	}
	if u.Stream, u.StreamOffset, err = s.text(ctx, id, streamOffset, s.cfg.Queue.Stream, streamOf); err != nil {
		return nil, err
	}
	return u, nil
}

func logOf(j *live.Job) *live.Text    { return &j.Log }
func streamOf(j *live.Job) *live.Text { return &j.Stream }

type reader func(ctx context.Context, id uuid.UUID, offset int64) (string, int64, error)

// text joins what is stored with what is still in memory.
func (s *Jobs) text(ctx context.Context, id uuid.UUID, offset int64, stored reader, of func(*live.Job) *live.Text) (string, int64, error) {
	job, running := s.cfg.Live.Get(id)
	if !running {
		return stored(ctx, id, offset)
	}
	begin, tail := of(job).From(offset)
	if begin == offset {
		return string(tail), begin + int64(len(tail)), nil
	}
	head, _, err := stored(ctx, id, offset)
	if err != nil {
		return "", offset, err
	}
	if want := int(begin - offset); len(head) > want {
		head = head[:want] // a flush came between the two looks
	}
	out := head + string(tail)
	return out, offset + int64(len(out)), nil
}

// Cancel ends a job: a queued one at once, a running one by killing it.
func (s *Jobs) Cancel(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, reason string) error {
	v, err := s.cfg.Queue.Get(ctx, ws, id)
	if err != nil {
		return err
	}
	if err := s.cfg.Gate.Can(p, "run", ws, v.Path); err != nil {
		return err
	}
	if v.FinishedAt != nil {
		return &engine.Error{Code: engine.Conflict, Op: "job.cancel", Path: id.String(), Msg: "the job is completed already"}
	}
	err = s.cfg.Queue.Cancel(ctx, ws, id, p.Username, reason)
	s.cfg.Bus.Publish(id)
	return err
}

// Why explains why a job is not running.
func (s *Jobs) Why(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) (*engine.Why, error) {
	if err := s.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	return s.why(ctx, ws, id)
}

// Counts counts queued and running jobs of a workspace.
func (s *Jobs) Counts(ctx context.Context, p engine.Principal, ws string) (queued, running int64, err error) {
	if err := s.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return 0, 0, err
	}
	return s.cfg.Queue.Counts(ctx, ws)
}

// Workers lists the live daemons of this database.
func (s *Jobs) Workers(ctx context.Context) ([]engine.WorkerView, error) {
	list, err := s.cfg.Queue.Workers(ctx)
	if err == nil {
		s.ownDevices(list)
	}
	return list, err
}
