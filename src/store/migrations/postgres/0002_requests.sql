-- Requests that have a life of their own: those that wait for people or were approved by them.

-- What changes, what lists show, and what they are found by. `state` is JSON; `status`, `due_at`
-- and `votes` are computed from it, and a row in which they disagree is damaged.
create table requests (
    id               text collate "C" not null primary key,
    workspace        text collate "C" not null,
    requester        text collate "C" not null,
    target           text collate "C" not null,
    environment      text collate "C" not null,
    engine           text collate "C" not null,
    effect           text collate "C" not null,
    kind             text collate "C" not null,
    status           text collate "C" not null,
    due_at           bigint,
    votes            bigint not null,
    version          bigint not null,
    created_at       bigint not null,
    updated_at       bigint not null,
    statement        text collate "C" not null,
    state            text collate "C" not null
);

create index requests_status on requests (workspace, status, id);
create index requests_requester on requests (workspace, requester, id);
create index requests_target on requests (workspace, target, id);
create index requests_due on requests (due_at) where due_at is not null;

-- What never changes and only a look at one request needs.
create table request_documents (
    request          text collate "C" not null primary key,
    agent            text collate "C" not null,
    reason           text collate "C",
    work             text collate "C" not null,
    document         text collate "C" not null,
    digest           text collate "C" not null,
    expires_at       bigint not null,
    requirements     text collate "C" not null,
    workspace_policy text collate "C" not null,
    agent_policy     text collate "C" not null
);

-- Parameter values and their salt, sealed; deleted when the request's life ends.
create table request_values (
    request          text collate "C" not null primary key,
    sealed           bytea not null
);
