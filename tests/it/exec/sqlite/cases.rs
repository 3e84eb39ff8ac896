//! What the engine adds to the text: views, triggers, functions, and how changes run.

use secondkey::core::refusal::Code;
use secondkey::core::statement::Effect::{Admin, Read, Schema, Write};
use secondkey::core::work::Work;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::rig::{Rig, finish, fixture, state};

const ALL: &[secondkey::core::statement::Effect] = &[Read, Write, Schema];

#[tokio::test]
async fn a_trigger_behind_a_view_is_named() {
    let rig = Rig::new(&[Read]);
    let work = Work::Sql {
        text: "INSERT INTO v_ins VALUES (1)".into(),
        params: vec![],
        salt: [3; 16],
    };
    let judged = rig.judge(&work).await.unwrap();
    assert_eq!(judged.effect, Write);
    assert!(
        judged
            .because()
            .contains("fires v_ins_t, which deletes from orders"),
        "{}",
        judged.because()
    );
    assert!(judged.writes.iter().any(|name| name.name == "orders"));
}

#[tokio::test]
async fn a_view_is_read_through_to_its_tables() {
    let rig = Rig::new(&[Read]);
    let work = Work::Sql {
        text: "SELECT count(*) FROM v_users".into(),
        params: vec![],
        salt: [3; 16],
    };
    let judged = rig.judge(&work).await.unwrap();
    let reads: Vec<_> = judged.reads.iter().map(ToString::to_string).collect();
    assert_eq!(
        (judged.effect, reads),
        (Read, vec!["users".to_owned(), "v_users".to_owned()])
    );
}

#[tokio::test]
async fn full_text_tables_do_not_show_what_they_are_made_of() {
    let rig = Rig::new(&[Read]);
    let work = Work::Sql {
        text: "SELECT * FROM fts WHERE fts MATCH 'hello'".into(),
        params: vec![],
        salt: [3; 16],
    };
    for _ in 0..8 {
        let judged = rig.judge(&work).await.unwrap();
        let reads: Vec<_> = judged.reads.iter().map(ToString::to_string).collect();
        assert_eq!(reads, ["fts"]);
    }
}

#[tokio::test]
async fn a_definition_that_calls_an_unknown_function_is_refused() {
    let rig = Rig::new(ALL);
    let before = state(&rig.path());
    for sql in [
        "CREATE VIEW x AS SELECT evil(name) FROM users",
        "CREATE TRIGGER x AFTER INSERT ON users BEGIN SELECT evil(1); END",
        "CREATE TABLE x(a CHECK (evil(a)))",
        "CREATE VIRTUAL TABLE x USING evil(a)",
    ] {
        let refusal = rig.run(sql, &[]).await.expect_err(sql);
        assert_eq!(refusal.code, Code::Forbidden, "{sql}: {refusal:?}");
        assert_eq!(state(&rig.path()), before, "{sql}");
    }
}

#[tokio::test]
async fn changes_and_definitions_run_where_they_are_allowed() {
    let rig = Rig::new(ALL);
    for (sql, affected) in [
        (
            "INSERT INTO orders(user_id, amount) SELECT id, 1 FROM users",
            3,
        ),
        ("UPDATE orders SET amount = 2 WHERE user_id = $1", 3),
        ("DELETE FROM orders WHERE user_id = $1", 3),
        ("INSERT INTO fts VALUES ('new words')", 1),
        (
            "INSERT INTO users(id, name) VALUES ($1, 'x') ON CONFLICT(id) DO UPDATE SET name = excluded.name",
            1,
        ),
        (
            "CREATE TABLE x(a INTEGER PRIMARY KEY, b VARCHAR(10) DEFAULT (upper('a')), c AS (a + 1))",
            0,
        ),
        ("CREATE UNIQUE INDEX ix ON x(lower(b)) WHERE a > 0", 0),
        ("ALTER TABLE x RENAME COLUMN b TO bb", 0),
        ("ALTER TABLE x RENAME TO y", 0),
        ("ALTER TABLE y ADD COLUMN d DECIMAL(10, 2)", 0),
        ("ALTER TABLE y DROP COLUMN d", 0),
        ("CREATE VIRTUAL TABLE f5 USING fts5(a, b)", 0),
        ("CREATE TEMP TABLE t(a)", 0),
        ("CREATE TABLE z AS SELECT * FROM users", 0),
        ("DROP TABLE f5", 0),
        ("DROP INDEX ix", 0),
        ("DROP TABLE y", 0),
    ] {
        let params = if sql.contains("$1") {
            vec![json!(1)]
        } else {
            vec![]
        };
        let answer = rig
            .run(sql, &params)
            .await
            .unwrap_or_else(|r| panic!("{sql}: {r:?}"));
        assert_eq!(answer.affected, Some(affected), "{sql}");
    }
    let count: i64 = rig
        .other()
        .query_row("SELECT count(*) FROM z", [], |r| r.get(0))
        .unwrap();
    assert_eq!(count, 3);
}

