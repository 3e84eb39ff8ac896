//! The corpus: what must be blocked leaves no trace, what must run runs. Judged by the state that
//! another connection sees, once with the login that a target should have and once as a superuser,
//! where the privileges of the login stop nothing.

use secondkey::core::limits::Limits;
use secondkey::core::statement::Effect;
use serde_json::Value;

use super::fixture::{Database, database, run};

const LIMITS: Limits = Limits {
    time_ms: 1_500,
    ..Limits::DEFAULT
};

struct Case {
    id: String,
    mode: String,
    sql: String,
    params: Vec<Value>,
    must_run: bool,
}

/// The cases of PostgreSQL that are text at all; a lone surrogate is none.
fn cases(effects: &str, reader: &str) -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let read = |file| std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
    let text = read("statements.jsonl") + &read("own.jsonl");
    let lines = text.lines().filter(|line| !line.contains("\\ud800"));
    let values = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    values
        .filter(|case| case["dialect"] == "postgres")
        .filter_map(|case| {
            let sql = match case["sql"].as_str() {
                Some(sql) => sql
                    .replace("{EFFECTS}", effects)
                    .replace("bench_ro", reader),
                None => made(case["why"].as_str().unwrap())?,
            };
            Some(Case {
                id: case["id"].as_str().unwrap().into(),
                mode: case["mode"].as_str().unwrap().into(),
                sql,
                params: case["params"].as_array().cloned().unwrap_or_default(),
                must_run: case["must"] == "allow",
            })
        })
        .collect()
}

/// The statements that the corpus describes; bytes that are no UTF-8 never become a statement.
fn made(why: &str) -> Option<String> {
    Some(match why {
        "100 kB string literal" => format!("SELECT length('{}')", "x".repeat(100_000)),
        "60 nested parentheses" => format!("SELECT {}1{}", "(".repeat(60), ")".repeat(60)),
        "1,001 columns" => format!("SELECT {}", vec!["1"; 1_001].join(", ")),
        "10,000 nested parentheses must not crash the guard" => {
            format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000))
        }
        "100,000 nested NOT (recursive-descent parsers overflow)" => {
            format!("SELECT {}true", "NOT ".repeat(100_000))
        }
        "20 MB statement must be refused by a size limit" => {
            format!("SELECT '{}'", "x".repeat(20_000_000))
        }
        "100,000 unclosed nested comments" => format!("SELECT 1 {}", "/*".repeat(100_000)),
        "empty statement" => String::new(),
        "over-long encoding of a quote" | "UTF-16 text" => return None,
        other => panic!("nobody knows how to make: {other}"),
    })
}

fn allowed(mode: &str) -> &'static [Effect] {
    match mode {
        "read_only" => &[Effect::Read],
        "write_allowed_no_ddl" | "capability_param" => &[Effect::Read, Effect::Write],
        _ => &[Effect::Read, Effect::Write, Effect::Schema, Effect::Admin],
    }
}

/// Runs every case of some modes as one login; the ids of those that came out wrong.
async fn wrong(database: &Database, user: &str, modes: &[&str]) -> Vec<String> {
    let effects = database.effects.path().to_str().unwrap().to_owned();
    let _victim = database.victim().await;
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut before = database.state().await;
    for mode in modes {
        let executor = database.executor(user, allowed(mode), LIMITS);
        for case in cases(&effects, &database.reader)
            .into_iter()
            .filter(|case| case.mode == *mode)
        {
            count += 1;
            let answer = run(&executor, &case.sql, &case.params).await;
            let after = database.state().await;
            let as_wanted = match (case.must_run, &answer) {
                (true, answer) => answer.is_ok(),
                (false, Err(_)) => before == after,
                (false, Ok(_)) => false,
            };
            if !as_wanted {
                let shown: String = case.sql.chars().take(120).collect();
                let outcome = answer
                    .map(|a| a.rows.len())
                    .map_err(|e| format!("{}: {e}", e.code));
                wrong.push(format!(
                    "{} [{shown}] {outcome:?} changed: {}",
                    case.id,
                    before != after
                ));
            }
            if before != after {
                database.reset().await;
                before = database.state().await;
            }
        }
    }
    assert!(count > 40, "only {count} cases");
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_as_a_login_that_may_only_read() {
    let Some(database) = database("corpus_ro").await else {
        return;
    };
    let wrong = wrong(&database, &database.reader, &["read_only"]).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_as_a_superuser_so_that_privileges_stop_nothing() {
    let Some(database) = database("corpus_su").await else {
        return;
    };
    let wrong = wrong(&database, "", &["read_only"]).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_above_reads_as_a_superuser() {
    let Some(database) = database("corpus_rw").await else {
        return;
    };
    let modes = [
        "write_allowed_no_ddl",
        "capability_param",
        "single_statement",
    ];
    let wrong = wrong(&database, "", &modes).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}
