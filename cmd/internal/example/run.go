package example

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/push"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/web/client"
)

// Run deploys the example, runs its flow once and prints the steps with their times and the result. url is where people reach the
// server. It stops at the first failure.
func Run(ctx context.Context, c *client.Client, url string, out io.Writer) error {
	fmt.Fprintf(out, "\nExample: %d orders of a CSV file go through a flow in four languages, each step in a sandbox of its own.\n", strings.Count(orders, "\n")-1)
	for _, s := range list {
		if err := s.deploy(ctx, c, out); err != nil {
			return fmt.Errorf("example: %w", err)
		}
	}
	if err := deployFlow(ctx, c, out); err != nil {
		return fmt.Errorf("example: %w", err)
	}
	if err := runFlow(ctx, c, out); err != nil {
		return fmt.Errorf("example: %w", err)
	}
	fmt.Fprintf(out, "\nWhat ran:       millrace flow show %s\n", flowPath)
	fmt.Fprintf(out, "A step alone:   millrace run f/example/statistics -d '{\"amounts\": [1, 2, 4]}'\n")
	fmt.Fprintf(out, "All over HTTP:  POST %s/api/w/%s/jobs/run_wait_result/f/%s with {\"file\": \"order,date,customer,...\"}\n", url, c.Workspace(), flowPath)
	return nil
}

func (s script) path() string { return "f/example/" + s.name }

func (s script) deploy(ctx context.Context, c *client.Client, out io.Writer) error {
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
	deployed(out, s.path(), s.title, start)
	return nil
}

func deployed(out io.Writer, path, what string, start time.Time) {
	fmt.Fprintf(out, "  deployed %-24s %-10s %7.1f ms\n", path, what, milliseconds(time.Since(start)))
}

func deployFlow(ctx context.Context, c *client.Client, out io.Writer) error {
	folder, err := fs.Sub(flowFolder, "orders__flow")
	if err != nil {
		return err
	}
	f, err := format.ReadFolder(folder)
	if err != nil {
		return fmt.Errorf("read the flow: %w", err)
	}
	body := map[string]any{}
	if err := json.Unmarshal(f.JSON(), &body); err != nil {
		return fmt.Errorf("read the flow: %w", err)
	}
	body["path"], body["deployment_message"] = flowPath, "the example"
	sent, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the flow: %w", err)
	}
	start := time.Now()
	log := &indented{out: out}
	_, err = push.Flow(ctx, c, flowPath, sent, log)
	log.end()
	if err != nil {
		return err
	}
	deployed(out, flowPath, "flow", start)
	return nil
}

// runFlow runs the flow and prints what came of it.
func runFlow(ctx context.Context, c *client.Client, out io.Writer) error {
	args, err := arguments()
	if err != nil {
		return err
	}
	id, err := c.Run(ctx, client.Run{FlowPath: flowPath, Args: args})
	if err != nil {
		return fmt.Errorf("run %s: %w", flowPath, err)
	}
	fmt.Fprintf(out, "\n%s\n", flowPath)
	job, err := push.Follow(ctx, c, id, io.Discard)
	if err != nil {
		return fmt.Errorf("run %s: %w", flowPath, err)
	}
	if job.Success == nil || !*job.Success || job.Result == nil {
		return fmt.Errorf("run %s: %w", flowPath, push.Failure(job))
	}
	if err := showSteps(ctx, c, id, out); err != nil {
		return err
	}
	t, err := readTold(*job.Result)
	if err != nil {
		return fmt.Errorf("run %s: %w", flowPath, err)
	}
	fmt.Fprintf(out, "  in all %.1f ms\n  statistics  %s\n  report      %s\n", milliseconds(job.CompletedAt.Sub(job.CreatedAt)), t.Statistics, t.Report)
	return nil
}

// showSteps prints what a job did: the steps of a flow or branch with their times and what they printed, or the one step that it is.
func showSteps(ctx context.Context, c *client.Client, id uuid.UUID, out io.Writer) error {
	job, err := c.Job(ctx, id, true)
	if err != nil {
		return fmt.Errorf("steps of %s: %w", flowPath, err)
	}
	if job.FlowStatus == nil {
		return showStep(job, out)
	}
	for _, m := range job.FlowStatus.Modules {
		jobs := m.FlowJobs
		if len(jobs) == 0 && m.Job != nil {
			jobs = []uuid.UUID{*m.Job}
		}
		for _, id := range jobs {
			if err := showSteps(ctx, c, id, out); err != nil {
				return err
			}
		}
	}
	return nil
}

func showStep(job *client.Job, out io.Writer) error {
	if job.StartedAt == nil || job.CompletedAt == nil {
		return fmt.Errorf("step %s has not ended", job.FlowStepID)
	}
	name := job.FlowStepID
	if job.ScriptPath != nil { // the only step of a branch has the id of what it is a branch of
		name = (*job.ScriptPath)[strings.LastIndexByte(*job.ScriptPath, '/')+1:]
	}
	fmt.Fprintf(out, "  %-12s %-10s %7.1f ms, of which %.1f waiting\n", name, job.Language, milliseconds(job.CompletedAt.Sub(job.CreatedAt)),
		milliseconds(job.StartedAt.Sub(job.CreatedAt)))
	log := &indented{out: out}
	_, err := io.WriteString(log, job.Logs)
	log.end()
	return err
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