#[tokio::test]
async fn upkeep_runs_where_admin_is_allowed_and_other_files_stay_out_of_reach() {
    let rig = Rig::new(&[Read, Write, Schema, Admin]);
    for sql in [
        "VACUUM",
        "ANALYZE",
        "REINDEX",
        "PRAGMA user_version = 7",
        "PRAGMA journal_mode = WAL",
    ] {
        rig.run(sql, &[])
            .await
            .unwrap_or_else(|r| panic!("{sql}: {r:?}"));
    }
    assert_eq!(rig.rows("PRAGMA user_version", &[]).await, [[json!(7)]]);
    let copy = rig.folder.path().join("copy.db");
    for sql in [
        format!("VACUUM INTO '{}'", copy.display()),
        format!("ATTACH '{}' AS x", copy.display()),
        "SELECT load_extension('x')".to_owned(),
        "BEGIN".to_owned(),
    ] {
        rig.run(&sql, &[]).await.expect_err(&sql);
        assert!(!copy.exists(), "{sql}");
    }
}

#[tokio::test]
async fn a_change_that_fails_leaves_nothing() {
    let rig = Rig::new(ALL);
    let before = state(&rig.path());
    let twice = "INSERT INTO users(id) VALUES (10), (11), (10)";
    let refusal = rig.run(twice, &[]).await.unwrap_err();
    assert_eq!(refusal.code, Code::DatabaseError);
    assert!(
        refusal
            .message
            .contains("UNIQUE constraint failed: users.id"),
        "{refusal:?}"
    );
    let dangling = rig
        .run("INSERT INTO orders(user_id) VALUES (999)", &[])
        .await
        .unwrap_err();
    assert!(dangling.message.contains("FOREIGN KEY"), "{dangling:?}");
    assert_eq!(state(&rig.path()), before);
}

#[tokio::test]
async fn a_change_goes_on_to_its_end_when_the_caller_goes_away() {
    let rig = Rig::new(ALL);
    let running = rig
        .start(
            "UPDATE wide SET h = 'x' RETURNING id",
            &[],
            CancellationToken::new(),
        )
        .await
        .unwrap();
    drop(running);
    // The next change waits for the first.
    rig.run("UPDATE users SET name = 'y' WHERE id = 1", &[])
        .await
        .unwrap();
    let changed: i64 = rig
        .other()
        .query_row("SELECT count(*) FROM wide WHERE h = 'x'", [], |r| r.get(0))
        .unwrap();
    assert_eq!(changed, 3000);
}

#[tokio::test]
async fn rows_of_a_change_come_once_it_is_committed() {
    let rig = Rig::new(ALL);
    let running = rig
        .start(
            "DELETE FROM wide RETURNING id",
            &[],
            CancellationToken::new(),
        )
        .await
        .unwrap();
    let left: i64 = rig
        .other()
        .query_row("SELECT count(*) FROM wide", [], |r| r.get(0))
        .unwrap();
    assert_eq!(left, 0);
    let answer = finish(running).await.unwrap();
    assert_eq!((answer.rows().len(), answer.affected), (3000, Some(3000)));
    assert_eq!(answer.pages[0].len(), 201);
}

