-- The statements of runs of flows. An operation (FlowOp) is one event: all that it does is done in one transaction, or nothing. The
-- first statements find out which operations still hold, and leave their token in the rows of their runs; the others do their part
-- where they find it. An operation that is sent again, because the answer was lost, finds its own token and turns its sign, so that the
-- others do nothing. What most operations are, the end of one step and the birth of the next, is one statement.

-- name: FlowBegin
-- Jobs of flows become runs, of their own or within the run that waited for them: jobs that a worker has claimed, or that are born
-- with their runs.
insert into flow_run (id, root, def, place, state)
select u.id, u.root, u.id, '', '{}' from unnest($1::uuid[], $2::uuid[]) as u(id, root)
on conflict (id) do nothing;

-- name: FlowAdvance
-- $1 to $4: the runs with what was expected of them and what becomes of them. $5 to $8: attempts that must still be their worker's, or,
-- of jobs that are canceled while they are queued, nobody's. What is looked up among many is looked up by hash (not in), which joins are
-- not allowed here.
with r as materialized (
    select id, rev, token from flow_run where id = any($1::uuid[]) order by id for update
), f as materialized (
    select q.id from q where q.id = any($5::uuid[]) and q.state in (0, 1, 5)
        and q.worker = ($7::int4[])[array_position($5, q.id)] and q.attempt = ($8::int4[])[array_position($5, q.id)]
    order by q.id for update
), bad as materialized (
    select u.token from unnest($1, $2::int4[], $3::int8[]) as u(id, rev, token)
    where (u.id, u.rev) not in (select r.id, r.rev from r) and (u.id, u.token) not in (select r.id, abs(r.token) from r)
    union all
    select u.token from unnest($5, $6::int8[]) as u(id, token)
    where u.id not in (select f.id from f) and u.token not in (select abs(r.token) from r)
)
update flow_run set rev = ($2)[array_position($1, id)] + 1, state = ($4::json[])[array_position($1, id)],
    token = case when abs(token) = ($3)[array_position($1, id)] then -1 else 1 end * ($3)[array_position($1, id)]
where id = any($1) and not (($3)[array_position($1, id)] = any(array(select token from bad)))
returning id;

-- name: FlowOne
-- All of an operation that is the end of one step's attempt and, perhaps, the birth of the next one. $1 to $4: the run, what was expected
-- of it and what becomes of it; $5 to $17: the attempt; $18 to $23: the step's row; $24 to $38: the job that is born.
with r as materialized (
    select 1 from flow_run where id = $1::uuid and rev = $2::int4 for update
), d as (
    delete from q where q.id = $5::uuid and q.worker = $6::int4 and q.attempt = $7::int4 and q.state in (0, 1, 5) and exists (select 1 from r)
    returning q.started_at, q.spec
), e as (
    insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, result, log_off, log_tail, canceled_by,
        cancel_reason, result_blob, usage, spec)
    select $5, d.started_at, clock_timestamp(), $6, $7, $8::int2, $9::int8, $10::int8, $11::json, $12::int8, $13::bytea, $14::text, $15::text,
        $16::bytea, $17::json, case when $8 <> 2 then d.spec end
    from d
), s as (
    insert into flow_step (run, n, module, item, ok, skipped, job, value)
    select $1, $18::int4, $19::text, null, $20::bool, $21::bool, $22::uuid, $23::json from d where $18 is not null
), j as (
    insert into job (id, created_at, scheduled_for, spec, workspace, args, parent, source, lock, args_blob, step, item)
    select $24::uuid, $25::timestamptz, coalesce($26::timestamptz, now()), $27::int4, $28::text, $29::json, $1, $32::text, $33::text, $34::bytea,
        $37::text, $38::int4
    from d where $24 is not null
), n as (
    insert into q (id, scheduled_for, started_at, worker, attempt, prio, state, tag, spec)
    select $24, coalesce($26, now()), case when $36::int2 = 1 then now() end, $35::int4, $36, $30::int2, $36, $31::text, $27
    from d where $24 is not null
)
update flow_run set rev = $2 + 1, token = $3::int8, state = $4::json where id = $1 and exists (select 1 from d)
returning id;

