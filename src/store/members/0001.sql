-- Whoever may come to a relay. API keys are kept as what HMAC-SHA-256 makes of them.
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
    -- The names of targets that it may serve, and what it served last; JSON.
    may_serve  text not null,
    served     text not null,
    joined_ms  integer not null,
    seen_ms    integer,
    revoked_ms integer
) strict, without rowid;

create table join_tokens (
    id         text primary key,
    -- The public half of what the secret is.
    key        text not null,
    may_serve  text not null,
    expires_ms integer not null
) strict, without rowid;
