-- What entries are found by, besides their request: like that, computed from the body.

alter table audit add column kind text generated always as (
    iif(json_valid(body), body ->> '$.kind', null)) virtual;
alter table audit add column principal text generated always as (
    iif(json_valid(body), body ->> '$.principal', null)) virtual;
alter table audit add column target text generated always as (
    iif(json_valid(body), body ->> '$.target', null)) virtual;

-- Where the rows behind a page handle are: at which agent. No row is here.
create table page_handles (
    handle text primary key,
    agent  text not null,
    at     integer not null
) strict, without rowid;

create index page_handles_at on page_handles (at);

-- How the sessions of MCP clients began, so that each goes on at another process: whose it is, and the parameters of
-- its `initialize` as JSON.
create table sessions (
    id     text primary key,
    holder text not null,
    began  text not null,
    used   integer not null
) strict, without rowid;

create index sessions_used on sessions (used);
