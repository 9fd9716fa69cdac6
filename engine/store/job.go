package store

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// The states as numbers, in q (queued, running) and done.
const (
	stateQueued = iota
	stateRunning
	stateSuccess
	stateFailure
	stateCanceled
)

var stateNames = []engine.JobState{
	engine.StateQueued, engine.StateRunning, engine.StateSuccess, engine.StateFailure, engine.StateCanceled,
}

func stateNumber(s engine.JobState) int16 {
	for i, n := range stateNames {
		if n == s {
			return int16(i)
		}
	}
	return -1
}

func stateName(n int64) engine.JobState {
	if n < 0 || n >= int64(len(stateNames)) {
		return ""
	}
	return stateNames[n]
}

// withColumns fills {job} and {view} of a statement.
func withColumns(s string) string {
	return strings.NewReplacer("{job}", q("JobColumns"), "{view}", q("JobViewColumns")).Replace(s)
}

// JobInsert is one job on its way into the database.
type JobInsert struct {
	Job      *engine.Job
	ArgsBlob []byte // hash of the blob that holds the arguments; nil: they are in the row
	Worker   int32  // born running there; 0: queued
	Inserted bool   // set by a flush: it was new
}

// JobFinish is the end of one attempt on its way into the database.
type JobFinish struct {
	engine.Outcome
	ResultBlob []byte // hash of the blob that holds the result; nil: it is in the row
	Accepted   bool   // set by a flush: the attempt still owned the job
}

// Lane is where claimable jobs are looked for: a tag, a priority, and the earliest time due that is worth looking at.
type Lane struct {
	Tag  string
	Prio int16
	Mark time.Time // zero: from the beginning
}

// JobClaim asks for queued jobs.
type JobClaim struct {
	Lanes  []Lane // in the order of preference
	Max    int
	Worker int32
	// Set by a flush: what was claimed, in no order, and the server's clock then (zero when nothing was).
	Claims []*engine.Claim
	Now    time.Time
}

// The columns of job as parameters, in the order of the insert statements.
var jobTypes = []uint32{
	oidUUID, oidTimestamptz, oidTimestamptz, oidInt8, oidInt8, oidUUID, oidInt2, oidText, oidText, oidText, oidText, oidText, oidText,
	oidText, oidText, oidText, oidText, oidText, oidText, oidText, oidText, oidJSON, oidBytea,
}

func addJob(c []column, i *JobInsert) {
	j := i.Job
	c[0].uuid(j.ID)
	c[1].time(j.CreatedAt)
	c[2].time(j.ScheduledFor)
	c[3].int8(int64(j.Hash))
	c[4].int8(j.Timeout.Milliseconds())
	if j.Parent != nil {
		c[5].uuid(*j.Parent)
	} else {
		c[5].null()
	}
	c[6].int2(j.Priority)
	for k, s := range [...]string{j.Workspace, string(j.Kind), j.Tag, j.Path, j.CreatedBy, j.Email, j.PermissionedAs, j.Language,
		j.Network, j.Trigger, j.TriggerPath, j.IdempotencyKey} {
		c[7+k].text(s)
	}
	c[19].textOrNull(j.Source)
	if j.Lock != nil {
		c[20].text(*j.Lock)
	} else {
		c[20].null()
	}
	if i.ArgsBlob != nil || len(j.Args) == 0 {
		c[21].null()
	} else {
		c[21].bytes(j.Args)
	}
	c[22].bytes(i.ArgsBlob)
}

// jobColumns is how many values readJob takes.
const jobColumns = 23

// readJob makes a job of the values of {job} and the arguments' blob.
func readJob(v [][]byte) *engine.Job {
	j := &engine.Job{
		ID: readUUID(v[0]), CreatedAt: readTime(v[1]), ScheduledFor: readTime(v[2]), Hash: engine.Hash(readInt(v[3])),
		Timeout: time.Duration(readInt(v[4])) * time.Millisecond, Priority: int16(readInt(v[6])), Workspace: string(v[7]),
		Kind: engine.JobKind(v[8]), Tag: string(v[9]), Path: string(v[10]), CreatedBy: string(v[11]), Email: string(v[12]),
		PermissionedAs: string(v[13]), Language: string(v[14]), Network: string(v[15]), Trigger: string(v[16]),
		TriggerPath: string(v[17]), IdempotencyKey: string(v[18]), Source: string(v[19]), Args: readBytes(v[21]),
	}
	if v[5] != nil {
		id := readUUID(v[5])
		j.Parent = &id
	}
	if v[20] != nil {
		s := string(v[20])
		j.Lock = &s
	}
	if j.Args == nil {
		j.Args = readBytes(v[22])
	}
	return j
}

// The columns of an outcome as parameters, in the order of the finish statements.
var finishTypes = []uint32{
	oidUUID, oidInt4, oidInt4, oidInt2, oidInt8, oidInt8, oidText, oidText, oidJSON, oidBytea, oidInt8, oidBytea,
}

func addFinish(c []column, f *JobFinish) {
	c[0].uuid(f.ID)
	c[1].int4(f.Worker)
	c[2].int4(f.Attempt)
	c[3].int2(stateNumber(f.State))
	c[4].int8(f.CPU.Microseconds())
	c[5].int8(f.MemoryPeak)
	c[6].textOrNull(f.CanceledBy)
	c[7].textOrNull(f.Reason)
	if f.ResultBlob != nil || len(f.Result) == 0 {
		c[8].null()
	} else {
		c[8].bytes(f.Result)
	}
	c[9].bytes(f.ResultBlob)
	c[10].int8(f.LogOffset)
	if f.LogTail == "" {
		c[11].null()
	} else {
		c[11].text(f.LogTail)
	}
}

// The parameters of a claim.
var laneTypes = []uint32{oidText, oidInt2, oidTimestamptz}

// beginning stands for "no mark": before every time due.
var beginning = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func addLane(c []column, l Lane) {
	c[0].text(l.Tag)
	c[1].int2(l.Prio)
	if l.Mark.IsZero() {
		l.Mark = beginning
	}
	c[2].time(l.Mark)
}

func readClaim(v [][]byte, worker int32) (*engine.Claim, time.Time) {
	return &engine.Claim{
		Job: readJob(v), Worker: worker, Attempt: int32(readInt(v[jobColumns])), Started: readTime(v[jobColumns+1]),
	}, readTime(v[jobColumns+2])
}

func uuids(ids []uuid.UUID) [][16]byte {
	out := make([][16]byte, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out
}
