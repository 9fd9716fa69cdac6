package pool

import (
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// What the runs before have read, written, met and been refused is not told of the next one.
func TestUsageSince(t *testing.T) {
	killed := &sandbox.Kill{Command: "python3"}
	before := sandbox.Usage{Throttled: time.Second, IORead: 10, IOWritten: 20, PidsPeak: 3, PidsRefused: 1, OOMKills: 1, OOM: killed}
	if got := since(before, sandbox.Usage{}); got != before {
		t.Errorf("the first: %+v", got)
	}
	if got := since(before, before); got != (sandbox.Usage{}) {
		t.Errorf("nothing more: %+v", got)
	}
	more := sandbox.Usage{Throttled: 3 * time.Second, IORead: 11, IOWritten: 22, PidsPeak: 4, PidsRefused: 4, OOMKills: 2, OOM: killed, MemoryPeak: 5}
	want := sandbox.Usage{Throttled: 2 * time.Second, IORead: 1, IOWritten: 2, PidsPeak: 4, PidsRefused: 3, OOMKills: 1, OOM: killed, MemoryPeak: 5}
	if got := since(more, before); got != want {
		t.Errorf("more: %+v", got)
	}
}
