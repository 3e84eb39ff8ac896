//! Limits in rows, bytes, time and depth, and cancelling.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use secondkey::core::refusal::Code;
use secondkey::core::statement::Effect::{Read, Write};
use secondkey::exec::Event;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::rig::{Rig, finish, state};

const ENDLESS: &str =
    "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT max(n) FROM s";
const ENDLESS_ROWS: &str =
    "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT n FROM s";

#[tokio::test]
async fn the_first_page_holds_one_row_more_than_it_shows() {
    let mut rig = Rig::new(&[Read]);
    for (rows, first) in [(10, 11), (2_999, 3_000), (3_000, 3_000), (10_000, 3_000)] {
        rig.limits.rows = rows;
        rig.limits.bytes = 1_000_000;
        let answer = rig.run("SELECT id FROM wide", &[]).await.unwrap();
        assert_eq!(
            (answer.pages[0].len(), answer.rows().len()),
            (first, 3_000),
            "{rows}"
        );
    }
    let none = rig
        .run("SELECT id, name FROM users WHERE false", &[])
        .await
        .unwrap();
    assert_eq!((none.columns.len(), none.rows().len()), (2, 0));
}

#[tokio::test]
async fn a_read_stops_at_its_time_limit() {
    let mut rig = Rig::new(&[Read]);
    rig.limits.time_ms = 200;
    let begun = Instant::now();
    let refusal = rig.run(ENDLESS, &[]).await.unwrap_err();
    assert_eq!(refusal.code, Code::TimeLimit, "{refusal:?}");
    let took = begun.elapsed();
    assert!((200..1_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(rig.rows("SELECT 1", &[]).await, [[json!(1)]]);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_does_not_hold_a_thread_beyond_the_time_limit() {
    let mut rig = Rig::new(&[Read]);
    rig.limits.time_ms = 300;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        stalled.push(
            rig.start(ENDLESS_ROWS, &[], CancellationToken::new())
                .await
                .unwrap(),
        );
    }
    assert_eq!(rig.rows("SELECT 1", &[]).await, [[json!(1)]]);
    for mut running in stalled {
        let mut last = None;
        while let Some(event) = running.events.recv().await {
            last = Some(event);
        }
        // Either it was told, or the events end without the word that all is well.
        assert!(!matches!(last, Some(Event::Done { .. })));
    }
}

#[tokio::test]
async fn cancelling_stops_a_read_at_once() {
    let rig = Rig::new(&[Read]);
    let cancel = CancellationToken::new();
    let soon = cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        soon.cancel();
    });
    let begun = Instant::now();
    let refusal = rig.start(ENDLESS, &[], cancel).await.unwrap_err();
    assert_eq!(refusal.code, Code::Cancelled);
    assert!(begun.elapsed() < Duration::from_millis(500));
    // All threads are free again, so the statement itself has stopped.
    for _ in 0..8 {
        assert_eq!(rig.rows("SELECT 1", &[]).await, [[json!(1)]]);
    }
}

#[tokio::test]
async fn a_read_stops_when_nobody_reads_it() {
    let rig = Rig::new(&[Read]);
    for _ in 0..8 {
        let mut running = rig
            .start(ENDLESS_ROWS, &[], CancellationToken::new())
            .await
            .unwrap();
        assert!(
            matches!(running.events.recv().await, Some(Event::Rows(rows)) if rows.len() == 201)
        );
        drop(running);
    }
    let begun = Instant::now();
    assert_eq!(rig.rows("SELECT 1", &[]).await, [[json!(1)]]);
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_change_that_is_stopped_leaves_nothing() {
    let mut rig = Rig::new(&[Read, Write]);
    let before = state(&rig.path());
    let endless = format!("INSERT INTO drops {ENDLESS_ROWS}");
    rig.limits.time_ms = 200;
    assert_eq!(
        rig.run(&endless, &[]).await.unwrap_err().code,
        Code::TimeLimit
    );
    assert_eq!(state(&rig.path()), before);
    rig.limits.time_ms = 30_000;
    let cancel = CancellationToken::new();
    let soon = cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        soon.cancel();
    });
    assert_eq!(
        rig.start(&endless, &[], cancel).await.unwrap_err().code,
        Code::Cancelled
    );
    assert_eq!(state(&rig.path()), before);
}

