-- Groups of people, for what only some of a workspace's members may do: approving a step of a flow. Small, and read through memory like
-- workspaces and members; channel "auth" tells of changes. The group all is every member and has no rows.

create table user_group (
    workspace text collate "C" not null references workspace on delete cascade,
    name      text collate "C" not null,
    summary   text not null,
    primary key (workspace, name)
);

create table user_group_member (
    workspace text collate "C" not null,
    name      text collate "C" not null,
    username  text collate "C" not null,
    primary key (workspace, name, username),
    foreign key (workspace, name) references user_group on delete cascade,
    foreign key (workspace, username) references member on delete cascade
);
