package store

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
)

// FlowOp is what one event, or several of one flow at once, do to its runs and jobs: all of it is stored, or nothing.
type FlowOp struct {
	Token  int64        // of this operation; see NewFlowOp
	Again  bool         // it may have been done before: the connection was lost under it
	Begins []FlowBegin  // jobs of flows that become runs
	Births []uuid.UUID  // runs whose own jobs are among Jobs: they are born with them, and are among Runs
	Ends   []*JobFinish // attempts that have ended: they must still be their worker's
	Runs   []FlowState  // the runs that the events are for, as they were and as they are now; at least one
	New    []FlowNew    // runs that are born
	Jobs   []*FlowJob   // jobs that are born, those of New among them
	Steps  []FlowStep
	Over   []*JobFinish // runs that end; their worker is 0
	Parks  []FlowPark
	Caches []FlowCache
	Purges []FlowPurge
	Args   []FlowArgs // runs whose arguments a preprocessor has made
	// Done is set by a flush: nothing had happened to the runs meanwhile, and the attempts were their worker's.
	Done bool
}

// NewFlowOp returns an operation with a token that no other has.
func NewFlowOp() *FlowOp { return &FlowOp{Token: rand.Int64() | 1} }

// FlowAttempt is an attempt at a job in the hands of a worker.
type FlowAttempt struct {
	ID      uuid.UUID
	Worker  int32
	Attempt int32
}

// FlowBegin is the job of a flow that becomes a run.
type FlowBegin struct {
	FlowAttempt
	Root uuid.UUID // the outermost run; the job itself when nothing is around it
}

// FlowState is a run before and after an event.
type FlowState struct {
	ID    uuid.UUID
	Rev   int32 // expected
	State json.RawMessage
}

// FlowNew is a run that is born within another.
type FlowNew struct {
	ID, Root, Def uuid.UUID
	Place         string
	State         json.RawMessage
}

// FlowJob is a job of a step, or of a run.
type FlowJob struct {
	JobInsert
	Step string
	Item *int32    // of a loop or branches
	Run  bool      // it is one of FlowOp.New, and no worker gets it
	Due  time.Time // of a run: when it goes on by itself; zero: never
	Own  bool      // of a job that is born running: in the slot of a job that ends in the same operation. Not kept
}

// Items of FlowSteps that are none: the list that a loop runs over, and the number of the branch that was taken (-1: the default).
const (
	FlowListItem   = -1
	FlowBranchItem = -2
)

// FlowStep is the end of a module, or of an item that never was a job.
type FlowStep struct {
	Run     uuid.UUID
	N       int32
	Module  string
	Item    *int32
	OK      bool
	Skipped bool
	Job     *uuid.UUID      // that has the result; nil: Value is it
	Value   json.RawMessage // nil: null
}

// FlowArgs are what a preprocessor has made of the request that a flow had.
type FlowArgs struct {
	Run  uuid.UUID
	Args json.RawMessage
	Blob []byte // hash of the blob that holds them; nil: they are in the row
}

// FlowPark is until when a run waits; a zero Due: for its jobs.
type FlowPark struct {
	ID  uuid.UUID
	Due time.Time
}

// The parameters of the statements of FlowOps, in their order. Most begin with what the row is of, the guard and the token.
var (
	flowGuard    = []uint32{oidUUID, oidUUID, oidInt8}
	flowRunTypes = append(slices.Clip(flowGuard), oidUUID, oidUUID, oidText, oidJSON)
	flowEndTypes = append(slices.Clip(flowGuard), oidInt4, oidInt4, oidInt2, oidInt8, oidInt8, oidJSON, oidInt8, oidBytea, oidText, oidText, oidBytea,
		oidJSON, oidBool)
	flowParkTypes  = append(slices.Clip(flowGuard), oidTimestamptz)
	flowStateTypes = []uint32{oidUUID, oidInt4, oidInt8, oidJSON}
	flowHeldTypes  = []uint32{oidUUID, oidInt8, oidInt4, oidInt4}
	flowStepTypes  = append(slices.Clip(flowGuard), oidInt4, oidText, oidInt4, oidBool, oidBool, oidUUID, oidJSON)
	flowJobTypes   = slices.Concat(flowGuard, plainJobTypes[1:], flowBornTypes, []uint32{oidTimestamptz, oidInt4})
	flowBornTypes  = []uint32{oidUUID, oidText, oidText, oidBytea, oidInt4, oidInt2, oidText, oidInt4} // what a job of a flow has beside a plain one
)