#[tokio::test]
async fn a_lock_is_waited_for_and_not_longer_than_the_time_limit() {
    let mut rig = Rig::new(&[Read, Write]);
    let other = rig.other();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    rig.limits.time_ms = 300;
    let (token, statement) = {
        other.execute_batch("COMMIT").unwrap();
        let permit = rig.permit("SELECT count(*) FROM users", &[]).await.unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        permit
    };
    let refusal = rig
        .executor
        .run(token, statement, CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::TimeLimit, "{refusal:?}");
    rig.limits.time_ms = 10_000;
    let free = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        other.execute_batch("COMMIT").unwrap();
    });
    assert_eq!(
        rig.run("UPDATE users SET name = 'z'", &[])
            .await
            .unwrap()
            .affected,
        Some(3)
    );
    free.join().unwrap();
}

#[tokio::test]
async fn huge_values_are_refused_and_not_made() {
    let rig = Rig::new(&[Read]);
    for sql in [
        "SELECT length(zeroblob(1000000000))",
        "SELECT length(randomblob(1000000000))",
        "SELECT length(printf('%1000000000d', 1))",
    ] {
        let refusal = rig.run(sql, &[]).await.err();
        assert!(
            refusal.is_none_or(|r| r.code == Code::DatabaseError),
            "{sql}"
        );
    }
    let refusal = rig
        .run("SELECT hex(zeroblob(60000000))", &[])
        .await
        .unwrap_err();
    assert!(refusal.message.contains("too large"), "{refusal:?}");
}

#[tokio::test]
async fn deep_and_wide_statements_run_or_are_refused_and_nothing_breaks() {
    let rig = Rig::new(&[Read]);
    let nested = |n: usize| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(rig.rows(&nested(60), &[]).await, [[json!(1)]]);
    let sum = format!("SELECT 0{}", "+1".repeat(900));
    assert_eq!(rig.rows(&sum, &[]).await, [[json!(900)]]);
    let union = format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(400));
    assert_eq!(rig.rows(&union, &[]).await.len(), 401);
    let mut ctes = String::from("WITH c0 AS (SELECT 1 n)");
    for i in 1..100 {
        write!(ctes, ", c{i} AS (SELECT n + 1 AS n FROM c{})", i - 1).unwrap();
    }
    assert_eq!(
        rig.rows(&format!("{ctes} SELECT n FROM c99"), &[]).await,
        [[json!(100)]]
    );
    let froms = |n: usize| format!("{}SELECT 1 a{}", "SELECT * FROM (".repeat(n), ")".repeat(n));
    assert_eq!(rig.rows(&froms(50), &[]).await, [[json!(1)]]);
    for sql in [
        nested(30_000),
        froms(3_800),
        format!("SELECT {}1", "~".repeat(60_000)),
        format!("SELECT {}1", "NOT ".repeat(16_000)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(4_000)),
        format!("SELECT 0{}", "+1".repeat(30_000)),
        format!("SELECT {}1{}", "abs(".repeat(12_000), ")".repeat(12_000)),
        format!("SELECT {}1{}", "(SELECT ".repeat(7_000), ")".repeat(7_000)),
        format!("SELECT {}1", "CASE WHEN 1 THEN ".repeat(3_500)),
        format!("SELECT * FROM users WHERE {}", "x'".repeat(30_000)),
    ] {
        let begun = Instant::now();
        // Whether it runs is for SQLite's limits to say; it may not take long or break anything.
        let _either = rig.run(&sql, &[]).await;
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(rig.rows("SELECT 1", &[]).await, [[json!(1)]]);
    }
}

#[tokio::test]
async fn many_reads_at_once_all_answer() {
    let rig = Rig::new(&[Read]);
    let all = futures::future::join_all((0..64).map(|i| {
        let rig = &rig;
        async move {
            (
                i,
                rig.rows("SELECT $1 + count(*) FROM wide", &[json!(i)])
                    .await,
            )
        }
    }));
    for (i, rows) in all.await {
        assert_eq!(rows, [[json!(3_000 + i)]]);
    }
    let running = rig
        .start("SELECT 1", &[], CancellationToken::new())
        .await
        .unwrap();
    finish(running).await.unwrap();
}
