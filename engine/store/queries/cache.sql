-- name: CachePut
-- Jobs that have been asked for and whose results may be used again. Part of an operation of a flow.
insert into cache (key, job, ttl, expires)
select distinct on (u.key) u.key, u.job, u.ttl * interval '1 microsecond', now() + u.ttl * interval '1 microsecond' + interval '7 days'
from unnest($1::uuid[], $2::uuid[], $3::int8[], $4::bytea[], $5::int8[]) as u(job, guard, token, key, ttl)
where {held}
order by u.key
on conflict (key) do update set job = excluded.job, ttl = excluded.ttl, expires = excluded.expires;

-- name: CacheSet
insert into cache (key, job, ttl, expires)
values ($1, $2, $3 * interval '1 microsecond', now() + $3 * interval '1 microsecond' + interval '7 days')
on conflict (key) do update set job = excluded.job, ttl = excluded.ttl, expires = excluded.expires;

-- name: CacheGet
select c.job from cache c join done d on d.id = c.job
where c.key = $1 and d.state = 2 and d.finished_at + c.ttl > now() and (d.result is not null or d.result_blob is not null);

-- name: CacheSweep
delete from cache where expires < now();

-- name: CacheKeep
insert into cache (key, value, ttl, expires)
values ($1, $2, $3 * interval '1 microsecond', now() + $3 * interval '1 microsecond')
on conflict (key) do update set value = excluded.value, job = null, ttl = excluded.ttl, expires = excluded.expires;

-- name: CacheValue
select value from cache where key = $1 and value is not null and expires > now();
