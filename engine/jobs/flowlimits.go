package jobs

import (
	"encoding/json"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/flow/runner"
)

// LimitFlow gives the job of a flow the limits that the flow says, and how long its result is good.
func (s *Jobs) LimitFlow(j *engine.Job, v *format.Value) {
	if j.Priority == 0 {
		j.Priority = int16(v.Priority)
	}
	j.CacheFor, j.CacheAnyPath = time.Duration(v.CacheTTL*float64(time.Second)), v.CacheIgnoreS3Path
	name := j.Workspace + "/flow/" + j.Path
	if j.Path == "" { // flows without a name are the same when they do the same
		name = j.Workspace + "/preview/" + fingerprint(json.RawMessage(j.Source), nil)
	}
	limitBy(j, name, v.ConcurrencyKey, v.ConcurrentLimit, v.ConcurrencyTimeWindowS, v.OnConcurrencyLimit)
	debounceBy(j, name+":"+fingerprint(j.Args, v.DebounceArgsToAccumulate), &v.Debounce)
}

// limitStep gives the job of a step the limits that the module says; a script's own are there already.
func (s *Jobs) limitStep(j *engine.Job, st runner.StepOf) {
	if n := st.Module.Priority; n != 0 {
		j.Priority = int16(n)
	}
	name := j.Workspace + "/flow/" + st.Flow + "-" + st.Module.ID
	if b, ok := st.Module.Value.(*format.RawScript); ok {
		if st.Flow == "" {
			name = j.Workspace + "/preview/" + fingerprint(json.RawMessage(b.Content), nil)
		}
		limitBy(j, name, b.CustomConcurrencyKey, b.ConcurrentLimit, b.ConcurrencyTimeWindowS, b.OnConcurrencyLimit)
	}
	if st.Module.Debouncing != nil {
		debounceBy(j, name, &st.Module.Debouncing.Debounce)
	}
}

func limitBy(j *engine.Job, name, key string, slots, window int, on string) {
	if slots > 0 {
		j.Limit = &engine.Limit{Key: shorten(expand(key, name, j)), Slots: slots, Window: seconds(window), Fail: on == "fail"}
	}
}

func debounceBy(j *engine.Job, name string, d *format.Debounce) {
	if d.DebounceDelayS > 0 {
		j.Debounce = &engine.Debounce{Key: shorten(expand(d.DebounceKey, name, j)), Delay: seconds(d.DebounceDelayS),
			Accumulate: d.DebounceArgsToAccumulate, MaxWait: seconds(d.MaxTotalDebouncingTime), MaxCount: d.MaxTotalDebouncesAmount}
	}
}

// flowTag is the tag of a step when its flow has one of its own: that, unless the step keeps its own.
func flowTag(st runner.StepOf, own string) string {
	if st.Tag == "" || st.Tag == FlowTag || st.KeepTags && own != "" {
		return own
	}
	return st.Tag
}
