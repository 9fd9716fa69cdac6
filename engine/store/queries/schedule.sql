-- Statements over schedule, tick and calendar. Full rows of schedules have the columns of scanSchedule, ticks those of scanTick.

-- name: ScheduleNotify
select pg_notify('schedule', '');

-- name: ScheduleInsert
insert into schedule (workspace, path, summary, description, cron, cron_version, timezone, enabled, paused_until, script_path, is_flow,
    args, tag, missed, overlap, catch_up_limit, grace_ms, calendars, handlers, extra, permissioned_as, email, edited_by, edited_at,
    next_at, error)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)
on conflict (workspace, path) do nothing;

-- name: ScheduleUpdate
update schedule set summary = $3, description = $4, cron = $5, cron_version = $6, timezone = $7, enabled = $8, paused_until = $9,
    script_path = $10, is_flow = $11, args = $12, tag = $13, missed = $14, overlap = $15, catch_up_limit = $16, grace_ms = $17,
    calendars = $18, handlers = $19, extra = $20, permissioned_as = $21, email = $22, edited_by = $23, edited_at = $24, next_at = $25,
    error = $26
where workspace = $1 and path = $2;

-- name: ScheduleGet
select workspace, path, summary, description, cron, cron_version, timezone, enabled, paused_until, script_path, is_flow, args, tag,
    missed, overlap, catch_up_limit, grace_ms, calendars, handlers, extra, permissioned_as, email, edited_by, edited_at, next_at, error
from schedule where workspace = $1 and path = $2;

-- name: ScheduleLock
select workspace, path, summary, description, cron, cron_version, timezone, enabled, paused_until, script_path, is_flow, args, tag,
    missed, overlap, catch_up_limit, grace_ms, calendars, handlers, extra, permissioned_as, email, edited_by, edited_at, next_at, error
from schedule where workspace = $1 and path = $2 for update;

-- name: ScheduleList
select workspace, path, summary, description, cron, cron_version, timezone, enabled, paused_until, script_path, is_flow, args, tag,
    missed, overlap, catch_up_limit, grace_ms, calendars, handlers, extra, permissioned_as, email, edited_by, edited_at, next_at, error
from schedule
where workspace = $1 and ($2 = '' or path = $2) and ($3 = '' or starts_with(path, $3)) and ($4 = '' or script_path = $4)
  and ($5::bool is null or is_flow = $5) and ($6::bool is null or enabled = $6)
order by path limit $7 offset $8;

-- name: ScheduleDelete
delete from schedule where workspace = $1 and path = $2;

-- name: ScheduleDue
-- The schedules with ticks up to $1 that nobody else is looking at.
select workspace, path, summary, description, cron, cron_version, timezone, enabled, paused_until, script_path, is_flow, args, tag,
    missed, overlap, catch_up_limit, grace_ms, calendars, handlers, extra, permissioned_as, email, edited_by, edited_at, next_at, error
from schedule where enabled and next_at <= $1 order by next_at limit $2 for update skip locked;

-- name: ScheduleAdvance
update schedule s set next_at = a.next_at, enabled = a.error = '', error = a.error
from unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[]) as a (workspace, path, next_at, error)
where s.workspace = a.workspace and s.path = a.path;

-- name: SchedulePulse
-- What there is to do: the next tick, ticks and jobs that wait for somebody, ticks whose job or guard may be done.
select (select min(next_at) from schedule where enabled and next_at is not null),
       exists (select from tick where state = 'due'),
       exists (select from tick where state = 'fired'),
       exists (select from tick where pending),
       exists (select from tick where guarding);

-- name: ScheduleDisable
update schedule set enabled = false, next_at = null, error = $3 where workspace = $1 and path = $2;

-- name: TickInsert
insert into tick (workspace, path, at, state, count, job, claimed_at, error, guard, guarding, pending)
select t.workspace, t.path, t.at, t.state, t.count, t.job, case when t.claimed then now() end, t.error, t.guard, t.guard is not null,
    t.guard is not null
from unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::int4[], $6::uuid[], $7::bool[], $8::text[], $9::uuid[])
    as t (workspace, path, at, state, count, job, claimed, error, guard)
on conflict (workspace, path, at) do update set count = tick.count + excluded.count
    where tick.state = 'excluded' and excluded.state = 'excluded'
returning workspace, path, at;

-- name: TickBackfill
insert into tick (workspace, path, at, state, job, backfill)
select $1, $2, t.at, 'due', t.job, true from unnest($3::timestamptz[], $4::uuid[]) as t (at, job)
on conflict (workspace, path, at) do update
    set state = 'due', count = 1, job = excluded.job, backfill = true, claimed_at = null, error = '', guard = null
    where tick.state in ('missed', 'skipped', 'failed');