#[tokio::test]
async fn a_worse_statement_than_the_token_allows_is_refused() {
    let reads = Rig::new(&[Read]);
    let (token, _) = reads.permit("SELECT 1", &[]).await.unwrap();
    let worse = Work::Sql {
        text: "DELETE FROM orders".into(),
        params: vec![],
        salt: [3; 16],
    };
    let judged = reads.judge(&worse).await.unwrap();
    let refusal = reads
        .executor
        .run(token, judged, CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::ClassificationMismatch);
    let (token, _) = reads
        .permit("EXPLAIN DELETE FROM orders", &[])
        .await
        .unwrap();
    let judged = reads.judge(token.work()).await.unwrap();
    let explained = reads
        .executor
        .run(token, judged, CancellationToken::new())
        .await
        .unwrap();
    assert!(finish(explained).await.unwrap().rows().len() > 5);
    assert_eq!(
        reads.rows("SELECT count(*) FROM orders", &[]).await,
        [[json!(3)]]
    );
}

#[tokio::test]
async fn unknown_names_come_with_the_nearest_ones() {
    let rig = Rig::new(&[Read]);
    for (sql, code, hint) in [
        (
            "SELECT * FROM user",
            Code::UnknownTable,
            "did you mean users?",
        ),
        (
            "SELECT * FROM zzzzzz",
            Code::UnknownTable,
            "the tables there are: drops",
        ),
        (
            "SELECT nmae FROM users",
            Code::UnknownColumn,
            "did you mean name",
        ),
        (
            "SELECT u.qqqqqq FROM users u",
            Code::UnknownColumn,
            "the columns there are: delete_flag",
        ),
        (
            "SELECT uper('x')",
            Code::DatabaseError,
            "pragma_function_list",
        ),
        ("SELECT FROM users", Code::SyntaxError, "SQLite's dialect"),
    ] {
        let refusal = rig.run(sql, &[]).await.expect_err(sql);
        assert_eq!(refusal.code, code, "{sql}: {refusal:?}");
        assert!(
            refusal.hint.as_deref().unwrap_or_default().contains(hint),
            "{sql}: {refusal:?}"
        );
    }
}

