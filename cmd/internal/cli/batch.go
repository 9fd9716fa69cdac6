package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
)

var batchList = command{
	name: "batch list", usage: "[--state STATE]", short: "list batches, newest first",
	new: func(c *call) func(context.Context) error {
		var path, state, by string
		var limit int
		c.connects()
		c.flags.StringVar(&path, "path", "", "only of scripts whose path begins with `START`")
		c.flags.StringVar(&state, "state", "", "only `receiving`, running, done, canceled or failed; several with commas")
		c.flags.StringVar(&by, "by", "", "only made by this `user`")
		c.flags.IntVar(&limit, "limit", 30, "at most so many")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			q, err := filter(map[string]string{"script_path_start": path, "state": state, "created_by": by}, limit)
			if err != nil {
				return err
			}
			list, err := cl.Batches(ctx, q)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for i := range list {
				b := &list[i]
				total := thousands(b.Inserted)
				if b.Total != nil {
					total = thousands(*b.Total)
				}
				rows = append(rows, []string{b.ID.String(), string(b.State), runsOf(b), total, thousands(b.Done), thousands(b.Failed), moment(b.CreatedAt), b.CreatedBy, b.Name})
			}
			c.table("there are no such batches; millrace batch run makes one",
				[]string{"BATCH", "STATE", "WHAT", "ROWS", "DONE", "FAILED", "ASKED", "BY", "NAME"}, rows)
			return nil
		})
	},
}

func runsOf(b *client.Batch) string {
	switch {
	case b.ScriptPath != "":
		return b.ScriptPath
	case b.JobKind != "":
		return string(b.JobKind)
	}
	return "several"
}

var batchGet = command{
	name: "batch get", usage: "ID", short: "show a batch and how far it is",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			id, err := batchID(c.args[0])
			if err != nil {
				return err
			}
			b, err := cl.GetBatch(ctx, id)
			if err != nil || c.json {
				return c.jsonOr(err, b)
			}
			c.describeBatch(b)
			return nil
		}, "ID")
	},
}

// describeBatch prints a batch for a person.
func (c *call) describeBatch(b *client.Batch) {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(c.stdout, "%-10s %s\n", name, value)
		}
	}
	line("batch", b.ID.String())
	line("name", b.Name)
	line("runs", runsOf(b))
	line("version", b.ScriptHash)
	if b.Source != nil {
		line("rerun of", b.Source.String())
	}
	line("state", string(b.State))
	line("asked", moment(b.CreatedAt)+" by "+b.CreatedBy)
	line("received", momentOr(b.ReceivedAt, ""))
	line("finished", momentOr(b.FinishedAt, ""))
	line("progress", batchLine(b, false))
	if b.Queued > 0 {
		line("queued", thousands(b.Queued))
	}
	line("error", b.Error)
	if b.CanceledBy != "" {
		reason := ""
		if b.CanceledReason != "" {
			reason = ": " + b.CanceledReason
		}
		line("canceled", "by "+b.CanceledBy+reason)
	}
}

var batchWait = command{
	name: "batch wait", usage: "ID", short: "watch a batch until it is over",
	long: "\nThe exit status is 1 when a job failed or was canceled. Ctrl-C stops watching, the batch goes on.",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			id, err := batchID(c.args[0])
			if err != nil {
				return err
			}
			return c.watchBatch(ctx, cl, id)
		}, "ID")
	},
}

var batchCancel = command{
	name: "batch cancel", usage: "ID [--reason TEXT]", short: "cancel what is queued or running of a batch",
	new: func(c *call) func(context.Context) error {
		var reason string
		c.connects()
		c.flags.StringVar(&reason, "reason", "", "`text` that is kept with the batch and its jobs")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			id, err := batchID(c.args[0])
			if err != nil {
				return err
			}
			if err := cl.CancelBatch(ctx, id, reason); err != nil || c.json {
				return c.jsonOr(err, map[string]string{"canceled": id.String()})
			}
			fmt.Fprintf(c.stdout, "batch %s is canceled\n", id)
			b, err := cl.GetBatch(ctx, id)
			if err == nil && !b.Over {
				fmt.Fprintf(c.stderr, "jobs that have not ended yet: %s; millrace batch wait %s watches them\n", thousands(b.Queued+b.Running), id)
			}
			return err
		}, "ID")
	},
}

var batchResults = command{
	name: "batch results", usage: "ID [--status STATUS]", short: "print what came out of each row, in their order",
	long: "\nA JSON object a line: row, job, status, and the result once there is one. With --json one array of them.",
	new: func(c *call) func(context.Context) error {
		var status string
		c.connects()
		c.flags.StringVar(&status, "status", "", "only `queued`, running, success, failure or canceled; several with commas")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			id, err := batchID(c.args[0])
			if err != nil {
				return err
			}
			each, end := c.lineByLine()
			return end(cl.BatchResults(ctx, id, status, each))
		}, "ID")
	},
}

