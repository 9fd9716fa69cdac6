package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
)

var flowRun = command{
	name: "flow run", usage: "PATH|FOLDER [-d JSON]", short: "run a flow, show its steps, print its result",
	long: `
PATH is a deployed flow (f/demo/report); a FOLDER with flow.yaml and the scripts beside it runs without being deployed. The steps go to
standard error: on a terminal as a tree that is kept up to date, elsewhere as a line whenever a step begins or ends. The result goes to
standard output; the exit status is 1 when the flow fails. A flow that waits for approval is waited for. Ctrl-C cancels the flow.

  millrace flow run f/demo/report -d '{"n": 3}'
  millrace flow run f/demo/report__flow`,
	new: func(c *call) func(context.Context) error {
		var f runFlags
		c.connects()
		c.runs(&f)
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			r, err := c.flowRunOf(c.args[0], f)
			if err != nil {
				return err
			}
			return c.startFlow(ctx, cl, r, f.async)
		}, "PATH")
	},
}

var flowPreview = command{
	name: "flow preview", usage: "FOLDER [--until STEP | --step STEP [--from-run JOB]]", short: "run a part of a flow that is not deployed",
	long: `
Runs the flow in FOLDER as it is: all of it, up to a step, or one step alone. With --from-run the results of that run stand in for the steps
before it, and its arguments for those that are not given.

  millrace flow preview f/demo/report__flow --until b -d '{"n": 3}'
  millrace flow preview f/demo/report__flow --step c --from-run JOB`,
	new: newFlowPreview,
}

func newFlowPreview(c *call) func(context.Context) error {
	var f runFlags
	var until, step, from string
	var iteration int
	c.connects()
	c.runs(&f)
	c.flags.StringVar(&until, "until", "", "end after this `step`")
	c.flags.StringVar(&step, "step", "", "run this `step` alone")
	c.flags.StringVar(&from, "from-run", "", "with --step: the `job` of an earlier run, whose results it sees")
	c.flags.IntVar(&iteration, "iteration", 0, "with --from-run, for a step in a loop: that of iteration `N`, from 0 on")
	return c.asking(func(ctx context.Context, cl *client.Client) error {
		switch {
		case until != "" && step != "":
			return wrongUsage("give --until or --step, not both")
		case from != "" && step == "":
			return wrongUsage("--from-run goes with --step")
		case iteration != 0 && from == "":
			return wrongUsage("--iteration goes with --from-run")
		}
		if st, err := os.Stat(c.args[0]); err != nil || !st.IsDir() {
			return wrongUsage("%q is not a folder with a flow; millrace flow run runs deployed ones", c.args[0])
		}
		r, err := c.flowRunOf(c.args[0], f)
		if err != nil {
			return err
		}
		r.Flow.UpTo, r.Flow.OnlyStep, r.Flow.FromItem = until, step, iteration
		if from != "" {
			id, err := jobID(from)
			if err != nil {
				return err
			}
			r.Flow.FromRun = &id
		}
		return c.startFlow(ctx, cl, r, f.async)
	}, "FOLDER")
}

// flowRunOf makes the request for a flow from the target and the flags.
func (c *call) flowRunOf(target string, f runFlags) (client.Run, error) {
	st, err := os.Stat(target)
	if err == nil && !st.IsDir() {
		return client.Run{}, wrongUsage("%q is a file; a flow is a folder with flow.yaml, or the path of a deployed flow", target)
	}
	if err != nil && !strings.HasPrefix(target, "u/") && !strings.HasPrefix(target, "f/") {
		return client.Run{}, wrongUsage("%q is neither the path of a flow (u/... or f/...) nor a folder here", target)
	}
	if err != nil && strings.HasSuffix(strings.TrimRight(target, "/"), "__flow") {
		return client.Run{}, wrongUsage("there is no folder %q here; a deployed flow has no __flow in its path", target)
	}
	r, err := c.runOf(target, f)
	if r.Path != "" {
		r.Path, r.FlowPath = "", r.Path
	}
	return r, err
}

func (c *call) startFlow(ctx context.Context, cl *client.Client, r client.Run, async bool) error {
	id, err := cl.Run(ctx, r)
	if err != nil {
		return err
	}
	return c.showFlow(ctx, cl, id, async)
}

// showFlow prints the id of a flow that was started, or its steps until it ends.
func (c *call) showFlow(ctx context.Context, cl *client.Client, id uuid.UUID, async bool) error {
	if async {
		return c.printID(id)
	}
	job, err := newFlowTree(c.stderr).follow(ctx, cl, id)
	return c.over(ctx, cl, id, job, err)
}

var flowApprove = command{
	name: "flow approve", usage: "JOB [-d JSON]", short: "approve what a flow or workflow waits for",
	long: "\nThe next step of a flow sees what -d gives as resume: any JSON value. A workflow as code gets it as value.\n\n  millrace flow approve JOB -d '{\"target\": \"eu\"}'",
	new:  func(c *call) func(context.Context) error { return c.answers(true) },
}

var flowDeny = command{
	name: "flow deny", usage: "JOB [-d JSON]", short: "refuse what a flow or workflow waits for",
	long: "\nA flow fails, unless its step goes on after that; -d may say why.\n\n  millrace flow deny JOB -d '\"too early\"'",
	new:  func(c *call) func(context.Context) error { return c.answers(false) },
}

// answers makes a command that answers what a job waits for.
func (c *call) answers(approved bool) func(context.Context) error {
	var data string
	c.connects()
	c.flags.StringVar(&data, "d", "", "a JSON `value` that goes with the answer; @FILE reads a file, - standard input")
	return c.asking(func(ctx context.Context, cl *client.Client) error {
		id, err := jobID(c.args[0])
		if err != nil {
			return err
		}
		var payload json.RawMessage
		if data != "" {
			if payload, err = c.input(data); err != nil {
				return err
			}
			if !json.Valid(payload) {
				return wrongUsage("-d %.60s is not JSON; a text has double quotes around it: -d '\"yes\"'", data)
			}
		}
		said := "approved"
		if !approved {
			said = "denied"
		}
		if err := cl.AnswerFlow(ctx, id, payload, approved); err != nil || c.json {
			return c.jsonOr(err, map[string]string{said: id.String()})
		}
		fmt.Fprintf(c.stdout, "%s was told: %s\n", id, said)
		return nil
	}, "JOB")
}

var flowCancel = command{
	name: "flow cancel", usage: "JOB [--reason TEXT]", short: "cancel a flow and what it has started",
	new: func(c *call) func(context.Context) error {
		var reason string
		c.connects()
		c.flags.StringVar(&reason, "reason", "", "`text` that is kept with the job")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			id, err := jobID(c.args[0])
			if err != nil {
				return err
			}
			j, err := cl.Job(ctx, id, false)
			if err != nil {
				return err
			}
			if j.JobKind != "flow" && j.JobKind != "flowpreview" {
				return fmt.Errorf("%s is not a flow but runs %s; millrace job cancel cancels it", id, what(j))
			}
			if err := cl.Cancel(ctx, id, reason); err != nil || c.json {
				return c.jsonOr(err, map[string]string{"canceled": id.String()})
			}
			fmt.Fprintf(c.stdout, "%s is canceled\n", id)
			return nil
		}, "JOB")
	},
}
