-- Jobs whose arguments a preprocessor has made of the request that they had. That is the one thing of a job that changes, once.
alter table job add column preprocessed boolean; -- null: they are as they were sent
