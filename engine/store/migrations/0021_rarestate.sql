-- Failures and cancellations are few among millions of successes, and are what is looked for: all of a state, and those of what was run.
-- Neither index has a success, which costs nothing more than before.
alter table done add column spec int4; -- of the job; null: it succeeded
update done set spec = job.spec from job where done.state <> 2 and job.id = done.id;
update q set spec = job.spec from job where q.spec is null and job.id = q.id; -- rows of batches had none
drop index done_failed;
create index done_state on done (state, id) where state <> 2;
create index done_spec on done (spec, state, id) where state <> 2;
