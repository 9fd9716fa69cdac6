package store_test

import "maps"

// A want says what a statement may look at when there are a million jobs of each kind; see plan_test.go for what those are.
type want struct {
	args string // of a call, SQL
	rows int    // of tables that it may look at; 0: 1000
	old  int    // the same while statistics are old or missing, where that is more
	via  string // the index by which it finds jobs, where that is the point
	// hot statements run with pinned settings: on the writer's connection or in the quick pool.
	hot bool
	// ordered statements are run in a transaction that leaves them no choice but an index.
	ordered bool
	// why the statement may look at everything, or what it is a part of: it is not run.
	why string
}

const (
	partOf   = "a part of other statements"
	seldom   = "maintenance, once in many minutes"
	overview = "counts everything for a person"
	noTables = "looks at no table"
	rescue   = "see TestPlansOfARescue"
)

// tables are those whose statements are looked at.
var tables = map[string]map[string]want{
	"job": merge(jobWrites, jobReads), "output": outputWants, "contact": contactWants, "worker": workerWants, "spec": specWants, "gate": gateWants,
	"debounce": debounceWants, "flow": flowWants, "vote": voteWants, "flowversion": versionWants, "batch": batchWants, "schedule": scheduleWants, "partition": partitionWants,
	"tidy":  tidyWants,
	"cache": cacheWants, "purge": purgeWants,
}

// flowWants: 200 runs of flows, each with a job that runs.
var flowWants = map[string]want{
	"FlowBegin": {hot: true, args: `tids(4000000, 200), tids(4000000, 200)`},
	"FlowAdvance": {hot: true, rows: 2000, args: `running(200), fill(200, 0), fill(200, 0::int8), fill(200, '{}'::json),
		running(200), fill(200, 0::int8), fill(200, 1), fill(200, 1)`},
	"FlowRuns": {hot: true, args: `tids(4000000, 200), running(200), fill(200, 0::int8), running(200), running(200), fill(200, ''::text), fill(200, '{}'::json)`},
	"FlowFinish": {hot: true, via: "q_pkey", rows: 2000, args: `running(200), running(200), fill(200, 0::int8), fill(200, 1), fill(200, 1), fill(200, 2::int2), fill(200, 0::int8),
		fill(200, 0::int8), fill(200, '{}'::json), fill(200, 0::int8), fill(200, null::bytea), fill(200, null::text), fill(200, null::text), fill(200, null::bytea), fill(200, '{}'::json),
		fill(200, false)`},
	"FlowPark": {hot: true, via: "q_pkey", rows: 2000, args: `running(200), running(200), fill(200, 0::int8), times(200)`},
	"FlowJobs": {hot: true, args: `tids(4000000, 200), running(200), fill(200, 0::int8), times(200), times(200), fill(200, 1), fill(200, 'main'::text),
		fill(200, '{}'::json), fill(200, 0::int2), fill(200, 'noop'::text), running(200), fill(200, null::text), fill(200, null::text), fill(200, null::bytea),
		fill(200, 1), fill(200, 1::int2), fill(200, 'a'::text), fill(200, 1), fill(200, null::timestamptz),
		fill(200, null::int4)`},
	"FlowOne": {hot: true, via: "q_pkey", args: `tid(1001000), 0, 1, '{}', tid(1001000), 1, 1, 2, 0, 0, '{}', 0, null, null, null, null, '{}', 1, 'a', true, false, tid(1001000), null,
		tid(4000000), now(), null, 1, 'main', '{}', 0, 'noop', null, null, null, 1, 1, 'a', 0`},
	"FlowSteps": {hot: true, args: `running(200), running(200), fill(200, 0::int8), fill(200, 1), fill(200, 'a'::text), fill(200, null::int4), fill(200, true),
		fill(200, false), fill(200, null::uuid), fill(200, '{}'::json)`},
	"FlowArgs":     {hot: true, args: `running(200), running(200), fill(200, 0::int8), fill(200, '{}'::json), fill(200, null::bytea)`},
	"FlowHeld":     {why: partOf},
	"FlowGet":      {hot: true, args: `tid(1001000)`},
	"FlowStepsOf":  {hot: true, args: `tid(1001000)`},
	"FlowItems":    {hot: true, args: `tid(1001000), 'a'`},
	"FlowResult":   {hot: true, args: `tid(777)`},
	"FlowHolds":    {hot: true, args: `tid(1001000), 1, 1`},
	"FlowHomeless": {via: "q_ready", args: `interval '30 s', 'home-%'`},
	"FlowDue":      {hot: true, args: `200`},
	"FlowNextDue":  {hot: true},
	"FlowChildren": {hot: true, args: `tid(1001000)`},

	"FlowJobsOf":       {hot: true, args: `tid(1001000), 1000`},
	"FlowRestartPut":   {args: `tid(1001000), '{}'`},
	"FlowRestartGet":   {hot: true, args: `tid(1001000)`},
	"FlowUserStatePut": {args: `tid(1001000), 'k', '1'`},
	"FlowUserStateGet": {hot: true, args: `tid(1001000), 'k'`},
	"FlowUserStates":   {hot: true, args: `tid(1001000)`},
}

