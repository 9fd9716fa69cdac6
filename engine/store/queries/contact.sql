-- What runs contacted.

-- name: ContactInsert
insert into contact (job_id, list)
select u.job_id, u.list::json from unnest($1::uuid[], $2::text[]) as u(job_id, list);

-- name: ContactRead
select list from contact where job_id = $1 order by at;
