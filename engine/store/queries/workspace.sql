-- Statements over workspace and member.

-- name: WorkspaceList
select id, name, owner, created_at from workspace order by id;

-- name: WorkspaceInsert
insert into workspace (id, name, owner) values ($1, $2, $3);

-- name: WorkspaceNotify
select pg_notify('auth', 'workspace');

-- name: MemberList
select workspace, username, role from member;

-- name: MemberPut
insert into member (workspace, username, email, role) values ($1, $2, $3, $4)
on conflict (workspace, username) do update set email = coalesce(nullif(excluded.email, ''), member.email), role = excluded.role;

-- name: MemberDelete
delete from member where workspace = $1 and username = $2;

-- name: MemberShow
select username, email, role = 'admin' from member where workspace = $1 order by username;

-- name: MemberByEmail
-- Of the workspaces that an email is a member of, the first.
select workspace, username from member where email = $1 and ($2 = '' or workspace = $2) order by workspace limit 1;
