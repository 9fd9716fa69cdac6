-- What scripts and flows read by name.

create table variable (
    workspace   text collate "C" not null references workspace (id),
    path        text collate "C" not null,
    value       text not null,                  -- of a secret: base64 of what engine/secret sealed
    is_secret   boolean not null,
    description text not null default '',
    expires_at  timestamptz,
    edited_by   text not null,
    edited_at   timestamptz not null default now(),
    primary key (workspace, path)
);

create table resource (
    workspace   text collate "C" not null references workspace (id),
    path        text collate "C" not null,
    type        text collate "C" not null,
    value       json not null,
    description text not null default '',
    created_by  text not null,
    edited_by   text not null,
    edited_at   timestamptz not null default now(),
    primary key (workspace, path)
);

create table resource_type (
    workspace        text collate "C" not null references workspace (id),
    name             text collate "C" not null,
    schema           json,
    description      text not null default '',
    format_extension text not null default '',
    is_fileset       boolean not null default false,
    edited_by        text not null,
    edited_at        timestamptz not null default now(),
    primary key (workspace, name)
);

-- The mark of the key that secrets are sealed with: a daemon with another key must not seal or open any. The key itself is never here.
create table secret_key (
    one  boolean primary key default true check (one),
    mark text not null
);
