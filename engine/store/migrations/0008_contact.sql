-- What runs contacted: names asked for and addresses, told when a run's last process has ended. Only runs that contacted something
-- have a row; insert-only and in partitions by job, as job_log is.

create table contact (
    job_id uuid not null,
    at     timestamptz not null default now(),
    list   json not null
) partition by range (job_id);
create index contact_job on contact (job_id);
create table contact_default partition of contact default;
