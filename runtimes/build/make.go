package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// sharedCaches is the place of "shared-" caches; no workspace can have this name.
const sharedCaches = "@shared"

// make builds r and publishes its output by renaming it into place.
func (b *Builder) make(ctx context.Context, workspace string, r *runtimes.Recipe, log io.Writer) (runtimes.Artifact, error) {
	select {
	case b.places <- struct{}{}:
		defer func() { <-b.places }()
	case <-ctx.Done():
		return runtimes.Artifact{}, ctx.Err()
	}
	if a, ok := b.Built(r.Key); ok { // by a flight that ended just before this one began
		return a, nil
	}
	tmp := b.path("tmp", fmt.Sprintf("%s.%d", r.Key, b.serial.Add(1)))
	if err := folder(tmp, writable); err != nil {
		return runtimes.Artifact{}, err
	}
	begin := time.Now()
	err := b.steps(ctx, workspace, r, stage{out: tmp, log: log})
	if err == nil {
		err = b.publish(tmp, r.Key)
	}
	if err != nil {
		if e := b.cfg.Remove(tmp); e != nil {
			b.cfg.Log.Warn().Err(e).Str("key", r.Key).Msg("remove a half-built artifact")
		}
		return runtimes.Artifact{}, err
	}
	b.cfg.Log.Debug().Str("key", r.Key).Str("workspace", workspace).Dur("took", time.Since(begin)).Msg("built")
	return runtimes.Artifact{Dir: b.path("out", r.Key)}, nil
}

func (b *Builder) publish(tmp, key string) error {
	if err := touch(tmp); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	err := os.Rename(tmp, b.path("out", key))
	if errors.Is(err, fs.ErrExist) { // another daemon on the same cache was faster; same key, same content
		return b.cfg.Remove(tmp)
	}
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	return nil
}

// stage is where the steps of one build write.
type stage struct {
	out string
	log io.Writer
}

func (b *Builder) steps(ctx context.Context, workspace string, r *runtimes.Recipe, s stage) error {
	t := r.Template
	t.Build = true
	t.Binds = append([]sandbox.Bind{}, t.Binds...)
	t.Binds = append(t.Binds, sandbox.Bind{Source: s.out, Target: "/out", Writable: true})
	for _, name := range r.Caches {
		dir, err := b.cache(workspace, name)
		if err != nil {
			return err
		}
		t.Binds = append(t.Binds, sandbox.Bind{Source: dir, Target: "/cache/" + name, Writable: true})
	}
	slot, err := b.cfg.Isolator.Open(ctx, t)
	if err != nil {
		return fmt.Errorf("build %s: %w", r.Key, err)
	}
	defer slot.Close()
	for _, step := range r.Steps {
		if _, err := io.WriteString(s.log, step.Title+"\n"); err != nil {
			return fmt.Errorf("build %s: %w", r.Key, err)
		}
		if err := b.step(ctx, slot, step, s.log); err != nil {
			var failed *StepError
			if errors.As(err, &failed) {
				failed.Recipe = r.Key
			}
			return err
		}
	}
	return nil
}

func (b *Builder) cache(workspace, name string) (string, error) {
	if !safeName(name) {
		return "", fmt.Errorf("build: cache %q cannot name a folder", name)
	}
	if strings.HasPrefix(name, "shared-") {
		workspace = sharedCaches
	}
	if err := folder(b.path("build", workspace), closed); err != nil {
		return "", err
	}
	dir := b.path("build", workspace, name)
	if err := folder(dir, writable); err != nil {
		return "", err
	}
	return dir, touch(dir)
}

// step runs one process to its end.
func (b *Builder) step(ctx context.Context, slot sandbox.Slot, step runtimes.Step, log io.Writer) error {
	spec := step.Spec
	if spec.Limits.Wall == 0 {
		spec.Limits.Wall = b.cfg.Wall
	}
	spec.Limits = spec.Limits.WithDefaults()
	ctx, cancel := context.WithTimeout(ctx, spec.Limits.Wall)
	defer cancel()
	p, err := slot.Start(ctx, spec)
	if err != nil {
		return fmt.Errorf("build: %s: %w", step.Title, err)
	}
	defer p.Close()
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() })
	defer stop()
	out := &output{to: log, most: spec.Limits.Output, over: func() { _ = p.Kill() }}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(out, p.Output()) // ends when the process does
	}()
	exit, err := p.Wait(context.WithoutCancel(ctx))
	<-read
	failed := &StepError{Step: step.Title, Exit: exit, Tail: out.lastLines(20)}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("build: %s: %w", step.Title, err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		failed.Reason = fmt.Sprintf("it took longer than %s", spec.Limits.Wall)
		return failed
	case out.most < 0:
		failed.Reason = "it wrote too much output"
		return failed
	case exit.Code != 0 || exit.Signal != 0 || exit.OOM || exit.Error != "":
		return failed
	}
	return nil
}

// output passes a step's output on, keeps its end and bounds it. One goroutine writes; lastLines comes after.
type output struct {
	to   io.Writer
	most int64 // bytes left; negative when exceeded
	over func()
	end  []byte
}

func (o *output) Write(p []byte) (int, error) {
	if o.most < 0 {
		return len(p), nil
	}
	if o.most -= int64(len(p)); o.most < 0 {
		o.over()
		return len(p), nil
	}
	const keep = 16 << 10
	o.end = append(o.end, p...)
	if len(o.end) > 2*keep {
		o.end = append(o.end[:0], o.end[len(o.end)-keep:]...)
	}
	return o.to.Write(p)
}

func (o *output) lastLines(n int) string {
	lines := strings.Split(strings.ToValidUTF8(strings.TrimSpace(string(o.end)), "\uFFFD"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
