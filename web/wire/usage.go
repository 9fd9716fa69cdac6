package wire

// Usage is what a completed job used beyond mem_peak and cpu_ms, and which of its limits it met. What the host cannot tell is absent.
type Usage struct {
	CPUUserMS   float64 `json:"cpu_user_ms,omitempty"`
	CPUSystemMS float64 `json:"cpu_system_ms,omitempty" doc:"processor time that the kernel spent for it"`
	ThrottledMS float64 `json:"throttled_ms,omitempty" doc:"how long limits.cpu kept it from going on"`
	IORead      int64   `json:"io_read,omitempty" doc:"bytes read from disks"`
	IOWritten   int64   `json:"io_written,omitempty" doc:"bytes written to disks"`
	PidsPeak    int     `json:"pids_peak,omitempty" doc:"most processes and threads at a time"`
	PidsRefused int64   `json:"pids_refused,omitempty" doc:"processes and threads that could not be made"`
	LimitHit    string  `json:"limit_hit,omitempty" doc:"memory, pids, work_folder, open_files, output or time"`
	OOM         *OOM    `json:"oom,omitempty" doc:"present when there was not enough memory"`
}

// OOM is how a job had more than its memory.
type OOM struct {
	Command string `json:"command,omitempty" doc:"name of the process that was killed last"`
	Memory  int64  `json:"memory,omitempty" doc:"bytes that it had"`
	Used    int64  `json:"used,omitempty" doc:"bytes that the job had"`
	Limit   int64  `json:"limit" doc:"bytes that it may have"`
	Kills   int64  `json:"kills" doc:"processes that were killed"`
}
