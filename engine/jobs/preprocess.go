package jobs

import (
	"slices"

	"github.com/millrace/millrace/engine"
)

// preprocessed gives a job with a preprocessor the request instead of arguments, when there is one.
func preprocessed(r engine.RunRequest, j *engine.Job) error {
	if r.Event == nil {
		return nil
	}
	e, err := r.Event()
	if err != nil {
		return err
	}
	j.Trigger, j.Args = engine.TriggerWebhook, slices.Concat([]byte(`{"event":`), e, []byte("}"))
	return checkArgs(&j.Args)
}
