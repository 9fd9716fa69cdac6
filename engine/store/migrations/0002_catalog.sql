-- Who may do what, and the scripts. All of it is small, read through memory and dropped from there by NOTIFY: channel "auth"
-- for the first four tables, "catalog" for scripts.

create table workspace (
    id         text collate "C" primary key,
    name       text not null,
    owner      text not null,                   -- email
    created_at timestamptz not null default now()
);

create table account (
    email      text collate "C" primary key,
    username   text collate "C" not null unique,
    admin      boolean not null default false,  -- of the instance
    created_at timestamptz not null default now()
);

create table member (
    workspace text collate "C" not null references workspace on delete cascade,
    username  text collate "C" not null,
    email     text collate "C" not null,
    role      text not null check (role in ('admin', 'developer')),
    primary key (workspace, username)
);

create table token (
    hash       bytea primary key,               -- sha256 of the secret, which is nowhere
    prefix     text collate "C" not null unique,
    label      text not null,
    username   text collate "C" not null,
    email      text collate "C" not null,
    admin      boolean not null,
    workspace  text collate "C" references workspace on delete cascade,
    created_at timestamptz not null default now(),
    last_used  timestamptz,                     -- to the minute or so
    expires_at timestamptz
);
create index token_owner on token (username);

-- Keys that all daemons of this database share, such as the one that signs the tokens of jobs.
create table instance_key (
    name       text primary key,
    value      bytea not null,
    created_at timestamptz not null default now()
);

-- Versions of scripts. A row never changes except for its state (current, archived, deleted) and its lock. A deleted version
-- keeps its row, without content, because jobs and later versions name it.
create table script (
    workspace  text collate "C" not null references workspace on delete cascade,
    hash       int8 not null,
    seq        int8 generated always as identity, -- order of versions
    path       text collate "C" not null,
    parents    int8[] not null,                 -- newest first
    summary    text not null,
    doc        text not null,
    content    text not null,
    language   text collate "C" not null,
    kind       text collate "C" not null,
    schema     json,                            -- json, not jsonb: kept as sent
    lock       text,                            -- null: to be resolved; '': needs nothing
    lock_error text not null default '',
    tag        text collate "C" not null,
    timeout_ms int8 not null,
    network    text collate "C" not null,
    current    boolean not null default true,   -- what its path stands for
    archived   boolean not null default false,
    deleted    boolean not null default false,
    created_by text collate "C" not null,
    created_at timestamptz not null default now(),
    message    text not null,
    extra      json,
    primary key (workspace, hash)
);
create unique index script_current on script (workspace, path) where current;
create index script_history on script (workspace, path, seq desc);

insert into workspace (id, name, owner) values ('main', 'main', 'admin@localhost'), ('admins', 'admins', 'admin@localhost');
insert into account (email, username, admin) values ('admin@localhost', 'admin', true);
insert into member (workspace, username, email, role)
values ('main', 'admin', 'admin@localhost', 'admin'), ('admins', 'admin', 'admin@localhost', 'admin');
