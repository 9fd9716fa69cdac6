package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/web/client"
)

var (
	workersCommand = command{name: "workers", short: "list the daemons that share the database and take jobs", new: newWorkerList}
	workerList     = command{name: "worker list", short: "the same as workers", new: newWorkerList}
)

func newWorkerList(c *call) func(context.Context) error {
	c.connects()
	return c.asking(func(ctx context.Context, cl *client.Client) error {
		list, err := cl.Workers(ctx)
		if err != nil || c.json {
			return c.jsonOr(err, orEmpty(list))
		}
		var rows [][]string
		for _, w := range list {
			rows = append(rows, []string{fmt.Sprint(w.ID), w.Name, w.Host, fmt.Sprint(w.PID), fmt.Sprintf("%d of %d", w.Busy, w.Slots), fmt.Sprint(w.Executed),
				moment(w.StartedAt), span(time.Duration(w.LastPing)*time.Second) + " ago", w.WMVersion, strings.Join(w.Tags, " ")})
		}
		var gpus [][]string
		for _, w := range list {
			for _, g := range w.GPUs {
				state := "free"
				if g.Job != "" {
					state = "busy with " + g.Job
				}
				if g.Problem != "" {
					state = g.Problem
				}
				gpus = append(gpus, []string{w.Name, g.ID, g.Name, g.UUID, state})
			}
		}
		c.table("no daemon takes jobs", []string{"ID", "NAME", "HOST", "PID", "BUSY", "DONE", "STARTED", "HEARTBEAT", "VERSION", "TAGS"}, rows)
		if len(gpus) > 0 {
			_, _ = fmt.Fprintln(c.stdout)
			c.table("", []string{"WORKER", "GPU", "MODEL", "UUID", "STATE"}, gpus)
		}
		return nil
	})
}
