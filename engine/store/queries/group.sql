-- Statements over user_group and user_group_member. Who changes them tells so by WorkspaceNotify.

-- name: GroupAll
-- Of all workspaces: a row for each group, with its members in order.
select g.workspace, g.name, g.summary, coalesce(array_agg(m.username order by m.username) filter (where m.username is not null), '{}')
from user_group g left join user_group_member m on m.workspace = g.workspace and m.name = g.name
group by g.workspace, g.name order by g.workspace, g.name;

-- name: GroupInsert
insert into user_group (workspace, name, summary) values ($1, $2, $3);

-- name: GroupUpdate
update user_group set summary = $3 where workspace = $1 and name = $2;

-- name: GroupDelete
delete from user_group where workspace = $1 and name = $2;

-- name: GroupMemberPut
insert into user_group_member (workspace, name, username) values ($1, $2, $3) on conflict do nothing;

-- name: GroupMemberDelete
delete from user_group_member where workspace = $1 and name = $2 and username = $3;
