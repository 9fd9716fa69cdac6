-- Limits. A job with a limit is inserted as waiting (q.state 5) and admitted, which makes it queued or running, while fewer than
-- gate.slots rows of its gate are. What counts are the rows of q themselves: there is no counter that a crash could leave wrong.

create table gate (
    id        int4 generated always as identity primary key,
    workspace text collate "C" not null,
    key       text collate "C" not null,
    slots     int4 not null check (slots > 0),
    window_ms int8 not null check (window_ms >= 0), -- 0: so many at the same time; otherwise so many starts within it
    last_used timestamptz not null default now(), -- to the day or so
    unique (workspace, key)
);
create index gate_age on gate (last_used);

-- Starts of completed jobs that are still within the window of their gate. Those that are not completed are rows of q.
create table gate_use (
    gate int4 not null,
    at   timestamptz not null,
    job  uuid not null,
    primary key (gate, at, job)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

create index q_wait on q (gate, prio desc, scheduled_for, id) where state = 5;
-- "tag is not null" is always true. It keeps the index from statements that do not ask for a tag: without statistics this one and
-- q_wait look equally cheap to the planner.
create index q_wait_tag on q (tag) where state = 5 and tag is not null;
create index q_gate on q (gate) where gate is not null and state <> 5;

-- The job that stands for the latest requests of a key, while it waits.
create table debounce (
    workspace text collate "C" not null,
    key       text collate "C" not null,
    job_id    uuid not null,
    first_at  timestamptz not null,
    count     int4 not null,
    used_at   timestamptz not null,
    primary key (workspace, key)
);
create index debounce_age on debounce (used_at);
