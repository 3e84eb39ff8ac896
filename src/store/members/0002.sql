-- What a key may use; nothing where it was made before that could be said.
alter table api_keys add column per_minute integer;
alter table api_keys add column bytes_per_minute integer;
alter table api_keys add column at_once integer;
alter table api_keys add column waiting integer;