-- name: TickOpen
-- How many ticks of a schedule wait for an earlier run, and how many are on their way or run. That a job is done may not have been
-- noted yet; one that failed is followed by another attempt, up to $3 of them.
select (select count(*) from tick where workspace = $1 and path = $2 and state = 'due' and claimed_at is null),
       (select count(*) from tick where workspace = $1 and path = $2 and state = 'due' and claimed_at is not null)
     + (select count(*) from tick t where workspace = $1 and path = $2 and state = 'fired'
            and not exists (select from done d where d.id = t.job and (d.state <> 3 or t.attempts > $3 or t.final)));

-- name: TickGiveUp
-- Ticks that wait come to nothing. Those that were asked for by hand are not among them unless $5.
update tick set state = $3, job = null, error = $4
where workspace = $1 and path = $2 and state = 'due' and claimed_at is null and (not backfill or $5);

-- name: TickWaiting
-- The schedules with ticks that wait.
select distinct workspace, path from tick where state = 'due' and claimed_at is null limit $1;

-- name: TickRelease
-- The oldest that wait are to be pushed now, or those with a guard in $4 asked first.
update tick t set claimed_at = now(), guard = k.guard, guarding = k.guard is not null, pending = k.guard is not null from
    (select w.at, ($4::uuid[])[row_number() over (order by w.at)] as guard from
        (select at from tick where workspace = $1 and path = $2 and state = 'due' and claimed_at is null order by at limit $3) as w) as k
where t.workspace = $1 and t.path = $2 and t.at = k.at
returning t.at, t.job, t.backfill, t.guard;

-- name: TickStale
-- Due ticks whose pusher is late by $1: it may be dead.
update tick t set claimed_at = now() from
    (select k.workspace, k.path, k.at from tick k where k.state = 'due' and not k.guarding and k.claimed_at < now() - $1::interval
     order by k.claimed_at limit $2 for update skip locked) as k
where t.workspace = k.workspace and t.path = k.path and t.at = k.at
returning t.workspace, t.path, t.at, t.job, t.backfill;

-- name: TickFired
update tick t set state = 'fired', fired_at = f.fired_at
from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) as f (workspace, path, at, fired_at)
where t.workspace = f.workspace and t.path = f.path and t.at = f.at and t.state = 'due';

-- name: TickFail
update tick set state = 'failed', error = $4 where workspace = $1 and path = $2 and at = $3 and state = 'due';

-- name: TickEnded
-- The ticks whose job is done, the first that ended first; with the counts of their schedules.
select t.workspace, t.path, t.at, t.job, d.state = 2, s.handlers, s.fails, s.wins, s.broken,
    case when d.state = 3 and not t.final and (s.enabled or t.backfill) then s.extra->'retry' end, t.attempts
from tick t join done d on d.id = t.job join schedule s on s.workspace = t.workspace and s.path = t.path
where t.state = 'fired'
order by d.finished_at, t.at limit $1 for update of t, s skip locked;

-- name: TickEndedOf
-- Likewise, of the jobs $2.
select t.workspace, t.path, t.at, t.job, d.state = 2, s.handlers, s.fails, s.wins, s.broken,
    case when d.state = 3 and not t.final and (s.enabled or t.backfill) then s.extra->'retry' end, t.attempts
from tick t join done d on d.id = t.job join schedule s on s.workspace = t.workspace and s.path = t.path
where t.state = 'fired' and t.job = any($2)
order by d.finished_at, t.at limit $1 for update of t, s skip locked;

-- name: TickEnd
update tick t set state = 'done', success = e.success, streak = e.streak, handler = e.handler, recovery = e.recovery,
    pending = e.handler is not null or e.recovery is not null,
    claimed_at = case when e.handler is not null or e.recovery is not null then now() end
from unnest($1::text[], $2::text[], $3::timestamptz[], $4::bool[], $5::int4[], $6::uuid[], $7::uuid[])
    as e (workspace, path, at, success, streak, handler, recovery)
where t.workspace = e.workspace and t.path = e.path and t.at = e.at;

-- name: TickRetry
-- The jobs of fired ticks failed, and others follow them.
update tick t set former = t.job, job = e.job, attempts = t.attempts + 1, retry_at = e.next, pending = true, claimed_at = now()
from unnest($1::text[], $2::text[], $3::timestamptz[], $4::uuid[], $5::timestamptz[]) as e (workspace, path, at, job, next)
where t.workspace = e.workspace and t.path = e.path and t.at = e.at;

-- name: TickRetried
-- The attempt $4 is pushed.
update tick set pending = false where workspace = $1 and path = $2 and at = $3 and state = 'fired' and job = $4;

-- name: TickNoRetry
-- The attempt $4 cannot be pushed: the one before it was the last.
update tick set pending = false, final = true, job = former, former = null, retry_at = null, attempts = attempts - 1, error = $5
where workspace = $1 and path = $2 and at = $3 and state = 'fired' and job = $4;

