-- Logs, result streams and blobs.

-- name: LogAppend
insert into job_log (job_id, kind, off, chunk)
select u.job_id, u.kind, u.off, u.chunk
from unnest($1::uuid[], $2::int2[], $3::int8[], $4::bytea[]) as u(job_id, kind, off, chunk)
where exists (select 1 from q where q.id = u.job_id and q.state = 1 and q.worker = $5)
on conflict (job_id, kind, off) do update set chunk = excluded.chunk;

-- name: LogRead
select off, chunk from job_log
where job_id = $1 and kind = $2 and off >= coalesce(
    (select l.off from job_log l where l.job_id = $1 and l.kind = $2 and l.off <= $3 order by l.off desc limit 1), 0)
union all
select log_off, log_tail from done where id = $1 and $2 = 0 and log_tail is not null
order by 1;

-- name: LogForget
delete from job_log where job_id = any($1);

-- name: BlobPut
with old as (
    update blob set last_used = now() where hash = $1 returning hash
), new as (
    insert into blob (hash, size, data)
    select $1::bytea, $2::int8, $3::bytea
    where not exists (select 1 from old) and (select coalesce(sum(size), 0) from blob) + $2::int8 <= $4::int8
    on conflict (hash) do update set last_used = now()
    returning hash
)
select exists (select 1 from old union all select 1 from new);

-- name: BlobTouch
update blob set last_used = now() where hash = $1 returning size;

-- name: BlobSweep
delete from blob where hash in (
    select hash from blob b where b.last_used < now() - $1::interval
        and not exists (select 1 from job where args_blob = b.hash)
        and not exists (select 1 from done where result_blob = b.hash)
    limit 1000 for update skip locked)
    and last_used < now() - $1::interval;

-- name: BlobUsage
select count(*), coalesce(sum(size), 0)::int8 from blob;
