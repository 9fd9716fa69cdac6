package engine

import "time"

// WorkerView is one live worker (a daemon process that takes jobs), for APIs.
type WorkerView struct {
	ID        int32
	Name      string
	Host      string
	PID       int
	Tags      []string
	Slots     int   // jobs it runs at the same time
	Busy      int   // slots in use at the last heartbeat
	Executed  int64 // jobs that it has carried to their end, as of the last heartbeat
	Version   string
	Started   time.Time
	Heartbeat time.Time
	GPUs      []GPU // of the process that is asked; of others only the tags tell
}
