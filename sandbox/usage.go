package sandbox

import "time"

// Usage is what a process and its descendants consumed, and which bounds they met. Fields that the host cannot tell are zero.
type Usage struct {
	CPUUser, CPUSystem time.Duration
	MemoryPeak         int64 // bytes
	// IORead and IOWritten are bytes from and to disks; what memory had cached, and the work folder, which is memory, are not in it.
	IORead, IOWritten int64
	// PidsPeak is how many processes and threads there were at the most; told only where it is sure, see sandbox/slot.
	PidsPeak int
	// PidsRefused counts the processes and threads that could not be made because of Limits.Pids.
	PidsRefused int64
	// Throttled is how long there was work to do but Limits.CPU let none be done.
	Throttled time.Duration
	// OOMKills counts the processes that the kernel killed for exceeding Limits.Memory; OOM is the last of them.
	OOMKills int64
	OOM      *Kill // nil: none, or the host does not tell
}

// Kill is a process that the kernel killed for lack of memory, as the kernel's log tells it.
type Kill struct {
	Command string // its name, which it chose itself; empty: not known
	Memory  int64  // bytes that it had in memory
}
