-- Flows that ended as skipped: by their skip_expr, by a stop_after_if that says so, or because another run stands for them.
alter table done add column skipped boolean; -- null: no
