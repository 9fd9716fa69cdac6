// Package execute runs one claimed job from its claim to its outcome: it finds the code, prepares it, checks the arguments,
// runs it in a slot and collects what it said. It never touches the queue; the dispatcher hands claims in and takes outcomes
// out. Execute always returns an outcome: a job's mistakes and the host's troubles alike end as a job that says what happened.
package execute

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/bus"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/gpu"
	"github.com/millrace/millrace/engine/live"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/engine/prepare"
	"github.com/millrace/millrace/engine/workflow"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/signature"
	"github.com/millrace/millrace/sandbox"
)

// scripts finds deployed code and keeps what a dependency job found out about it.
type scripts interface {
	ByHash(ctx context.Context, ws string, h engine.Hash) (*engine.Script, error)
	SetLock(ctx context.Context, ws string, h engine.Hash, lock, errText string) error
}

// flows finds deployed flows and keeps what a dependency job found out about their scripts.
type flows interface {
	Flow(ctx context.Context, ws, path string, version engine.Hash) (*format.Flow, engine.Hash, error)
	SetLocks(ctx context.Context, ws string, version int64, locks map[string]string, errText string) error
}

// logs stores output.
type logs interface {
	AppendLog(ctx context.Context, id uuid.UUID, offset int64, text string) error
	AppendStream(ctx context.Context, id uuid.UUID, offset int64, text string) error
}

// requests keeps what preprocessors have made of them.
type requests interface {
	Preprocessed(ctx context.Context, c *engine.Claim, args json.RawMessage) error
	IsPreprocessed(ctx context.Context, id uuid.UUID) (bool, error)
}

// values follows the references to variables and resources in arguments.
type values interface {
	Fill(ctx context.Context, j *engine.Job, raw json.RawMessage) (json.RawMessage, error)
}

// Config wires an Executor.
type Config struct {
	Scripts  scripts
	Flows    flows  // nil: there are none
	Values   values // nil: references stay as they are
	Logs     logs
	Requests requests // keeps what preprocessors make of them
	Live     *live.Logs
	Bus      *bus.Bus
	Prepare  *prepare.Preparer
	Pool     *pool.Pool
	Env      func(*engine.Job) runtimes.Env // the job's WM_* variables
	// Defaults are the limits of what asks for none; zero fields: sandbox.DefaultLimits. MaxLimits is the most that can be asked
	// for; zero fields: any amount.
	Defaults  sandbox.Limits
	MaxLimits engine.LimitOptions
	Networks  Networks
	Folders   Folders // nil: steps share none
	// FolderOf is the flow whose folder a step shares. An error of code Conflict: it is lost.
	FolderOf func(ctx context.Context, j *engine.Job) (uuid.UUID, error)
	// Squash names the process that a step shares with those of other iterations of its loop; "": it has its own. Nil: all have.
	Squash    func(ctx context.Context, j *engine.Job) (string, error)
	GPUs      *gpu.Devices                          // nil: jobs get none
	Workflows func(*engine.Claim) *workflow.Session // nil: scripts cannot be workflows
	Log       zerolog.Logger
}

// Executor runs claims. It is safe for concurrent use.
type Executor struct {
	cfg        Config
	validators signature.Validators
}

// New returns an Executor.
func New(cfg Config) *Executor {
	return &Executor{cfg: cfg}
}

// Canceled is the cause of a context that ends because somebody canceled the job.
type Canceled struct{ By, Reason string }

func (c *Canceled) Error() string { return "canceled by " + c.By }

// ErrShutdown is the cause of a context that ends because this daemon stops: the job is handed back, not finished.
var ErrShutdown = errors.New("the daemon is stopping")

