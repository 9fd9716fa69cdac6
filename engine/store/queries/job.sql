-- The statements of q, job and done. Those of the hot path are run with pinned plans; a test EXPLAINs them.

-- name: JobColumns
j.id, j.created_at, j.scheduled_for, s.script, s.timeout_ms, j.parent, s.prio, j.workspace, s.kind, s.tag, s.path, s.created_by,
s.email, s.permissioned_as, s.language, s.network, s.trigger, s.trigger_path, j.idempotency_key, coalesce(j.source, s.source), coalesce(j.lock, s.lock), j.batch, j.step, j.item, j.args

-- name: JobViewColumns
coalesce(d.state, q.state), coalesce(d.worker, q.worker), coalesce(d.attempt, q.attempt), coalesce(d.started_at, q.started_at),
d.finished_at, d.cpu_us, d.memory_peak, coalesce(d.canceled_by, q.canceled_by), coalesce(d.cancel_reason, q.cancel_reason), w.name,
d.usage, d.skipped, j.preprocessed

-- name: JobInsertMany
-- Of jobs that have just got their ids here: no other has them, and a statement that need not look is a tenth cheaper.
with j as (
    insert into job (id, created_at, scheduled_for, spec, workspace, args)
    select u.id, u.created_at, coalesce(u.scheduled_for, now()), u.spec, u.workspace, u.args
    from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::int4[], $5::text[], $6::json[])
        as u(id, created_at, scheduled_for, spec, workspace, args)
)
insert into q (id, scheduled_for, started_at, worker, attempt, prio, state, tag, spec)
select u.id, coalesce(u.scheduled_for, now()), case when $9::int4 <> 0 then now() end, $9, ($9 <> 0)::int4, u.prio, ($9 <> 0)::int4, u.tag,
    u.spec
from unnest($1, $3, $7::int2[], $8::text[], $4) as u(id, scheduled_for, prio, tag, spec);

-- name: JobInsertSame
-- Of jobs that begin here and now and run the same: what is said once for all of them is a quarter of the work.
with j as (
    insert into job (id, created_at, scheduled_for, spec, workspace, args)
    select u.id, u.created_at, now(), $4, $5, u.args from unnest($1::uuid[], $2::timestamptz[], $3::json[]) as u(id, created_at, args)
)
insert into q (id, scheduled_for, started_at, worker, attempt, prio, state, tag, spec)
select u.id, now(), now(), $8, 1, $6, 1, $7, $4 from unnest($1) as u(id);

-- name: JobInsertOne
with j as (
    insert into job (id, created_at, scheduled_for, spec, workspace, args)
    values ($1, $2, coalesce($3::timestamptz, now()), $4, $5, $6)
)
insert into q (id, scheduled_for, started_at, worker, attempt, prio, state, tag, spec)
values ($1, coalesce($3::timestamptz, now()), case when $9::int4 <> 0 then now() end, $9, ($9 <> 0)::int4, $7, ($9 <> 0)::int4, $8, $4);

-- name: JobInsertFull
-- Of any jobs: each has a worker of its own or none, and those that are there already are left alone.
with j as (
    insert into job (id, created_at, scheduled_for, spec, workspace, args, parent, batch, idempotency_key, source, lock, args_blob)
    select u.id, u.created_at, coalesce(u.scheduled_for, now()), u.spec, u.workspace, u.args, u.parent, u.batch, u.idempotency_key,
        u.source, u.lock, u.args_blob
    from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::int4[], $5::text[], $6::json[], $9::uuid[], $10::uuid[],
        $11::text[], $12::text[], $13::text[], $14::bytea[])
        as u(id, created_at, scheduled_for, spec, workspace, args, parent, batch, idempotency_key, source, lock, args_blob)
    on conflict (id) do nothing
    returning id, scheduled_for, batch, spec, array_position($1, id) as n
), r as (
    select j.*, ($15::int4[])[n] as gate, ($16::int4[])[n] as worker,
        case when ($15::int4[])[n] is not null then 5 when ($16::int4[])[n] <> 0 then 1 else 0 end as state
    from j
)
insert into q (id, scheduled_for, started_at, worker, attempt, prio, state, tag, gate, batch, spec)
select id, scheduled_for, case when state = 1 then now() end, case when state = 1 then worker else 0 end, (state = 1)::int4,
    ($7::int2[])[n], state, ($8::text[])[n], gate, batch, spec
