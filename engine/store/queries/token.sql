-- Statements over token and instance_key.

-- name: TokenInsert
insert into token (hash, prefix, label, username, email, admin, workspace, expires_at)
values ($1, $2, $3, $4, $5, $6, nullif($7, ''), $8) returning created_at;

-- name: TokenByHash
select prefix, label, username, email, admin, coalesce(workspace, ''), created_at, last_used, expires_at
from token where hash = $1;

-- name: TokenList
select prefix, label, username, email, admin, coalesce(workspace, ''), created_at, last_used, expires_at
from token where $1 = '' or username = $1 order by created_at, prefix;

-- name: TokenDelete
with gone as (delete from token where prefix = $1 and ($2 = '' or username = $2) returning prefix)
select count(pg_notify('auth', 'token')) from gone;

-- name: TokenDeleteBound
with gone as (delete from token where workspace = $1 and username = $2 returning prefix)
select count(pg_notify('auth', 'token')) from gone;

-- name: TokenTouch
update token set last_used = now() where hash = $1 and (last_used is null or last_used < now() - interval '1 minute');

-- name: InstanceKeyInsert
insert into instance_key (name, value) values ($1, $2) on conflict do nothing;

-- name: InstanceKeyGet
select value from instance_key where name = $1;
