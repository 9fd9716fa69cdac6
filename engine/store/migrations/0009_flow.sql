-- Flows at work. A run is one list of modules at work: the flow itself, the flow of a step, an iteration, a branch. It is a job too,
-- with a row in q (state 6: neither queued nor held by a worker) while it lasts. flow_run has its state, which stays small; what its
-- modules came to is in flow_step, a row each, or with the jobs that name their step.

alter table job add column step text collate "C", add column item int4;

create table flow_run (
    id    uuid not null,
    root  uuid not null,                        -- the outermost run
    def   uuid not null,                        -- the run whose job says what the flow is: the nearest one that is a whole flow
    place text not null,                        -- of the list of modules in it: "", "a/loop", "a/loop/b/branch-2"
    rev   int4 not null default 0,              -- how many events it has seen; the fence
    token int8 not null default 0,              -- of the operation that made it so
    state json not null,
    primary key (id)
) partition by range (id);
create table flow_run_default partition of flow_run default;

create table flow_step (
    run     uuid not null,
    n       int4 not null,                      -- in the order of their ends
    module  text collate "C" not null,
    item    int4,                               -- of a loop or branches; null: of the module itself
    ok      boolean not null,
    skipped boolean not null,
    job     uuid,                               -- that has the result; null: it is here
    value   json,
    primary key (run, n)
) partition by range (run);
create table flow_step_default partition of flow_step default;

create index q_flow on q (scheduled_for) where state = 6;
