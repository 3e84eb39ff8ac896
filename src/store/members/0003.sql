-- From where a key may be used: blocks of addresses, with blanks between; from everywhere where there are none.
alter table api_keys add column allowed_from text;

-- Those who are not active.
create table principals (
    name       text primary key,
    life       text not null,
    changed_ms integer not null
) strict, without rowid;

-- What holds for the whole workspace.
create table settings (
    name       text primary key,
    value      text not null
) strict, without rowid;
