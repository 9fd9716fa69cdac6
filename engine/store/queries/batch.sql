-- The statements of batch. The jobs of a batch are those with ids above the batch's and up to its last ($1, $2: the range).

-- name: BatchColumns
b.id, b.workspace, b.name, b.kind, b.path, b.script, b.state, b.keep, b.total, b.inserted, b.done, b.failed, b.canceled, b.created_by,
b.created_at, b.received_at, b.finished_at, coalesce(b.error, ''), coalesce(b.canceled_by, ''), coalesce(b.cancel_reason, ''), b.source,
(select count(*) from q where q.batch = b.id and q.state = 1)

-- name: BatchInsert
insert into batch (id, workspace, name, kind, path, script, keep, created_by, source, idempotency_key)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (workspace, idempotency_key) where idempotency_key is not null do nothing;

-- name: BatchGet
select {batch} from batch b where b.id = $1 and b.workspace = $2;

-- name: BatchByKey
select {batch} from batch b where b.workspace = $1 and b.idempotency_key = $2;

-- name: BatchList
select {batch} from batch b
where b.workspace = $1
    and ($2::text[] is null or case when b.state = 1 and b.done >= b.total then 'done'
        else (array['receiving', 'running', 'canceled', 'failed'])[b.state + 1] end = any($2))
    and ($3::text is null or b.path = $3)
    and ($4::text is null or starts_with(b.path, $4))
    and ($5::text is null or b.created_by = $5)
order by b.id desc
limit $6 offset $7;

-- name: BatchTake
-- For the one who goes on receiving: nobody has been at it lately.
update batch set touched_at = now(), error = null
where id = $1 and state = 0 and touched_at < now() - $2::interval
returning id;

-- name: BatchTouch
-- Tells how far receiving has come, and whether it is still wanted.
update batch set touched_at = now(), inserted = greatest(inserted, $2) where id = $1 and state = 0 returning id;

-- name: BatchInterrupt
-- Receiving broke off and may be taken up by anybody at once.
update batch set touched_at = '-infinity', interrupted_at = now(), error = $3, inserted = greatest(inserted, $2) where id = $1 and state = 0;

-- name: BatchReceived
update batch set state = 1, total = $2, inserted = $2, received_at = now(), error = null where id = $1 and state = 0 returning id;

-- name: BatchFail
update batch set state = 3, error = $2, received_at = now() where id = $1 and state = 0 returning id;

-- name: BatchCancel
update batch set state = 2, canceled_by = $3, cancel_reason = $4
where id = $1 and workspace = $2 and (state = 0 or (done < total and (state = 1 or (state = 3 and keep))))
returning id;

-- name: BatchSettle
-- After receiving ended early: what is there is all there will be.
update batch set total = $2, inserted = $2, received_at = coalesce(received_at, now()) where id = $1 and total is null;

-- name: BatchLastRow
select id from job where id > $1 and id <= $2 and batch = $3 order by id desc limit 1;

-- name: BatchFinish
update batch set finished_at = clock_timestamp()
where finished_at is null and state <> 0 and done >= total and ($1::uuid is null or id = $1);

-- name: BatchStale
-- Batches that nobody receives any more: at once those that cannot be taken up, later those that can.
select b.id, b.workspace, b.keep from batch b
where b.finished_at is null and b.state = 0
    and greatest(b.touched_at, b.interrupted_at) < now() - case when b.idempotency_key is null or b.source is not null
        then $1::interval else $2::interval end;

-- name: BatchUnswept
-- Batches whose jobs should have been canceled: who was at it may be gone.
select b.id, b.workspace, b.keep from batch b
where b.finished_at is null and (b.state = 2 or (b.state = 3 and not b.keep))
    and greatest(b.touched_at, b.interrupted_at) < now() - $1::interval;

-- name: BatchOpen
select exists (select 1 from batch where finished_at is null);

-- name: BatchCancelQueued
-- Of the queued jobs after $1: what was deleted just now is not walked over again for the next part.
with pick as (
    select q.id from q where q.id > $1 and q.id <= $2 and q.batch = $3 and q.state in (0, 5) order by q.id limit $7 for update skip locked
), d as (
    delete from q using pick where q.id = pick.id returning q.id, q.attempt, q.batch, q.spec, 4 as state
), {count}
insert into done (id, finished_at, worker, attempt, state, cpu_us, memory_peak, canceled_by, cancel_reason, result, log_off, spec)
select id, clock_timestamp(), 0, attempt, 4, 0, 0, $4, $5, $6::json, 0, spec from d
returning id;

-- name: BatchRunning
select id from q where batch = $1 and state = 1;

-- name: BatchResults
select j.id, coalesce(d.state, q.state), d.result, d.result_blob
from job j
left join q on q.id = j.id
left join done d on d.id = j.id
where j.id > $1 and j.id <= $2 and j.batch = $3 and ($4::int2[] is null or coalesce(d.state, q.state) = any($4))
order by j.id
limit $5;

-- name: BatchEnded
-- The completed jobs of a batch that ended in one of some ways.
select d.id from done d where d.id > $1 and d.id <= $2 and d.state = any($3) order by d.id limit $4;

-- name: BatchJobs
select {job}, ab.data, j.preprocessed
from unnest($2::uuid[]) as u(id)
join job j on j.id = u.id and j.workspace = $1
join spec s on s.id = j.spec
left join blob ab on ab.hash = j.args_blob;

-- name: BatchForget
-- Of the oldest batches those whose jobs retention has taken.
delete from batch where id in (
    select o.id from (select b.id from batch b where b.finished_at < now() - interval '7 days' order by b.id limit 1000) o
    where not exists (
        select 1 from (select j.id from job j where j.id > o.id order by j.id limit 1) n
        where substring(uuid_send(n.id) from 1 for 12) = substring(uuid_send(o.id) from 1 for 12)));

-- name: BatchBlob
select data from blob where hash = $1;

-- name: BatchInsertJobs
-- Of queued jobs of batches that have nothing but their arguments, and of which none is there yet.
with j as (
    insert into job (id, created_at, scheduled_for, spec, workspace, args, batch)
    select u.id, u.created_at, coalesce(u.scheduled_for, now()), u.spec, u.workspace, u.args, u.batch
    from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::int4[], $5::text[], $6::json[], $9::uuid[])
        as u(id, created_at, scheduled_for, spec, workspace, args, batch)
)
insert into q (id, scheduled_for, prio, state, tag, batch, spec)
select u.id, coalesce(u.scheduled_for, now()), u.prio, 0, u.tag, u.batch, u.spec
from unnest($1, $3, $7::int2[], $8::text[], $9, $4) as u(id, scheduled_for, prio, tag, batch, spec);

-- name: BatchInOrder
select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);