// What few operations have.
var (
	flowCacheTypes = append(slices.Clip(flowGuard), oidBytea, oidInt8)
	flowPurgeTypes = append(slices.Clip(flowGuard), oidUUID, oidText, oidInt8)
	flowArgsTypes  = append(slices.Clip(flowGuard), oidJSON, oidBytea)
)

func init() {
	jobStatements["FlowBegin"] = oids([]uint32{oidUUID, oidUUID}, true)
	jobStatements["FlowAdvance"] = oids(append(slices.Clip(flowStateTypes), flowHeldTypes...), true)
	for name, types := range map[string][]uint32{
		"FlowRuns": flowRunTypes, "FlowFinish": flowEndTypes, "FlowPark": flowParkTypes, "FlowSteps": flowStepTypes, "FlowJobs": flowJobTypes,
		"CachePut": flowCacheTypes, "PurgeAdd": flowPurgeTypes, "FlowArgs": flowArgsTypes,
	} {
		jobStatements[name] = oids(types, true)
	}
}

// flowRows are the buffers of FlowOps' parameters.
type flowRows struct{ begin, state, held, runs, ends, parks, steps, jobs, one, caches, purges, args *rows }

func newFlowRows() *flowRows {
	return &flowRows{
		begin: newRows([]uint32{oidUUID, oidUUID}), state: newRows(flowStateTypes), held: newRows(flowHeldTypes), runs: newRows(flowRunTypes),
		ends: newRows(flowEndTypes), parks: newRows(flowParkTypes), steps: newRows(flowStepTypes), jobs: newRows(flowJobTypes),
		one:    newRows(flowOneTypes),
		caches: newRows(flowCacheTypes), purges: newRows(flowPurgeTypes), args: newRows(flowArgsTypes),
	}
}

// send sends the statements of list; those that have nothing to do are left out.
func (r *flowRows) send(list []*FlowOp, send sender) {
	all := []*rows{r.begin, r.state, r.held, r.runs, r.ends, r.parks, r.steps, r.jobs, r.caches, r.purges, r.args}
	for _, x := range all {
		x.reset()
	}
	list = r.sendOnes(list, send)
	if len(list) == 0 {
		return
	}
	for _, o := range list {
		o.Done = false
		r.add(o)
	}
	some := func(name string, x *rows) {
		if x.cols[0].n > 0 {
			send(name, x.arrays(), drop)
		}
	}
	some("FlowBegin", r.begin)
	send("FlowAdvance", append(r.state.arrays(), r.held.arrays()...), markDone(list))
	some("FlowRuns", r.runs)
	some("FlowJobs", r.jobs) // before the ends: a run may begin and end in one operation
	some("FlowFinish", r.ends)
	some("FlowPark", r.parks)
	some("FlowSteps", r.steps)
	some("CachePut", r.caches)
	some("PurgeAdd", r.purges)
	some("FlowArgs", r.args)
}

