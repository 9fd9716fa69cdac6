-- The statements of runs of flows. An operation (FlowOp) is one event: all that it does is done in one transaction, or nothing. The
-- first statements find out which operations still hold, and leave their token in the rows of their runs; the others do their part
-- where they find it. An operation that is sent again, because the answer was lost, finds its own token and changes nothing.

-- name: FlowBegin
-- Jobs of flows that a worker has claimed become runs: of their own, or within the run that waited for them.
insert into flow_run (id, root, def, place, state)
select u.id, u.root, u.id, '', '{}' from unnest($1::uuid[], $2::uuid[]) as u(id, root)
on conflict (id) do nothing;

-- name: FlowAdvance
-- $1 to $4: the runs with what was expected of them and what becomes of them. $5 to $8: attempts that must still be their worker's, or,
-- of jobs that are canceled while they are queued, nobody's.
with r as materialized (
    select id, rev, token from flow_run where id = any($1::uuid[]) order by id for update
), f as materialized (
    select q.id from q where q.id = any($5::uuid[]) and q.state in (0, 1, 5)
        and q.worker = ($7::int4[])[array_position($5, q.id)] and q.attempt = ($8::int4[])[array_position($5, q.id)]
    order by q.id for update
), bad as materialized (
    select u.token from unnest($1, $2::int4[], $3::int8[]) as u(id, rev, token)
    where not exists (select 1 from r where r.id = u.id and (r.rev = u.rev or r.token = u.token))
    union all
    select u.token from unnest($5, $6::int8[]) as u(id, token)
    where not exists (select 1 from f where f.id = u.id) and not exists (select 1 from r where r.token = u.token)
)
update flow_run set rev = ($2)[array_position($1, id)] + 1, token = ($3)[array_position($1, id)], state = ($4::json[])[array_position($1, id)]
where id = any($1) and not (($3)[array_position($1, id)] = any(array(select token from bad)))
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
    returning q.id, q.started_at, q.batch, array_position($1, q.id) as n, ($6::int2[])[array_position($1, q.id)] as state
), {count}
insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, result, log_off, log_tail, canceled_by,
    cancel_reason, result_blob, usage)
select id, started_at, clock_timestamp(), ($4::int4[])[n], ($5::int4[])[n], state, ($7::int8[])[n], ($8::int8[])[n], ($9::json[])[n],
    ($10::int8[])[n], ($11::bytea[])[n], ($12::text[])[n], ($13::text[])[n], ($14::bytea[])[n], ($15::json[])[n]
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
    from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::int4[], $5::text[], $6::json[], $9::uuid[], $10::text[],
        $11::text[], $12::bytea[], $15::text[], $16::int4[], $17::uuid[], $18::int8[])
        as u(id, created_at, scheduled_for, spec, workspace, args, parent, source, lock, args_blob, step, item, guard, token)
    where {held}
    on conflict (id) do nothing
    returning id, scheduled_for, spec, array_position($1, id) as n
)
insert into q (id, scheduled_for, started_at, worker, attempt, prio, state, tag, gate, spec)
select id, case when ($14::int2[])[n] = 6 then coalesce(($19::timestamptz[])[n], timestamptz '9999-12-31') else scheduled_for end,
    case when ($14)[n] in (1, 6) then now() end, case when ($14)[n] = 1 then ($13::int4[])[n] else 0 end, (($14)[n] in (1, 6))::int4,
    ($7::int2[])[n], ($14)[n], ($8::text[])[n], ($20::int4[])[n], spec
from j
on conflict (id) do nothing;

-- name: FlowSteps
insert into flow_step (run, n, module, item, ok, skipped, job, value)
select u.run, u.n, u.module, u.item, u.ok, u.skipped, u.job, u.value
from unnest($1::uuid[], $2::uuid[], $3::int8[], $4::int4[], $5::text[], $6::int4[], $7::bool[], $8::bool[], $9::uuid[], $10::json[])
    as u(run, guard, token, n, module, item, ok, skipped, job, value)
where {held}
on conflict (run, n) do nothing;

-- name: FlowHeld
-- Part of statements: whether the operation of u holds.
exists (select 1 from flow_run g where g.id = u.guard and g.token = u.token)

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

-- name: FlowDue
select id from q where state = 6 and scheduled_for <= now() order by scheduled_for limit $1;

-- name: FlowNextDue
select scheduled_for - now() from q where state = 6 and scheduled_for < timestamptz '9999-12-31' order by scheduled_for limit 1;

-- name: FlowChildren
-- What of a run is queued or at work.
select q.id, q.state from job j join q on q.id = j.id where j.parent = $1 order by q.id;
