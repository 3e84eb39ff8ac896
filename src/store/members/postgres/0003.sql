-- From where a key may be used: blocks of addresses, with blanks between; from everywhere where there are none.
alter table api_keys add column allowed_from text collate "C";

-- Those who are not active.
create table principals (
    name       text collate "C" primary key,
    life       text collate "C" not null,
    changed_ms bigint not null
);

-- What holds for the whole workspace.
create table settings (
    name       text collate "C" primary key,
    value      text collate "C" not null
);
