-- The statements of gate and gate_use. A transaction that frees or fills places of gates ends with GateLock, GateUse and
-- GateAdmit, in this order and each with a snapshot of its own: under the locks GateAdmit sees all that others have committed.
-- Locks are taken in the order of ids.

-- name: GateEnsure
insert into gate (workspace, key, slots, window_ms) values ($1, $2, $3, $4)
on conflict (workspace, key) do update set slots = excluded.slots, window_ms = excluded.window_ms, last_used = now()
returning id;

-- name: GateLock
select id from gate where id = any($1::int4[]) order by id for update;

-- name: GateUse
-- Keeps the starts of jobs that are completed now, and forgets those that have fallen out of their window.
with old as (
    delete from gate_use u using gate g
    where g.id = any($2::int4[]) and g.window_ms > 0 and u.gate = g.id and u.at < now() - g.window_ms * interval '1 millisecond'
)
insert into gate_use (gate, at, job)
select g.id, d.started_at, d.id
from unnest($1::uuid[], $2::int4[]) as u(id, gate)
join gate g on g.id = u.gate and g.window_ms > 0
join done d on d.id = u.id
where d.started_at > now() - g.window_ms * interval '1 millisecond'
on conflict do nothing;

-- name: GateAdmit
-- Admits jobs that are due, up to the free places of each gate: the highest priority first, then the longest due. Jobs of $2
-- have a slot reserved at worker $3 and run at once. Rows with an id are admitted jobs, those without say in how many
-- microseconds it is worth looking at a gate again.
with recursive g as materialized (
    select id, slots, window_ms * interval '1 millisecond' as span, clock_timestamp() as now from gate where id = any($1::int4[])
), f as materialized (
    select g.id, g.now, g.span, {free} as free from g
), h as materialized (
    select f.id as gate, f.now, f.free, x.prio
    from f cross join lateral (
        with recursive p(prio) as (
            (select q.prio from q where q.state = 5 and q.gate = f.id order by q.prio desc limit 1)
            union all
            select n.prio from p cross join lateral (
                select q.prio from q where q.state = 5 and q.gate = f.id and q.prio < p.prio order by q.prio desc limit 1) n
        )
        select prio from p
    ) x
    where f.free > 0
), c as (
    select h.gate, h.free, h.prio, x.scheduled_for, x.id
    from h cross join lateral (
        select q.id, q.scheduled_for from q
        where q.state = 5 and q.gate = h.gate and q.prio = h.prio and q.scheduled_for <= h.now
        order by q.scheduled_for, q.id
        limit h.free
        for update skip locked
    ) x
), pick as (
    select id from (select id, free, row_number() over (partition by gate order by prio desc, scheduled_for, id) as n from c) x
    where n <= free
), a as (
    update q set state = (id = any($2::uuid[]))::int4, worker = case when id = any($2) then $3::int4 else 0 end,
        attempt = attempt + (id = any($2))::int4, started_at = case when id = any($2) then clock_timestamp() end
    where q.id = any(array(select id from pick))
    returning q.id, q.gate, q.state, q.tag, q.prio, q.scheduled_for
), n as (
    select h.gate, x.at from h cross join lateral (
        select q.scheduled_for as at from q
        where q.state = 5 and q.gate = h.gate and q.prio = h.prio and q.scheduled_for > h.now
        order by q.scheduled_for limit 1) x
    union all
    select f.id, x.at + f.span from f cross join lateral (
        select u.at from gate_use u where u.gate = f.id and u.at > f.now - f.span order by u.at limit 1) x
    where f.span > '0' and (select true from q where q.state = 5 and q.gate = f.id limit 1) -- not exists: that may become a join
)
select id, gate, state, tag, prio, scheduled_for, null::int8 from a
union all
select null, gate, null, null, null, null, (extract(epoch from min(at) - clock_timestamp()) * 1000000)::int8 from n group by gate;

-- name: GateFree
-- The free places of gate g, which has slots, span and now. Starts in the future are those of a clock that was set back: they
-- count for no longer than the window.
g.slots
    - (select count(*) from (select from q where q.gate = g.id and q.state <> 5 limit g.slots) x)
    - case when g.span > '0' then (select count(*) from (select from gate_use u
        where u.gate = g.id and u.at > g.now - g.span and u.at < g.now + g.span limit g.slots) x) else 0 end

-- name: GateLook
-- The gates that could admit a job now.
with recursive w(gate) as (
    (select q.gate from q where q.state = 5 order by q.gate limit 1)
    union all
    select n.gate from w cross join lateral (
        select q.gate from q where q.state = 5 and q.gate > w.gate order by q.gate limit 1) n
), g as materialized (
    select gate.id, slots, window_ms * interval '1 millisecond' as span, now() as now from w join gate on gate.id = w.gate
)
select g.id from g
where {free} > 0 and exists (
    with recursive p(prio, at) as (
        (select q.prio, q.scheduled_for from q where q.state = 5 and q.gate = g.id order by q.prio desc, q.scheduled_for limit 1)
        union all
        select n.prio, n.scheduled_for from p cross join lateral (
            select q.prio, q.scheduled_for from q where q.state = 5 and q.gate = g.id and q.prio < p.prio
            order by q.prio desc, q.scheduled_for limit 1) n
    )
    select from p where p.at <= g.now)
order by g.id;

-- name: GateRefuse
-- Ends waiting jobs as failures; those that were admitted meanwhile are left alone. "state + 0" keeps it from looking through the
-- index of all that wait.
with d as (
    delete from q where id = any($1::uuid[]) and state + 0 = 5 returning id, attempt, batch, spec, 3 as state
), {count}
insert into done (id, finished_at, worker, attempt, state, cpu_us, memory_peak, result, log_off, spec)
select id, clock_timestamp(), 0, attempt, 3, 0, 0, $2::json, 0, spec from d
returning id;

-- name: GateOf
-- What a job's limit is, and how it stands.
select g.key, g.slots, g.window_ms, q.state = 5,
    (select count(*) from q o where o.gate = g.id and o.state <> 5),
    (select count(*) from q o where o.state = 5 and o.gate = g.id and o.scheduled_for <= now()
        and (o.prio > q.prio or (o.prio = q.prio and (o.scheduled_for, o.id) < (q.scheduled_for, q.id)))),
    array(select o.id from q o where o.gate = g.id and o.state <> 5 order by o.state desc, o.started_at, o.id limit 5),
    (select count(*) from gate_use u where u.gate = g.id and u.at > now() - g.window_ms * interval '1 millisecond'),
    (select min(u.at) from gate_use u where u.gate = g.id and u.at > now() - g.window_ms * interval '1 millisecond')
        + g.window_ms * interval '1 millisecond'
from q join job j on j.id = q.id join gate g on g.id = q.gate
where q.id = $1 and j.workspace = $2;

-- name: GateSweep
with old as (
    delete from gate g where g.last_used < now() - $1::interval
        and not exists (select from q where q.gate = g.id and q.state = 5)
        and not exists (select from q where q.gate = g.id and q.gate is not null and q.state <> 5)
    returning id
), u as (
    delete from gate_use using old where gate_use.gate = old.id
)
select count(*) from old;

-- name: RoomTaken
-- How many jobs wait, counted no further than $1.
select count(*) from (
    (select from q where state = 0 limit $1) union all (select from q where state = 5 limit $1)
) x;

-- name: RoomTakenTag
select count(*) from (
    (select from q where state = 0 and tag = $2 limit $1) union all (select from q where state = 5 and tag = $2 limit $1)
) x;
