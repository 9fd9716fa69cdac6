package cli

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

var flowRestart = command{
	name: "flow restart", usage: "JOB --step STEP[.STEP...] [--iteration N[,N...]] [-d JSON]", short: "run a flow again from one of its steps on",
	long: `
JOB is a flow that has ended. The steps before STEP do not run again: their results are taken as they are. With --iteration a loop begins
at that iteration, a step that runs branches at that branch. A step within a loop, a branch or a flow is named with what it is in, from the
outside in; --iteration then has a number for each of them, and nothing where there is none to give. -d takes the place of arguments of the
earlier run, by name.

  millrace flow restart JOB --step b --iteration 2
  millrace flow restart JOB --step b.c --iteration 2          # step c of the third iteration of loop b
  millrace flow restart JOB --step a.b.c --iteration ,2       # the same, where b is in the flow or branch that a runs
  millrace flow restart JOB --step send -d '{"to": "ann"}' --latest`,
	new: newFlowRestart,
}

func newFlowRestart(c *call) func(context.Context) error {
	var step, data, until, iteration string
	var version int64
	var latest, async bool
	c.connects()
	c.flags.StringVar(&step, "step", "", "the first `step` that runs again")
	c.flags.StringVar(&iteration, "iteration", "", "of a loop or branches: begin with number `N`, from 0 on")
	c.flags.StringVar(&data, "d", "{}", "arguments to change, as a JSON `object`; @FILE reads a file, - standard input")
	c.flags.StringVar(&until, "until", "", "end after this `step`")
	c.flags.BoolVar(&latest, "latest", false, "run the version that is deployed now instead of the one that ran")
	c.flags.Int64Var(&version, "version", 0, "run this `version`")
	c.flags.BoolVar(&async, "async", false, "print the job's id and do not wait")
	return c.asking(func(ctx context.Context, cl *client.Client) error {
		id, err := jobID(c.args[0])
		if err != nil {
			return err
		}
		r := client.FlowRestart{UpTo: until}
		switch {
		case step == "":
			return wrongUsage("--step is missing: millrace job get %s --json names the steps in flow_status", id)
		case latest && version != 0:
			return wrongUsage("give --latest or --version, not both")
		case latest:
			r.FlowVersion = "latest"
		case version != 0:
			r.FlowVersion = wire.VersionName(strconv.FormatInt(version, 10))
		}
		at, err := restartPlace(step, iteration)
		if err != nil {
			return err
		}
		r.StepID, r.Item, r.Nested = at.StepID, at.Item, at.Nested
		var args json.RawMessage
		if args, err = c.arguments(data); err != nil {
			return err
		}
		if string(args) != "{}" {
			r.Args = args
		}
		fresh, err := cl.RestartFlow(ctx, id, r)
		if err != nil {
			return err
		}
		return c.showFlow(ctx, cl, fresh, async)
	}, "JOB")
}

// restartPlace reads --step and --iteration: where a run begins, from the outside in.
func restartPlace(step, iteration string) (*wire.RestartNested, error) {
	var steps, items = strings.Split(step, "."), strings.Split(iteration, ",")
	if len(items) > len(steps) {
		return nil, wrongUsage("--iteration %s has more numbers than --step %s has steps", iteration, step)
	}
	var at *wire.RestartNested
	for i := len(steps) - 1; i >= 0; i-- {
		at = &wire.RestartNested{StepID: steps[i], Nested: at}
		if steps[i] == "" {
			return nil, wrongUsage("--step %s: a step has no name", step)
		}
		if i < len(items) && items[i] != "" {
			n, err := strconv.ParseUint(items[i], 10, 31)
			if err != nil {
				return nil, wrongUsage("--iteration %s: they are numbers, counted from 0 on", iteration)
			}
			item := int(n)
			at.Item = &item
		}
	}
	return at, nil
}
