-- Statements over variable and secret_key. Full rows have the columns of scanVariable.

-- name: VariableInsert
insert into variable (workspace, path, value, is_secret, description, expires_at, edited_by)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (workspace, path) do nothing;

-- name: VariableGet
select workspace, path, value, is_secret, description, expires_at, edited_by, edited_at
from variable where workspace = $1 and path = $2;

-- name: VariableList
select workspace, path, value, is_secret, description, expires_at, edited_by, edited_at
from variable where workspace = $1 and ($2 = '' or path = $2) and ($3 = '' or starts_with(path, $3))
order by path limit $4 offset $5;

-- name: VariableUpdate
-- What was read with the value $8 is replaced, unless somebody else was faster.
update variable set path = $3, value = $4, is_secret = $5, description = $6, edited_by = $7, edited_at = now()
where workspace = $1 and path = $2 and value = $8;

-- name: VariableDelete
delete from variable where workspace = $1 and path = $2;

-- name: SecretKeyClaim
insert into secret_key (mark) values ($1) on conflict (one) do nothing;

-- name: SecretKeyMark
select mark from secret_key;