-- name: TickGuarded
-- The guards of due ticks are pushed.
update tick t set pending = false from unnest($1::uuid[]) as g (id) where t.guard = g.id and t.guarding;

-- name: TickGuardEnded
-- The ticks whose guard has answered.
select t.workspace, t.path, t.at, t.job, t.backfill, t.guard, d.state = 2, d.result, coalesce(s.extra->>'dynamic_skip', ''),
    s.enabled or t.backfill
from tick t join done d on d.id = t.guard join schedule s on s.workspace = t.workspace and s.path = t.path
where t.guarding
order by d.finished_at, t.at limit $1 for update of t skip locked;

-- name: TickGuardEndedOf
-- Likewise, of the guards $2.
select t.workspace, t.path, t.at, t.job, t.backfill, t.guard, d.state = 2, d.result, coalesce(s.extra->>'dynamic_skip', ''),
    s.enabled or t.backfill
from tick t join done d on d.id = t.guard join schedule s on s.workspace = t.workspace and s.path = t.path
where t.guarding and t.guard = any($2)
order by d.finished_at, t.at limit $1 for update of t skip locked;

-- name: TickGuardEnd
-- Ticks run, claimed from now on, or are skipped. Returned are those that were still undecided.
update tick t set guarding = false, pending = false, claimed_at = now(), state = case when e.run then 'due' else 'skipped' end,
    job = case when e.run then t.job end, error = e.why
from unnest($1::uuid[], $2::bool[], $3::text[]) as e (guard, run, why)
where t.guard = e.guard and t.guarding
returning t.guard;

-- name: ScheduleCounts
update schedule s set fails = c.fails, wins = c.wins, broken = c.broken
from unnest($1::text[], $2::text[], $3::int4[], $4::int4[], $5::bool[]) as c (workspace, path, fails, wins, broken)
where s.workspace = c.workspace and s.path = c.path;

-- name: TickPending
-- Ticks of which a job was to be pushed and whose pusher is late by $1: a guard of one that is due, a further attempt of one that is
-- fired, handlers of one that is done.
update tick t set claimed_at = now() from
    (select k.workspace, k.path, k.at from tick k where k.pending and k.claimed_at < now() - $1::interval
     order by k.claimed_at limit $2 for update skip locked) as k
where t.workspace = k.workspace and t.path = k.path and t.at = k.at
returning t.workspace, t.path, t.at, t.job, coalesce(t.success, false), t.streak, t.handler, t.recovery, t.state, t.backfill, t.former,
    t.retry_at, t.guard;

-- name: TickHandled
update tick set pending = false, error = case when $4 = '' then error else $4 end where workspace = $1 and path = $2 and at = $3;

-- name: TickList
select path, at, state, count, fired_at, job, case when job is null then 0 else attempts end, success, handler, recovery, guard, error
from tick
where workspace = $1 and ($2::text[] is null or state = any($2))
  and ($3::timestamptz is null or at > $3) and ($4::timestamptz is null or at < $4)
order by at desc, path limit $5 offset $6;

-- name: TickListOf
-- Likewise, of one schedule.
select path, at, state, count, fired_at, job, case when job is null then 0 else attempts end, success, handler, recovery, guard, error
from tick
where workspace = $1 and path = $7 and ($2::text[] is null or state = any($2))
  and ($3::timestamptz is null or at > $3) and ($4::timestamptz is null or at < $4)
order by at desc limit $5 offset $6;

-- name: TickExpire
-- Schedule by schedule, so that the primary key finds them.
delete from tick t using schedule s cross join lateral
    (select k.at from tick k where k.workspace = s.workspace and k.path = s.path and k.at < now() - $1::interval and k.state <> 'due'
     order by k.at limit 100000) as old
where t.workspace = s.workspace and t.path = s.path and t.at = old.at;

-- name: CalendarPut
insert into calendar (workspace, path, summary, days, weekdays, edited_by) values ($1, $2, $3, $4, $5, $6)
on conflict (workspace, path) do update
    set summary = excluded.summary, days = excluded.days, weekdays = excluded.weekdays, edited_by = excluded.edited_by, edited_at = now();

-- name: CalendarList
select workspace, path, summary, days, weekdays, edited_by, edited_at from calendar
where workspace = $1 and ($2::text[] is null or path = any($2)) order by path;

-- name: CalendarUser
-- A schedule that names the calendar.
select path from schedule where workspace = $1 and $2 = any(calendars) order by path limit 1;

-- name: CalendarLock
-- Deleting a calendar and naming it in a schedule take turns.
select pg_advisory_xact_lock(hashtextextended('calendar ' || $1, 0));

-- name: CalendarDelete
delete from calendar where workspace = $1 and path = $2;