#[tokio::test]
async fn no_error_repeats_the_statement_or_a_value() {
    let rig = Rig::new(ALL);
    for (sql, params) in [
        ("SELECT nope FROM users WHERE name = 'hunter2'", vec![]),
        ("SELECT 'hunter2' FROM", vec![]),
        (
            "INSERT INTO users(id, name) VALUES (1, $1)",
            vec![json!("hunter2")],
        ),
        ("SELECT json($1)", vec![json!("{hunter2")]),
        (
            "SELECT * FROM fts WHERE fts MATCH $1",
            vec![json!("hunter2:")],
        ),
        (
            "SELECT * FROM fts WHERE fts MATCH $1",
            vec![json!("\"hunter2")],
        ),
        ("SELECT json_extract('{}', $1)", vec![json!("hunter2")]),
        ("SELECT abs($1)", vec![json!({"hunter2": 1})]),
    ] {
        let refusal = rig.run(sql, &params).await.expect_err(sql);
        let told = format!("{refusal:?}");
        assert!(!told.contains("hunter2"), "{sql}: {told}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_or_no_database_is_said_to_be_so() {
    let rig = Rig::new(&[Read]);
    assert_eq!(
        rig.rows("SELECT count(*) FROM users", &[]).await,
        [[json!(3)]]
    );
    let path = rig.path();
    std::fs::remove_file(&path).unwrap();
    let refusal = rig.run("SELECT 1", &[]).await.unwrap_err();
    assert_eq!(refusal.code, Code::DatabaseUnavailable);
    assert!(!path.exists(), "the file was made");
    std::fs::write(
        &path,
        "this is no database, and it is long enough to be seen as none".repeat(50),
    )
    .unwrap();
    let refusal = rig.run("SELECT * FROM users", &[]).await.unwrap_err();
    assert_eq!(refusal.code, Code::DatabaseUnavailable, "{refusal:?}");
    std::fs::remove_file(&path).unwrap();
    rig.other().execute_batch(&fixture()).unwrap();
    assert_eq!(
        rig.rows("SELECT count(*) FROM users", &[]).await,
        [[json!(3)]]
    );
}

#[tokio::test]
async fn what_others_commit_is_seen_by_the_next_read() {
    let rig = Rig::new(&[Read]);
    for mode in ["delete", "wal"] {
        rig.other()
            .pragma_update(None, "journal_mode", mode)
            .unwrap();
        let before = rig.rows("SELECT count(*) FROM drops", &[]).await;
        rig.other()
            .execute_batch("INSERT INTO drops VALUES (1); ALTER TABLE drops ADD COLUMN x")
            .unwrap();
        let after = rig.rows("SELECT count(*) FROM drops", &[]).await;
        assert_ne!(before, after, "{mode}");
        let answer = rig.run("SELECT * FROM drops", &[]).await.unwrap();
        assert_eq!(answer.columns.len(), answer.rows()[0].len());
        rig.other()
            .execute_batch("ALTER TABLE drops DROP COLUMN x")
            .unwrap();
        let answer = rig.run("SELECT * FROM drops", &[]).await.unwrap();
        assert_eq!((answer.columns.len(), answer.rows()[0].len()), (1, 1));
    }
}

#[tokio::test]
async fn doctor_finds_a_sound_target_good_and_a_missing_file_bad() {
    use secondkey::exec::check::Verdict;
    let rig = Rig::new(&[Read]);
    let checks = rig.executor.check().await;
    assert!(
        checks.len() >= 2 && checks.iter().all(|c| c.verdict == Verdict::Good),
        "{checks:?}"
    );
    std::fs::remove_file(rig.path()).unwrap();
    let checks = rig.executor.check().await;
    assert!(
        checks.iter().any(|c| c.verdict == Verdict::Bad),
        "{checks:?}"
    );
}

#[tokio::test]
async fn no_pragma_in_any_form_changes_anything_and_those_that_ask_are_answered() {
    let rig = Rig::new(&[Read]);
    let other = rig.other();
    let mut list = other
        .prepare("SELECT name FROM pragma_pragma_list ORDER BY name")
        .unwrap();
    let names: Vec<String> = list
        .query_map([], |r| r.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let before = state(&rig.path());
    let mut answered = 0;
    for name in &names {
        answered += usize::from(rig.run(&format!("PRAGMA {name}"), &[]).await.is_ok());
        for sql in [
            format!("PRAGMA {name} = 1"),
            format!("PRAGMA main.{name} = 'off'"),
            format!("EXPLAIN PRAGMA {name} = 1"),
            format!("PRAGMA {name}(1)"),
            format!("SELECT * FROM pragma_{name}"),
            format!("SELECT * FROM pragma_{name}(1)"),
        ] {
            let _either = rig.run(&sql, &[]).await;
        }
        for _ in 0..4 {
            let held = rig
                .rows(
                    "SELECT * FROM pragma_query_only, pragma_trusted_schema",
                    &[],
                )
                .await;
            assert_eq!(held, [[json!(1), json!(0)]], "{name}");
        }
    }
    assert_eq!(state(&rig.path()), before);
    assert!(
        names.len() > 60 && (45..names.len()).contains(&answered),
        "{answered} of {}",
        names.len()
    );
}

#[tokio::test]
async fn what_came_into_the_schema_after_the_judgement_does_not_run_along() {
    let rig = Rig::with(
        &[Read, Write],
        "CREATE TABLE t (a INTEGER); CREATE TABLE hidden (a INTEGER); INSERT INTO t VALUES (1);",
        &[],
    );
    let sql = "UPDATE t SET a = 2";
    let (token, judged) = rig.permit(sql, &[]).await.unwrap();
    let trigger = "CREATE TRIGGER late AFTER UPDATE ON t BEGIN INSERT INTO hidden VALUES (7); END";
    rig.other().execute_batch(trigger).unwrap();
    let run = rig.executor.run(token, judged, CancellationToken::new());
    let refusal = match run.await {
        Err(refusal) => refusal,
        Ok(running) => finish(running).await.unwrap_err(),
    };
    assert_eq!(refusal.code, Code::ClassificationMismatch, "{refusal:?}");
    assert!(refusal.message.contains("hidden"), "{refusal:?}");
    let count = "SELECT (SELECT count(*) FROM hidden) + (SELECT count(*) FROM t WHERE a = 2)";
    let changed = rig.other().query_row(count, [], |row| row.get(0));
    assert_eq!(changed, Ok(0));
    // Judged as things are now, it runs with all that it does.
    rig.run(sql, &[]).await.unwrap();
    let changed = rig.other().query_row(count, [], |row| row.get(0));
    assert_eq!(changed, Ok(2));
}
