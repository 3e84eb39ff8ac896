-- What a key may use; nothing where it was made before that could be said.
alter table api_keys add column per_minute bigint;
alter table api_keys add column bytes_per_minute bigint;
alter table api_keys add column at_once bigint;
alter table api_keys add column waiting bigint;
