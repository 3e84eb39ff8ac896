-- The capabilities of each target as they were first seen or last accepted, and what was seen instead since then.
-- `accepted_as` and `seen_as` are JSON, `acceptance` what somebody signed. Without `accepted` it is new.

create table capabilities (
    target      text collate "C" not null,
    name        text collate "C" not null,
    accepted    text collate "C",
    accepted_as text collate "C",
    acceptance  text collate "C",
    seen        text collate "C" not null,
    seen_as     text collate "C" not null,
    seen_at     bigint not null,
    primary key (target, name)
);
