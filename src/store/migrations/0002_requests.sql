-- Requests that have a life of their own: those that wait for people or were approved by them.

-- What changes, what lists show, and what they are found by. `state` is JSON; `status`, `due_at`
-- and `votes` are computed from it, and a row in which they disagree is damaged.
create table requests (
    id               text not null primary key,
    workspace        text not null,
    requester        text not null,
    target           text not null,
    environment      text not null,
    engine           text not null,
    effect           text not null,
    kind             text not null,
    status           text not null,
    due_at           integer,
    votes            integer not null,
    version          integer not null,
    created_at       integer not null,
    updated_at       integer not null,
    statement        text not null,
    state            text not null
) strict;

create index requests_status on requests (workspace, status, id);
create index requests_requester on requests (workspace, requester, id);
create index requests_target on requests (workspace, target, id);
create index requests_due on requests (due_at) where due_at is not null;

-- What never changes and only a look at one request needs.
create table request_documents (
    request          text not null primary key,
    agent            text not null,
    reason           text,
    work             text not null,
    document         text not null,
    digest           text not null,
    expires_at       integer not null,
    requirements     text not null,
    workspace_policy text not null,
    agent_policy     text not null
) strict;

-- Parameter values and their salt, sealed; deleted when the request's life ends.
create table request_values (
    request          text not null primary key,
    sealed           blob not null
) strict;
