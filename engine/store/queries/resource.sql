-- Statements over resource and resource_type. Full rows have the columns of scanResource and scanResourceType.

-- name: ResourceInsert
insert into resource (workspace, path, type, value, description, created_by, edited_by)
values ($1, $2, $3, $4, $5, $6, $6)
on conflict (workspace, path) do nothing;

-- name: ResourcePut
-- As ResourceInsert, but what is there is replaced.
insert into resource (workspace, path, type, value, description, created_by, edited_by)
values ($1, $2, $3, $4, $5, $6, $6)
on conflict (workspace, path) do update
set type = excluded.type, value = excluded.value, description = excluded.description, edited_by = excluded.edited_by, edited_at = now();

-- name: ResourceGet
select workspace, path, type, value, description, created_by, edited_by, edited_at
from resource where workspace = $1 and path = $2;

-- name: ResourceList
select workspace, path, type, value, description, created_by, edited_by, edited_at
from resource
where workspace = $1 and ($2 = '' or path = $2) and ($3 = '' or starts_with(path, $3))
  and ($4 = '' or type = any(string_to_array($4, ','))) and ($5 = '' or not type = any(string_to_array($5, ',')))
order by path limit $6 offset $7;

-- name: ResourceUpdate
-- Null keeps.
update resource set path = coalesce($3, path), type = coalesce($4, type), value = coalesce($5, value),
    description = coalesce($6, description), edited_by = $7, edited_at = now()
where workspace = $1 and path = $2;

-- name: ResourceDelete
delete from resource where workspace = $1 and path = $2;

-- name: ResourceTypePut
-- $8: whether one that is there is replaced.
insert into resource_type (workspace, name, schema, description, format_extension, is_fileset, edited_by)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (workspace, name) do update
set schema = excluded.schema, description = excluded.description, format_extension = excluded.format_extension,
    is_fileset = excluded.is_fileset, edited_by = excluded.edited_by, edited_at = now()
where $8;

-- name: ResourceTypeGet
select workspace, name, schema, description, format_extension, is_fileset, edited_by, edited_at
from resource_type where workspace = $1 and name = $2;

-- name: ResourceTypeList
select workspace, name, schema, description, format_extension, is_fileset, edited_by, edited_at
from resource_type where workspace = $1 order by name;

-- name: ResourceTypeDelete
delete from resource_type where workspace = $1 and name = $2;