// Execute runs c. done is false when the job was not finished and must be handed back to the queue.
func (x *Executor) Execute(ctx context.Context, c *engine.Claim) (out engine.Outcome, done bool) {
	j := c.Job
	out = engine.Outcome{ID: j.ID, Worker: c.Worker, Attempt: c.Attempt, State: engine.StateSuccess}
	defer func() { out.Patient = !j.Awaited && !x.cfg.Bus.Watched(j.ID) }()
	if c.Broken != nil {
		x.fail(&out, c.Broken)
		return out, true
	}
	if j.Kind == engine.KindNoop {
		out.Result = json.RawMessage("null")
		return out, true
	}
	sink := x.openSink(j.ID)
	defer func() {
		if p := recover(); p != nil {
			x.cfg.Log.Error().Interface("panic", p).Stringer("job", j.ID).Msg("job execution panicked")
			x.fail(&out, &runtimes.Failure{Name: "InternalError", Message: "the server failed while it ran the job; its log has details"})
		}
		out.LogOffset, out.LogTail = sink.close()
	}()
	var err error
	switch j.Kind {
	case engine.KindDependencies:
		err = x.dependencies(ctx, j, sink, &out)
	case engine.KindFlowDependencies:
		err = x.flowDependencies(ctx, j, sink, &out)
	default:
		err = x.code(ctx, c, sink, &out)
	}
	if ctx.Err() == nil || out.Result != nil && err == nil && out.State == engine.StateSuccess {
		if err != nil {
			x.fail(&out, err)
		}
		return out, true
	}
	var canceled *Canceled
	cause := context.Cause(ctx)
	switch {
	case errors.As(cause, &canceled):
		out.Suspended = nil
		out.State, out.CanceledBy, out.Reason = engine.StateCanceled, canceled.By, canceled.Reason
		message := "canceled by " + canceled.By
		if canceled.Reason != "" {
			message += ": " + canceled.Reason
		}
		x.fail(&out, &runtimes.Failure{Name: "Canceled", Message: message})
		out.State = engine.StateCanceled
		return out, true
	case errors.Is(cause, ErrShutdown):
		return out, false
	case err != nil:
		x.fail(&out, err)
	}
	return out, true
}

// fail makes out a failure that says what err says.
func (x *Executor) fail(out *engine.Outcome, err error) {
	out.State = engine.StateFailure
	var f *runtimes.Failure
	if !errors.As(err, &f) {
		f = &runtimes.Failure{Name: "InternalError", Message: err.Error()}
		var coded *engine.Error
		if errors.As(err, &coded) && coded.Code != engine.Internal {
			f.Name = "Error"
		} else {
			x.cfg.Log.Error().Err(err).Stringer("job", out.ID).Msg("job could not be run")
		}
	}
	b, mErr := json.Marshal(struct {
		Error *runtimes.Failure `json:"error"`
	}{storable(f)})
	if mErr != nil {
		b = []byte(fmt.Sprintf(`{"error":{"name":"InternalError","message":%q}}`, mErr.Error()))
	}
	out.Result = b
}

// storable is f without what the database could not give back: a script's error may quote its data, and must not be lost for it.
func storable(f *runtimes.Failure) *runtimes.Failure {
	c := *f
	for _, s := range []*string{&c.Name, &c.Message, &c.Stack} {
		*s = strings.ReplaceAll(*s, "\x00", "\uFFFD")
	}
	if checkJSON(c.Extra) != nil {
		c.Extra = nil
	}
	return &c
}

// program is the code of a job with what was stored beside it.
type program struct {
	runtimes.Program
	lock   *string
	schema json.RawMessage
	env    runtimes.Env
	share  *pool.Share // nil: it is not dedicated
	limit  time.Duration
	want   engine.LimitOptions
	allow  []string // nil: no allow-list
	gpus   int      // how many it needs
}

// find returns the code of j.
func (x *Executor) find(ctx context.Context, j *engine.Job) (program, error) {
	p := program{Program: runtimes.Program{
		Workspace: j.Workspace, Language: j.Language, Path: j.Path, Source: j.Source, Network: sandbox.Network(j.Network),
	}, lock: j.Lock}
	if j.Hash != 0 {
		s, err := x.cfg.Scripts.ByHash(ctx, j.Workspace, j.Hash)
		if err != nil {
			return p, err
		}
		if s.LockError != "" {
			return p, &runtimes.Failure{Name: "DependencyError", Message: s.LockError}
		}
		p.Language, p.Source, p.lock, p.schema, p.limit = s.Language, s.Content, s.Lock, s.Schema, s.Timeout
		p.env, p.want, p.share, p.allow = scriptEnv(s), s.Options.Limits, share(s, j), s.Options.Allow
		p.gpus = s.Options.GPU
		if s.Network != "" {
			p.Network = sandbox.Network(s.Network)
		}
	}
	if j.Network != "" {
		p.Network = sandbox.Network(j.Network)
	}
	if entry := workflow.Entry(j); entry != "" {
		p.Entry, p.schema, p.share = entry, nil, nil
	}
	if j.Step == preprocessorEntry && x.definesPreprocessor(p) {
		p.Entry, p.schema, p.share = preprocessorEntry, nil, nil
	}
	return p, nil
}

