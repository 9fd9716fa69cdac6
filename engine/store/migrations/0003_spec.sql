-- What jobs of one runnable, asked for by one person in one way, have in common is stored once (spec), and a job's row holds
-- its number: a third less work for every insert, and the runs of one script are found by an index. Jobs may belong to a
-- batch, and may wait for a limit (state 5, gate).

create table spec (
    id              int4 generated always as identity primary key,
    hash            uuid not null unique,       -- the first half of sha256 of what follows
    workspace       text collate "C" not null,
    kind            text collate "C" not null,
    tag             text collate "C" not null,
    path            text collate "C" not null,
    script          int8 not null,              -- hash of the script version, 0: none
    prio            int2 not null,
    timeout_ms      int8 not null,
    language        text collate "C" not null,
    network         text collate "C" not null,
    created_by      text collate "C" not null,
    email           text collate "C" not null,
    permissioned_as text collate "C" not null,
    trigger         text collate "C" not null,
    trigger_path    text collate "C" not null,
    last_used       timestamptz not null default now() -- to the day or so
);
create index spec_path on spec (workspace, path);
create index spec_age on spec (last_used);

insert into spec (hash, workspace, kind, tag, path, script, prio, timeout_ms, language, network, created_by, email, permissioned_as,
    trigger, trigger_path)
select gen_random_uuid(), s.* from (select distinct workspace, kind, tag, path, hash, prio, timeout_ms, language, network, created_by,
    email, permissioned_as, trigger, trigger_path from job) s;

create table job_next (
    id              uuid not null,
    created_at      timestamptz not null,
    scheduled_for   timestamptz not null,
    spec            int4 not null,
    workspace       text collate "C" not null,
    args            json,                       -- as sent, order of keys kept; null when in a blob
    parent          uuid,
    batch           uuid,
    idempotency_key text collate "C",
    source          text,
    lock            text,
    args_blob       bytea,
    primary key (id)
) partition by range (id);
create table job_next_default partition of job_next default;

-- The weeks stay the weeks.
do $$
declare p record;
begin
    for p in select c.relname, pg_get_expr(c.relpartbound, c.oid) as bound
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'job'::regclass and c.relname <> 'job_default'
    loop
        execute format('alter table %I rename to %I', p.relname, 'old_' || p.relname);
        execute format('alter index %I rename to %I', p.relname || '_pkey', 'old_' || p.relname || '_pkey');
        execute format('create table %I partition of job_next %s', p.relname, p.bound);
    end loop;
end $$;

insert into job_next (id, created_at, scheduled_for, spec, workspace, args, parent, idempotency_key, source, lock, args_blob)
select j.id, j.created_at, j.scheduled_for, s.id, j.workspace, j.args, j.parent, nullif(j.idempotency_key, ''), j.source, j.lock, j.args_blob
from job j join spec s on (s.workspace, s.kind, s.tag, s.path, s.script, s.prio, s.timeout_ms, s.language, s.network, s.created_by,
    s.email, s.permissioned_as, s.trigger, s.trigger_path)
    = (j.workspace, j.kind, j.tag, j.path, j.hash, j.prio, j.timeout_ms, j.language, j.network, j.created_by,
    j.email, j.permissioned_as, j.trigger, j.trigger_path);

drop table job;
alter table job_next rename to job;
alter table job_next_default rename to job_default;
alter index job_next_pkey rename to job_pkey;
alter index job_next_default_pkey rename to job_default_pkey;

create index job_recent on job (workspace, created_at, id);
create index job_spec on job (spec, created_at, id);
create index job_parent on job (parent) where parent is not null;
create index job_batch on job (batch, id) where batch is not null;
create index job_args_blob on job (args_blob) where args_blob is not null;

-- q.state: 0 queued, 1 running, 5 waits for its limit
alter table q add column gate int4, add column batch uuid, add column spec int4; -- spec: to count by workspace
update q set spec = job.spec from job where job.id = q.id;
create index q_batch on q (batch) where batch is not null;
