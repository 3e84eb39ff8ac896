-- What entries are found by, besides their request: like that, computed from the body.

alter table audit add column kind text collate "C" generated always as (body::json ->> 'kind') stored;
alter table audit add column principal text collate "C" generated always as (body::json ->> 'principal') stored;
alter table audit add column target text collate "C" generated always as (body::json ->> 'target') stored;

-- Where the rows behind a page handle are: at which agent. No row is here.
create table page_handles (
    handle text collate "C" primary key,
    agent  text collate "C" not null,
    at     bigint not null
);

create index page_handles_at on page_handles (at);

-- How the sessions of MCP clients began, so that each goes on at another process: whose it is, and the parameters of
-- its `initialize` as JSON.
create table sessions (
    id     text collate "C" primary key,
    holder text collate "C" not null,
    began  text collate "C" not null,
    used   bigint not null
);

create index sessions_used on sessions (used);
