package pool

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// tail keeps the last bytes of the output.
type tail struct{ b []byte }

const tailSize = 64 << 10

func (t *tail) add(p []byte) {
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailSize {
		t.b = append(t.b[:0], t.b[len(t.b)-tailSize:]...)
	}
}

// last returns up to n of the last non-empty lines.
func (t *tail) last(n int) string {
	lines := strings.Split(strings.TrimRight(string(t.b), "\r\n \t"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// judge turns what was seen of a process into the result of its run. What the process said comes first, then why it was
// stopped, then how it ended.
func (r *run) judge(reply Result, exit sandbox.Exit) Result {
	reply.Usage, reply.Stopped = exit.Usage, r.stopped()
	return r.limited(r.verdict(reply, exit))
}

func (r *run) verdict(res Result, exit sandbox.Exit) Result {
	if res.Value != nil || (res.Failure != nil && res.Stopped == "") {
		if res.Value != nil {
			res.Stopped = ""
		}
		return res
	}
	if res.Failure == nil {
		res.Failure = r.failure(res.Stopped, exit)
	}
	if res.Failure == nil {
		res.Value, res.Failure = r.output()
	}
	return res
}

// failure explains an end without a reply; nil when the process ended well and its output is the result.
func (r *run) failure(stopped string, exit sandbox.Exit) *runtimes.Failure {
	f := func(name, format string, args ...any) *runtimes.Failure {
		return &runtimes.Failure{Name: name, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case stopped == StoppedTimeout:
		return f("Timeout", "the job ran longer than its limit of %s and was stopped", r.limits.Wall)
	case stopped == StoppedSuspended:
		return f("Suspended", "the workflow waits")
	case stopped == StoppedCanceled:
		return f("Canceled", "the job was canceled while it ran")
	case stopped == StoppedOutput:
		return f("OutputLimit", "the job wrote more than %s of output and was stopped; raise limits.output_mb", size(r.limits.Output))
	case exit.Error != "":
		return f("SandboxError", "the process could not be started: %s", exit.Error)
	case exit.OOM:
		return f("OutOfMemory", "the job needed more than its memory limit of %s and was stopped", size(r.limits.Memory)) // limited says more
	case exit.Signal != 0:
		return f("ExecutionError", "the job was killed by signal %d%s", exit.Signal, r.context())
	case exit.Code != 0 && r.w.launch.Result == runtimes.ResultOutput:
		return f("ExecutionError", "exit status %d%s", exit.Code, r.context())
	case r.w.launch.Result != runtimes.ResultOutput:
		return f("ExecutionError", "the job ended with exit status %d before it gave a result%s", exit.Code, r.context())
	}
	return nil
}

// context shows the end of the output below a message.
func (r *run) context() string {
	if s := r.tail.last(8); s != "" {
		return "\n" + s
	}
	return ""
}

func (r *run) output() ([]byte, *runtimes.Failure) {
	collected, ok := r.proc.Collected()
	return runtimes.OutputResult(collected, ok, bytes.TrimRight(r.tail.b, "\n"))
}

func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
