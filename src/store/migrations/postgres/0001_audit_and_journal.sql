-- The audit log, the journal of requests that were begun, and what the store knows about itself.

create table meta (
    name  text collate "C" primary key,
    value text collate "C" not null
);

-- Whoever holds its only row may append to the log: so there is one order, whichever process writes.
create table pen (
    one bigint primary key
);
insert into pen (one) values (1);

-- Signed heads of the log, in the order in which they were signed.
create table heads (
    place bigint generated always as identity primary key,
    note  text collate "C" not null
);

-- The relays that share this store now: a row that is not renewed lapses. By the server's clock, unix milliseconds.
create table replicas (
    id        text collate "C" primary key,
    advertise text collate "C",
    seen      bigint not null
);

-- What would be files in a state folder that nobody shares: the pinned trust files, and the codes that let a
-- browser in.
create table files (
    name    text collate "C" primary key,
    content text collate "C" not null,
    changed bigint not null
);

-- One row per entry. The columns beside the body hold nothing that the chain does not cover:
-- `request` is computed from the body, so that it cannot say anything else.
create table audit (
    sequence bigint primary key,
    body     text collate "C",
    leaf     bytea not null,
    link     bytea not null,
    request  text collate "C" generated always as (body::json ->> 'request') stored
);

create index audit_request on audit (request) where request is not null;

-- A request id is consumed here once and for all, in the transaction of its intent.
create table journal (
    request  text collate "C" primary key,
    begun_at bigint not null,
    sequence bigint not null
);
