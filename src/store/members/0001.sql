-- Whoever may come to a relay. Secrets are kept as what HMAC-SHA-256 makes of them.
create table api_keys (
    id         text primary key,
    principal  text not null,
    roles      text not null,
    mac        blob not null,
    created_ms integer not null,
    expires_ms integer,
    used_ms    integer,
    revoked_ms integer
) strict, without rowid;

create table agents (
    id         text primary key,
    key        text not null,
    served     text not null,
    joined_ms  integer not null,
    seen_ms    integer,
    revoked_ms integer
) strict, without rowid;

create table join_tokens (
    id         text primary key,
    mac        blob not null,
    expires_ms integer not null
) strict, without rowid;