from r
on conflict (id) do nothing
returning id;

-- name: JobInsertKeyed
-- Of one job with an idempotency key: stored unless the workspace has a job of that key.
with k as (
    insert into idempotency (workspace, key, job_id) values ($5, $11, $1) on conflict do nothing returning job_id
), j as (
    insert into job (id, created_at, scheduled_for, spec, workspace, args, parent, batch, idempotency_key, source, lock, args_blob)
    select $1, $2, coalesce($3::timestamptz, now()), $4, $5, $6, $9, $10, $11, $12, $13, $14 from k
    on conflict (id) do nothing
    returning id, scheduled_for, case when $15::int4 is not null then 5 when $16::int4 <> 0 then 1 else 0 end as state
)
insert into q (id, scheduled_for, started_at, worker, attempt, prio, state, tag, gate, batch, spec)
select id, scheduled_for, case when state = 1 then now() end, case when state = 1 then $16 else 0 end, (state = 1)::int4, $7, state, $8,
    $15, $10, $4
from j
returning id;

-- name: JobKey
select job_id from idempotency where workspace = $1 and key = $2;

-- name: JobKeyExpire
delete from idempotency where (workspace, key) in
    (select workspace, key from idempotency where created_at < now() - $1::interval limit 10000);

-- name: JobFinishMany
-- Of attempts with one number, all of one worker, of which nothing more is known than processor time and memory. q is looked up by keys in an array, here and wherever it is written to, and not
-- joined: with the statistics of a moment when it was all but empty Postgres would read all of it, for every key, and would go on
-- doing so when it is not empty any more.
with d as (
    delete from q where q.id = any($1::uuid[]) and q.worker = $8::int4 and q.attempt = $9::int4 and q.state = 1
    returning q.id, q.started_at, q.spec, array_position($1, q.id) as n
)
insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, result, log_off, log_tail, spec)
select id, started_at, clock_timestamp(), $8, $9, ($2::int2[])[n], ($3::int8[])[n], ($4::int8[])[n], ($5::json[])[n], ($6::int8[])[n],
    ($7::bytea[])[n], case when ($2)[n] <> 2 then spec end
from d
returning id;

-- name: JobFinishSame
-- Of attempts as those of JobFinishMany that have all ended in one way and said nothing.
with d as (
    delete from q where q.id = any($1::uuid[]) and q.worker = $6::int4 and q.attempt = $7::int4 and q.state = 1
    returning q.id, q.started_at, q.spec, array_position($1, q.id) as n
)
insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, result, log_off, spec)
select id, started_at, clock_timestamp(), $6, $7, $5, ($2::int8[])[n], ($3::int8[])[n], ($4::json[])[n], 0, case when $5 <> 2 then spec end
from d
returning id;

-- name: JobFinishOne
with d as (
    delete from q where q.id = $1 and q.worker = $8 and q.attempt = $9 and q.state = 1 returning q.started_at, q.spec
)
insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, result, log_off, log_tail, usage, spec)
select $1, d.started_at, clock_timestamp(), $8, $9, $2, $3, $4, $5, $6, $7, $10::json, case when $2 <> 2 then d.spec end
from d
returning id;

-- name: JobFinishFull
-- Of any outcomes: also canceled ones, those with a result out of the row, and those that count for a batch.
with d as (
    delete from q where q.id = any($1::uuid[]) and q.state = 1
        and q.worker = ($8::int4[])[array_position($1, q.id)] and q.attempt = ($9::int4[])[array_position($1, q.id)]
    returning q.id, q.started_at, q.batch, q.worker, q.attempt, q.spec, array_position($1, q.id) as n,
        ($2::int2[])[array_position($1, q.id)] as state
), {count}
insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, result, log_off, log_tail, canceled_by,
    cancel_reason, result_blob, usage, spec)
select id, started_at, clock_timestamp(), worker, attempt, state, ($3::int8[])[n], ($4::int8[])[n], ($5::json[])[n], ($6::int8[])[n],
    ($7::bytea[])[n], ($10::text[])[n], ($11::text[])[n], ($12::bytea[])[n], ($13::json[])[n],
    case when state <> 2 then spec end
from d
returning id;