var voteWants = map[string]want{
	"WorkspaceKeyMake": {why: "once for a workspace"},
	"WorkspaceKey":     {args: `'main'`},
	"VotePut":          {args: `tid(1001000), 1, tid(1), 'a', true, '', '', '{}'`},
	"VoteGet":          {hot: true, args: `tid(1001000), 1`},
	"VotesOf":          {hot: true, args: `tid(1001000), 'a'`},
	"VotesFree":        {hot: true, args: `tid(1001000), 10`},
	"VoteTake":         {args: `tid(1001000), 1, tid(1001000), 'a'`},
}

// versionWants: 5,000 versions of 500 flows.
var versionWants = map[string]want{
	"FlowVersionCurrent":      {args: `'main', 'f/x/7'`},
	"FlowVersionGet":          {args: `'main', 7`},
	"FlowVersionLockPath":     {why: noTables},
	"FlowVersionSupersede":    {args: `'main', 'f/x/7'`},
	"FlowVersionInsert":       {args: `'main', 'f/x/new', '', '', '{}', null, null, '', 0, 'ann', '', null`},
	"FlowVersionMove":         {args: `'main', 'f/x/7', 'f/x/other'`},
	"FlowVersionList":         {rows: 2000, args: `'main', '', '', '', 30, 0`}, // sorts the flows in use
	"FlowVersionListArchived": {rows: 20_000, args: `'main', '', '', '', 30, 0`},
	"FlowVersionHistory":      {args: `'main', 'f/x/7'`},
	"FlowVersionArchive":      {args: `'main', 'f/x/7'`},
	"FlowVersionUnarchive":    {args: `'main', 'f/x/7'`},
	"FlowVersionDelete":       {args: `'main', 'f/x/8'`},
	"FlowVersionSetLocks":     {args: `'main', 7, '{}', ''`},
	"FlowVersionPaths":        {rows: 2000, args: `'main', 100`},
}

