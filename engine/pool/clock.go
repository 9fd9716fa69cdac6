package pool

import (
	"sync"
	"time"
)

// clock calls for the end of a run when its time is over. It stands still while the run only waits. It is safe for concurrent use.
type clock struct {
	mu    sync.Mutex
	timer *time.Timer
	left  time.Duration // when it began to go
	since time.Time     // when that was; zero: it stands; guarded by mu, like left
}

func startClock(d time.Duration, over func()) *clock {
	return &clock{timer: time.AfterFunc(d, over), left: d, since: time.Now()}
}

// stand stops the clock, or has it go on.
func (c *clock) stand(still bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case still && !c.since.IsZero():
		c.timer.Stop()
		c.left = max(0, c.left-time.Since(c.since))
		c.since = time.Time{}
	case !still && c.since.IsZero():
		c.timer.Reset(c.left)
		c.since = time.Now()
	}
}

// stop stops it for good.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
	c.left, c.since = 0, time.Now() // going on does nothing any more
}
