-- The script of a flow's step is stored once for all its jobs, and not with each iteration.
alter table spec add column source text, add column lock text; -- null: with the job, or it has none