-- name: FlowRuns
-- Runs that are born within others.
insert into flow_run (id, root, def, place, token, state)
select u.id, u.root, u.def, u.place, u.token, u.state
from unnest($1::uuid[], $2::uuid[], $3::int8[], $4::uuid[], $5::uuid[], $6::text[], $7::json[])
    as u(id, guard, token, root, def, place, state)
where {held}
on conflict (id) do nothing;

-- name: FlowFinish
-- Jobs and runs that have ended.
with d as (
    delete from q where q.state in (0, 1, 5, 6) and q.id = any(array(
        select u.id from unnest($1::uuid[], $2::uuid[], $3::int8[]) as u(id, guard, token) where {held}))
    returning q.id, q.started_at, q.batch, q.spec, array_position($1, q.id) as n, ($6::int2[])[array_position($1, q.id)] as state
), {count}
insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, result, log_off, log_tail, canceled_by,
    cancel_reason, result_blob, usage, skipped, spec)
select id, started_at, clock_timestamp(), ($4::int4[])[n], ($5::int4[])[n], state, ($7::int8[])[n], ($8::int8[])[n], ($9::json[])[n],
    ($10::int8[])[n], ($11::bytea[])[n], ($12::text[])[n], ($13::text[])[n], ($14::bytea[])[n], ($15::json[])[n], ($16::bool[])[n],
    case when state <> 2 then spec end
from d;

-- name: FlowPark
-- Runs wait for their jobs, or until a time; the time in which they were begun stays.
update q set state = 6, worker = 0, attempt = greatest(q.attempt, 1),
    scheduled_for = coalesce(($4::timestamptz[])[array_position($1::uuid[], q.id)], timestamptz '9999-12-31')
where q.id = any(array(select u.id from unnest($1, $2::uuid[], $3::int8[]) as u(id, guard, token) where {held})) and q.state in (1, 6);

-- name: FlowJobs
-- Jobs of steps, and those of runs (state 6). A step with a limit waits for it (state 5).
with j as (
    insert into job (id, created_at, scheduled_for, spec, workspace, args, parent, source, lock, args_blob, step, item)
    select u.id, u.created_at, coalesce(u.scheduled_for, now()), u.spec, u.workspace, u.args, u.parent, u.source, u.lock, u.args_blob,
        u.step, u.item
    from unnest($1::uuid[], $4::timestamptz[], $5::timestamptz[], $6::int4[], $7::text[], $8::json[], $11::uuid[], $12::text[],
        $13::text[], $14::bytea[], $17::text[], $18::int4[], $2::uuid[], $3::int8[])
        as u(id, created_at, scheduled_for, spec, workspace, args, parent, source, lock, args_blob, step, item, guard, token)
    where {held}
)
insert into q (id, scheduled_for, started_at, worker, attempt, prio, state, tag, gate, spec)
select u.id, case when u.state = 6 then coalesce(u.due, timestamptz '9999-12-31') else coalesce(u.scheduled_for, now()) end,
    case when u.state in (1, 6) then now() end, case when u.state = 1 then u.worker else 0 end, (u.state in (1, 6))::int4, u.prio, u.state,
    u.tag, u.gate, u.spec
from unnest($1, $5, $6, $9::int2[], $10::text[], $15::int4[], $16::int2[], $19::timestamptz[], $20::int4[], $2, $3)
    as u(id, scheduled_for, spec, prio, tag, worker, state, due, gate, guard, token)
where {held};

-- name: FlowSteps
insert into flow_step (run, n, module, item, ok, skipped, job, value)
select u.run, u.n, u.module, u.item, u.ok, u.skipped, u.job, u.value
from unnest($1::uuid[], $2::uuid[], $3::int8[], $4::int4[], $5::text[], $6::int4[], $7::bool[], $8::bool[], $9::uuid[], $10::json[])
    as u(run, guard, token, n, module, item, ok, skipped, job, value)
