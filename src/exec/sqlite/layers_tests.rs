//! Each layer that keeps a read from writing, with the others switched off. (The first, the
//! judgement of the text, is tested alone beside it.) Effects are looked for in the file's bytes,
//! in the folder, and in the settings of the connection.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Connection};

use crate::core::statement::sqlite::functions::{Standing, standing};
use crate::exec::sqlite::open::{Layers, Opened, for_reads};

/// What no read may do, besides the cases of the corpus.
const MORE: &[&str] = &[
    "ATTACH '{EFFECTS}/x.db' AS x; CREATE TABLE x.t(a); INSERT INTO x.t VALUES (1)",
    "VACUUM INTO '{EFFECTS}/y.db'",
    "EXPLAIN PRAGMA query_only=0",
    "PRAGMA query_only=0; PRAGMA writable_schema=1; UPDATE sqlite_schema SET sql = 'x'",
    "PRAGMA query_only=0; DELETE FROM orders",
    "BEGIN; DELETE FROM orders; COMMIT",
    "SELECT * FROM pragma_query_only; PRAGMA user_version=3",
    "CREATE TEMP TABLE t(a); INSERT INTO t VALUES (1); INSERT INTO orders(id) SELECT 99",
    "CREATE TEMP TRIGGER t AFTER INSERT ON orders BEGIN DELETE FROM users; END",
    "INSERT INTO fts(fts) VALUES ('rebuild')",
    "CREATE VIRTUAL TABLE v USING fts5(a)",
    "DELETE FROM fts_data",
    "ANALYZE; DROP TABLE orders",
    "INSERT INTO v_ins VALUES (1)",
    "ALTER TABLE users RENAME TO people",
];

const SETTINGS: &[&str] = &[
    "busy_timeout",
    "cache_size",
    "foreign_keys",
    "locking_mode",
    "query_only",
    "secure_delete",
    "synchronous",
    "temp_store",
    "threads",
    "trusted_schema",
    "writable_schema",
];

fn texts() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/statements.jsonl");
    let corpus = std::fs::read_to_string(path).unwrap();
    let ours = corpus.lines().filter(|line| {
        line.contains(r#""dialect": "sqlite""#) && line.contains(r#""must": "block""#)
    });
    let text = |line: &str| {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        case["sql"].as_str().unwrap().to_owned()
    };
    ours.map(text)
        .chain(MORE.iter().map(|sql| (*sql).to_owned()))
        // It would set a limit for the whole test program.
        .filter(|sql| !sql.contains("heap_limit"))
        .collect()
}

/// Everything that can be seen from outside: the bytes of all files in the folder.
fn seen(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn settings(opened: &Opened) -> Vec<String> {
    let ask = |name: &&str| {
        let sql = format!("SELECT CAST(\"{name}\" AS TEXT) FROM pragma_{name}");
        let sql = sql.replace("\"busy_timeout\"", "timeout");
        opened
            .connection
            .query_row(&sql, [], |row| row.get(0))
            .unwrap()
    };
    SETTINGS.iter().map(ask).collect()
}

/// Runs every statement of a text as far as it goes, and goes on behind one that is refused.
/// `as_production` skips what the engine itself does not call a read, as the product does.
fn run(connection: &Connection, text: &str, as_production: bool) {
    let behind = text.match_indices(';').map(|(at, _)| at + 1);
    for start in std::iter::once(0).chain(behind) {
        let mut batch = Batch::new(connection, text.get(start..).unwrap());
        while let Ok(Some(mut statement)) = batch.next() {
            if as_production && !statement.readonly() && statement.is_explain() == 0 {
                continue;
            }
            let mut rows = statement.raw_query();
            while let Ok(Some(_)) = rows.next() {}
        }
    }
}

/// How many of the texts had an effect.
fn effects(layers: Layers, check: impl Fn(&str, bool)) -> usize {
    let mut count = 0;
    for text in texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("target.db");
        let fixture = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/corpus/fixture_sqlite.sql"
        );
        let fixture = std::fs::read_to_string(fixture).unwrap();
        Connection::open(&path)
            .unwrap()
            .execute_batch(&fixture)
            .unwrap();
        let before = seen(folder.path());
        let opened = for_reads(&path, &BTreeSet::new(), layers).unwrap();
        let set = settings(&opened);
        let sql = text.replace("{EFFECTS}", folder.path().to_str().unwrap());
        run(&opened.connection, &sql, layers.authorizer);
        let settings_changed = layers.authorizer && settings(&opened) != set;
        drop(opened);
        let had_effect = settings_changed || seen(folder.path()) != before;
        count += usize::from(had_effect);
        check(&text, had_effect);
    }
    count
}

#[test]
fn without_any_layer_the_statements_do_have_their_effects() {
    assert!(effects(Layers::NONE, |_, _| {}) > 25);
}

#[test]
fn the_authorizer_alone_stops_every_effect() {
    effects(Layers::AUTHORIZER_ALONE, |text, had| {
        assert!(!had, "{text}");
    });
}

#[test]
fn the_read_only_connection_alone_stops_every_effect_on_files() {
    effects(Layers::READ_ONLY_ALONE, |text, had| assert!(!had, "{text}"));
}

#[test]
fn every_built_in_function_of_this_sqlite_has_been_judged() {
    // Made for FTS5's own use, and of no use in a statement.
    let left_unknown = ["fts5", "fts5_insttoken", "fts5_locale"];
    let db = Connection::open_in_memory().unwrap();
    let list = "SELECT DISTINCT name FROM pragma_function_list ORDER BY name";
    let mut all = db.prepare(list).unwrap();
    let names = all.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let unknown: Vec<String> = names
        .map(Result::unwrap)
        .filter(|name| standing(name) == Standing::Unknown)
        .collect();
    assert_eq!(unknown, left_unknown);
}
