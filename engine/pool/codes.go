package pool

import (
	"sync"
	"time"
)

// A script that is run again is not compiled again, where its language has something to be kept. The second run of it is asked for what
// it compiled, which its process says before any code of the script has run, so that a run can say nothing in another's name; later runs
// get that together with the source. It is kept in memory only.

const (
	codesKnown = 4096     // programs that are remembered
	codesBytes = 64 << 20 // of all that is kept
	codeMost   = 1 << 20  // of one program
)

// code is what is kept of one program.
type code struct {
	used     time.Time
	compiled []byte // nil: nothing yet
}

// codes is what is kept of all programs.
type codes struct {
	mu    sync.Mutex
	known map[string]*code // guarded by mu
	bytes int              // of what is compiled; guarded by mu
}

// look returns what a run of a program can be given; ask: it is to say what it compiles.
func (c *codes) look(key string, now time.Time) (compiled []byte, ask bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.known[key]; k != nil {
		k.used = now
		return k.compiled, k.compiled == nil
	}
	if len(c.known) >= codesKnown {
		c.forget(now)
	}
	if c.known == nil {
		c.known = map[string]*code{}
	}
	c.known[key] = &code{used: now}
	return nil, false
}

// keep keeps what a run said that it compiled.
func (c *codes) keep(key string, compiled []byte, now time.Time) {
	if len(compiled) == 0 || len(compiled) > codeMost {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes+len(compiled) > codesBytes {
		c.forget(now)
	}
	k := c.known[key]
	if k == nil || k.compiled != nil {
		return // forgotten meanwhile, or another run was faster
	}
	k.compiled = compiled
	c.bytes += len(compiled)
}

// forget forgets what was not used lately, or else everything. c.mu is held.
func (c *codes) forget(now time.Time) {
	for key, k := range c.known {
		if now.Sub(k.used) > hotWithin {
			c.bytes -= len(k.compiled)
			delete(c.known, key)
		}
	}
	if len(c.known) >= codesKnown || c.bytes > codesBytes/2 {
		clear(c.known)
		c.bytes = 0
	}
}