func (r *flowRows) add(o *FlowOp) {
	guard := o.Runs[0].ID
	held := func(a FlowAttempt) {
		c := r.held.cols
		c[0].uuid(a.ID)
		c[1].int8(o.Token)
		c[2].int4(a.Worker)
		c[3].int4(a.Attempt)
	}
	for _, b := range o.Begins {
		r.begin.cols[0].uuid(b.ID)
		r.begin.cols[1].uuid(b.Root)
		held(b.FlowAttempt)
	}
	for _, id := range o.Births {
		r.begin.cols[0].uuid(id)
		r.begin.cols[1].uuid(id)
	}
	for _, s := range o.Runs {
		c := r.state.cols
		c[0].uuid(s.ID)
		c[1].int4(s.Rev)
		c[2].int8(o.Token)
		c[3].bytes(s.State)
	}
	start := func(x *rows, id uuid.UUID) []column {
		x.cols[0].uuid(id)
		x.cols[1].uuid(guard)
		x.cols[2].int8(o.Token)
		return x.cols
	}
	for _, n := range o.New {
		c := start(r.runs, n.ID)
		c[3].uuid(n.Root)
		c[4].uuid(n.Def)
		c[5].text(n.Place)
		c[6].bytes(n.State)
	}
	for _, f := range o.Ends {
		held(FlowAttempt{ID: f.ID, Worker: f.Worker, Attempt: f.Attempt})
		c := start(r.ends, f.ID)
		addFlowEnd(c, f)
		c[15].bool(false)
	}
	for _, f := range o.Over {
		c := start(r.ends, f.ID)
		addFlowEnd(c, f)
		c[15].bool(f.Skipped)
	}
	for _, p := range o.Parks {
		start(r.parks, p.ID)[3].time(p.Due)
	}
	for _, s := range o.Steps {
		addFlowStep(start(r.steps, s.Run), s)
	}
	for _, e := range o.Caches {
		c := start(r.caches, e.Job)
		c[3].bytes(e.Key)
		c[4].int8(e.For.Microseconds())
	}
	for _, p := range o.Purges {
		c := start(r.purges, p.Run)
		c[3].uuid(p.Root)
		c[4].text(p.Step)
		c[5].int8(p.After.Microseconds())
	}
	for _, a := range o.Args {
		c := start(r.args, a.Run)
		if a.Blob != nil {
			c[3].null()
		} else {
			c[3].bytes(a.Args)
		}
		c[4].bytes(a.Blob)
	}
	for _, j := range o.Jobs {
		addFlowJob(start(r.jobs, j.Job.ID), j)
	}
}

func addFlowEnd(c []column, f *JobFinish) {
	c[3].int4(f.Worker)
	c[4].int4(f.Attempt)
	c[5].int2(stateNumber(f.State))
	c[6].int8(f.CPU.Microseconds())
	c[7].int8(f.MemoryPeak)
	if f.ResultBlob != nil || len(f.Result) == 0 {
		c[8].null()
	} else {
		c[8].bytes(f.Result)
	}
	c[9].int8(f.LogOffset)
	if f.LogTail == "" {
		c[10].null()
	} else {
		c[10].text(f.LogTail)
	}
	c[11].textOrNull(f.CanceledBy)
	c[12].textOrNull(f.Reason)
	c[13].bytes(f.ResultBlob)
	c[14].bytes(encodeUsage(f.Usage))
}

func addFlowStep(c []column, s FlowStep) {
	c[3].int4(s.N)
	c[4].text(s.Module)
	c[5].int4OrNull(s.Item)
	c[6].bool(s.OK)
	c[7].bool(s.Skipped)
	c[8].uuidOrNull(s.Job)
	c[9].bytes(s.Value)
}

// addFlowJob adds what follows the guard.
func addFlowJob(c []column, j *FlowJob) {
	addPlainFields(c[2:], &j.JobInsert)
	c[10].uuidOrNull(j.Job.Parent)
	addBornFields(c[11:], j)
	c[18].time(j.Due)
	if j.Gate != 0 {
		c[19].int4(j.Gate)
	} else {
		c[19].null()
	}
}

func addBornFields(c []column, j *FlowJob) {
	if inSpec(j.Job) {
		c[0].null()
	} else {
		c[0].textOrNull(j.Job.Source)
	}
	if j.Job.Lock != nil && !inSpec(j.Job) {
		c[1].text(*j.Job.Lock)
	} else {
		c[1].null()
	}
	c[2].bytes(j.ArgsBlob)
	c[3].int4(j.Worker)
	switch {
	case j.Run:
		c[4].int2(stateRun)
	case j.Worker != 0:
		c[4].int2(stateRunning)
	case j.Gate != 0:
		c[4].int2(stateBlocked)
	default:
		c[4].int2(stateQueued)
	}
	c[5].textOrNull(j.Step)
	c[6].int4OrNull(j.Item)
}

func drop(rr *pgconn.ResultReader) {
	for rr.NextRow() {
	}
}

// markDone notes which operations hold: all of their runs were advanced, so it is enough to look for one.
func markDone(list []*FlowOp) func(*pgconn.ResultReader) {
	return func(rr *pgconn.ResultReader) {
		got := readIDs(rr, len(list))
		for _, o := range list {
			o.Done = got[o.Runs[0].ID]
		}
	}
}
