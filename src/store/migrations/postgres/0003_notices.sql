-- Messages to people outside of this program, until they are delivered or given up.

-- Who is told of which events. A destination that no process has spoken for in a while is forgotten.
create table notice_destinations (
    id      text collate "C" not null,
    event   text collate "C" not null,
    seen_at bigint not null,
    primary key (id, event)
);

-- One row per message and destination. `lease` is random and names who is sending it just now.
create table notices (
    id           text collate "C" not null,
    destination  text collate "C" not null,
    event        text collate "C" not null,
    request      text collate "C" not null,
    at           bigint not null,
    until        bigint,
    attempts     bigint not null,
    due_at       bigint not null,
    lease        text collate "C",
    leased_until bigint,
    primary key (id, destination)
);

create index notices_due on notices (destination, due_at);
