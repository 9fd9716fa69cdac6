-- Answers to flows that wait for approval.

-- name: WorkspaceKeyMake
insert into workspace_key (workspace, key) values ($1, $2) on conflict do nothing;

-- name: WorkspaceKey
select key from workspace_key where workspace = $1;

-- name: VotePut
insert into flow_vote (job, resume_id, run, module, approved, approver, account, payload) values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict do nothing;

-- name: VoteGet
select job, resume_id, approved, approver, account, payload, at from flow_vote where job = $1 and resume_id = $2;

-- name: VotesOf
-- The answers that count for a gate; with null for a module, for any gate of the run.
select job, resume_id, approved, approver, account, payload, at, module from flow_vote
where run = $1 and module = coalesce($2::text, module) order by at, resume_id;

-- name: VotesFree
select job, resume_id, approved, approver, account, payload, at from flow_vote where job = $1 and run is null order by at, resume_id limit $2;

-- name: VoteTake
-- A gate takes answers that were given for the flow.
update flow_vote set run = $3, module = $4 where job = $1 and resume_id = $2 and run is null;
