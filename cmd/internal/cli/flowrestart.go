package cli

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

var flowRestart = command{
	name: "flow restart", usage: "JOB --step STEP [--iteration N] [-d JSON]", short: "run a flow again from one of its steps on",
	long: `
JOB is a flow that has ended. The steps before STEP do not run again: their results are taken as they are. With --iteration a loop begins
at that iteration, a step that runs branches at that branch. -d takes the place of arguments of the earlier run, by name.

  millrace flow restart JOB --step b --iteration 2
  millrace flow restart JOB --step send -d '{"to": "ann"}' --latest`,
	new: newFlowRestart,
}

func newFlowRestart(c *call) func(context.Context) error {
	var step, data, until string
	var iteration int
	var version int64
	var latest, async bool
	c.connects()
	c.flags.StringVar(&step, "step", "", "the first `step` that runs again")
	c.flags.IntVar(&iteration, "iteration", -1, "of a loop or branches: begin with number `N`, from 0 on")
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
		r := client.FlowRestart{StepID: step, UpTo: until}
		switch {
		case step == "":
			return wrongUsage("--step is missing: millrace job get %s --json names the steps in flow_status", id)
		case iteration < -1:
			return wrongUsage("--iteration counts from 0 on")
		case latest && version != 0:
			return wrongUsage("give --latest or --version, not both")
		case latest:
			r.FlowVersion = "latest"
		case version != 0:
			r.FlowVersion = wire.VersionName(strconv.FormatInt(version, 10))
		}
		if iteration >= 0 {
			r.Item = &iteration
		}
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
