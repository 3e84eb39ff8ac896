//! The corpus on SQLite: a file of its own.

use std::fmt::Write as _;
use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::Setting;
use super::judge::{State, World, config, files, open_folder};
use crate::support::checkout;
use crate::support::program::Program;

/// The file, and the folder for effects.
pub(crate) struct Sqlite {
    folder: TempDir,
    effects: TempDir,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self {
            folder: open_folder(),
            effects: open_folder(),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("corpus.db")
    }
}

impl World for Sqlite {
    async fn reset(&mut self, _: &Setting) {
        for entry in std::fs::read_dir(self.effects.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        // The server may hold the file open, so it is emptied rather than replaced.
        let database = Connection::open(self.file()).unwrap();
        database
            .set_db_config(
                rusqlite::config::DbConfig::SQLITE_DBCONFIG_RESET_DATABASE,
                true,
            )
            .unwrap();
        database.execute_batch("VACUUM").unwrap();
        database
            .set_db_config(
                rusqlite::config::DbConfig::SQLITE_DBCONFIG_RESET_DATABASE,
                false,
            )
            .unwrap();
        let fixture = checkout().join("tests/corpus/fixture_sqlite.sql");
        let fixture = std::fs::read_to_string(fixture).unwrap();
        database.execute_batch(&fixture).unwrap();
    }

    async fn state(&mut self) -> State {
        let mut state = State::new();
        files(self.folder.path(), &mut state);
        files(self.effects.path(), &mut state);
        let bytes = std::fs::read(self.file()).unwrap();
        state.insert("the file".into(), hex::encode(Sha256::digest(bytes)));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = Connection::open_with_flags(self.file(), flags).unwrap();
        for pragma in [
            "user_version",
            "application_id",
            "schema_version",
            "journal_mode",
        ] {
            let rows = rows(&database, &format!("PRAGMA {pragma}"));
            state.insert(format!("pragma {pragma}"), rows);
        }
        let schema = rows(&database, "SELECT * FROM sqlite_schema ORDER BY name");
        state.insert("schema".into(), schema);
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0";
        let mut names = database.prepare(tables).unwrap();
        let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap();
        for name in names.map(Result::unwrap) {
            let rows = rows(&database, &format!("SELECT * FROM \"{name}\""));
            state.insert(format!("rows of {name}"), rows);
        }
        state
    }

    fn harm(&self) -> Vec<String> {
        let attach = format!(
            "ATTACH '{}/x.db' AS x; CREATE TABLE x.t (a)",
            self.effects.path().display()
        );
        let plain = [
            "DELETE FROM orders WHERE id = 1",
            "UPDATE users SET name = 'x' WHERE id = 1",
            "CREATE VIEW x AS SELECT 1",
            "PRAGMA user_version = 9",
            "PRAGMA journal_mode = WAL",
            "INSERT INTO fts VALUES ('x')",
        ];
        let plain = plain.iter().map(|&sql| sql.to_owned());
        plain.chain([attach]).collect()
    }

    async fn run(&mut self, sql: &str) {
        Connection::open(self.file())
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    }

    fn program(&self, setting: &Setting) -> Program {
        let url = format!("sqlite:{}", self.file().display());
        Program::with_config(&config(&url, false, setting))
    }

    fn own(&self) -> Vec<(&'static str, String)> {
        vec![("{EFFECTS}", self.effects.path().display().to_string())]
    }
}

fn rows(database: &Connection, sql: &str) -> String {
    let mut statement = database.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut text = String::new();
    while let Some(row) = rows.next().unwrap() {
        for column in 0..columns {
            write!(text, "{:?}|", row.get_ref(column).unwrap()).unwrap();
        }
        text.push('\n');
    }
    text
}
