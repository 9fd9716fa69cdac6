package engine

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"time"

	"github.com/google/uuid"
)

// BatchState is where a batch is in its life:
//
//	receiving -> running -> done
//	receiving -> failed            (the rows broke off, or one of them was wrong)
//	receiving, running -> canceled
type BatchState string

// The states.
const (
	BatchReceiving BatchState = "receiving"
	BatchRunning   BatchState = "running"
	BatchDone      BatchState = "done"
	BatchCanceled  BatchState = "canceled"
	BatchFailed    BatchState = "failed"
)

// MaxBatchRows is how many rows a batch may have: what its ids leave room for.
const MaxBatchRows = 1<<32 - 1

// Batch is many runs that were asked for at once.
type Batch struct {
	ID         uuid.UUID
	Workspace  string
	Name       string
	Kind       JobKind // of its jobs; "" when they are of several
	Path       string  // likewise
	Hash       Hash    // of the script version; 0: of none, or of several
	State      BatchState
	Keep       bool   // what was inserted goes on when receiving fails
	Total      *int64 // rows; nil while they are being received
	Inserted   int64  // rows that are durable, all from the first on; may lag behind while rows are being received
	Queued     int64
	Running    int64
	Done       int64 // completed jobs, whatever the outcome
	Failed     int64
	Canceled   int64
	Rate       float64 // completed jobs a second, lately
	CreatedBy  string
	CreatedAt  time.Time
	ReceivedAt *time.Time // when the last row was durable
	FinishedAt *time.Time
	Error      string // why receiving failed or was interrupted
	CanceledBy string
	Reason     string     // of the cancel
	Source     *uuid.UUID // the batch whose rows it runs again
}

// Over tells that nothing of the batch will happen any more.
func (b *Batch) Over() bool { return b.Total != nil && b.Done >= *b.Total }

// Left estimates how long the rest takes; false when nobody can tell.
func (b *Batch) Left() (time.Duration, bool) {
	if b.Total == nil || b.Rate <= 0 {
		return 0, false
	}
	return time.Duration(float64(max(*b.Total-b.Done, 0)) / b.Rate * float64(time.Second)), true
}

// NewBatchID returns a time-ordered id whose low 32 bits are zero: they number the batch's jobs.
func NewBatchID() uuid.UUID {
	id := NewJobID()
	binary.BigEndian.PutUint32(id[12:], 0)
	return id
}

// BatchJobID is the id of the job of a batch's row, the first is 1: a row that is sent twice is the same job.
func BatchJobID(batch uuid.UUID, row int64) uuid.UUID {
	binary.BigEndian.PutUint32(batch[12:], uint32(row))
	return batch
}

// BatchRowOf is the row of a job of a batch.
func BatchRowOf(job uuid.UUID) int64 { return int64(binary.BigEndian.Uint32(job[12:])) }

// BatchFormat says how rows are written.
type BatchFormat string

// The formats.
const (
	BatchNDJSON BatchFormat = "ndjson" // a JSON object a line
	BatchCSV    BatchFormat = "csv"    // RFC 4180; the first line names the arguments
	BatchArray  BatchFormat = "json"   // an array of objects
)

// BatchRequest asks for runs of one thing, one for each row of arguments.
type BatchRequest struct {
	Run    RunRequest // what runs, and how; its Args, ID, Parent and Batch are not used
	Name   string     // for people
	Format BatchFormat
	Rows   io.Reader // read as the rows are stored
	Keep   bool      // rows that were stored go on when a later one is wrong or the rows break off
}

// BatchFilter selects batches for a list, newest first. Zero fields do not filter.
type BatchFilter struct {
	States    []BatchState
	PathExact string
	PathStart string
	CreatedBy string
	Page      int // from 1
	PerPage   int // 1..1000; zero: 30
}

// BatchRow is one row of a batch and what became of it.
type BatchRow struct {
	Row    int64
	Job    uuid.UUID
	State  JobState
	Result json.RawMessage // nil unless completed
}

// RerunRequest says how completed jobs are run again, as a new batch with their arguments.
type RerunRequest struct {
	Name           string
	Latest         bool // with the newest version of their scripts; otherwise with the one that ran
	Tag            string
	Priority       int16
	Limit          int // at most so many
	IdempotencyKey string
	Trigger        string
}

// RerunCount says what a rerun would run.
type RerunCount struct {
	Count  int            `json:"count"`
	ByPath map[string]int `json:"by_path"`
}

// RerunSelection names jobs to be run again one by one, each on its own.
type RerunSelection struct {
	IDs    []uuid.UUID
	Latest map[string]bool                       // by path of script: with the newest version; otherwise with the one that ran
	Args   map[string]map[string]json.RawMessage // by path of script: arguments that replace the original ones
}

// RerunOutcome is the new job, or why there is none.
type RerunOutcome struct {
	ID  uuid.UUID
	Err error
}
