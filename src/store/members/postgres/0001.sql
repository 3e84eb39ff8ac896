-- Whoever may come to a relay. API keys are kept as what HMAC-SHA-256 makes of them.
create table api_keys (
    id         text collate "C" primary key,
    principal  text collate "C" not null,
    roles      text collate "C" not null,
    mac        bytea not null,
    created_ms bigint not null,
    expires_ms bigint,
    used_ms    bigint,
    revoked_ms bigint
);

create table agents (
    id         text collate "C" primary key,
    key        text collate "C" not null,
    -- The names of targets that it may serve, and what it served last; JSON.
    may_serve  text collate "C" not null,
    served     text collate "C" not null,
    joined_ms  bigint not null,
    seen_ms    bigint,
    revoked_ms bigint
);

create table join_tokens (
    id         text collate "C" primary key,
    -- The public half of what the secret is.
    key        text collate "C" not null,
    may_serve  text collate "C" not null,
    expires_ms bigint not null
);
