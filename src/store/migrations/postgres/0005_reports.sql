-- How runs that somebody else keeps the record of have ended, until they have said that they know it.
-- `ending` is JSON; none while the run is under way.

create table reports (
    request text collate "C" primary key,
    token   text collate "C" not null,
    ending  text collate "C"
);
