-- A batch is many runs of one script asked for at once. The id of its row n is the batch's id plus n (the low 32 bits of a
-- batch's id are zero), so a row that is sent again is the same job, and the jobs of a batch are one range of the primary keys.

create table batch (
    id              uuid primary key,
    workspace       text collate "C" not null,
    name            text not null default '',
    kind            text collate "C" not null,
    path            text collate "C" not null,
    script          int8 not null,              -- hash of the script version, 0: none
    state           int2 not null default 0,    -- 0 receiving, 1 running, 2 canceled, 3 failed; a running one is done when done = total
    keep            bool not null default false,-- what was inserted stays when receiving fails
    total           int8,                       -- null while rows are being received
    inserted        int8 not null default 0,    -- rows that are durable, all from the first on
    done            int8 not null default 0,    -- completed jobs, whatever the outcome
    failed          int8 not null default 0,
    canceled        int8 not null default 0,
    created_by      text collate "C" not null,
    created_at      timestamptz not null default now(),
    touched_at      timestamptz not null default now(), -- by its receiver; an old one is a dead receiver
    interrupted_at  timestamptz,                -- when receiving broke off; it may be taken up
    received_at     timestamptz,
    finished_at     timestamptz,
    error           text,
    canceled_by     text collate "C",
    cancel_reason   text,
    source          uuid,                       -- the batch whose rows it runs again
    idempotency_key text collate "C"
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- No index holds a counter, so that counting stays within the page.
create index batch_recent on batch (workspace, id);
create index batch_open on batch (id) where finished_at is null;
create unique index batch_key on batch (workspace, idempotency_key) where idempotency_key is not null;

-- The jobs of a batch are a range of the keys of job, q and done: an index of job by batch would double what its rows cost. The
-- running ones, never many, are counted at every look.
drop index job_batch;
drop index q_batch;
create index q_batch on q (batch) where batch is not null and state = 1;
