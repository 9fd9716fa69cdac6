package runtimetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/build"
	"github.com/millrace/millrace/runtimes/frame"
	"github.com/millrace/millrace/sandbox"
)

// Outcome is what came of one run.
type Outcome struct {
	Result  json.RawMessage // nil when Failure is set
	Failure *runtimes.Failure
	Logs    string // output of the run
	Build   string // output of recipes
	Stream  string
	Asks    []string // of a workflow: what it asked for, one JSON object each
	Exit    sandbox.Exit
}

// Driver runs programs one at a time in the plainest way that the contract allows: no pool, no process ahead of its call.
// The engine's pool is the production twin; what a language needs of it is what it needs of this.
type Driver struct {
	Runtime  runtimes.Runtime
	Host     runtimes.Host
	Isolator sandbox.Isolator
	Builder  *build.Builder
	History  []string // what the next workflow is told that it asked for in earlier starts, JSON
	Answers  []string // what comes of what it asks for and is no step, JSON
}

// Run resolves, builds, launches and runs p once. An error means that the test's surroundings are broken; what a user would
// see is in the Outcome.
func (d *Driver) Run(ctx context.Context, p runtimes.Program, c runtimes.Call) (Outcome, error) {
	var out Outcome
	launch, err := d.prepare(ctx, &p, &out)
	if err == nil {
		err = d.execute(ctx, launch, runOf{p, c}, &out)
	}
	var source *runtimes.SourceError
	var failure *runtimes.Failure
	switch {
	case errors.As(err, &source):
		out.Failure = &runtimes.Failure{Name: source.Name, Message: source.Message, Stack: source.Error()}
	case errors.As(err, &failure):
		out.Failure = failure
	case err != nil:
		return out, err
	}
	return out, nil
}

func (d *Driver) prepare(ctx context.Context, p *runtimes.Program, out *Outcome) (runtimes.Launch, error) {
	if r, ok := d.Runtime.(runtimes.Resolver); ok && p.Lock == "" {
		recipe, err := r.Resolve(d.Host, *p)
		if err != nil {
			return runtimes.Launch{}, err
		}
		if recipe != nil {
			a, err := d.build(ctx, p.Workspace, recipe, out)
			if err != nil {
				return runtimes.Launch{}, err
			}
			lock, err := os.ReadFile(filepath.Join(a.Dir, "lock"))
			if err != nil {
				return runtimes.Launch{}, fmt.Errorf("a resolver's recipe leaves the lock in /out/lock: %w", err)
			}
			p.Lock = string(lock)
		}
	}
	var built runtimes.Artifact
	if b, ok := d.Runtime.(runtimes.Builder); ok {
		recipe, err := b.Build(d.Host, *p)
		if err != nil {
			return runtimes.Launch{}, err
		}
		if recipe != nil {
			if built, err = d.build(ctx, p.Workspace, recipe, out); err != nil {
				return runtimes.Launch{}, err
			}
		}
	}
	return d.Runtime.Launch(d.Host, *p, built)
}

func (d *Driver) build(ctx context.Context, workspace string, r *runtimes.Recipe, out *Outcome) (runtimes.Artifact, error) {
	var said strings.Builder
	a, err := d.Builder.Run(ctx, workspace, r, &said)
	out.Build += said.String()
	var step *build.StepError
	if !errors.As(err, &step) {
		return a, err
	}
	f := &runtimes.Failure{Name: "BuildError", Message: step.Error()}
	if x, ok := d.Runtime.(runtimes.Explainer); ok {
		if text := x.Explain(said.String()); text != "" {
			f.Message = text
		}
	}
	return a, f
}

type runOf struct {
	p runtimes.Program
	c runtimes.Call
}

func (d *Driver) execute(ctx context.Context, l runtimes.Launch, r runOf, out *Outcome) error {
	slot, err := d.Isolator.Open(ctx, l.Template)
	if err != nil {
		return err
	}
	defer slot.Close()
	return d.executeIn(ctx, slot, l, r, out)
}

// executeIn runs a launch in a slot that is open for it.
func (d *Driver) executeIn(ctx context.Context, slot sandbox.Slot, l runtimes.Launch, r runOf, out *Outcome) error {
	spec := l.Spec
	var request []byte
	if b, ok := d.Runtime.(runtimes.Binder); ok {
		var err error
		if spec, err = b.Bind(l, r.p, r.c); err != nil {
			return err
		}
	} else {
		var err error
		q := frame.Request{Source: l.Source, Path: r.p.Path, Entry: l.Entry, Env: r.c.Env, Args: r.c.Args, Replay: len(d.History) > 0}
		if request, err = q.AppendTo(nil); err != nil {
			return err
		}
	}
	if l.Exec != "" {
		f, err := os.Open(l.Exec)
		if err != nil {
			return err
		}
		defer f.Close()
		spec.Exec = f
	}
	spec.Limits = spec.Limits.WithDefaults()
	proc, err := slot.Start(ctx, spec)
	if err != nil {
		return err
	}
	defer proc.Close()
	stop := context.AfterFunc(ctx, func() { _ = proc.Kill() })
	defer stop()
	return d.converse(ctx, proc, l, request, out)
}

// converse sends the request, reads replies and output to the end, and judges.
func (d *Driver) converse(ctx context.Context, proc sandbox.Process, l runtimes.Launch, request []byte, out *Outcome) error {
	logs := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(proc.Output())
		logs <- string(b)
	}()
	replies := frame.NewReader(proc.Conn())
	if l.Warm {
		if r, err := replies.Reply(); err != nil || r.Type != frame.Ready {
			_ = proc.Kill()
			return fmt.Errorf("a warm process must say that it is ready: got %+v, %v; output:\n%s", r, err, <-logs)
		}
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = proc.Conn().Write(request) // a process that has ended reads nothing: its end tells more than this error
	}()
	for out.Result == nil && out.Failure == nil && l.Result == runtimes.ResultFrame {
		r, err := replies.Reply()
		if err != nil {
			break
		}
		switch r.Type {
		case frame.Ask:
			out.Asks = append(out.Asks, string(r.Data))
			if err := d.answer(proc.Conn(), r.Data); err != nil {
				return err
			}
		case frame.Chunk:
			out.Stream += string(r.Data)
		case frame.Result:
			out.Result = r.Data
		case frame.Failure:
			out.Failure = r.Failure
		}
	}
	exit, err := proc.Wait(ctx)
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	out.Exit, out.Logs = exit, <-logs
	_ = proc.Conn().Close()
	<-sent
	if out.Result == nil && out.Failure == nil {
		out.judge(proc, l)
	}
	return nil
}

// judge decides about a process that did not answer by frames.
func (out *Outcome) judge(proc sandbox.Process, l runtimes.Launch) {
	e := out.Exit
	lines := strings.Split(strings.TrimSpace(out.Logs), "\n")
	end := strings.Join(lines[max(0, len(lines)-8):], "\n")
	switch {
	case e.Error != "":
		out.Failure = &runtimes.Failure{Name: "SandboxError", Message: e.Error}
	case e.Code != 0 || l.Result != runtimes.ResultOutput:
		out.Failure = &runtimes.Failure{Name: "ExecutionError", Message: fmt.Sprintf("exit status %d\n%s", e.Code, end)}
	default:
		file, ok := proc.Collected()
		out.Result, out.Failure = runtimes.OutputResult(file, ok, []byte(out.Logs))
	}
}
