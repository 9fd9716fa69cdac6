-- The statements of debounce. One transaction locks a key's row, ends the job that stood for it, and inserts the one that does now.

-- name: DebounceLock
insert into debounce (workspace, key, job_id, first_at, count, used_at) values ($1, $2, $3, clock_timestamp(), 0, now())
on conflict (workspace, key) do update set used_at = now()
returning job_id, first_at, count, clock_timestamp();

-- name: DebounceFormer
-- The arguments of a job that can still be replaced, and whether it is a step of a flow; nobody claims or cancels it before the
-- transaction ends.
select coalesce(j.args::text, convert_from(b.data, 'UTF8'), '{}'), j.step is not null
from q
join job j on j.id = q.id
left join blob b on b.hash = j.args_blob
where q.id = $1 and j.workspace = $2 and q.state in (0, 5) and q.canceled_by is null
    and q.scheduled_for > clock_timestamp()
for update of q;

-- name: DebounceEnd
with d as (
    delete from q where id = $1 and state in (0, 5) returning id, attempt, batch, gate, spec, 4 as state
), {count}
insert into done (id, finished_at, worker, attempt, state, cpu_us, memory_peak, canceled_by, result, log_off, spec)
select id, clock_timestamp(), 0, attempt, 4, 0, 0, 'debounce', $2::json, 0, spec from d
returning (select coalesce(gate, 0) from d);

-- name: DebounceOut
-- A step that another job stands for is run by nobody; its flow ends it.
update q set canceled_by = 'debounce', cancel_reason = $2, scheduled_for = timestamptz '9999-12-31'
where id = $1 and state in (0, 5)
returning coalesce(gate, 0);

-- name: DebounceMove
-- When the step that stands for a key now is due.
update q set scheduled_for = $2 where id = $1 and state in (0, 5);

-- name: DebounceArgs
update job set args = $2::json, args_blob = $3 where id = $1;

-- name: DebounceSet
update debounce set job_id = $3, first_at = $4, count = $5, used_at = now() where workspace = $1 and key = $2;

-- name: DebounceSweep
delete from debounce d where d.used_at < now() - $1::interval and not exists (select from q where q.id = d.job_id);
