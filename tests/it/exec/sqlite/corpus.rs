//! Every SQLite case of the corpus, both sides, by its effect and not by its answer alone.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a case that cannot be read is a failed test"
)]

use std::path::Path;

use secondkey::core::statement::Effect;
use serde_json::Value;

use super::rig::{Rig, state};

struct Case {
    id: String,
    sql: String,
    params: Vec<Value>,
    allow: Vec<Effect>,
    must_run: bool,
}

fn cases(effects: &Path) -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/statements.jsonl");
    let corpus = std::fs::read_to_string(path).unwrap();
    let ours = corpus
        .lines()
        .filter(|line| line.contains(r#""dialect": "sqlite""#));
    ours.map(|line| {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str().unwrap().to_owned();
        Case {
            id: text("id"),
            sql: text("sql").replace("{EFFECTS}", effects.to_str().unwrap()),
            params: case["params"].as_array().unwrap().clone(),
            allow: match case["mode"].as_str().unwrap() {
                "read_only" | "capability_param" => vec![Effect::Read],
                "write_allowed_no_ddl" => vec![Effect::Read, Effect::Write],
                "single_statement" => vec![Effect::Read, Effect::Write, Effect::Schema],
                other => panic!("unknown mode {other}"),
            },
            must_run: case["must"] == "allow",
        }
    })
    .collect()
}

#[tokio::test]
async fn what_must_be_blocked_has_no_effect_and_what_must_run_runs() {
    let effects = tempfile::tempdir().unwrap();
    let cases = cases(effects.path());
    assert_eq!(cases.len(), 105);
    for case in cases {
        let rig = Rig::new(&case.allow);
        let before = state(&rig.path());
        let answer = rig.run(&case.sql, &case.params).await;
        if case.must_run {
            assert!(answer.is_ok(), "{}: {} gave {answer:?}", case.id, case.sql);
            let reads_only = case.allow == [Effect::Read];
            assert!(
                !reads_only || state(&rig.path()) == before,
                "{} changed something",
                case.id
            );
            continue;
        }
        let refusal = answer.expect_err(&case.id);
        assert!(!refusal.message.is_empty(), "{}", case.id);
        assert_eq!(
            state(&rig.path()),
            before,
            "{}: {} had an effect",
            case.id,
            case.sql
        );
        let files: Vec<_> = std::fs::read_dir(effects.path()).unwrap().collect();
        assert!(files.is_empty(), "{} made {files:?}", case.id);
        // What was refused leaves nothing behind on the connection that the next call meets.
        let lasting = rig
            .rows(
                "SELECT (SELECT count(*) FROM orders), (SELECT query_only FROM pragma_query_only)",
                &[],
            )
            .await;
        assert_eq!(lasting, [[Value::from(3), Value::from(1)]], "{}", case.id);
    }
}
