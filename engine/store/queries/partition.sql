-- name: PartitionList
select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = $1::text::regclass order by 1;

-- name: PartitionLock
select pg_try_advisory_lock($1);

-- name: PartitionUnlock
select pg_advisory_unlock($1);

-- name: PartitionBusy
select exists (select 1 from q where id >= $1 and id < $2);

-- name: PartitionDefaultExpire
with old as (
    delete from done_default where finished_at < $1 returning id
), logs as (
    delete from job_log_default where job_id in (select id from old)
), contacts as (
    delete from contact_default where job_id in (select id from old)
), runs as (
    delete from flow_run_default where id in (select id from old)
), steps as (
    delete from flow_step_default where run in (select id from old)
), checkpoints as (
    delete from checkpoint_default where job in (select id from old)
), votes as (
    delete from flow_vote_default where job in (select id from old)
), states as (
    delete from flow_user_state_default where run in (select id from old)
), restarts as (
    delete from flow_restart_default where id in (select id from old)
)
delete from job_default where id in (select id from old);