-- name: BatchCount
-- Part of statements that complete jobs (d: batch, state): one update a batch, in the order of ids, so that two processes that
-- complete jobs of the same batches never wait for each other in a circle.
n as (
    select batch, count(*) as done, count(*) filter (where state = 3) as failed, count(*) filter (where state = 4) as canceled
    from d where batch is not null group by batch
), held as (
    select b.id from batch b where b.id in (select batch from n) order by b.id for update
), counted as (
    update batch b set done = b.done + n.done, failed = b.failed + n.failed, canceled = b.canceled + n.canceled
    from n join held on held.id = n.batch where b.id = held.id
)

-- name: JobClaim
with pick as (
    select x.id
    from unnest($1::text[], $2::int2[], $3::timestamptz[]) as w(tag, prio, mark)
    cross join lateral (
        select q.id from q
        where q.state = 0 and q.tag = w.tag and q.prio = w.prio and q.scheduled_for >= w.mark and q.scheduled_for <= now()
        order by q.scheduled_for, q.id
        limit $4
        for update skip locked
    ) x
    limit $4
), c as (
    update q set state = 1, worker = $5, attempt = attempt + 1, started_at = clock_timestamp()
    where q.id = any(array(select id from pick))
    returning q.id, q.attempt, q.started_at, q.gate, q.scheduled_for
)
select {job}, b.data, c.attempt, c.started_at, now(), c.gate, c.scheduled_for
from c
cross join lateral (select * from job where job.id = c.id offset 0) j
cross join lateral (select * from spec where spec.id = j.spec offset 0) s
left join blob b on b.hash = j.args_blob;

-- name: JobHeads
-- Each lane's earliest job, and the earliest that is not due yet: that one hides behind those that are.
select t.tag, h.prio, h.scheduled_for, n.scheduled_for, now()
from unnest($1::text[]) as t(tag)
cross join lateral (
    with recursive r(prio, scheduled_for) as (
        (select q.prio, q.scheduled_for from q where q.state = 0 and q.tag = t.tag
         order by q.prio desc, q.scheduled_for, q.id limit 1)
        union all
        select n.prio, n.scheduled_for from r cross join lateral (
            select q.prio, q.scheduled_for from q where q.state = 0 and q.tag = t.tag and q.prio < r.prio
            order by q.prio desc, q.scheduled_for, q.id limit 1) n
    )
    select * from r
) h
left join lateral (
    select q.scheduled_for from q where q.state = 0 and q.tag = t.tag and q.prio = h.prio and q.scheduled_for > now()
    order by q.scheduled_for, q.id limit 1
) n on true;

-- name: JobOwned
select worker, attempt from q where id = $1 and state = 1;

-- name: JobArgsMade
-- What a preprocessor has made of a request takes its place. The lock keeps the attempt its worker's until then: the next one is to find
-- either the request or this.
with h as materialized (
    select 1 from q where id = $1 and worker = $2 and attempt = $3 and state = 1 for share
)
update job set args = $4::json, args_blob = $5::bytea, preprocessed = true where id = $1 and exists (select 1 from h);

-- name: JobPreprocessed
select coalesce(preprocessed, false) from job where id = $1;

-- name: JobFinished
-- Whether this outcome is the one that is stored, and not, say, that of a rescuer who gave the same attempt up.
select exists (select 1 from done where id = $1 and worker = $2 and attempt = $3 and state = $4
    and result::text is not distinct from $5::text and result_blob is not distinct from $6::bytea);

-- name: JobHandBack
-- What ran was due, whatever became of the clock since.
update q set state = 0, worker = 0, started_at = null, scheduled_for = least(scheduled_for, now())
where q.id = any($1::uuid[]) and q.state = 1 and q.canceled_by is null
    and q.worker = ($2::int4[])[array_position($1, q.id)] and q.attempt = ($3::int4[])[array_position($1, q.id)]
returning q.id;