// filled is j with arguments in which references stand for nothing but themselves any more; the job's record keeps the references.
func (x *Executor) filled(ctx context.Context, j *engine.Job) (*engine.Job, error) {
	if x.cfg.Values == nil {
		return j, nil
	}
	args, err := x.cfg.Values.Fill(ctx, j, j.Args)
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	if bytes.Equal(args, j.Args) {
		return j, nil // there were none
	}
	filled := *j
	filled.Args = args
	return &filled, nil
}

// code runs a script or a preview.
func (x *Executor) code(ctx context.Context, c *engine.Claim, sink *sink, out *engine.Outcome) error {
	j := c.Job
	p, err := x.find(ctx, j)
	if err != nil {
		return err
	}
	if err := x.cfg.Networks.reach(&p); err != nil {
		return err
	}
	limits, err := x.limits(p, j)
	if err != nil {
		return err
	}
	if hasPreprocessor(j) {
		if j, err = x.preprocessed(ctx, c, p, sink, &limits); err != nil {
			return err
		}
	}
	if j, err = x.filled(ctx, j); err != nil {
		return err
	}
	ready, err := x.cfg.Prepare.Prepare(ctx, p.Program, p.lock, sink)
	if err != nil {
		return err
	}
	if ready.Entry.Binder == nil { // arguments that go by argv are text whatever they were; their binder checks them
		if err := x.validators.Check(p.schema, j.Args); err != nil {
			return err
		}
	}
	if p.allow != nil {
		ready = ready.Allowing(p.allow)
	}
	env, token := x.env(j, p)
	task := pool.Task{
		Program: ready.Program, Call: runtimes.Call{Args: j.Args, Env: env}, Limits: limits, Binder: ready.Entry.Binder, Priority: int(j.Priority),
		OnOutput: sink.output, OnStream: sink.stream, Visit: x.cfg.Networks.visit(p.Network, j, token),
	}
	if p.share == nil {
		if p.share, err = x.squashed(ctx, j); err != nil {
			return err
		}
	}
	session := x.workflow(c, &task)
	var res pool.Result
	for {
		switch {
		case p.gpus > 0:
			res, err = x.runOnDevices(ctx, j, p.gpus, ready.Launch, task)
		case x.shares(j):
			res, err = x.runShared(ctx, j, ready, task)
		default:
			res, err = x.run(ctx, ready, p, task)
		}
		if err != nil || !session.again(res, &task, &p) {
			break
		}
	}
	if err == nil {
		err = session.ended(ctx, &res, out)
	} else {
		session.lost(ctx)
	}
	if err != nil || out.Suspended != nil {
		return err
	}
	account(out, res, limits)
	if res.Failure != nil {
		return res.Failure
	}
	out.Result = res.Value
	return checkJSON(res.Value)
}

// dependencies resolves and builds a deployed script and stores its lock; that of a source is only answered.
func (x *Executor) dependencies(ctx context.Context, j *engine.Job, sink *sink, out *engine.Outcome) error {
	p, err := x.find(ctx, j)
	if err != nil {
		return err
	}
	_ = x.cfg.Networks.reach(&p) // where it could not run it can be prepared all the same
	entry, err := x.cfg.Prepare.Entry(p.Language)
	if err != nil {
		return err
	}
	if p.lock == nil {
		lock, err := x.cfg.Prepare.Resolve(ctx, entry, p.Program, sink)
		if err != nil {
			return x.keepLockError(ctx, j, err)
		}
		p.lock = &lock
	}
	if _, err := x.cfg.Prepare.Prepare(ctx, p.Program, p.lock, sink); err != nil {
		return x.keepLockError(ctx, j, err)
	}
	if j.Hash != 0 {
		if err := x.cfg.Scripts.SetLock(ctx, j.Workspace, j.Hash, *p.lock, ""); err != nil {
			return err
		}
	}
	_, _ = io.WriteString(sink, "dependencies are ready\n")
	out.Result, err = json.Marshal(map[string]string{"status": "ok", "lock": *p.lock})
	return err
}

// keepLockError stores on the script why it cannot run, unless the trouble is not the script's.
func (x *Executor) keepLockError(ctx context.Context, j *engine.Job, err error) error {
	var f *runtimes.Failure
	if j.Hash != 0 && ctx.Err() == nil && errors.As(err, &f) {
		if sErr := x.cfg.Scripts.SetLock(ctx, j.Workspace, j.Hash, "", f.Message); sErr != nil {
			return errors.Join(err, sErr)
		}
	}
	return err
}
