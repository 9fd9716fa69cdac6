-- name: CheckpointPut
-- Only of jobs that are still their worker's. One that is sent again, because the answer was lost, changes nothing.
insert into checkpoint (job, n, key, kind, name, ok, value, child, tries, due, options)
select u.job, u.n, u.key, u.kind, u.name, u.ok, u.value, u.child, u.tries, clock_timestamp() + u.wait * interval '1 microsecond', u.options
from unnest($1::uuid[], $2::int4[], $3::int4[], $4::int4[], $5::text[], $6::text[], $7::text[], $8::bool[], $9::json[], $10::uuid[],
    $11::int4[], $12::int8[], $13::json[])
    as u(job, worker, attempt, n, key, kind, name, ok, value, child, tries, wait, options)
where exists (select 1 from q where q.id = u.job and q.worker = u.worker and q.attempt = u.attempt and q.state = 1)
on conflict (job, n) do update set ok = coalesce(excluded.ok, checkpoint.ok),
    value = coalesce(excluded.value, checkpoint.value), child = excluded.child, tries = excluded.tries, due = excluded.due
returning job;

-- name: CheckpointMoved
-- Part of statements: whether the workflow q has done something in the attempt that was lost, or only waited for a task. Then it is not
-- what its worker died of.
exists (select 1 from checkpoint c where c.job = q.id and (c.at >= q.started_at or c.ok is null and exists (select 1 from q t where t.id = c.child)))

-- name: CheckpointList
select c.n, c.key, c.kind, c.name, c.ok, c.value, c.child, c.tries, extract(epoch from c.due - clock_timestamp())::float8,
    c.options, c.at, d.state, d.result, b.data, d.finished_at
from checkpoint c
left join done d on d.id = c.child
left join blob b on b.hash = d.result_blob
where c.job = $1
order by c.n;

-- name: CheckpointChildren
-- The jobs of a workflow's tasks that are not over.
select c.child from checkpoint c join q on q.id = c.child where c.job = $1;

-- name: CheckpointSuspend
-- A workflow waits, and nobody holds it. $5: jobs that it waits for, $6: its approvals; one may be over already.
update q set state = 0, worker = 0, started_at = null, lost = 0, scheduled_for = case
        when exists (select 1 from done where done.id = any($5::uuid[])) then now()
        when exists (select 1 from checkpoint c where c.job = $1 and c.n = any($6::int4[]) and c.ok is not null) then now() else now() + $4::interval end
where id = $1 and worker = $2 and attempt = $3 and state = 1 and canceled_by is null
returning scheduled_for;

-- name: CheckpointWake
-- The job $2 of a task is over. While others are not, its workflow is left alone for a moment: they may end soon, too.
update q set scheduled_for = least(scheduled_for, now() + case
        when exists (select 1 from checkpoint c join q o on o.id = c.child where c.job = $1 and c.child <> $2) then interval '2 seconds'
        else interval '0' end)
where id = $1 and state = 0 and scheduled_for > now() and exists (select 1 from checkpoint c where c.job = $1 and c.child = $2)
returning tag, prio, scheduled_for;

-- name: CheckpointAnswer
-- The first answer to what a workflow asks for approval, in time.
with c as (
    update checkpoint set ok = true, value = $3::json
    where job = $1 and n = $2 and kind = 'approval' and ok is null and due > clock_timestamp()
    returning job, key
)
insert into flow_vote (job, resume_id, run, module, approved, approver, account, payload)
select c.job, $4::int8, c.job, c.key, $5::bool, $6::text, $7::text, $8::json from c;

-- name: CheckpointExpire
-- Nobody has answered: from now on nobody can.
update checkpoint set ok = false, value = $3::json
where job = $1 and n = $2 and kind = 'approval' and ok is null and due <= clock_timestamp();

-- name: CheckpointOutcome
select ok, value from checkpoint where job = $1 and n = $2;

-- name: CheckpointApprovals
select n, key, ok, options, at, due from checkpoint where job = $1 and kind = 'approval' order by n;

-- name: CheckpointAnswered
-- A workflow has got an answer. It may be letting go this moment: only the row's lock tells whether it waits, so the condition is not
-- one of where, which would look before.
update q set scheduled_for = case when state = 0 then least(scheduled_for, now()) else scheduled_for end
where id = $1
returning tag, prio, scheduled_for, state = 0;

-- name: CheckpointSteps
-- What people see of a workflow: no results.
select c.key, c.kind, c.ok, c.child, c.tries, c.at, c.due, c.due <= clock_timestamp(), d.state, d.finished_at,
    case when c.kind = 'approval' then (select v.at from flow_vote v where v.run = c.job and v.module = c.key limit 1) end,
    case when c.kind = 'approval' then (select v.approved from flow_vote v where v.run = c.job and v.module = c.key limit 1) end
from checkpoint c
left join done d on d.id = c.child
where c.job = $1
order by c.n
limit 10000;
