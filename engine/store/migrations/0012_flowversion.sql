-- Versions of deployed flows. A row never changes except for its state (current, archived), its locks and, when the flow moves, its
-- path. Announced on the channel "catalog", as scripts are.

create table flow_version (
    version    int8 generated always as identity primary key,
    workspace  text collate "C" not null references workspace on delete cascade,
    path       text collate "C" not null,
    summary    text not null,
    doc        text not null,
    value      json not null,                   -- json, not jsonb: kept as sent
    schema     json,
    locks      json,                            -- by module; null: to be resolved
    lock_error text not null default '',
    tag        text collate "C" not null,
    timeout_ms int8 not null,
    current    boolean not null default true,   -- what its path stands for
    archived   boolean not null default false,
    created_by text collate "C" not null,
    created_at timestamptz not null default now(),
    message    text not null,
    extra      json
);
create unique index flow_version_current on flow_version (workspace, path) where current;
create index flow_version_history on flow_version (workspace, path, version desc);
