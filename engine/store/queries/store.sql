-- name: ServerVersion
select current_setting('server_version_num')::int4, current_setting('server_version'),
       exists (select from pg_settings where name = 'default_toast_compression' and 'lz4' = any (enumvals));

-- name: MigrationLock
select pg_advisory_lock($1);

-- name: MigrationUnlock
select pg_advisory_unlock($1);

-- name: MigrationTable
create table if not exists migration (
    number   int4 primary key,
    name     text not null,
    checksum text not null,
    applied  timestamptz not null default now()
);

-- name: MigrationList
select number, name, checksum from migration order by number;

-- name: MigrationInsert
insert into migration (number, name, checksum) values ($1, $2, $3);

-- name: Notify
select pg_notify($1, $2);

-- name: DurableCommit
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';

-- name: Clock
select now();
