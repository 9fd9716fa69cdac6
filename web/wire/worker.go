package wire

import (
	"time"
)

// Worker is a live worker as clients read it.
type Worker struct {
	ID        int32     `json:"id"`
	Name      string    `json:"worker"`
	Instance  string    `json:"worker_instance" doc:"host and process"`
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Group     string    `json:"worker_group"`
	Tags      []string  `json:"custom_tags"`
	Slots     int       `json:"slots"`
	Busy      int       `json:"busy" doc:"slots in use at the last heartbeat"`
	Executed  int64     `json:"jobs_executed" doc:"since its start, as of the last heartbeat"`
	StartedAt time.Time `json:"started_at"`
	PingAt    time.Time `json:"ping_at"`
	LastPing  int64     `json:"last_ping" doc:"seconds ago"`
	WMVersion string    `json:"wm_version"`
	GPUs      []GPU     `json:"gpus,omitempty" doc:"of the daemon that answers; what others have can be seen by their tags"`
}

// GPU is a device of a worker's host.
type GPU struct {
	ID      string `json:"id" doc:"PCI address; of a part of a device followed by the numbers of its instances"`
	UUID    string `json:"uuid"`
	Name    string `json:"name"`
	Job     string `json:"job,omitempty" doc:"who has it"`
	Problem string `json:"problem,omitempty" doc:"why no job gets it"`
}

// Product tells what runs.
type Product struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Compatible string `json:"compatible" doc:"what Windmill's clients are told"`
	API        string `json:"api" doc:"where the OpenAPI document is"`
}
