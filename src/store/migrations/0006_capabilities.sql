-- The capabilities of each target as they were first seen or last accepted, and what was seen instead since then.
-- `accepted_as` and `seen_as` are JSON, `acceptance` what somebody signed. Without `accepted` it is new.

create table capabilities (
    target      text not null,
    name        text not null,
    accepted    text,
    accepted_as text,
    acceptance  text,
    seen        text not null,
    seen_as     text not null,
    seen_at     integer not null,
    primary key (target, name)
) strict, without rowid;
