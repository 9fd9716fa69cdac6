package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/millrace/millrace/cmd/internal/push"
	"github.com/millrace/millrace/web/client"
)

var jobList = command{
	name: "job list", usage: "[--status STATUS]", short: "list jobs, newest first",
	new: func(c *call) func(context.Context) error {
		var path, status, by string
		var limit int
		c.connects()
		c.flags.StringVar(&path, "path", "", "only of scripts whose path begins with `START`")
		c.flags.StringVar(&status, "status", "", "only `queued`, running, success, failure or canceled; several with commas")
		c.flags.StringVar(&by, "by", "", "only started by this `user`")
		c.flags.IntVar(&limit, "limit", 30, "at most so many")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			q, err := filter(map[string]string{"script_path_start": path, "status": status, "created_by": by}, limit)
			if err != nil {
				return err
			}
			list, err := cl.Jobs(ctx, q)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for i := range list {
				j := &list[i]
				rows = append(rows, []string{j.ID.String(), string(j.Status), what(j), moment(j.CreatedAt), j.CreatedBy, took(j)})
			}
			c.table("there are no such jobs", []string{"JOB", "STATUS", "WHAT", "ASKED", "BY", "TOOK"}, rows)
			return nil
		})
	},
}

// what names what a job runs.
func what(j *client.Job) string {
	name := string(j.JobKind)
	if j.ScriptPath != nil && *j.ScriptPath != "" {
		name = *j.ScriptPath
		if j.JobKind != "script" {
			name += " (" + string(j.JobKind) + ")"
		}
	} else if j.Language != "" {
		name += " (" + j.Language + ")"
	}
	return name
}

func took(j *client.Job) string {
	if j.DurationMS == nil {
		return ""
	}
	return millis(*j.DurationMS)
}

var jobGet = command{
	name: "job get", usage: "ID", short: "show a job: arguments, times, result",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			id, err := jobID(c.args[0])
			if err != nil {
				return err
			}
			j, err := cl.Job(ctx, id, c.json)
			if err != nil || c.json {
				return c.jsonOr(err, j)
			}
			c.describe(j)
			if err := c.describeSteps(ctx, cl, id); err != nil {
				return err
			}
			return c.describeContacts(ctx, cl, id)
		}, "ID")
	},
}

// describe prints a job for a person.
func (c *call) describe(j *client.Job) {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(c.stdout, "%-10s %s\n", name, value)
		}
	}
	line("job", j.ID.String())
	line("runs", what(j))
	status := string(j.Status)
	if j.IsSkipped {
		status += ", skipped"
	}
	line("status", status)
	line("asked", moment(j.CreatedAt)+" by "+j.CreatedBy)
	if j.ScheduledFor.After(j.CreatedAt) {
		line("due", moment(j.ScheduledFor))
	}
	line("started", momentOr(j.StartedAt, ""))
	line("finished", momentOr(j.CompletedAt, ""))
	line("took", took(j))
	if j.CPUMS > 0 {
		line("cpu", millis(j.CPUMS))
	}
	if j.MemPeak > 0 {
		line("memory", fmt.Sprintf("%.1f MB at most", float64(j.MemPeak)/1024))
	}
	c.describeUsage(j)
	line("worker", j.Worker)
	line("arguments", string(j.Args))
	switch {
	case j.Success != nil && !*j.Success:
		line("error", strings.ReplaceAll(push.Failure(j).Error(), "\n", "\n           "))
	case j.Result != nil:
		line("result", string(*j.Result))
	}
}

var jobLogs = command{
	name: "job logs", usage: "ID [--follow]", short: "print what a job has printed",
	new: func(c *call) func(context.Context) error {
		var follow bool
		c.connects()
		c.flags.BoolVar(&follow, "follow", false, "go on until the job ends")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			id, err := jobID(c.args[0])
			if err != nil {
				return err
			}
			if follow && !c.json {
				_, err := push.Follow(ctx, cl, id, c.stdout)
				return err
			}
			if follow {
				if _, err := push.Follow(ctx, cl, id, io.Discard); err != nil {
					return err
				}
			}
			logs, err := cl.Logs(ctx, id, 0)
			if err != nil || c.json {
				return c.jsonOr(err, map[string]string{"id": id.String(), "logs": logs})
			}
			_, err = io.WriteString(c.stdout, logs)
			return err
		}, "ID")
	},
}

var jobCancel = command{
	name: "job cancel", usage: "ID... [--reason TEXT]", short: "cancel queued or running jobs",
	new: func(c *call) func(context.Context) error {
		var reason string
		c.connects()
		c.flags.StringVar(&reason, "reason", "", "`text` that is kept with the job")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			canceled := []string{}
			for _, arg := range c.args {
				id, err := jobID(arg)
				if err != nil {
					return err
				}
				if err := cl.Cancel(ctx, id, reason); err != nil {
					return err
				}
				canceled = append(canceled, id.String())
				if !c.json {
					fmt.Fprintf(c.stdout, "%s is canceled\n", id)
				}
			}
			if c.json {
				return c.printJSON(map[string][]string{"canceled": canceled})
			}
			return nil
		}, "ID...")
	},
}

var jobWhy = command{
	name: "job why", usage: "ID", short: "say why a job is not running",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			id, err := jobID(c.args[0])
			if err != nil {
				return err
			}
			w, err := cl.Why(ctx, id)
			if err != nil || c.json {
				return c.jsonOr(err, w)
			}
			fmt.Fprintf(c.stdout, "%s is %s\n", id, w.State)
			for _, r := range w.Reasons {
				fmt.Fprintf(c.stdout, "  %s\n", r)
			}
			if w.State == "queued" {
				fmt.Fprintf(c.stdout, "  %d jobs ahead, %d workers take its tag, %d of their slots are free\n", w.Ahead, w.Workers, w.FreeSlots)
			}
			return nil
		}, "ID")
	},
}
