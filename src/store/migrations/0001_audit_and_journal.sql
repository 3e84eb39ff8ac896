-- The audit log, the journal of requests that were begun, and what the file knows about itself.

create table meta (
    name  text primary key,
    value text not null
) strict, without rowid;

-- One row per entry. The columns beside the body hold nothing that the chain does not cover:
-- `request` is computed from the body, so that it cannot say anything else; a body that is not JSON
-- was put there by somebody else, and must not make the table unreadable.
create table audit (
    sequence integer primary key,
    body     text,
    leaf     blob not null,
    link     blob not null,
    request  text generated always as (
                 iif(json_valid(body), json_extract(body, '$.request'), null)
             ) virtual
) strict;

create index audit_request on audit (request) where request is not null;

-- A request id is consumed here once and for all, in the transaction of its intent.
create table journal (
    request  text primary key,
    begun_at integer not null,
    sequence integer not null
) strict, without rowid;
