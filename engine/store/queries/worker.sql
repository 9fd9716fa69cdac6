-- name: WorkerInsert
insert into worker (host, pid, name, version, tags, slots) values ($1, $2, $3, $4, $5, $6) returning id;

-- name: WorkerBeat
update worker set heartbeat = now(), busy = $2, executed = $4 where id = $1 and gone is null
returning (select count(*) from worker o where o.gone is null and o.id <> $1 and o.heartbeat > now() - $3::interval), now();

-- name: WorkerLeave
update worker set gone = now() where id = $1 and gone is null;

-- name: WorkerBury
-- A heartbeat in the future is one from before the clock was set back: its worker has the time of a lease from now on.
with ahead as (
    update worker set heartbeat = now() where gone is null and heartbeat > now() + $1::interval
)
update worker set gone = now() where id in
    (select id from worker where gone is null and heartbeat < least(now(), $2::timestamptz) - $1::interval for update skip locked)
returning id;

-- name: WorkerList
select id, name, host, pid, tags, slots, busy, executed, version, started, heartbeat from worker
where gone is null and heartbeat > now() - $1::interval order by id;

-- name: WorkerKnown
select exists (select from worker where name = $1);

-- name: WorkerForget
delete from worker where gone < now() - $1::interval;
