package sandbox

import "context"

// Holder is a Slot that can confine a process before it is known what it is for.
type Holder interface {
	// Hold starts a process with the limits l that waits, confined, for Become. It counts as the slot's one process.
	Hold(ctx context.Context, l Limits) (Held, error)
}

// Held is a process that waits to be told what it is to become. Closed before that, it ends without having been anything.
type Held interface {
	Process
	// Become makes it the program of s, whose limits are those it is held with whatever s says. It returns at once; what fails
	// later is in Exit.Error. An error means that s cannot be run; the process is then still to be closed.
	Become(s Spec) error
}

// Teller is a Process that may tell how its program ended a moment before the process and its namespaces are gone.
type Teller interface {
	// Told waits for the end. False: only Wait can tell. With true the whole tree but its minimal init is dead, the Exit is what
	// Wait will return but for usage, and Collected and Output are complete.
	Told(ctx context.Context) (Exit, bool)
}