-- name: JobHandBackEnd
-- The end of handed-back jobs that are to be canceled: nobody runs them, so nobody else would end them. Here and below, steps of flows
-- are left to who carries on with their flow: see JobStepsOver.
with d as (
    delete from q where q.id = any($1::uuid[]) and q.state = 1 and q.canceled_by is not null
        and q.worker = ($2::int4[])[array_position($1, q.id)] and q.attempt = ($3::int4[])[array_position($1, q.id)]
        and exists (select 1 from job where job.id = q.id and job.step is null)
    returning q.id, q.started_at, q.worker, q.attempt, q.canceled_by, q.cancel_reason, q.batch, q.gate, q.spec, 4 as state
), {count}, e as (
    insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, canceled_by, cancel_reason, result, log_off,
        spec)
    select id, started_at, clock_timestamp(), worker, attempt, state, 0, 0, canceled_by, cancel_reason, $4::json, 0, spec from d
)
select id, coalesce(gate, 0) from d;

-- name: JobRunning
select id, attempt, tag, prio, coalesce(gate, 0) from q where worker = $1 and state = 1;

-- name: JobDueAgain
update q set scheduled_for = now() where state in (0, 5) and scheduled_for > now() and scheduled_for <= $1;

-- name: JobCancelQueued
with d as (
    delete from q where id = $1 and state in (0, 5) and exists (select 1 from job where job.id = $1 and workspace = $2 and step is null)
    returning id, attempt, batch, gate, spec, 4 as state
), {count}
insert into done (id, finished_at, worker, attempt, state, cpu_us, memory_peak, canceled_by, cancel_reason, result, log_off, spec)
select id, clock_timestamp(), 0, attempt, 4, 0, 0, $3, $4, $5::json, 0, spec from d
returning (select coalesce(gate, 0) from d);

-- name: JobCancelRunning
update q set canceled_by = $3, cancel_reason = $4
where id = $1 and state = 1 and exists (select 1 from job where job.id = $1 and workspace = $2)
returning worker;

-- name: JobCanceled
select id, canceled_by, coalesce(cancel_reason, '') from q where worker = $1 and canceled_by is not null;

-- name: JobExists
select exists (select 1 from job where id = $1 and workspace = $2);

-- name: JobGet
select {job}, ab.data, {view}, d.result, rb.data
from job j
join spec s on s.id = j.spec
left join q on q.id = j.id
left join done d on d.id = j.id
left join worker w on w.id = coalesce(d.worker, q.worker)
left join blob ab on ab.hash = j.args_blob
left join blob rb on rb.hash = d.result_blob
where j.id = $1 and j.workspace = $2;

-- name: JobResult
select coalesce(d.state, q.state), coalesce(d.started_at, q.started_at), d.finished_at, d.result, rb.data
from job j
left join q on q.id = j.id
left join done d on d.id = j.id
left join blob rb on rb.hash = d.result_blob
where j.id = $1 and j.workspace = $2;

-- name: JobListStates
and ($2::int2[] is null or {state} = any($2))

-- name: JobListSpecs
and ($18::int4[] is null or j.spec = any($18))

-- name: JobListWhere
j.workspace = $1
    {states}
    and ($3::text[] is null or s.kind = any($3))
    and ($4::text is null or s.path = $4)
    and ($5::text is null or starts_with(s.path, $5))
    and ($6::text is null or s.created_by = $6)
    and ($7::text is null or s.tag = $7)
    and ($8::text is null or w.name = $8)
    and ($9::uuid is null or j.parent = $9)
    and ($10::timestamptz is null or j.created_at > $10)
    and ($11::timestamptz is null or j.created_at < $11)
    and (not $12::bool or j.parent is null)
    and ($13::jsonb is null or j.args::jsonb @> $13)
    and ($14::jsonb is null or d.result::jsonb @> $14)
    and ($17::uuid is null or (j.batch = $17 and j.id > $17 and j.id <= $20))
    {specs}
    and ($19::text is null or (s.trigger = 'schedule' and s.trigger_path = $19))

-- name: JobList
select {job}, null::bytea, {view}, null::json, null::bytea
from {from}
join spec s on s.id = j.spec
{joins}
left join worker w on w.id = coalesce(d.worker, q.worker)
where {where}
order by {order}
limit $15 offset $16;

