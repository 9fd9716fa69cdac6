package runner

import (
	"bytes"
	"encoding/json"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
)

// preprocesses tells whether the preprocessor of x is at work.
func (x *run) preprocesses() bool {
	return x.state.Phase == flow.Running && x.state.At == flow.AtPreprocessor && x.state.Items == nil
}

// preprocessed takes what the preprocessor has returned for the arguments of the flow: here, and in its job's record, with the operation
// that notes its end. What no arguments can be is a failure of the preprocessor.
func (o *operation) preprocessed(x *run, e flow.Ended) (flow.Ended, error) {
	args, err := o.value(x, e.Result)
	if err != nil {
		return e, err
	}
	if args = bytes.TrimSpace(args); !bytes.HasPrefix(args, []byte("{")) {
		return o.unfit(x, e, "the preprocessor must return an object with the arguments of the flow")
	}
	made, err := o.runner.cfg.Queue.FlowArgs(o.ctx, x.job, args)
	if engine.CodeOf(err) == engine.Unavailable {
		return e, err
	}
	if err != nil {
		return o.unfit(x, e, err.Error())
	}
	o.op.Args = append(o.op.Args, made)
	j := *x.job
	j.Args = args
	x.job = &j
	return e, nil
}

func (o *operation) unfit(x *run, e flow.Ended, message string) (flow.Ended, error) {
	result, err := json.Marshal(map[string]any{"error": map[string]any{"name": "PreprocessorError", "message": message, "step_id": x.flow.Preprocessor.ID}})
	e.OK, e.Result = false, flow.Ref{Value: result}
	return e, err
}
