-- What is known of a run beyond its processor time and memory (engine.Usage), where there is anything: jobs that run in no sandbox
-- have none, and pay for none.

alter table done add column usage json;
