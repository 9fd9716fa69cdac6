package cli

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
)

// shownSteps is how many lines of what a workflow asked for are printed: the latest.
const shownSteps = 20

// describeSteps prints what a workflow as code has asked for.
func (c *call) describeSteps(ctx context.Context, cl *client.Client, id uuid.UUID) error {
	list, err := cl.WorkflowSteps(ctx, id)
	if client.IsNotFound(err) {
		return nil // the job was shown a moment ago: a daemon older than this command does not know
	}
	if err != nil {
		return err
	}
	if n := len(list) - shownSteps; n > 0 {
		fmt.Fprintf(c.stdout, "%-10s %d earlier ones; the API has them all\n", "steps", n)
		list = list[n:]
	}
	for _, s := range list {
		text := fmt.Sprintf("%s %s", s.Key, s.State)
		switch {
		case s.EndedAt != nil:
			text += " " + moment(*s.EndedAt)
		case s.StartedAt != nil:
			text += " since " + moment(*s.StartedAt)
		}
		if s.Approved != nil && !*s.Approved {
			text += ", denied"
		}
		if s.Job != nil {
			text += ", job " + s.Job.String()
		}
		fmt.Fprintf(c.stdout, "%-10s %s\n", s.Kind, text)
	}
	return nil
}