func merge(a, b map[string]want) map[string]want {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

var jobWrites = map[string]want{
	"JobInsertMany": {hot: true, args: `tids(3000000, 100), times(100), times(100), fill(100, 1), fill(100, 'main'::text),
		fill(100, '{}'::json), fill(100, 0::int2), fill(100, 'noop'::text), 1`},
	"JobInsertSame": {hot: true, args: `tids(3000000, 100), times(100), fill(100, '{}'::json), 1, 'main', 0, 'noop', 1`},
	"JobInsertOne":  {hot: true, args: `tid(3000000), now(), null, 1, 'main', '{}', 0, 'noop', 0`},
	"JobInsertFull": {hot: true, args: `tids(3000000, 100) || running(10), times(110), times(110), fill(110, 1), fill(110, 'main'::text),
		fill(110, '{}'::json), fill(110, 0::int2), fill(110, 'noop'::text), fill(110, null::uuid), fill(110, null::uuid), fill(110, null::text),
		fill(110, null::text), fill(110, null::text), fill(110, null::bytea), fill(110, null::int4), fill(110, 1)`},
	"JobInsertKeyed": {hot: true, args: `tid(3000000), now(), null, 1, 'main', '{}', 0, 'noop', null, null, 'key 77777', null, null, null, null, 0`},
	"JobFinishOne":   {hot: true, via: "q_pkey", args: `tid(1001000), 2, 0, 0, '{}', 0, null, 1, 1, null`},
	"JobFinishMany": {hot: true, via: "q_pkey", args: `running(200), fill(200, 2::int2), fill(200, 0::int8),
		fill(200, 0::int8), fill(200, '{}'::json), fill(200, 0::int8), fill(200, null::bytea), 1, 1`},
	"JobFinishSame": {hot: true, via: "q_pkey", args: `running(200), fill(200, 0::int8), fill(200, 0::int8), fill(200, '{}'::json), 2, 1, 1`},
	"JobFinishFull": {hot: true, via: "q_pkey", args: `running(200), fill(200, 2::int2), fill(200, 0::int8),
		fill(200, 0::int8), fill(200, '{}'::json), fill(200, 0::int8), fill(200, null::bytea), fill(200, 1), fill(200, 1), fill(200, null::text), fill(200, null::text), fill(200, null::bytea),
		fill(200, '{}'::json)`},
	"JobClaim":         {hot: true, via: "q_ready", args: `'{noop,other,gpu}', '{2,2,0}', array[now() - interval '3 days', now() - interval '1 hour', now()], 50, 1`},
	"JobHeads":         {hot: true, via: "q_ready", args: `'{noop,other,gpu}'`},
	"JobHandBack":      {via: "q_pkey", args: `running(200), fill(200, 1), fill(200, 1)`},
	"JobHandBackEnd":   {args: `running(200), fill(200, 1), fill(200, 1), '{}'`},
	"JobCancelQueued":  {via: "q_pkey", args: `tid(1000002), 'main', 'bob', '', '{}'`},
	"JobCancelRunning": {via: "q_pkey", args: `tid(1001000), 'main', 'bob', ''`},
	"JobCanceled":      {hot: true, via: "q_cancel", args: `1`},
	"JobRescue":        {why: rescue},
	"JobStepsOver":     {why: rescue},
	"JobRunning":       {why: seldom},
	"JobDueAgain":      {why: seldom},
	"JobRescueEnd":     {why: rescue},
	"JobKeyExpire":     {why: seldom},
}

var jobReads = map[string]want{
	"JobColumns": {why: partOf}, "JobViewColumns": {why: partOf}, "BatchCount": {why: partOf}, "JobListOfSpecs": {why: partOf},
	"JobList": {why: "see listPlans"}, "JobListCompleted": {why: "see listPlans"}, "JobListWhere": {why: partOf},
	"JobListPart": {why: partOf}, "JobListEnded": {why: partOf}, "JobListStates": {why: partOf}, "JobListSpecs": {why: partOf},
	"JobListWorker": {why: partOf}, "JobListRareWorker": {why: partOf}, "JobListLatest": {why: "see listPlans"},
	"JobListOfBatch": {why: "see listPlans"}, "JobListOfRows": {why: "see listPlans"}, "QueueEstimate": {},
	"JobKey":      {args: `'main', 'key 777'`},
	"JobArgsMade": {via: "q_pkey", args: `tid(1001000), 1, 1, '{}', null`}, "JobPreprocessed": {hot: true, args: `tid(1001000)`},
	"JobOwned":    {via: "q_pkey", args: `tid(1001000)`},
	"JobFinished": {args: `tid(777), 1, 1, 2, '{}', null`},
	"JobExists":   {args: `tid(600777), 'main'`},
	"JobGet":      {via: "q_pkey", args: `tid(1200777), 'main'`, rows: 2500}, // workers and blobs are few
	"JobResult":   {via: "q_pkey", args: `tid(600777), 'main'`, rows: 2500},
	"JobCounts":   {why: overview}, "JobTagCounts": {why: overview}, "JobAhead": {why: overview},
}

var outputWants = map[string]want{
	"LogAppend": {hot: true, via: "q_pkey", args: `running(100), fill(100, 0::int2), fill(100, 7::int8), fill(100, 'x'::bytea), 1`},
	"LogRead":   {args: `tid(777), 0, 0`},
	"LogForget": {hot: true, args: `tids(700, 20)`},
	"BlobPut":   {hot: true, rows: 2000, args: `sha256('new'), 3, 'new', 1000000000`}, // sums the sizes of all blobs
	"BlobTouch": {hot: true, via: "blob_pkey", args: `sha256('7')`},
	"BlobSweep": {why: seldom}, "BlobUsage": {why: overview},
}

var contactWants = map[string]want{
	"ContactInsert": {hot: true, args: `tids(700, 20), fill(20, '[]'::text)`},
	"ContactRead":   {args: `tid(777)`},
}

var workerWants = map[string]want{
	"WorkerInsert": {args: `'host', 1, 'name', '', '{}', 1`},
	"WorkerBeat":   {hot: true, args: `1, 1, interval '30 s', 1`},
	"WorkerLeave":  {args: `1`}, "WorkerBury": {args: `interval '30 s', now()`}, "WorkerList": {args: `interval '30 s'`},
	"WorkerForget": {why: seldom}, "WorkerKnown": {args: `'nobody'`},
}

var specWants = map[string]want{
	"SpecEnsure": {args: `gen_random_uuid(), 'main', 'noop', 'noop', 'u/ann/new', 0, 0, 0, '', '', 'ann', '', '', '', '', null, null`},
	"SpecForget": {why: seldom},
	"SpecSelect": {args: `'main', null, 'u/ann/x7', null, null, null, 501, null`},
}

var gateWants = map[string]want{
	"GateEnsure": {args: `'main', 'key 7', 2, 0`},
	"GateLock":   {hot: true, args: `'{1,2,3}'`},
	"GateUse":    {hot: true, args: `tids(777, 100), fill(100, 7)`},
	"GateAdmit":  {hot: true, via: "q_wait", args: `'{1,2,3,7,8,9}', running(3), 1`},
	"GateLook":   {hot: true, rows: 20000, args: ``}, // of the thousand limits that have waiting jobs, some rows each
	"GateRefuse": {via: "q_pkey", args: `tids(1000041, 1), '{}'`},
	"GateOf":     {rows: 3000, args: `tid(1000041), 'main'`}, // counts those ahead at its limit
	"GateFree":   {why: partOf}, "GateSweep": {why: seldom},
	"RoomTaken":    {hot: true, rows: 5000, args: `1000`},
	"RoomTakenTag": {hot: true, rows: 5000, args: `1000, 'noop'`},
}

var debounceWants = map[string]want{
	"DebounceLock":   {args: `'main', 'key 7', tid(3000000)`},
	"DebounceFormer": {via: "q_pkey", args: `tid(1999998), 'main'`},
	"DebounceEnd":    {via: "q_pkey", args: `tid(1999998), '{}'`},
	"DebounceOut":    {via: "q_pkey", args: `tid(1999998), 'x'`},
	"DebounceMove":   {via: "q_pkey", args: `tid(1999998), now()`},
	"DebounceArgs":   {args: `tid(1999998), '{}', null`},
	"DebounceSet":    {args: `'main', 'key 7', tid(3000000), now(), 1`},
	"DebounceSweep":  {why: seldom},
}

var batchWants = map[string]want{
	"BatchColumns": {why: partOf}, "BatchStale": {why: seldom}, "BatchUnswept": {why: seldom}, "BatchForget": {why: seldom},
	"BatchInsert":       {args: `tid(3000000), 'main', '', 'script', 'u/ann/x', 0, false, 'ann', null, 'fresh'`},
	"BatchGet":          {args: `tid(1300000), 'main'`, via: "q_batch"},
	"BatchByKey":        {args: `'main', 'batch 7'`},
	"BatchList":         {args: `'main', null, null, null, null, 30, 0`, rows: 3000},
	"BatchTake":         {args: `tid(1300000), interval '1 s'`},
	"BatchTouch":        {hot: true, args: `tid(1300000), 7`},
	"BatchInterrupt":    {args: `tid(1300000), 7, 'gone'`},
	"BatchReceived":     {args: `tid(1300000), 7`},
	"BatchFail":         {args: `tid(1300000), 'bad'`},
	"BatchCancel":       {args: `tid(1300000), 'main', 'bob', ''`},
	"BatchSettle":       {args: `tid(1300000), 7`},
	"BatchLastRow":      {ordered: true, args: `tid(1300000), tid(1400000), tid(1300000)`},
	"BatchFinish":       {args: `tid(1300000)`},
	"BatchCancelQueued": {via: "q_pkey", rows: 4000, ordered: true, args: `tid(1350000), tid(1400000), tid(1300000), 'bob', '', '{}', 200`},
	"BatchRunning":      {via: "q_batch", args: `tid(1300000)`},
	"BatchResults":      {rows: 2000, ordered: true, args: `tid(1300000), tid(1400000), tid(1300000), null, 200`},
	"BatchEnded":        {rows: 20000, ordered: true, args: `tid(600000), tid(700000), '{3}', 100`},
	"BatchJobs":         {hot: true, args: `'main', tids(1300001, 100)`},
	"BatchBlob":         {args: `sha256('7')`},
	"BatchOpen":         {why: seldom},
	"BatchInOrder":      {why: noTables},
	"BatchInsertJobs": {args: `tids(3000000, 100), times(100), times(100), fill(100, 1), fill(100, 'main'::text), fill(100, '{}'::json),
		fill(100, 0::int2), fill(100, 'noop'::text), fill(100, tid(1300000))`},
}

var scheduleWants = map[string]want{
	"ScheduleNotify": {why: noTables}, "CalendarLock": {why: noTables},
	"ScheduleInsert": {args: `'main', 'u/ann/new', '', '', '', '', '', true, null, '', false, null, '', '', '', 1, 1, '{}', '{}', null, '', '', '', now(), null, ''`},
	"ScheduleUpdate": {args: `'main', 'u/ann/s7', '', '', '', '', '', true, null, '', false, null, '', '', '', 1, 1, '{}', '{}', null, '', '', '', now(), null, ''`},
	"ScheduleGet":    {args: `'main', 'u/ann/s7'`}, "ScheduleLock": {args: `'main', 'u/ann/s7'`},
	"ScheduleList":    {args: `'main', '', '', '', null, null, 30, 0`},
	"ScheduleDelete":  {rows: 2000, args: `'main', 'u/ann/s7'`},
	"ScheduleDue":     {args: `now(), 100`},
	"ScheduleAdvance": {args: `'{main}', '{u/ann/s7}', array[now()], '{""}'`}, "SchedulePulse": {args: ``, old: 45_000},
	"ScheduleDisable": {args: `'main', 'u/ann/s7', ''`},
	"ScheduleCounts":  {args: `'{main}', '{u/ann/s7}', '{1}', '{1}', '{f}'`},
	"TickInsert":      {args: `'{main}', '{u/ann/s7}', array[now()], '{due}', '{1}', array[tid(3000000)], '{t}', '{""}', array[tid(3000001)]`},
	"TickBackfill":    {args: `'main', 'u/ann/s7', array[now()], array[tid(3000000)]`},
	"TickOpen":        {args: `'main', 'u/ann/s7', 3`}, "TickGiveUp": {args: `'main', 'u/ann/s7', 'skipped', '', true`},
	"TickWaiting": {args: `100`}, "TickRelease": {args: `'main', 'u/ann/s7', 5, tids(3000001, 5)`},
	"TickStale":   {args: `interval '1 minute', 100`},
	"TickFired":   {args: `'{main}', '{u/ann/s7}', array[now()], array[now()]`},
	"TickFail":    {args: `'main', 'u/ann/s7', now(), ''`},
	"TickEnded":   {args: `100`},
	"TickEnd":     {args: `'{main}', '{u/ann/s7}', array[now()], '{t}', '{1}', array[null::uuid], array[null::uuid]`},
	"TickPending": {args: `interval '1 minute', 100`}, "TickHandled": {args: `'main', 'u/ann/s7', now(), ''`},
	"TickListOf":  {args: `'main', null, null, null, 30, 0, 'u/ann/s7'`},
	"TickEndedOf": {args: `100, tids(3000000, 5)`},
	"TickRetry":   {args: `'{main}', '{u/ann/s7}', array[now()], array[tid(3000000)], array[now()]`},
	"TickRetried": {args: `'main', 'u/ann/s7', now(), tid(3000000)`}, "TickNoRetry": {args: `'main', 'u/ann/s7', now(), tid(3000000), ''`},
	"TickGuarded": {args: `tids(3000000, 5)`}, "TickGuardEnd": {args: `tids(3000000, 5), '{t,t,f,f,t}', fill(5, ''::text)`},
	"TickGuardEnded": {old: 25_000, args: `100`}, "TickGuardEndedOf": {args: `100, tids(3000000, 5)`},
	"TickList":    {old: 50_000, args: `'main', null, null, null, 30, 0`},
	"TickExpire":  {why: seldom},
	"CalendarPut": {args: `'main', 'u/ann/c', '', '{}', '{}', ''`}, "CalendarList": {args: `'main', null`},
	"CalendarUser": {args: `'main', 'u/ann/c'`}, "CalendarDelete": {args: `'main', 'u/ann/c'`},
}

var tidyWants = map[string]want{"TidyBloated": {why: "looks at the catalog"}, "TidyBroken": {why: "looks at the catalog"}}

var partitionWants = map[string]want{
	"PartitionList": {why: "looks at the catalog"}, "PartitionLock": {why: noTables}, "PartitionUnlock": {why: noTables},
	"PartitionBusy":          {via: "q_pkey", args: `tid(1), tid(1000000)`},
	"PartitionDefaultExpire": {why: seldom},
}

var cacheWants = map[string]want{
	"CachePut":   {hot: true, args: `tids(4000000, 200), running(200), fill(200, 0::int8), fill(200, 'k'::bytea), fill(200, 1::int8)`},
	"CacheSet":   {args: `'k', tid(1), 1`},
	"CacheGet":   {hot: true, args: `'k'`},
	"CacheValue": {hot: true, args: `'k'`},
	"CacheKeep":  {args: `'k', '{}', 1`},
	"CacheSweep": {why: seldom},
}

var purgeWants = map[string]want{
	"PurgeAdd":     {hot: true, args: `running(200), running(200), fill(200, 0::int8), running(200), fill(200, ''::text), fill(200, 1::int8)`},
	"PurgeDue":     {args: `100`},
	"PurgeJobs":    {hot: true, args: `tid(777), 'a'`},
	"PurgeArgs":    {hot: true, args: `tids(777, 2)`},
	"PurgeResults": {hot: true, args: `tids(777, 2)`},
	"PurgeLogs":    {hot: true, args: `tids(777, 2)`},
	"PurgeRuns":    {hot: true, args: `tids(777, 2)`},
	"PurgeSteps":   {hot: true, args: `tids(777, 2), tid(777), 'a'`},
	"PurgeDone":    {hot: true, args: `tid(777), 'a'`},
}
