-- Statements over flow_version. Full rows have the columns of scanFlow, short ones those of scanFlowShort.

-- name: FlowVersionCurrent
select workspace, version, path, summary, doc, value, schema, locks, lock_error, tag, timeout_ms, archived, created_by, created_at,
       message, extra
from flow_version where workspace = $1 and path = $2 and current;

-- name: FlowVersionGet
select workspace, version, path, summary, doc, value, schema, locks, lock_error, tag, timeout_ms, archived, created_by, created_at,
       message, extra
from flow_version where version = $2 and workspace = $1;

-- name: FlowVersionLockPath
select pg_advisory_xact_lock(hashtextextended('flow/' || $1 || '/' || $2, 0));

-- name: FlowVersionSupersede
update flow_version set current = false where workspace = $1 and path = $2 and current;

-- name: FlowVersionInsert
insert into flow_version (workspace, path, summary, doc, value, schema, locks, tag, timeout_ms, created_by, message, extra)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
returning version;

-- name: FlowVersionMove
update flow_version set path = $3 where workspace = $1 and path = $2;

-- name: FlowVersionList
select workspace, version, path, summary, doc, lock_error, tag, timeout_ms, archived, created_by, created_at, message, extra
from flow_version
where workspace = $1 and current
  and ($2 = '' or path = $2) and ($3 = '' or starts_with(path, $3)) and ($4 = '' or created_by = $4)
order by version desc limit $5 offset $6;

-- name: FlowVersionListArchived
select workspace, version, path, summary, doc, lock_error, tag, timeout_ms, archived, created_by, created_at, message, extra
from flow_version v
where workspace = $1 and archived
  and not exists (select from flow_version n where n.workspace = v.workspace and n.path = v.path and n.version > v.version)
  and ($2 = '' or path = $2) and ($3 = '' or starts_with(path, $3)) and ($4 = '' or created_by = $4)
order by version desc limit $5 offset $6;

-- name: FlowVersionHistory
select workspace, version, path, summary, doc, lock_error, tag, timeout_ms, archived, created_by, created_at, message, extra
from flow_version where workspace = $1 and path = $2 order by version desc;

-- name: FlowVersionArchive
update flow_version set current = false, archived = true
where workspace = $1 and path = $2 and exists (select from flow_version where workspace = $1 and path = $2 and current);

-- name: FlowVersionUnarchive
update flow_version set archived = false, current = version = (select max(version) from flow_version where workspace = $1 and path = $2)
where workspace = $1 and path = $2 and not exists (select from flow_version where workspace = $1 and path = $2 and current);

-- name: FlowVersionDelete
delete from flow_version where workspace = $1 and path = $2;

-- name: FlowVersionSetLocks
update flow_version set locks = $3, lock_error = $4 where workspace = $1 and version = $2 returning path;

-- name: FlowVersionPaths
select path from flow_version where workspace = $1 and current order by version desc limit $2;
