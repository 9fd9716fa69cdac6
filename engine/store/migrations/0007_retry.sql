-- Further attempts of ticks whose job failed, and the scripts that decide whether a tick runs. As with handlers, the id of what is to
-- be pushed is in the line before it is pushed, and pending says that it still has to be.

alter table tick
    add column attempts int4 not null default 1,       -- jobs that the tick has had, the one in job being the latest
    add column former   uuid,                          -- the attempt before the latest
    add column retry_at timestamptz,                   -- the moment for which the latest attempt is scheduled; null: it is the first
    add column final    bool not null default false,   -- no further attempt: one could not be pushed
    add column guard    uuid,                          -- the run of the schedule's dynamic_skip
    add column guarding bool not null default false;   -- due, and its guard has not answered yet
create index tick_guarding on tick (guard) where guarding;
