package example

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/millrace/millrace/cmd/internal/push"
	"github.com/millrace/millrace/web/client"
)

const clock = "15:04:05.000"

// Run deploys the example, runs every step once and prints the results with their times. It stops at the first failure.
func Run(ctx context.Context, c *client.Client, out io.Writer) error {
	fmt.Fprintf(out, "\nExample: %d orders of a CSV file go through four scripts, each run in a sandbox of its own.\n", strings.Count(orders, "\n")-1)
	for _, s := range steps {
		if err := s.deploy(ctx, c, out); err != nil {
			return fmt.Errorf("example: %w", err)
		}
	}
	results := map[string]json.RawMessage{}
	for _, s := range steps {
		args, err := s.args(results)
		if err != nil {
			return fmt.Errorf("example: arguments of %s: %w", s.path(), err)
		}
		if results[s.name], err = s.run(ctx, c, args, out); err != nil {
			return fmt.Errorf("example: %w", err)
		}
	}
	fmt.Fprintf(out, "\nAgain, as an API:  millrace run %s -d '{\"amounts\": [1, 2, 4]}'\n", steps[2].path())
	return nil
}

func (s step) path() string { return "f/example/" + s.name }

func (s step) deploy(ctx context.Context, c *client.Client, out io.Writer) error {
	source, err := scripts.ReadFile("scripts/" + s.file)
	if err != nil {
		return err
	}
	start := time.Now()
	log := &indented{out: out}
	_, err = push.Script(ctx, c, client.NewScript{Path: s.path(), Language: s.language, Summary: s.summary,
		Content: string(source), AutoParent: true, Message: "the example"}, log)
	log.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  deployed %-24s %-10s %7.1f ms\n", s.path(), s.title, float64(time.Since(start).Microseconds())/1000)
	return nil
}

// run runs the step and prints what came of it.
func (s step) run(ctx context.Context, c *client.Client, args any, out io.Writer) (json.RawMessage, error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("arguments of %s: %w", s.path(), err)
	}
	id, err := c.Run(ctx, client.Run{Path: s.path(), Args: raw})
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", s.path(), err)
	}
	fmt.Fprintf(out, "\n%s (%s)\n", s.path(), s.title)
	log := &indented{out: out}
	job, err := push.Follow(ctx, c, id, log)
	log.end()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", s.path(), err)
	}
	if job.Success == nil || !*job.Success || job.Result == nil {
		return nil, fmt.Errorf("run %s: %w", s.path(), push.Failure(job))
	}
	text, err := s.show(*job.Result)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", s.path(), err)
	}
	fmt.Fprintf(out, "  result    %s\n  %s\n", text, times(job))
	return *job.Result, nil
}

// times tells when the job was asked for, begun and done, and how long it took in all.
func times(j *client.Job) string {
	if j.StartedAt == nil || j.CompletedAt == nil {
		return "times     unknown"
	}
	return fmt.Sprintf("queued    %s   started %s   finished %s   %.1f ms, of which %.1f waiting",
		j.CreatedAt.Local().Format(clock), j.StartedAt.Local().Format(clock), j.CompletedAt.Local().Format(clock),
		milliseconds(j.CompletedAt.Sub(j.CreatedAt)), milliseconds(j.StartedAt.Sub(j.CreatedAt)))
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// indented sets lines of a log off from what is said about it.
type indented struct {
	out  io.Writer
	open bool // inside a line
}

func (w *indented) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if !w.open {
			if _, err := io.WriteString(w.out, "  | "); err != nil {
				return 0, err
			}
		}
		if _, err := io.WriteString(w.out, line); err != nil {
			return 0, err
		}
		w.open = !strings.HasSuffix(line, "\n")
	}
	return len(p), nil
}

// end closes the last line.
func (w *indented) end() {
	if w.open {
		fmt.Fprintln(w.out)
		w.open = false
	}
}
