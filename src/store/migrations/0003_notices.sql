-- Messages to people outside of this program, until they are delivered or given up.

-- Who is told of which events. A destination that no process has spoken for in a while is forgotten.
create table notice_destinations (
    id      text not null,
    event   text not null,
    seen_at integer not null,
    primary key (id, event)
) strict;

-- One row per message and destination. `lease` is random and names who is sending it just now.
create table notices (
    id           text not null,
    destination  text not null,
    event        text not null,
    request      text not null,
    at           integer not null,
    until        integer,
    attempts     integer not null,
    due_at       integer not null,
    lease        text,
    leased_until integer,
    primary key (id, destination)
) strict;

create index notices_due on notices (destination, due_at);