-- name: JobListCompleted
-- Where a list of completed jobs starts from when little narrows it: from done, in the order of ids, which is that of creation, so that it
-- does not walk over younger jobs that wait. Ids that somebody else made say nothing of time ($21, $22: the range of those that do);
-- their jobs, all in the default partition, are walked over from the youngest on.
select x.* from (
    {parts}
    union all
    {each}(select {job}, null::bytea, {view}, null::json, null::bytea, j.created_at, j.id
    from job_default j
    cross join lateral (select * from spec where spec.id = j.spec offset 0) s
    left join q on false
    cross join lateral (select * from done_default where done_default.id = j.id offset 0) d
    left join worker w on w.id = d.worker
    where {of}(j.id < $21 or j.id >= $22) and {where}
    order by j.created_at {dir}, j.id {dir}
    limit $15::int8 + $16::int8){end}
) x
order by x.made {dir}, x.made_id {dir}
limit $15 offset $16;

-- name: JobListPart
-- A part of JobListCompleted: the latest of all, of one state that has an index, or of one such state and of each spec. What that says is
-- not said once more: Postgres would think that fewer rows than wanted are left, and would sort all of them.
{each}(select {job}, null::bytea, {view}, null::json, null::bytea, j.created_at as made, j.id as made_id
from done d
cross join lateral (select * from job where job.id = d.id offset 0) j
cross join lateral (select * from spec where spec.id = j.spec offset 0) s
left join q on false
{worker}
where {of}d.id >= greatest($21::uuid, $23::uuid) and d.id < least($22::uuid, $24::uuid) and {where}
order by d.id {dir}
limit $15::int8 + $16::int8){end}

-- name: JobListWorker
left join worker w on w.id = d.worker

-- name: JobListRareWorker
-- A part of JobListPart: workers are looked up. When Postgres expected few rows it would sort all there are to merge them with workers.
left join lateral (select * from worker where worker.id = d.worker offset 0) w on true

-- name: JobListOfSpecs
-- Where JobList reads from when all that narrows it is what the jobs run, and how they ended: the youngest of each spec.
(
    select x.* from unnest($18::int4[]) as p(id)
    cross join lateral (select job.* from job {ended}
        where job.spec = p.id and ($10::timestamptz is null or job.created_at > $10) and ($11::timestamptz is null or job.created_at < $11) order by job.created_at {dir}, job.id {dir} limit $15::int8 + $16::int8) x
) j

-- name: JobListEnded
-- A part of JobListOfSpecs: the row of done is looked up for each job.
cross join lateral (select 1 from done where done.id = job.id and done.state = any($2) offset 0) e

-- name: JobListLatest
-- What JobListOfSpecs selects, as far as the latest completed jobs of any script have it ($25: so many are looked at), in the order of
-- ids. Nothing where somebody made ids that say nothing of time.
select {job}, null::bytea, {view}, null::json, null::bytea
from (select * from done where done.id >= greatest($21::uuid, $23::uuid) and done.id < least($22::uuid, $24::uuid)
    order by done.id desc limit $25) d
cross join lateral (select * from job where job.id = d.id offset 0) j
cross join lateral (select * from spec where spec.id = j.spec offset 0) s
left join q on false
left join lateral (select * from worker where worker.id = d.worker offset 0) w on true
where (select not exists (select from job_default where job_default.id < $21 or job_default.id >= $22)) and {where}
order by d.id desc
limit $15 offset $16;

-- name: JobListOfBatch
-- What completed of a batch, in the order of its rows: from done, so that it does not walk over rows that wait.
select {job}, null::bytea, {view}, null::json, null::bytea
from done d
cross join lateral (select * from job where job.id = d.id offset 0) j
cross join lateral (select * from spec where spec.id = j.spec offset 0) s
left join q on false
left join lateral (select * from worker where worker.id = d.worker offset 0) w on true
where d.id > $17 and d.id <= $20 and {where}
order by d.id {dir}
limit $15 offset $16;

-- name: JobListOfRows
-- The jobs of a batch in the order of its rows, whatever became of them. Run with BatchInOrder: while its statistics are of before the
-- batch Postgres would sort all rows.
select {job}, null::bytea, {view}, null::json, null::bytea
from (select * from job where job.id > $17 and job.id <= $20 order by job.id {dir} offset 0) j
cross join lateral (select * from spec where spec.id = j.spec offset 0) s
left join lateral (select * from q where q.id = j.id offset 0) q on true
left join lateral (select * from done where done.id = j.id offset 0) d on true
left join lateral (select * from worker where worker.id = coalesce(d.worker, q.worker) offset 0) w on true
where {where}
order by j.id {dir}
limit $15 offset $16;

