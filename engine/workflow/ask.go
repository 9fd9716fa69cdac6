package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/millrace/millrace/engine"
)

// ask is what a process wants.
type ask struct {
	Op      string          `json:"op"`
	Running int             `json:"running"` // functions of steps that are at work
	Key     string          `json:"key"`
	Name    string          `json:"name"`
	OK      bool            `json:"ok"`    // of a step
	Value   json.RawMessage `json:"value"` // of a step its result, of a task its arguments
	Seconds float64         `json:"seconds"`
	Path    string          `json:"path"` // of a task that is a deployed script or flow
	Flow    bool            `json:"flow"`
	Options json.RawMessage `json:"options"`
}

const maxName = 200 // bytes of a name

func parse(b []byte) (*ask, error) {
	a := new(ask)
	if err := json.Unmarshal(b, a); err != nil {
		return nil, engine.Errorf(engine.Invalid, "workflow.ask", "the workflow asks for something that cannot be read: %v", err)
	}
	switch a.Op {
	case "open", "begin":
		return a, nil
	case "step", "task", "sleep", "approval":
	default:
		return nil, engine.Errorf(engine.Invalid, "workflow.ask", "the workflow asks for %q, which is nothing", a.Op)
	}
	if a.Name == "" || a.Key == "" || len(a.Key) > maxName+12 || len(a.Name) > maxName {
		return nil, engine.Errorf(engine.Invalid, "workflow.ask", "the name of a %s must have 1 to %d bytes, this one has %d", a.Op, maxName, len(a.Name))
	}
	return a, nil
}

// answer is what a process gets.
type answer struct {
	Key    string          `json:"key"`
	Kind   string          `json:"kind"`
	Done   bool            `json:"done"`
	OK     bool            `json:"ok"`
	Value  json.RawMessage `json:"value"`
	Job    string          `json:"job,omitempty"`
	Stored bool            `json:"stored,omitempty"`
}

// options are those of a task, with Windmill's names.
type options struct {
	Timeout     float64  `json:"timeout"` // seconds
	Tag         string   `json:"tag"`
	Priority    int16    `json:"priority"`
	Retry       *retry   `json:"retry"`
	CacheTTL    *float64 `json:"cache_ttl"`
	Concurrency *int     `json:"concurrency_limit"`
}

type retry struct {
	Attempts   int      `json:"attempts"`
	Delay      float64  `json:"delay"` // seconds
	Multiplier *float64 `json:"multiplier"`
	MaxDelay   *float64 `json:"max_delay"`
}

// mostDelay bounds what a task waits before it is tried again.
const mostDelay = 6 * time.Hour

// delay is how long a task waits that has failed n times.
func (r *retry) delay(n int32) time.Duration {
	s := r.Delay
	if r.Multiplier != nil {
		s *= math.Pow(*r.Multiplier, float64(n-1))
	}
	if r.MaxDelay != nil {
		s = min(s, *r.MaxDelay)
	}
	if !(s > 0) {
		return 0
	}
	return time.Duration(min(s, mostDelay.Seconds()) * float64(time.Second))
}

func parseOptions(b json.RawMessage) (o options, err error) {
	if len(b) == 0 {
		return o, nil
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return o, engine.Errorf(engine.Invalid, "workflow.task", "the options of a task: %v", err)
	}
	switch {
	case o.CacheTTL != nil:
		err = errors.New("cache_ttl is not kept for tasks: keep the result in a step")
	case o.Concurrency != nil:
		err = errors.New("concurrency_limit is not kept for tasks: use parallel(items, task, concurrency), or deploy a script with a limit")
	case o.Timeout < 0 || o.Timeout > 1e9:
		err = fmt.Errorf("timeout: want seconds, got %v", o.Timeout)
	}
	if err != nil {
		return o, engine.Errorf(engine.Invalid, "workflow.task", "the options of a task: %v", err)
	}
	return o, nil
}
