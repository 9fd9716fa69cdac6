package engine

// LimitHit names the limit that a run met, whether or not that was its end.
type LimitHit string

// The limits that can be met.
const (
	HitMemory LimitHit = "memory"
	HitPids   LimitHit = "pids"
	HitWork   LimitHit = "work_folder"
	HitFiles  LimitHit = "open_files"
	HitOutput LimitHit = "output"
	HitTime   LimitHit = "time"
)

// Usage is what is known of a run beyond its processor time and its memory. It is stored as this JSON; zero is unknown, or none.
type Usage struct {
	SystemMicros    int64    `json:"system_us,omitempty"` // processor time that the kernel spent for it
	ThrottledMicros int64    `json:"throttled_us,omitempty"`
	IORead          int64    `json:"read,omitempty"` // bytes
	IOWritten       int64    `json:"written,omitempty"`
	Pids            int      `json:"pids,omitempty"`         // most processes and threads at a time
	PidsRefused     int64    `json:"pids_refused,omitempty"` // that could not be made
	Limit           LimitHit `json:"limit,omitempty"`        // the limit that was met
	OOM             *OOM     `json:"oom,omitempty"`
}

// OOM is how a run had more than its memory.
type OOM struct {
	Command string `json:"command,omitempty"` // name of the process that was killed last; empty: not known
	Memory  int64  `json:"memory,omitempty"`  // bytes that it had
	Used    int64  `json:"used,omitempty"`    // bytes that the run had
	Limit   int64  `json:"limit"`             // bytes that it may have
	Kills   int64  `json:"kills"`             // processes that were killed
}