-- name: QueueEstimate
select pg_stat_get_live_tuples('q'::regclass);

-- name: JobCounts
select count(*) filter (where q.state in (0, 5)), count(*) filter (where q.state in (1, 6))
from q join spec s on s.id = q.spec where s.workspace = $1;

-- name: JobTagCounts
select tag, count(*) filter (where state in (0, 5)), count(*) filter (where state in (1, 6)) from q group by tag order by tag;

-- name: JobAhead
select q.state, q.scheduled_for, q.scheduled_for > now(), q.tag, q.attempt,
    (select count(*) from q o where o.state = 0 and o.tag = q.tag and o.scheduled_for <= now()
        and (o.prio > q.prio or (o.prio = q.prio and (o.scheduled_for, o.id) < (q.scheduled_for, q.id)))),
    (select count(*) from worker w where w.gone is null and w.heartbeat > now() - $3::interval and q.tag = any(w.tags)),
    (select coalesce(sum(greatest(w.slots - w.busy, 0)), 0) from worker w
        where w.gone is null and w.heartbeat > now() - $3::interval and q.tag = any(w.tags))
from q join job j on j.id = q.id
where q.id = $1 and j.workspace = $2;

-- name: JobRescue
-- started_at <= now(): a row that is claimed anew while this runs is judged by an old look at the workers, and must not match.
-- One that was begun in the far future was so before the clock was set back. crowd: workers that were lost with more than one job.
-- This and what follows leave the planner no choice but to go from the rows of q, which are few, to each one's job and not the other way
-- round, whatever it believes of either: a start after a crash waits for them.
with crowd as (
    select q.worker from q
    where q.state = 1 and q.worker <> all(array(select w.id from worker w where w.gone is null))
    group by q.worker having count(*) > 1
), lost as (
    select q.id from q
    where q.state = 1 and (q.started_at <= now() or q.started_at > now() + interval '1 minute')
        and q.worker <> all(array(select w.id from worker w where w.gone is null))
        and q.canceled_by is null and (q.lost < $1::int4 or {moved})
    limit 1000 for update skip locked
)
update q set state = 0, worker = 0, started_at = null, scheduled_for = least(scheduled_for, now()),
    lost = case when {moved} then 0 when q.worker = any(array(select worker from crowd)) then q.lost + $2::int4 else q.lost + $3::int4 end
where q.id = any(array(select id from lost)) and q.canceled_by is null and (q.lost < $1::int4 or {moved})
returning q.id;

-- name: JobRescueEnd
with lost as (
    select q.id from q
    where q.state = 1 and (q.started_at <= now() or q.started_at > now() + interval '1 minute')
        and q.worker <> all(array(select w.id from worker w where w.gone is null))
        and (q.canceled_by is not null or q.lost >= $1::int4 and not {moved})
        and (select job.step is null from job where job.id = q.id)
    limit 1000 for update skip locked
), d as (
    delete from q where q.id = any(array(select id from lost))
    returning q.id, q.started_at, q.worker, q.attempt, q.canceled_by, q.cancel_reason, q.batch, q.gate, q.spec,
        case when q.canceled_by is null then 3 else 4 end as state
), {count}, e as (
    insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, canceled_by, cancel_reason, result, log_off,
        spec)
    select id, started_at, clock_timestamp(), worker, attempt, state, 0, 0, canceled_by, cancel_reason,
        case when canceled_by is null then $2::json else $3::json end, 0, spec
    from d
)
select id, coalesce(gate, 0) from d;

-- name: JobStepsOver
-- Steps of flows that nobody runs and nobody will: their worker is gone, and they are to be canceled or were lost too often; or
-- another one stands for them (worker 0).
with over as materialized (
    (select * from q where q.worker = 0 and q.canceled_by is not null and q.state in (0, 5) limit 1000)
    union all
    (select * from q
    where q.state = 1 and (q.started_at <= now() or q.started_at > now() + interval '1 minute')
        and q.worker <> all(array(select w.id from worker w where w.gone is null))
        and (q.canceled_by is not null or q.lost >= $1::int4 and not {moved})
    limit 1000)
)
select {job}, null::bytea, q.worker, q.attempt, q.canceled_by, q.cancel_reason
from over q
cross join lateral (select * from job where job.id = q.id and job.step is not null limit 1) j
join spec s on s.id = j.spec;
