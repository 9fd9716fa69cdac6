-- Results of loops and branches, which no job has, may stand for further ones too.
alter table cache add column value json, alter column job drop not null; -- one of the two is there
