-- Results that may stand for further runs of the same code with the same arguments. The result stays with the job that has it; how long
-- it is good counts from that job's end.

create table cache (
    key     bytea primary key,                  -- sha256 of the workspace, the code and the arguments
    job     uuid not null,
    ttl     interval not null,
    expires timestamptz not null                -- the row is of no use any more
);
create index cache_age on cache (expires);

-- Runs of flows whose data is to be deleted some time after their end: all of it, or that of one step.
create table purge (
    run  uuid not null,
    step text collate "C" not null,             -- "": all
    root uuid not null,                         -- the outermost run; what it may still read stays until its end
    at   timestamptz not null,
    primary key (run, step)
);
create index purge_due on purge (at);
