-- Statements over script. Full rows have the columns of scanScript, short ones those of scanScriptShort.

-- name: ScriptCurrent
select workspace, hash, path, parents, summary, doc, content, language, kind, schema, lock, lock_error, tag, timeout_ms,
       network, archived, deleted, created_by, created_at, message, extra
from script where workspace = $1 and path = $2 and current;

-- name: ScriptByHash
select workspace, hash, path, parents, summary, doc, content, language, kind, schema, lock, lock_error, tag, timeout_ms,
       network, archived, deleted, created_by, created_at, message, extra
from script where workspace = $1 and hash = $2;

-- name: ScriptLockPath
select pg_advisory_xact_lock(hashtextextended($1 || '/' || $2, 0));

-- name: ScriptNewest
select workspace, hash, path, parents, summary, doc, content, language, kind, schema, lock, lock_error, tag, timeout_ms,
       network, archived, deleted, created_by, created_at, message, extra, current
from script where workspace = $1 and path = $2 order by seq desc limit 1;

-- name: ScriptSupersede
update script set current = false where workspace = $1 and path = $2 and current;

-- name: ScriptInsert
insert into script (workspace, hash, path, parents, summary, doc, content, language, kind, schema, lock, tag, timeout_ms,
                    network, created_by, message, extra)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
on conflict (workspace, hash) do nothing;

-- name: ScriptNotify
select pg_notify('catalog', $1 || '/' || $2);

-- name: ScriptList
select workspace, hash, path, parents, summary, doc, language, kind, lock_error, tag, timeout_ms, network, archived, deleted,
       created_by, created_at, message, extra
from script
where workspace = $1 and current
  and ($2 = '' or path = $2) and ($3 = '' or starts_with(path, $3))
  and ($4 = '' or created_by = $4) and ($5 = '' or language = $5)
order by seq desc limit $6 offset $7;

-- name: ScriptListArchived
select workspace, hash, path, parents, summary, doc, language, kind, lock_error, tag, timeout_ms, network, archived, deleted,
       created_by, created_at, message, extra
from script s
where workspace = $1 and archived
  and not exists (select from script n where n.workspace = s.workspace and n.path = s.path and n.seq > s.seq)
  and ($2 = '' or path = $2) and ($3 = '' or starts_with(path, $3))
  and ($4 = '' or created_by = $4) and ($5 = '' or language = $5)
order by seq desc limit $6 offset $7;

-- name: ScriptHistory
select workspace, hash, path, parents, summary, doc, language, kind, lock_error, tag, timeout_ms, network, archived, deleted,
       created_by, created_at, message, extra
from script where workspace = $1 and path = $2 order by seq desc;

-- name: ScriptArchive
update script set current = false, archived = true
where workspace = $1 and path = $2 and exists (select from script where workspace = $1 and path = $2 and current);

-- name: ScriptDelete
update script set current = false, archived = true, deleted = true, content = '', schema = null, lock = '', lock_error = '',
                  extra = null
where workspace = $1 and hash = $2 and not deleted returning path;

-- name: ScriptSetLock
update script set lock = $3, lock_error = $4 where workspace = $1 and hash = $2 and not deleted returning path;

-- name: ScriptPaths
select path from script where workspace = $1 and current order by seq desc limit $2;
