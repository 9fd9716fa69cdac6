package store_test

func init() { tables["checkpoint"] = checkpointWants }

// checkpointWants: workflows that run.
var checkpointWants = map[string]want{
	"CheckpointPut": {hot: true, rows: 2000, args: `running(200), fill(200, 1), fill(200, 1), fill(200, 7), fill(200, 'a_7'::text), fill(200, 'step'::text), fill(200, 'a'::text),
		fill(200, true), fill(200, '{}'::json), fill(200, null::uuid), fill(200, 0), fill(200, null::int8), fill(200, null::json)`},
	"CheckpointMoved":     {why: partOf},
	"CheckpointList":      {hot: true, args: `tid(1001000)`},
	"CheckpointSteps":     {hot: true, args: `tid(1001000)`},
	"CheckpointChildren":  {hot: true, args: `tid(1001000)`},
	"CheckpointSuspend":   {via: "q_pkey", args: `tid(1001000), 2, 1, interval '1 minute', tids(777, 10), array[1, 2]`},
	"CheckpointAnswer":    {args: `tid(1001000), 1, '{}', 7, true, 'ann', '', '{}'`},
	"CheckpointExpire":    {args: `tid(1001000), 1, '{}'`},
	"CheckpointOutcome":   {hot: true, args: `tid(1001000), 1`},
	"CheckpointApprovals": {hot: true, args: `tid(1001000)`},
	"CheckpointAnswered":  {via: "q_pkey", args: `tid(1001000)`},
	"CheckpointWake":      {hot: true, via: "q_pkey", args: `tid(1001001), tid(777)`},
}
