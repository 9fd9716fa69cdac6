-- How many jobs a process has carried to their end, as of its last heartbeat.

alter table worker add column executed int8 not null default 0;
