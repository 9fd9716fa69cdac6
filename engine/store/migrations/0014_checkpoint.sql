-- What workflows as code have asked for, a row each. When a workflow is started anew it gets these answers again.

create table checkpoint (
    job     uuid not null,                      -- the workflow's
    n       int4 not null,                      -- in the order in which it asked
    key     text not null,                      -- the name, and how often it was asked for before: "load", "load_2"
    kind    text not null,                      -- step, task, sleep, approval
    name    text not null,
    ok      boolean,                            -- null: not over, or, of a task, the job knows
    value   json,                               -- null: JSON's null; of a failed step its error
    child   uuid,                               -- the job of a task, the latest when it is tried again
    tries   int4 not null,                      -- how often the task was tried before
    due     timestamptz,                        -- when it is over by itself
    options json,                               -- of a task
    at      timestamptz not null default clock_timestamp(),
    primary key (job, n)
) partition by range (job);
create table checkpoint_default partition of checkpoint default;
