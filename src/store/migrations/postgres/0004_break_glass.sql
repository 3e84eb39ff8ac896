-- Work that runs ahead of its review. `review` is JSON; `review_is` is computed from it (`open` or
-- `closed`), and a row in which they disagree is damaged.

alter table requests add column purpose text collate "C" not null default 'run';
alter table requests add column review text collate "C";
alter table requests add column review_is text collate "C";

create index requests_review on requests (workspace, id) where review_is = 'open';
