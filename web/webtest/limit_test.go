package webtest

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
)

// TestQueueFull refuses a run that would have to wait behind too many: with a status, a time and a reason, and no job.
func TestQueueFull(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	later := "scheduled_in_secs=60&queue_limit="
	for _, path := range []string{"jobs/run/p/f/demo/hello?" + later + "1", "jobs/run/noop?" + later + "1"} {
		scenario{method: "POST", path: w + path, status: 201}.run(t, d)
	}
	for _, path := range []string{"jobs/run/p/f/demo/hello", "jobs/run_wait_result/p/f/demo/hello", "jobs/run/preview", "jobs/run/noop"} {
		resp := scenario{method: "POST", path: w + path + "?queue_limit=1", body: `{"content": "1", "language": "mock"}`, status: 429, kind: "text/plain",
			exact: "Too many requests: the queue is full: 2 jobs wait, 2 may (try again later)"}.run(t, d)
		if resp.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: Retry-After is %q", path, resp.Header.Get("Retry-After"))
		}
	}
	scenario{method: "POST", path: w + "jobs/run/noop?queue_limit=2", status: 201}.run(t, d)
	for _, bad := range []string{"-1", "x", "9223372036854775807"} {
		scenario{method: "POST", path: w + "jobs/run/noop?queue_limit=" + bad, status: 400, want: []string{"queue_limit must be a whole number"}}.run(t, d)
	}
	refused := 0
	for _, r := range e.Requests() {
		if r.QueueLimit == 2 && strings.HasPrefix(string(r.Kind), string(engine.KindNoop)) {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("queue_limit=1 came to the engine as another bound: %+v", e.Requests())
	}
}
