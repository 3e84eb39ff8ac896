-- Work that runs ahead of its review. `review` is JSON; `review_is` is computed from it (`open` or
-- `closed`), and a row in which they disagree is damaged.

alter table requests add column purpose text not null default 'run';
alter table requests add column review text;
alter table requests add column review_is text;

create index requests_review on requests (workspace, id) where review_is = 'open';
