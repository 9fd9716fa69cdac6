package flow

import (
	"strings"
	"testing"
	"time"
)

// TestDeadline: a flow's own time ends it, whatever it waits for, and its failure module does not run.
func TestDeadline(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ module, trace string }{
		"while it sleeps": {raw("a", `"sleep":{"type":"static","value":90}`), `a="a" 1m0s`},
		"while it waits for another attempt": {raw("a", `"retry":{"constant":{"attempts":9,"seconds":40}}`),
			`a={"error":{"name":"Error","message":"a"}} 40s a={"error":{"name":"Error","message":"a"}} 20s`},
		"while it waits for approval": {raw("a", `"suspend":{"required_events":1}`), `a="a" gate a 1m0s`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.job = fails(map[string]int{"a": map[bool]int{true: -1}[strings.Contains(name, "attempt")]})
			d := Root(parse(t, `{"modules":`+modules(c.module, raw("b", ""))+`,"failure_module":`+raw("failure", "")+`}`), false)
			d.Timeout = time.Minute
			r := h.begin(d, nil, 0)
			r.step(Begin{})
			h.drive(r)
			if got := strings.Join(h.trace, " "); got != c.trace {
				t.Errorf("it did  %s\nwanted %s", got, c.trace)
			}
			if want := `{"error":{"name":"Timeout","message":"the flow ran longer than 1m0s"}}`; r.end.OK || string(r.result) != want {
				t.Errorf("it ended with %s", r.result)
			}
		})
	}
}

// TestDeadlineWhileAJobRuns stops the job.
func TestDeadlineWhileAJobRuns(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	d := Root(parse(t, value(raw("a", ""))), false)
	d.Timeout = time.Minute
	r := h.begin(d, nil, 0)
	r.step(Begin{})
	h.now = h.now.Add(time.Minute)
	_, effects := Step(d, r.run, Due{}, r)
	if _, stop := effects[0].(Stop); len(effects) != 2 || !stop {
		t.Errorf("%+v", effects)
	}
	h.now = h.now.Add(-time.Second)
	if _, effects := Step(d, r.run, Due{}, r); len(effects) != 0 {
		t.Errorf("too early: %+v", effects)
	}
}
