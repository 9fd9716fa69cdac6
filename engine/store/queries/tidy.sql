-- name: TidyBloated
-- Indexes of q that hold much more room than its rows can need: a peak has left them, and pages that are half empty are never
-- given back. Rows are what the statistics say, so that nothing is read.
select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = 'q'::regclass and i.indisvalid
    and pg_relation_size(c.oid) > $1::int8 + $2::int8 * greatest(pg_stat_get_live_tuples(i.indrelid), 0)
order by 1;

-- name: TidyBroken
-- What a rebuild has left that was interrupted.
select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = 'q'::regclass and not i.indisvalid and c.relname ~ '_cc(new|old)\d*$' order by 1;
