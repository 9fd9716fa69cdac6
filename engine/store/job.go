package store

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// The states as numbers, in q (queued, running, blocked) and done.
const (
	stateQueued = iota
	stateRunning
	stateSuccess
	stateFailure
	stateCanceled
	stateBlocked // waits for its limit; to the outside it is queued
	stateRun     // a run of a flow, held by no worker; to the outside it is running
)

var stateNames = []engine.JobState{
	engine.StateQueued, engine.StateRunning, engine.StateSuccess, engine.StateFailure, engine.StateCanceled, engine.StateQueued,
	engine.StateRunning,
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

// withColumns fills the parts that statements share: {job}, {view}, {count}, {free}, {held} and {moved}.
func withColumns(s string) string {
	return strings.NewReplacer("{job}", q("JobColumns"), "{view}", q("JobViewColumns"), "{count}", q("BatchCount"), "{free}", q("GateFree"), "{held}", q("FlowHeld"), "{moved}", q("CheckpointMoved")).Replace(s)
}

// JobInsert is one job on its way into the database.
type JobInsert struct {
	Job      *engine.Job
	Spec     int32  // of Job; see DB.Spec
	ArgsBlob []byte // hash of the blob that holds the arguments; nil: they are in the row
	Worker   int32  // born running there; 0: queued
	Gate     int32  // the limit it waits for; 0: none
	Fresh    bool   // its id was made just now, so that no other job has it
	Inserted bool   // set by a flush: it was new
	// Admitted is set by a flush of a job with a gate: it need not wait there.
	Admitted *Admitted
}

// plain says that the job has nothing but what JobInsertMany stores.
func (i *JobInsert) plain() bool {
	j := i.Job
	return i.Fresh && i.Gate == 0 && j.Parent == nil && j.Batch == nil && j.Source == "" && j.Lock == nil && i.ArgsBlob == nil
}

// JobFinish is the end of one attempt on its way into the database.
type JobFinish struct {
	engine.Outcome
	ResultBlob []byte // hash of the blob that holds the result; nil: it is in the row
	Counts     bool   // it may belong to a batch, which counts its jobs
	Gate       int32  // the limit the job counted for; 0: none
	Accepted   bool   // set by a flush: the attempt still owned the job
}

// plain says that the outcome has nothing but what JobFinishOne stores, which is what JobFinishMany does and usage.
func (f *JobFinish) plain() bool {
	return !f.Counts && f.CanceledBy == "" && f.Reason == "" && f.ResultBlob == nil
}

// Lane is where claimable jobs are looked for: a tag, a priority, and the earliest time due that is worth looking at.
type Lane struct {
	Tag  string
	Prio int16
	Mark time.Time // zero: from the beginning
}

// JobHead is a lane that has queued jobs, its mark the earliest of them.
type JobHead struct {
	Lane
	Next time.Time // the earliest of those that are not due yet; zero: all are
}

// JobClaim asks for queued jobs.
type JobClaim struct {
	Lanes  []Lane // in the order of preference
	Max    int
	Worker int32
	// Set by a flush: what was claimed, in no order, and the server's clock then (zero when nothing was).
	Claims []*engine.Claim
	Due    []time.Time // when each was due by the queue, which may have moved what the job says
	Now    time.Time
}

// The columns of job as parameters, in the order of the insert statements.
var (
	plainJobTypes = []uint32{oidUUID, oidTimestamptz, oidTimestamptz, oidInt4, oidText, oidJSON, oidInt2, oidText}
	jobTypes      = append(slices.Clip(plainJobTypes), oidUUID, oidUUID, oidText, oidText, oidText, oidBytea, oidInt4, oidInt4)
)

func addPlainJob(c []column, i *JobInsert) {
	c[0].uuid(i.Job.ID)
	addPlainFields(c, i)
}

// addPlainFields adds what follows the id.
func addPlainFields(c []column, i *JobInsert) {
	j := i.Job
	c[1].time(j.CreatedAt)
	c[2].time(j.ScheduledFor)
	c[3].int4(i.Spec)
	c[4].text(j.Workspace)
	addArgs(&c[5], i)
	c[6].int2(j.Priority)
	c[7].text(j.Tag)
}

func addArgs(c *column, i *JobInsert) {
	if i.ArgsBlob != nil || len(i.Job.Args) == 0 {
		c.null()
		return
	}
	c.bytes(i.Job.Args)
}

func addJob(c []column, i *JobInsert) {
	j := i.Job
	addPlainJob(c, i)
	c[8].uuidOrNull(j.Parent)
	c[9].uuidOrNull(j.Batch)
	c[10].textOrNull(j.IdempotencyKey)
	c[11].textOrNull(j.Source)
	if j.Lock != nil {
		c[12].text(*j.Lock)
	} else {
		c[12].null()
	}
	c[13].bytes(i.ArgsBlob)
	if i.Gate != 0 {
		c[14].int4(i.Gate)
	} else {
		c[14].null()
	}
	c[15].int4(i.Worker)
}

// sameJobTypes and sameFinishTypes are those of jobs, and of outcomes, that share all the rest.
var (
	sameJobTypes    = []uint32{oidUUID, oidTimestamptz, oidJSON}
	sameFinishTypes = []uint32{oidUUID, oidInt8, oidInt8, oidJSON}
)

func addSameJob(c []column, i *JobInsert) {
	c[0].uuid(i.Job.ID)
	c[1].time(i.Job.CreatedAt)
	addArgs(&c[2], i)
}

func addSameFinish(c []column, f *JobFinish) {
	c[0].uuid(f.ID)
	c[1].int8(f.CPU.Microseconds())
	c[2].int8(f.MemoryPeak)
	addResult(&c[3], f)
}

// same says that JobInsertSame stores both: they run the same and are due now.
func (i *JobInsert) same(o *JobInsert) bool {
	return i.Spec == o.Spec && i.Job.ScheduledFor.IsZero() && o.Job.ScheduledFor.IsZero()
}

// same says that JobFinishSame stores both.
func (f *JobFinish) same(o *JobFinish) bool {
	return f.State == o.State && f.LogOffset == 0 && f.LogTail == "" && o.LogOffset == 0 && o.LogTail == ""
}

// jobColumns is how many values readJob takes.
const jobColumns = 26

// readJob makes a job of the values of {job} and the arguments' blob.
func readJob(v [][]byte) *engine.Job {
	j := &engine.Job{
		ID: readUUID(v[0]), CreatedAt: readTime(v[1]), ScheduledFor: readTime(v[2]), Hash: engine.Hash(readInt(v[3])),
		Timeout: time.Duration(readInt(v[4])) * time.Millisecond, Parent: readUUIDOrNil(v[5]), Priority: int16(readInt(v[6])),
		Workspace: string(v[7]), Kind: engine.JobKind(v[8]), Tag: string(v[9]), Path: string(v[10]), CreatedBy: string(v[11]),
		Email: string(v[12]), PermissionedAs: string(v[13]), Language: string(v[14]), Network: string(v[15]), Trigger: string(v[16]),
		TriggerPath: string(v[17]), IdempotencyKey: string(v[18]), Source: string(v[19]), Batch: readUUIDOrNil(v[21]),
		Step: string(v[22]), Item: int32(readInt(v[23])), Args: readBytes(v[24]),
	}
	if v[20] != nil {
		s := string(v[20])
		j.Lock = &s
	}
	if j.Args == nil {
		j.Args = readBytes(v[25])
	}
	return j
}

// The columns of an outcome as parameters, in the order of the finish statements.
var (
	plainFinishTypes = []uint32{oidUUID, oidInt2, oidInt8, oidInt8, oidJSON, oidInt8, oidBytea}
	finishTypes      = append(slices.Clip(plainFinishTypes), oidInt4, oidInt4, oidText, oidText, oidBytea, oidJSON)
)

func addPlainFinish(c []column, f *JobFinish) {
	c[0].uuid(f.ID)
	c[1].int2(stateNumber(f.State))
	c[2].int8(f.CPU.Microseconds())
	c[3].int8(f.MemoryPeak)
	addResult(&c[4], f)
	c[5].int8(f.LogOffset)
	if f.LogTail == "" {
		c[6].null()
	} else {
		c[6].text(f.LogTail)
	}
}

func addResult(c *column, f *JobFinish) {
	if f.ResultBlob != nil || len(f.Result) == 0 {
		c.null()
		return
	}
	c.bytes(f.Result)
}

func addFinish(c []column, f *JobFinish) {
	addPlainFinish(c, f)
	c[7].int4(f.Worker)
	c[8].int4(f.Attempt)
	c[9].textOrNull(f.CanceledBy)
	c[10].textOrNull(f.Reason)
	c[11].bytes(f.ResultBlob)
	c[12].bytes(encodeUsage(f.Usage))
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

// readClaim returns a claim, when it was due and the server's clock.
func readClaim(v [][]byte, worker int32) (c *engine.Claim, due, now time.Time) {
	return &engine.Claim{
		Job: readJob(v), Worker: worker, Attempt: int32(readInt(v[jobColumns])), Started: readTime(v[jobColumns+1]),
		Gate: int32(readInt(v[jobColumns+3])),
	}, readTime(v[jobColumns+4]), readTime(v[jobColumns+2])
}

func uuids(ids []uuid.UUID) [][16]byte {
	out := make([][16]byte, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out
}