// lineByLine returns a printer of rows as they come, and what ends it; with --json the rows are one array.
func (c *call) lineByLine() (each func(client.BatchRow) error, end func(error) error) {
	n := 0
	each = func(r client.BatchRow) error {
		b, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("print: %w", err)
		}
		before := ""
		if c.json {
			if before = ",\n"; n == 0 {
				before = "[\n"
			}
		} else {
			b = append(b, '\n')
		}
		n++
		_, err = fmt.Fprintf(c.stdout, "%s%s", before, b)
		return err
	}
	end = func(err error) error {
		switch {
		case !c.json, err != nil && n == 0:
			return err
		case n == 0:
			fmt.Fprintln(c.stdout, "[]")
			return nil
		}
		fmt.Fprintln(c.stdout, "\n]")
		if err != nil { // the array has to be all that standard output gets
			fmt.Fprintf(c.stderr, "millrace batch results: %v\n", err)
			return errSaid
		}
		return nil
	}
	return each, end
}

// rerunFlags are what both reruns have.
type rerunFlags struct {
	version, name, tag string
	priority           int
	wait               bool
}

func (c *call) rerunFlags() *rerunFlags {
	var f rerunFlags
	c.flags.StringVar(&f.version, "version", "original", "`original`, the version that ran, or latest")
	c.flags.StringVar(&f.name, "name", "", "a `name` of the new batch")
	c.flags.StringVar(&f.tag, "tag", "", "`tag` of the workers to use")
	c.flags.IntVar(&f.priority, "priority", 0, "higher runs first")
	c.flags.BoolVar(&f.wait, "wait", false, "watch until all jobs are done")
	return &f
}

func (f *rerunFlags) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"version": f.version, "name": f.name, "run_tag": f.tag} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.priority != 0 {
		q.Set("priority", strconv.Itoa(f.priority))
	}
	return q
}

// made prints a new batch, or watches it.
func (c *call) made(ctx context.Context, cl *client.Client, id uuid.UUID, wait bool) error {
	if !wait {
		return c.printID(id)
	}
	if !c.json {
		fmt.Fprintln(c.stdout, id)
	}
	return c.watchBatch(ctx, cl, id)
}

var batchRerun = command{
	name: "batch rerun", usage: "ID [--status STATUS]", short: "run the rows of a batch that failed again, as a new batch",
	new: func(c *call) func(context.Context) error {
		var status string
		c.connects()
		c.flags.StringVar(&status, "status", "failure", "rows that ended as `success`, failure or canceled; several with commas")
		f := c.rerunFlags()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			id, err := batchID(c.args[0])
			if err != nil {
				return err
			}
			q := f.query()
			q.Set("status", status)
			n, err := cl.RerunBatch(ctx, id, q)
			if err != nil {
				return err
			}
			return c.made(ctx, cl, n, f.wait)
		}, "ID")
	},
}

var jobRerun = command{
	name: "job rerun", usage: "[filters] [--dry-run]", short: "run completed jobs again with their arguments, as a batch",
	long: `
The filters say which; without any, those that failed. --dry-run only counts them.

  millrace job rerun --path f/demo/ --status failure --after 2026-11-01T00:00:00Z --dry-run`,
	new: newJobRerun,
}

func newJobRerun(c *call) func(context.Context) error {
	var path, prefix, status, by, tag, batch, after, before string
	var limit int
	var dry bool
	c.connects()
	c.flags.StringVar(&path, "script", "", "only of the script at this `path`")
	c.flags.StringVar(&prefix, "path", "", "only of scripts whose path begins with `START`")
	c.flags.StringVar(&status, "status", "failure", "only `success`, failure or canceled; several with commas")
	c.flags.StringVar(&by, "by", "", "only started by this `user`")
	c.flags.StringVar(&tag, "ran-on", "", "only jobs with this `tag`")
	c.flags.StringVar(&batch, "batch", "", "only of the batch with this `id`")
	c.flags.StringVar(&after, "after", "", "only asked for after this `time`, as 2026-11-01T00:00:00Z")
	c.flags.StringVar(&before, "before", "", "only asked for before this `time`")
	c.flags.IntVar(&limit, "limit", 10_000, "at most so many, the oldest")
	c.flags.BoolVar(&dry, "dry-run", false, "only say how many jobs would run")
	f := c.rerunFlags()
	return c.asking(func(ctx context.Context, cl *client.Client) error {
		q := f.query()
		for name, value := range map[string]string{"script_path_exact": path, "script_path_start": prefix, "status": status, "created_by": by,
			"tag": tag, "batch": batch, "created_after": after, "created_before": before, "limit": strconv.Itoa(limit)} {
			if value != "" {
				q.Set(name, value)
			}
		}
		for _, s := range []string{after, before} {
			if _, err := time.Parse(time.RFC3339, s); s != "" && err != nil {
				return wrongUsage("%q is no time like 2026-11-01T00:00:00Z", s)
			}
		}
		if dry {
			return c.countRerun(ctx, cl, q)
		}
		id, err := cl.RerunJobs(ctx, q)
		if err != nil {
			return err
		}
		return c.made(ctx, cl, id, f.wait)
	})
}

func (c *call) countRerun(ctx context.Context, cl *client.Client, q url.Values) error {
	n, err := cl.CountRerun(ctx, q)
	if err != nil || c.json {
		return c.jsonOr(err, n)
	}
	var rows [][]string
	for path, count := range n.ByPath {
		if path == "" {
			path = "(no script)"
		}
		rows = append(rows, []string{path, thousands(int64(count))})
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	c.table("no job would run", []string{"SCRIPT", "JOBS"}, rows)
	return nil
}

func batchID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil {
		return uuid.UUID{}, wrongUsage("%q is no batch id; millrace batch list shows them", s)
	}
	return id, nil
}
