package execute

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// preprocessorEntry is the function that makes main's arguments of a request.
const preprocessorEntry = "preprocessor"

// hasPreprocessor tells whether j is a script whose arguments are yet to be made.
func hasPreprocessor(j *engine.Job) bool {
	return j.Trigger == engine.TriggerWebhook && j.Step == "" && (j.Kind == engine.KindScript || j.Kind == engine.KindPreview)
}

// preprocessed returns the job of c with the arguments that its preprocessor makes. They are stored before main sees them: whoever takes
// the job up when it is lost has them, and the preprocessor, which may do something that is not to be done twice, is over.
func (x *Executor) preprocessed(ctx context.Context, c *engine.Claim, p program, sink *sink, limits *sandbox.Limits) (*engine.Job, error) {
	if c.Attempt > 1 {
		if done, err := x.cfg.Requests.IsPreprocessed(ctx, c.Job.ID); err != nil || done {
			return c.Job, err
		}
	}
	j, err := x.preprocess(ctx, c.Job, p, sink, limits)
	if err != nil {
		return nil, err
	}
	return j, x.cfg.Requests.Preprocessed(ctx, c, j.Args)
}

// preprocess runs the preprocessor of j's script, in a sandbox of its own with the same limits, and returns j with what it returned as
// arguments. The time that it took is no longer main's.
func (x *Executor) preprocess(ctx context.Context, j *engine.Job, p program, sink *sink, limits *sandbox.Limits) (*engine.Job, error) {
	p.Entry, p.share = preprocessorEntry, nil
	ready, err := x.cfg.Prepare.Prepare(ctx, p.Program, p.lock, sink)
	if err != nil {
		return nil, err
	}
	if p.allow != nil {
		ready = ready.Allowing(p.allow)
	}
	env, token := x.env(j, p)
	began := time.Now()
	res, err := x.run(ctx, ready, p, pool.Task{Program: ready.Program, Call: runtimes.Call{Args: j.Args, Env: env}, Limits: *limits, Binder: ready.Entry.Binder,
		OnOutput: sink.output, OnStream: func([]byte) {}, Visit: x.cfg.Networks.visit(p.Network, j, token)})
	if err != nil {
		return nil, err
	}
	if res.Failure != nil {
		return nil, res.Failure
	}
	if args := bytes.TrimSpace(res.Value); len(args) == 0 || args[0] != '{' {
		return nil, &runtimes.Failure{Name: "PreprocessorError", Message: "the preprocessor must return an object with the arguments of main, but returned " + kindOf(res.Value)}
	}
	if limits.Wall > 0 {
		limits.Wall = max(limits.Wall-time.Since(began), time.Millisecond)
	}
	made := *j
	made.Args = res.Value
	return &made, checkJSON(res.Value)
}

// definesPreprocessor tells whether a script that is a flow's preprocessor has a function of that name, which is called instead of main.
func (x *Executor) definesPreprocessor(p program) bool {
	entry, err := x.cfg.Prepare.Entry(p.Language)
	if err != nil {
		return false
	}
	sig, err := entry.Parse(p.Source)
	return err == nil && sig.HasPreprocessor
}

// kindOf names what a value is.
func kindOf(v json.RawMessage) string {
	switch v := bytes.TrimSpace(v); {
	case len(v) == 0 || v[0] == 'n':
		return "nothing"
	case v[0] == '[':
		return "a list"
	case v[0] == '"':
		return "a text"
	case v[0] == 't' || v[0] == 'f':
		return "a boolean"
	}
	return "a number"
}

// env is the environment of a job, and the token in it.
func (x *Executor) env(j *engine.Job, p program) (env runtimes.Env, token string) {
	env = x.cfg.Env(j)
	x.cfg.Networks.address(p.Network, &env)
	token, _ = env.Get("WM_TOKEN")
	for _, v := range p.env {
		env.Set(v.Name, v.Value)
	}
	return env, token
}
