package engine

import "time"

// Limit says how many jobs of one key may run. Jobs over it wait, the highest priority first, then the longest due.
type Limit struct {
	Key    string        // within the workspace
	Slots  int           // at least 1
	Window time.Duration // 0: at most Slots run at the same time; otherwise at most Slots start within any Window, running ones included
	Fail   bool          // a job that cannot start at once fails instead of waiting
}

// Debounce merges jobs of one key that come in quick succession into one: each one postpones the run by Delay and replaces the
// one before, which ends as canceled and names its successor.
type Debounce struct {
	Key        string        // within the workspace
	Delay      time.Duration // after the latest request
	Accumulate []string      // names of array arguments that are joined over the merged requests, in their order
	MaxWait    time.Duration // after the first of the merged requests it runs at the latest; 0: no bound
	MaxCount   int           // so many merged requests run at once; 0: no bound
}

// Limits are what a script says of its runs; nil parts do not limit.
type Limits struct {
	Limit        *Limit
	Debounce     *Debounce
	Priority     int16
	CacheFor     time.Duration // how long a result is good for runs with the same arguments; 0: not at all
	CacheAnyPath bool          // whatever the paths of files among them that say what is in them
}
