-- name: PurgeAdd
-- Part of an operation of a flow.
insert into purge (run, step, root, at)
select u.run, u.step, u.root, now() + u.after * interval '1 microsecond'
from unnest($1::uuid[], $2::uuid[], $3::int8[], $4::uuid[], $5::text[], $6::int8[]) as u(run, guard, token, root, step, after)
where {held}
on conflict (run, step) do nothing;

-- name: PurgeDue
select p.run, p.step from purge p
where p.at <= now() and not exists (select from q where q.id = p.root)
order by p.at limit $1;

-- name: PurgeJobs
-- The jobs of a step of a run with all that is within them, or, of "", the run and all that is within it.
with recursive t(id, hit) as (
    select $1::uuid, $2::text = ''
    union all
    select x.id, t.hit or (t.id = $1 and x.step = $2)
    from t cross join lateral (select j.id, j.step from job j where j.parent = t.id offset 0) x -- by the index, whatever the statistics
)
select id from t where hit;

-- name: PurgeArgs
update job set args = null, args_blob = null where id = any($1::uuid[]);

-- name: PurgeResults
update done set result = null, result_blob = null, log_tail = null where id = any($1::uuid[]);

-- name: PurgeLogs
delete from job_log where job_id = any($1::uuid[]);

-- name: PurgeRuns
update flow_run set state = '{}' where id = any($1::uuid[]);

-- name: PurgeSteps
-- What is stored with runs: all of those, and of run $2 that of step $3.
update flow_step set value = null where run = any($1::uuid[]) or (run = $2 and module = $3);

-- name: PurgeDone
delete from purge where run = $1 and step = $2;
