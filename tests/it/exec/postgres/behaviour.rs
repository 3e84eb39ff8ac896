//! How an executor behaves: streams, limits, cancels, catalogue facts, errors, powers of a login.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secondkey::core::engine::Engine;
use secondkey::core::limits::Limits;
use secondkey::core::refusal::Code;
use secondkey::core::statement::{Effect, Name, Shape, Statement, parse};
use secondkey::core::work::Work;
use secondkey::exec::check::Verdict;
use secondkey::exec::{Event, Executor};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::fixture::{Database, database, run, start, unguarded};
use crate::support::variable;

const READ: &[Effect] = &[Effect::Read];

/// How many statements of ours run on the server.
async fn running(database: &Database) -> i64 {
    let sql = "select count(*) from pg_stat_activity where (application_name = 'secondkey' or \
        application_name like 'req\\_%') and datname = current_database() and state = 'active'";
    database.admin.query_one(sql, &[]).await.unwrap().get(0)
}

/// Waits until nothing of ours runs on the server; the time that took.
async fn quiet(database: &Database) -> Duration {
    let began = Instant::now();
    while running(database).await > 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "it still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

const ENDLESS: &str =
    "select count(*) from generate_series(1, 30000) a, generate_series(1, 30000) b";

#[tokio::test(flavor = "multi_thread")]
async fn rows_stream_and_a_dropped_reader_stops_them_at_the_server() {
    let Some(database) = database("streams").await else {
        return;
    };
    let executor = database.executor(&database.reader, READ, Limits::DEFAULT);
    let sql = "select n from generate_series(1, 2000000) n";
    let mut reading = start(&executor, sql, &[], CancellationToken::new())
        .await
        .unwrap();
    let first = reading.events.recv().await.unwrap();
    assert!(matches!(first, Event::Rows(rows) if rows.len() == 201));
    drop(reading);
    quiet(&database).await;
    let all = run(&executor, "select n from generate_series(1, 1234) n", &[])
        .await
        .unwrap();
    assert_eq!(all.rows.len(), 1234);
    assert_eq!(all.rows[1233], [json!(1234)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_limits_cancels_and_callers_that_leave_end_the_statement() {
    let Some(database) = database("stops").await else {
        return;
    };
    let limits = Limits {
        time_ms: 300,
        ..Limits::DEFAULT
    };
    let short = database.executor(&database.reader, READ, limits);
    assert_eq!(
        run(&short, ENDLESS, &[]).await.unwrap_err().code,
        Code::TimeLimit
    );
    quiet(&database).await;

    let executor = database.executor(&database.reader, READ, Limits::DEFAULT);
    run(&executor, "select 1", &[]).await.unwrap();
    let cancel = CancellationToken::new();
    let soon = cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        soon.cancel();
    });
    let refusal = start(&executor, ENDLESS, &[], cancel).await.unwrap_err();
    assert_eq!(refusal.code, Code::Cancelled);
    quiet(&database).await;

    let left = start(&executor, ENDLESS, &[], CancellationToken::new());
    assert!(
        tokio::time::timeout(Duration::from_millis(300), left)
            .await
            .is_err()
    );
    assert!(quiet(&database).await < Duration::from_secs(1));
    run(&executor, "select 1", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_cell_ends_its_connection_and_nothing_else() {
    let Some(database) = database("huge").await else {
        return;
    };
    let executor = database.executor(&database.reader, READ, Limits::DEFAULT);
    let refusal = run(
        &executor,
        "select repeat('x', 20000000 * id) from users",
        &[],
    )
    .await
    .unwrap_err();
    assert!(refusal.message.contains("16 MiB"), "{refusal:?}");
    run(&executor, "select 1", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_judged_by_what_they_stand_for() {
    let Some(database) = database("names").await else {
        return;
    };
    database
        .admin
        .batch_execute(
            "create function via(a int) returns int language sql as 'select wipe() + a'; \
             create function kind_one(a int) returns int language sql begin atomic select a + 1; end; \
             create function lower(u users) returns text language plpgsql as $$ begin perform wipe(); return 'x'; end $$; \
             create view v_deep as select * from (select via(id) from users) q; \
             create view v_kind as select id, kind_one(id) as k from users; \
             create table guarded (id int); alter table guarded enable row level security; \
             create policy p on guarded using (wipe() > 0); \
             create table parent (id int); create table child () inherits (parent); \
             create aggregate fine_sum (int) (sfunc = int4pl, stype = int, initcond = '0'); \
             create table ruled (id int); \
             create rule r as on delete to ruled do also select wipe();",
        )
        .await
        .unwrap();
    let allow = [Effect::Read, Effect::Write];
    let executor = database.executor("", &allow, Limits::DEFAULT);
    let before = database.state().await;
    for sql in [
        "select via(1)",
        "select * from v_deep",
        "select * from v_evil",
        "select lower(u) from users u",
        "select u.lower from users u",
        "select u.evil from users u",
        "select (u).evil from users u",
        "select 1 === 2",
        "select 1 operator(public.===) 2",
        "select evil_agg(1)",
        "select 'x'::evil_text",
        "select evil_text('x')",
        "select array['x']::evil_text[]",
        "select * from json_to_record('{\"a\":1}') as x(a evil_text)",
        "select * from guarded",
        "delete from ruled",
        "select public.dblink('x', 'y')",
        "select public.crosstab('select 1')",
        "explain analyze select * from v_evil",
        "select wipe() from nosuch",
    ] {
        let refusal = run(&executor, sql, &[]).await.expect_err(sql);
        assert!(
            matches!(
                refusal.code,
                Code::Forbidden | Code::ApprovalRequired | Code::UnknownTable
            ),
            "{sql}: {refusal:?}"
        );
    }
    assert_eq!(before, database.state().await);
    for sql in [
        "select safe_add(1, 2), kind_one(1), fine_sum(id) from users",
        "select * from v_kind",
        "select u.name, u from users u",
        "select * from parent",
        "select upper(name), u.email from users u",
        "select 'x' || 'y'",
        "select name(u) from users u",
        "select c.relname from pg_class c where c.oid = 'users'::regclass",
        "select table_name from information_schema.columns limit 1",
        "select count(*) from pg_stat_activity",
    ] {
        run(&executor, sql, &[])
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    let cast = "create function as_number(u users) returns int language plpgsql as \
        $$ begin return wipe(); end $$; create cast (users as int) with function as_number(users)";
    database.admin.batch_execute(cast).await.unwrap();
    let executor = database.executor("", &allow, Limits::DEFAULT);
    assert!(
        run(&executor, "select u::int from users u", &[])
            .await
            .is_err()
    );
    assert_ne!(before, database.state().await, "the cast itself is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_change_sets_off_is_part_of_what_it_does_and_seen_at_once() {
    let Some(database) = database("set_off").await else {
        return;
    };
    let tables = "create table log (id int, note text); create table lines (id int primary key); \
        create table parts (line int references lines on delete cascade); create view seen as select id from drops";
    database.admin.batch_execute(tables).await.unwrap();
    let all = [Effect::Read, Effect::Write];
    let executor = database.executor("", &all, Limits::DEFAULT);
    let insert = "insert into log select id, 'x' from seen";
    let plain = judged(&executor, insert).await;
    assert_eq!(plain.because(), "inserts into log");
    assert!(touches(&plain.reads, "drops"), "the view's table is read");
    // Each of these comes after the catalogue was read, and is seen without waiting.
    let later = [
        (
            "create rule r as on insert to log do also delete from orders",
            "deletes from orders",
        ),
        (
            "create function bump() returns trigger language plpgsql as $$ begin return new; end $$; \
             create trigger t before insert on log for each row execute function bump()",
            "sets off the trigger t of log",
        ),
        (
            "alter table log alter id set default wipe()",
            "calls wipe()",
        ),
    ];
    for (sql, reason) in later {
        database.admin.batch_execute(sql).await.unwrap();
        let found = judged(&executor, insert).await;
        assert!(
            found.because().contains(reason),
            "{sql}: {}",
            found.because()
        );
    }
    assert!(touches(&judged(&executor, insert).await.writes, "orders"));
    let swap = "create or replace view seen as select id from secrets";
    database.admin.batch_execute(swap).await.unwrap();
    assert!(touches(&judged(&executor, insert).await.reads, "secrets"));
    let delete = judged(&executor, "delete from lines where id = 1").await;
    assert!(touches(&delete.writes, "parts"), "{:?}", delete.writes);
    assert!(
        delete
            .because()
            .contains("changes parts by a foreign key to lines")
    );
}

async fn judged(executor: &Executor, sql: &str) -> Arc<Statement> {
    let work = Work::Sql {
        text: sql.into(),
        params: Vec::new(),
        salt: [3; 16],
    };
    let parsed = Arc::new(parse(Engine::Postgres, sql).unwrap());
    executor.judge(parsed, &work).await.unwrap()
}

fn touches(names: &BTreeSet<Name>, wanted: &str) -> bool {
    names.iter().any(|name| name.name == wanted)
}

/// What every layer alone has to keep from changing anything.
const CHANGES: &[&str] = &[
    "insert into drops values (7)",
    "update orders set status = 'x'",
    "delete from orders",
    "merge into drops d using updates u on d.id = u.id when matched then delete",
    "with gone as (delete from orders returning 1) select * from gone",
    "select * into stolen from users",
    "truncate orders",
    "create table t_new (a int)",
    "alter table users add column x int",
    "drop table orders",
    "grant all on users to public",
    "comment on table users is 'x'",
    "select nextval('seq1')",
    "select setval('seq1', 99)",
    "select wipe()",
    "select ddl_fn()",
    "call wipe_proc()",
    "do $$ begin delete from public.orders; end $$",
    "refresh materialized view mv",
    "select * from v_evil",
    "select 1 === 2",
    "select 'x'::evil_text",
    "select lo_unlink(12345)",
    "select lo_create(777)",
    "set transaction read write",
    "begin; delete from orders; commit",
    "commit; delete from orders",
    "copy orders from program 'echo 9'",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_read_only_transaction_alone_keeps_a_superuser_from_changing_anything() {
    let Some(database) = database("layer_engine").await else {
        return;
    };
    let executor = database.executor("", READ, Limits::DEFAULT);
    let before = database.state().await;
    for sql in CHANGES {
        // As the query that the guard would have to take it for.
        let outcome = unguarded(&executor, sql, (Effect::Read, Shape::Query)).await;
        assert!(
            before == database.state().await,
            "{sql}: {:?}",
            outcome.err()
        );
    }
    // Without that layer as well, with nothing but a superuser's login, it happens.
    let all = [Effect::Read, Effect::Write];
    let executor = database.executor("", &all, Limits::DEFAULT);
    let change = (Effect::Write, Shape::Change);
    unguarded(&executor, "select wipe()", change).await.unwrap();
    assert_ne!(before, database.state().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_alone_keeps_a_reader_from_changing_anything() {
    let Some(database) = database("layer_login").await else {
        return;
    };
    let all = [Effect::Read, Effect::Write];
    let executor = database.executor(&database.reader, &all, Limits::DEFAULT);
    // The reader of the fixture may delete orders, so that the other layers have something to do.
    let revoke = format!("revoke delete on orders from {}", database.reader);
    database.admin.batch_execute(&revoke).await.unwrap();
    let before = database.state().await;
    for sql in CHANGES {
        if MAKES_OBJECTS.contains(sql) {
            continue;
        }
        // In a read-write transaction that is committed: neither the guard nor the engine's mode helps.
        let outcome = unguarded(&executor, sql, (Effect::Write, Shape::Change)).await;
        assert!(
            before == database.state().await,
            "{sql}: {:?}",
            outcome.err()
        );
    }
}

/// What a login without any privilege may still do: objects of its own, which are nobody else's data.
const MAKES_OBJECTS: &[&str] = &[
    "select * into stolen from users",
    "create table t_new (a int)",
    "select lo_create(777)",
];

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_what_is_near_and_show_no_value() {
    let Some(database) = database("errors").await else {
        return;
    };
    let executor = database.executor(&database.reader, READ, Limits::DEFAULT);
    for (sql, code, part) in [
        ("select * from user", Code::DatabaseError, ""),
        ("select * from userz", Code::UnknownTable, "users"),
        ("select nam from users", Code::UnknownColumn, "name"),
        ("select u.nam from users u", Code::UnknownColumn, "name"),
        (
            "select lenght(name) from users",
            Code::DatabaseError,
            "length",
        ),
        (
            "select ('secret' || name)::int from users",
            Code::DatabaseError,
            "",
        ),
        ("select 1 / 0", Code::DatabaseError, ""),
    ] {
        match run(&executor, sql, &[]).await {
            Ok(_) => assert_eq!(sql, "select * from user"),
            Err(refusal) => {
                assert_eq!(refusal.code, code, "{sql}: {refusal:?}");
                assert!(
                    refusal.hint.clone().unwrap_or_default().contains(part),
                    "{sql}: {refusal:?}"
                );
                assert!(!format!("{refusal:?}").contains("secret"), "{refusal:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_stand_or_fall_whole() {
    let Some(database) = database("changes").await else {
        return;
    };
    let all = &[Effect::Read, Effect::Write, Effect::Schema, Effect::Admin];
    let executor = database.executor("", all, Limits::DEFAULT);
    let done = run(
        &executor,
        "update orders set amount = amount + $1",
        &[json!(1)],
    )
    .await
    .unwrap();
    assert_eq!(done.affected, Some(3));
    let before = database.state().await;
    for sql in [
        "insert into users values (1)",
        "delete from users",
        "begin",
        "commit",
    ] {
        assert!(run(&executor, sql, &[]).await.is_err(), "{sql}");
    }
    assert_eq!(before, database.state().await);
    for sql in [
        "vacuum orders",
        "create index concurrently on orders(note)",
        "set work_mem = '64MB'",
    ] {
        run(&executor, sql, &[])
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    let kept = run(&executor, "show work_mem", &[]).await.unwrap();
    assert_eq!(kept.rows, [[json!("4MB")]], "a setting met the next caller");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_powerful_login_is_refused_where_only_reads_run() {
    let Some(database) = database("powers").await else {
        return;
    };
    let executor = database.executor_where("", READ, Limits::DEFAULT, false);
    let refusal = run(&executor, "select count(*) from users", &[])
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::PrivilegedLogin);
    assert!(
        executor
            .check()
            .await
            .iter()
            .any(|c| c.verdict == Verdict::Bad)
    );
    let plain = database.executor(&database.reader, READ, Limits::DEFAULT);
    let checks = plain.check().await;
    assert!(
        checks.iter().all(|c| c.verdict != Verdict::Bad),
        "{checks:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_listed_and_described() {
    let Some(database) = database("tables").await else {
        return;
    };
    let executor = database.executor(&database.reader, READ, Limits::DEFAULT);
    let names: Vec<_> = executor.list_tables(None, Some("ORDER")).await.unwrap();
    assert!(
        names
            .iter()
            .any(|t| t.name == "orders" && t.kind == "table"),
        "{names:?}"
    );
    let orders = executor.describe_table("public.orders").await.unwrap();
    assert_eq!(orders.primary_key, ["id"]);
    assert_eq!(orders.foreign_keys[0].table, "users");
    assert_eq!(orders.columns[1].type_name, "integer");
    let users = executor.describe_table("users").await.unwrap();
    assert_eq!(users.referenced_by[0].table, "orders");
    assert_eq!(users.indexes[0].columns, ["tags"]);
    let refusal = executor.describe_table("oders").await.unwrap_err();
    assert_eq!(refusal.code, Code::UnknownTable);
    assert!(refusal.hint.unwrap().contains("orders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_as_strict_as_the_url_says() {
    let Some(database) = database("tls").await else {
        return;
    };
    let speaks: String = database
        .admin
        .query_one("show ssl", &[])
        .await
        .unwrap()
        .get(0);
    let over = |mode: &str| {
        let options = [("sslmode", mode)];
        database.executor_with(&database.reader, READ, &options)
    };
    for mode in ["disable", "prefer"] {
        run(&over(mode), "select 1", &[]).await.unwrap();
    }
    let required = over("require");
    let encrypted = run(
        &required,
        "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
        &[],
    );
    match (speaks.as_str(), encrypted.await) {
        ("on", answer) => assert_eq!(answer.unwrap().rows, [[json!(true)]]),
        (_, refused) => assert_eq!(refused.unwrap_err().code, Code::DatabaseUnavailable),
    }
    // The server's certificate is its own, and no authority of this machine has signed it.
    for mode in ["verify-ca", "verify-full"] {
        assert!(run(&over(mode), "select 1", &[]).await.is_err(), "{mode}");
    }
    if let Some(root) = variable("TEST_POSTGRES_ROOT") {
        for mode in ["require", "verify-ca", "verify-full"] {
            let options = [("sslmode", mode), ("sslrootcert", root.as_str())];
            let executor = database.executor_with(&database.reader, READ, &options);
            run(&executor, "select 1", &[])
                .await
                .unwrap_or_else(|e| panic!("{mode}: {e}"));
        }
    }
}

/// Functions that the server marks `volatile` and that only answer all the same.
const ANSWERS_ONLY: &str = "clock_timestamp current_query currval \
    gen_random_uuid lastval pg_blocking_pids \
    pg_collation_actual_version pg_current_wal_flush_lsn pg_current_wal_insert_lsn \
    pg_current_wal_lsn pg_database_collation_actual_version pg_database_size \
    pg_get_wal_replay_pause_state pg_indexes_size pg_is_in_recovery \
    pg_is_wal_replay_paused pg_jit_available pg_last_committed_xact \
    pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp \
    pg_lock_status pg_notification_queue_usage pg_partition_ancestors \
    pg_partition_tree pg_prepared_xact pg_relation_size \
    pg_safe_snapshot_blocking_pids pg_sequence_last_value pg_stat_get_xact_blocks_fetched \
    pg_stat_get_xact_blocks_hit pg_stat_get_xact_function_calls pg_stat_get_xact_function_self_time \
    pg_stat_get_xact_function_total_time pg_stat_get_xact_numscans pg_stat_get_xact_tuples_deleted \
    pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_hot_updated pg_stat_get_xact_tuples_inserted \
    pg_stat_get_xact_tuples_returned pg_stat_get_xact_tuples_updated pg_stat_have_stats \
    pg_table_size pg_tablespace_size pg_total_relation_size \
    pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status \
    random timeofday txid_status";

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_harmless_functions_fits_the_server() {
    let Some(database) = database("functions").await else {
        return;
    };
    let list = include_str!("../../../../src/core/statement/postgres/functions.txt");
    let names: Vec<&str> = list.lines().collect();
    let odd = "select distinct proname::text from pg_proc where oid < 16384 \
        and pronamespace = 'pg_catalog'::regnamespace and proname = any($1) \
        and (provolatile = 'v' or prokind = 'p') order by 1";
    let rows = database.admin.query(odd, &[&names]).await.unwrap();
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let expected: Vec<&str> = ANSWERS_ONLY.split_whitespace().collect();
    let unexpected: Vec<_> = found
        .iter()
        .filter(|n| !expected.contains(&n.as_str()))
        .collect();
    assert!(
        unexpected.is_empty(),
        "on the list, and volatile: {unexpected:?}"
    );
    assert!(found.len() > 10, "the list was not compared with anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_shows_whose_request_it_runs_and_nothing_of_it_afterwards() {
    let Some(database) = database("named").await else {
        return;
    };
    let allow = [Effect::Read, Effect::Write];
    let executor = database.executor("", &allow, Limits::DEFAULT);
    let shown = "show application_name";
    let read = run(&executor, shown, &[]).await.unwrap();
    let name = read.rows[0][0].as_str().unwrap();
    assert!(name.starts_with("req_"), "{name}");
    assert!(name.contains(" ai:"), "{name}");
    let update =
        "update users set name = current_setting('application_name') where id = 1 returning name";
    let changed = run(&executor, update, &[]).await.unwrap();
    let name = changed.rows[0][0].as_str().unwrap();
    assert!(name.starts_with("req_") && name.contains(" ai:"), "{name}");
    let idle = "select count(*) from pg_stat_activity where application_name = 'secondkey' \
        and datname = current_database() and state = 'idle'";
    let began = Instant::now();
    while database
        .admin
        .query_one(idle, &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        == 0
    {
        assert!(began.elapsed() < Duration::from_secs(5), "a name was kept");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let kept = "select count(*) from pg_stat_activity where application_name like 'req\\_%' \
        and datname = current_database()";
    assert_eq!(
        database
            .admin
            .query_one(kept, &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        0
    );
}
