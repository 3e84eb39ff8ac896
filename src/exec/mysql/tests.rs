//! The server's own layer with the statement guard switched off, on the server of
//! `TEST_MARIADB_URL` and with a login that may do everything.

use sqlx::{Executor as _, Row as _};

use super::*;
use crate::exec::mysql::read::is_only_a_star;
use crate::exec::mysql::session::{Mode, Session};

fn options() -> Option<MySqlConnectOptions> {
    #[expect(clippy::disallowed_methods, reason = "`tests/run` speaks through it")]
    let Ok(url) = std::env::var("TEST_MARIADB_URL") else {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: TEST_MARIADB_URL is not set");
        }
        return None;
    };
    Some(super::options(&url).unwrap())
}

async fn own(options: &MySqlConnectOptions, sql: &'static str) -> Session {
    let mut session = Session::open(options, Mode::Change).await.unwrap();
    session.own(sql).await.unwrap();
    session
}

async fn count(session: &mut Session, sql: &'static str) -> i64 {
    let row = session.connection.fetch_one(sqlx::query(sql)).await;
    row.unwrap().get(0)
}

/// Runs a text as a read, whatever the guard would say of it.
async fn unguarded(options: &MySqlConnectOptions, session: &mut Session, sql: &str) -> End {
    let (events, _kept) = mpsc::channel(EVENTS_AHEAD);
    let watch = Watch::new(options, CancellationToken::new(), 5_000, None);
    let order = read::Order {
        sql: sql.to_owned(),
        arguments: params::arguments(&[]).unwrap(),
        limits: Limits::DEFAULT,
        probe: None,
        may_fall_short: false,
        hides_hashes: false,
    };
    let mut started = None;
    let outlet = Outlet {
        started: &mut started,
        events: &events,
        watch: &watch,
    };
    read::run(session, &order, outlet, &Grammar::default()).await
}

#[tokio::test]
async fn without_the_guard_the_session_still_refuses_changes() {
    let Some(options) = options() else {
        return;
    };
    let mut judge = own(
        &options,
        "DROP DATABASE IF EXISTS sk_layer; CREATE DATABASE sk_layer; USE sk_layer; \
         CREATE TABLE t (a int) ENGINE=InnoDB; INSERT INTO t VALUES (1); CREATE SEQUENCE s; \
         CREATE FUNCTION wipe() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM sk_layer.t; RETURN 1; END",
    )
    .await;
    let mut reader = Session::open(&options.clone().database("sk_layer"), Mode::Read)
        .await
        .unwrap();
    for round in 0..2 {
        for sql in [
            "DELETE FROM t",
            "INSERT INTO t VALUES (2)",
            "UPDATE t SET a = 2",
            "TRUNCATE t",
            "DROP TABLE t",
            "CREATE TABLE u (a int)",
            "CREATE TEMPORARY TABLE u (a int)",
            "ALTER TABLE t ADD b int",
            "RENAME TABLE t TO u",
            "SELECT NEXT VALUE FOR s",
            "SELECT wipe()",
            "SELECT * FROM t FOR UPDATE",
            "SELECT 1; DELETE FROM t",
        ] {
            let end = unguarded(&options, &mut reader, sql).await;
            assert!(
                matches!(end, End::Refused(_)),
                "round {round}: {sql}: {end:?}"
            );
        }
        let rows = "SELECT COUNT(*) FROM sk_layer.t WHERE a = 1";
        assert_eq!(count(&mut judge, rows).await, 1);
        let tables =
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'sk_layer'";
        assert_eq!(count(&mut judge, tables).await, 2);
        // The next transaction is as read-only as the one before.
        reader.rewind().await.unwrap();
    }
}

#[tokio::test]
async fn the_grammar_probe_takes_queries_and_nothing_else() {
    let Some(options) = options() else {
        return;
    };
    let mut session = Session::open(&options, Mode::Read).await.unwrap();
    for (sql, taken) in [
        ("SELECT 1;", true),
        ("SELECT 1 -- x", true),
        ("SELECT SQL_NO_CACHE 1", true),
        ("SELECT SQL_CALC_FOUND_ROWS 1 FROM dual", true),
        ("SELECT HIGH_PRIORITY SQL_BUFFER_RESULT 1", true),
        ("SELECT * FROM (SELECT 1, 2) q UNION SELECT 3, 4", true),
        (
            "SELECT * FROM (SELECT 1, 2) q UNION SELECT 3, 4 INTO OUTFILE '/tmp/x'",
            false,
        ),
        (
            "SELECT * FROM (SELECT 1, 2) q UNION SELECT 3, 4 INTO @x, @y",
            false,
        ),
        (
            "SELECT * FROM (SELECT 1, 2) q UNION SELECT 3, 4; DELETE FROM t",
            false,
        ),
        ("WITH x AS (SELECT 1) SELECT * FROM x", true),
        ("(SELECT 1) UNION ALL (SELECT 2) LIMIT 1", true),
        ("VALUES (1), (2)", true),
        ("SELECT 'a\\'b', `x``y` FROM (SELECT 1 AS `x``y`) d", true),
        ("SELECT 1 INTO @x", false),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", false),
        ("SET @x = 1", false),
        ("COMMIT", false),
        ("SHOW TABLES", false),
        ("CALL p()", false),
    ] {
        let Ok(probe) = guard::grammar_probe(sql) else {
            assert!(!taken, "{sql}");
            continue;
        };
        let prepared = session
            .connection
            .prepare(sqlx::SqlSafeStr::into_sql_str(sqlx::AssertSqlSafe(probe)))
            .await;
        let accepted = prepared.as_ref().map_or_else(is_only_a_star, |_| true);
        assert_eq!(accepted, taken, "{sql}: {prepared:?}");
    }
}
