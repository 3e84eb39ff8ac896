-- What a relay has shown of its logs. Nothing that is kept is ever changed by what is shown later.

create table entries (
    workspace text not null,
    principal text not null,
    sequence  integer not null,
    body      text,
    kept_at   integer not null,
    request   text generated always as (
                  iif(json_valid(body), json_extract(body, '$.request'), null)
              ) virtual,
    primary key (workspace, sequence)
) strict;

create index entries_request on entries (workspace, request) where request is not null;

-- Signed notes, as they came.
create table heads (
    workspace text not null,
    count     integer not null,
    note      text not null,
    kept_at   integer not null,
    primary key (workspace, note)
) strict, without rowid;

-- The keys that sign them.
create table keys (
    workspace text not null,
    key       blob not null,
    kept_at   integer not null,
    primary key (workspace, key)
) strict, without rowid;

-- How far somebody's entries have been looked for.
create table reached (
    workspace text not null,
    principal text not null,
    until     integer not null,
    primary key (workspace, principal)
) strict, without rowid;

-- Requests that answers have named.
create table answered (
    workspace text not null,
    principal text not null,
    request   text not null,
    at        integer not null,
    primary key (workspace, request)
) strict, without rowid;
