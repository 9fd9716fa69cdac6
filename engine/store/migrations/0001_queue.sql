-- The queue. What is hot is small: q has a narrow row for each job that is queued or running, deleted when the job is done.
-- What is large is written once: job (what was asked), done (how it ended) and job_log (what it said) are insert-only and
-- partitioned by id. Ids are UUIDv7, so a range of ids is a range of time and retention is DROP TABLE. The partitions of
-- the coming weeks are made by maintenance; ids of other kinds land in the default partitions.

create table q (
    id            uuid primary key,
    scheduled_for timestamptz not null,
    started_at    timestamptz,
    worker        int4 not null default 0,
    attempt       int4 not null default 0,
    prio          int2 not null default 0,
    state         int2 not null default 0,      -- 0 queued, 1 running
    lost          int2 not null default 0,      -- how often its worker vanished
    tag           text collate "C" not null,
    canceled_by   text,                         -- a running job that is to be killed
    cancel_reason text
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);

-- Jobs that were dispatched directly are inserted as running and never enter this index.
create index q_ready on q (tag, prio desc, scheduled_for, id) where state = 0;
create index q_cancel on q (worker) where canceled_by is not null;

create table job (
    id              uuid not null,
    created_at      timestamptz not null,
    scheduled_for   timestamptz not null,
    hash            int8 not null,
    timeout_ms      int8 not null,
    parent          uuid,
    prio            int2 not null,
    workspace       text collate "C" not null,
    kind            text collate "C" not null,
    tag             text collate "C" not null,
    path            text collate "C" not null,
    created_by      text collate "C" not null,
    email           text collate "C" not null,
    permissioned_as text collate "C" not null,
    language        text collate "C" not null,
    network         text collate "C" not null,
    trigger         text collate "C" not null,
    trigger_path    text collate "C" not null,
    idempotency_key text collate "C" not null,
    source          text,
    lock            text,
    args            json,                       -- as sent, order of keys kept; null when in a blob
    args_blob       bytea,
    primary key (id)
) partition by range (id);
create index job_recent on job (workspace, created_at, id);
create index job_parent on job (parent) where parent is not null;
create index job_args_blob on job (args_blob) where args_blob is not null;
create table job_default partition of job default;

create table done (
    id            uuid not null,
    started_at    timestamptz,
    finished_at   timestamptz not null,
    worker        int4 not null,
    attempt       int4 not null,
    state         int2 not null,                -- 2 success, 3 failure, 4 canceled
    cpu_us        int8 not null,
    memory_peak   int8 not null,
    canceled_by   text,
    cancel_reason text,
    result        json,
    result_blob   bytea,
    log_off       int8 not null,
    log_tail      bytea,                        -- the end of the log, from log_off on, after the chunks of job_log
    primary key (id)
) partition by range (id);
create index done_failed on done (id) where state <> 2;
create index done_result_blob on done (result_blob) where result_blob is not null;
create table done_default partition of done default;

-- Chunks of a job's live log (kind 0) and result stream (kind 1). Bytes, because a chunk may end within a character.
create table job_log (
    job_id uuid not null,
    kind   int2 not null,
    off    int8 not null,
    chunk  bytea not null,
    primary key (job_id, kind, off)
) partition by range (job_id);
create table job_log_default partition of job_log default;

-- A process that takes jobs, one row a start. The lease of all its jobs is its heartbeat.
create table worker (
    id        int4 generated always as identity primary key,
    host      text not null,
    pid       int4 not null,
    name      text not null,
    version   text not null,
    tags      text[] not null,
    slots     int4 not null,
    busy      int4 not null default 0,
    started   timestamptz not null default now(),
    heartbeat timestamptz not null default now(),
    gone      timestamptz                       -- stopped, or given up by a rescuer; never comes back
);
create index worker_live on worker (heartbeat) where gone is null;

-- Arguments and results that are too large for their row, by content.
create table blob (
    hash      bytea primary key,                -- sha256 of data
    size      int8 not null,
    last_used timestamptz not null default now(),
    data      bytea not null
);
alter table blob alter column data set storage external;

create table idempotency (
    workspace  text collate "C" not null,
    key        text collate "C" not null,
    job_id     uuid not null,
    created_at timestamptz not null default now(),
    primary key (workspace, key)
);
create index idempotency_age on idempotency (created_at);