where {held}
on conflict (run, n) do nothing;

-- name: FlowArgs
-- What preprocessors have made of requests takes their place; see JobArgsMade.
update job set args = ($4::json[])[array_position($1::uuid[], id)], args_blob = ($5::bytea[])[array_position($1, id)], preprocessed = true
where id = any(array(select u.id from unnest($1, $2::uuid[], $3::int8[]) as u(id, guard, token) where {held}));

-- name: FlowHeld
-- Part of statements whose second parameter are guards: whether the operation of u holds. One look for all rows.
coalesce((u.guard, u.token) in (select g.id, g.token from flow_run g where g.id = any($2)), false)

-- name: FlowGet
select r.root, r.def, r.place, r.rev, r.state, j.parent, j.step, j.item, q.gate, {job}, b.data
from flow_run r
join job j on j.id = r.id
join spec s on s.id = j.spec
left join q on q.id = r.id
left join blob b on b.hash = j.args_blob
where r.id = $1;

-- name: FlowStepsOf
select n, module, item, ok, skipped, job, value from flow_step where run = $1 order by n;

-- name: FlowItems
-- The results of the items of a module, of those that are jobs.
select j.item, j.id, d.state, d.result, b.data
from job j
join done d on d.id = j.id
left join blob b on b.hash = d.result_blob
where j.parent = $1 and j.step = $2
order by j.item, j.id;

-- name: FlowResult
select d.state, d.result, b.data from done d left join blob b on b.hash = d.result_blob where d.id = $1;

-- name: FlowHolds
-- Whether an attempt is still its worker's, or nobody's.
select exists (select 1 from q where id = $1 and worker = $2 and attempt = $3 and state in (0, 1, 5));

-- name: FlowHomeless
-- Queued steps of a tag that begins as $2 says and that nobody takes: who took it is gone, and was so before the time of a lease. The tags
-- are few and are found from one to the next.
with recursive t as (
    (select tag from q where state = 0 order by tag limit 1)
    union all
    select (select q.tag from q where q.state = 0 and q.tag > t.tag order by q.tag limit 1) from t where t.tag is not null
)
select {job}, null::bytea, q.worker, q.attempt, null::text, null::text
from (
    select q.* from t cross join lateral (select * from q where q.state = 0 and q.tag = t.tag limit 1000) q
    where t.tag like $2 and not exists
        (select 1 from worker w where t.tag = any(w.tags) and (w.gone is null or w.heartbeat > now() - $1::interval))
) q
join job j on j.id = q.id and j.step is not null
join spec s on s.id = j.spec;

-- name: FlowDue
select id from q where state = 6 and scheduled_for <= now() order by scheduled_for limit $1;

-- name: FlowNextDue
select scheduled_for - now() from q where state = 6 and scheduled_for < timestamptz '9999-12-31' order by scheduled_for limit 1;

-- name: FlowChildren
-- What of a run is queued or at work.
select q.id, q.state from job j join q on q.id = j.id where j.parent = $1 order by q.id;

-- name: FlowJobsOf
-- The jobs of a run, whatever became of them.
with j as materialized ( -- by the index of parents, and not in the order of all jobs
    select id, step, item from job where parent = $1 and step is not null
)
select j.id, j.step, j.item, coalesce(d.state, q.state), coalesce(d.started_at, q.started_at), d.finished_at
from j
left join q on q.id = j.id
left join done d on d.id = j.id
order by j.id
limit $2;

-- name: FlowRestartPut
insert into flow_restart (id, origin) values ($1, $2);

-- name: FlowRestartGet
select origin from flow_restart where id = $1;

-- name: FlowUserStatePut
insert into flow_user_state (run, key, value) values ($1, $2, $3) on conflict (run, key) do update set value = excluded.value;

-- name: FlowUserStateGet
select value from flow_user_state where run = $1 and key = $2;

-- name: FlowUserStates
select key, value from flow_user_state where run = $1 order by key;
