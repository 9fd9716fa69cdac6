-- What people and clients do to flows at work: answers to those that wait for approval, values that their steps leave for each other,
-- and where a run takes up what another one did.

-- The key that links to approvals are signed with; made once.
create table workspace_key (
    workspace text collate "C" not null references workspace on delete cascade,
    key       bytea not null,
    primary key (workspace)
);

create table flow_vote (
    job       uuid not null,                    -- whom it was asked for: the job of a step, or the run of a flow
    resume_id int8 not null,                    -- which of the links
    run       uuid,                             -- with module: the gate that it counts for; null: none has taken it yet
    module    text collate "C",
    approved  boolean not null,
    approver  text not null,                    -- as it is shown
    account   text not null,                    -- the user's name; '': without an account
    payload   json,
    at        timestamptz not null default clock_timestamp(),
    primary key (job, resume_id)
) partition by range (job);
create index flow_vote_run on flow_vote (run, module) where run is not null;
create table flow_vote_default partition of flow_vote default;

create table flow_user_state (
    run   uuid not null,                        -- the outermost
    key   text collate "C" not null,
    value json not null,
    primary key (run, key)
) partition by range (run);
create table flow_user_state_default partition of flow_user_state default;

create table flow_restart (
    id     uuid not null,                       -- the job that was not begun yet
    origin json not null,                       -- where it begins, and the runs whose results it takes
    primary key (id)
) partition by range (id);
create table flow_restart_default partition of flow_restart default;
