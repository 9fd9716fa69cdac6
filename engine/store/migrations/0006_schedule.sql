-- Schedules, the calendars that they leave out, and the ledger of their ticks: one line for a tick, ever. Every daemon fires from
-- these tables; what is due is locked, noted and moved on in one transaction, and a line keeps the id of its job from before the job
-- is pushed.

create table schedule (
    workspace       text collate "C" not null references workspace (id),
    path            text collate "C" not null,
    summary         text not null,
    description     text not null,
    cron            text not null,
    cron_version    text not null,
    timezone        text not null,
    enabled         bool not null,
    paused_until    timestamptz,
    script_path     text collate "C" not null,
    is_flow         bool not null,
    args            json,                       -- as sent
    tag             text not null,
    missed          text not null,
    overlap         text not null,
    catch_up_limit  int4 not null,
    grace_ms        int8 not null,
    calendars       text[] collate "C" not null,
    handlers        json not null,              -- {"failure": ..., "recovery": ..., "success": ...}, those there are
    extra           json,                       -- further fields as sent
    permissioned_as text not null,
    email           text not null,
    edited_by       text not null,
    edited_at       timestamptz not null default now(),
    next_at         timestamptz,                -- the first tick that is not in the ledger; null: none, or not enabled
    error           text not null default '',
    fails           int4 not null default 0,    -- runs in a row that failed
    wins            int4 not null default 0,    -- runs in a row that succeeded
    broken          bool not null default false, -- it failed often enough to be reported, and has not recovered
    primary key (workspace, path)
) with (fillfactor = 70);
create index schedule_next on schedule (next_at) where enabled and next_at is not null;

create table tick (
    workspace  text collate "C" not null,
    path       text collate "C" not null,
    at         timestamptz not null,
    state      text collate "C" not null,       -- engine.TickState
    count      int4 not null default 1,         -- ticks that the line stands for
    job        uuid,
    claimed_at timestamptz,                     -- a due tick that somebody pushes since then; null: it waits
    backfill   bool not null default false,
    fired_at   timestamptz,
    success    bool,
    streak     int4 not null default 0,         -- runs in a row that ended like this one
    handler    uuid,                            -- the run of the failure or success handler
    recovery   uuid,                            -- the run of the recovery handler
    pending    bool not null default false,     -- handlers are still to be pushed
    error      text not null default '',
    primary key (workspace, path, at),
    foreign key (workspace, path) references schedule (workspace, path) on delete cascade
) with (fillfactor = 80);
create index tick_due on tick (workspace, path, at) where state = 'due';
create index tick_fired on tick (job) where state = 'fired';
create index tick_running on tick (workspace, path) where state = 'fired';
create index tick_recent on tick (workspace, at desc);
create index tick_pending on tick (claimed_at) where pending;

create table calendar (
    workspace text collate "C" not null references workspace (id),
    path      text collate "C" not null,
    summary   text not null,
    days      text[] not null,
    weekdays  text[] not null,
    edited_by text not null,
    edited_at timestamptz not null default now(),
    primary key (workspace, path)
);
