-- name: SpecEnsure
insert into spec (hash, workspace, kind, tag, path, script, prio, timeout_ms, language, network, created_by, email, permissioned_as,
    trigger, trigger_path, source, lock)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
on conflict (hash) do update set last_used = now()
returning id;

-- name: SpecForget
-- Of specs that no job has used for so long that none is left. A process that remembers a spec says so once a day.
delete from spec where id in (select id from spec where last_used < now() - $1::interval limit 10000)
    and not exists (select 1 from job where job.spec = spec.id);

-- name: SpecSelect
select id from spec where workspace = $1
    and ($2::text[] is null or kind = any($2))
    and ($3::text is null or path = $3)
    and ($4::text is null or starts_with(path, $4))
    and ($5::text is null or created_by = $5)
    and ($6::text is null or tag = $6)
    and ($8::text is null or (trigger = 'schedule' and trigger_path = $8))
limit $7;
