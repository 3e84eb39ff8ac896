//! Every statement of `tests/corpus` through the built server, judged by what another connection
//! sees in the database before and after.

mod case;
mod generated;
mod judge;
mod mariadb;
mod postgres;
mod sqlite;

use case::{Case, Mode};
use judge::{Faults, World};

use crate::support::skip;

/// One way to stand a target up for the cases of a mode.
struct Setting {
    mode: Mode,
    /// What this setting leaves switched off, for the report.
    name: &'static str,
    /// The `allow` list of the target.
    allow: &'static str,
    /// Which login is used.
    login: Login,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Login {
    /// May read.
    Reader,
    /// Owns the tables, and can do nothing outside its database.
    Owner,
    /// May do everything.
    All,
}

const READS: &str = r#"["read"]"#;
const ROWS: &str = r#"["read", "write"]"#;
const EVERYTHING: &str = r#"["read", "write", "schema", "admin"]"#;

/// The strongest login comes last: there nothing but the guard and the engine's read-only mode
/// stands between a statement and its effect.
const SETTINGS: [Setting; 6] = [
    Setting::new(Mode::ReadOnly, "reader", READS, Login::Reader),
    Setting::new(
        Mode::ReadOnly,
        "reads only, strong login",
        READS,
        Login::All,
    ),
    Setting::new(Mode::WriteAllowedNoDdl, "owner", ROWS, Login::Owner),
    Setting::new(
        Mode::WriteAllowedNoDdl,
        "rows, strong login",
        ROWS,
        Login::All,
    ),
    Setting::new(Mode::SingleStatement, "everything", EVERYTHING, Login::All),
    Setting::new(Mode::CapabilityParam, "parameters", ROWS, Login::Owner),
];

/// Cases of functions whose names are syntax of the server's own from PostgreSQL 17 on: nobody can make them there.
const TAKEN_BY_SYNTAX: [&str; 3] = [
    "own-pg-ro-b-takeover-04",
    "own-pg-ro-b-takeover-05",
    "own-pg-ro-b-takeover-06",
];

/// Cases of what MariaDB has and MySQL has not: sequences, `RETURNING`, blocks outside of routines, `EXPLAIN EXTENDED`,
/// and `SHOW WARNINGS`, `HELP` and `CREATE PROCEDURE` as prepared statements.
const MARIADBS_ALONE: [&str; 9] = [
    "my-ro-a-meta-09",
    "my-ro-a-meta-16",
    "my-ro-a-meta-23",
    "my-ro-a-query-24",
    "own-my-ro-a-read-13",
    "my-wr-a-dml-13",
    "own-my-wr-a-write-01",
    "my-ss-a-single-01",
    "my-ss-a-single-05",
];

impl Setting {
    const fn new(mode: Mode, name: &'static str, allow: &'static str, login: Login) -> Self {
        Self {
            mode,
            name,
            allow,
            login,
        }
    }
}

#[tokio::test]
async fn every_postgres_case_is_blocked_without_effect_or_runs() {
    match postgres::Postgres::new().await {
        Some(world) => run(world, "postgres", &SETTINGS).await,
        None => skip(
            "corpus::postgres",
            "no PostgreSQL server (TEST_POSTGRES_URL)",
        ),
    }
}

#[tokio::test]
async fn every_postgres_case_is_blocked_or_runs_on_a_newer_server_too() {
    match postgres::Postgres::newest().await {
        Some(world) => {
            let settings: Vec<&Setting> = SETTINGS.iter().collect();
            run_each(world, "postgres", &settings, &TAKEN_BY_SYNTAX).await;
        }
        None => skip(
            "corpus::postgres",
            "no PostgreSQL with pgvector (TEST_POSTGRES_VECTOR_URL)",
        ),
    }
}

#[tokio::test]
async fn every_mariadb_case_is_blocked_without_effect_or_runs() {
    match mariadb::MariaDb::new().await {
        Some(world) => run(world, "mysql", &SETTINGS).await,
        None => skip("corpus::mariadb", "no MariaDB server (TEST_MARIADB_URL)"),
    }
}

#[tokio::test]
async fn every_mariadb_case_is_blocked_or_runs_on_a_newer_server_too() {
    match mariadb::MariaDb::newest().await {
        Some(world) => run(world, "mysql", &SETTINGS).await,
        None => skip(
            "corpus::mariadb",
            "no MariaDB with vectors (TEST_MARIADB_VECTOR_URL)",
        ),
    }
}

#[tokio::test]
async fn every_case_that_mysql_knows_is_blocked_or_runs_there_too() {
    match mariadb::MariaDb::mysql().await {
        Some(world) => {
            let settings: Vec<&Setting> = SETTINGS.iter().collect();
            run_each(world, "mysql", &settings, &MARIADBS_ALONE).await;
        }
        None => skip("corpus::mariadb", "no MySQL server (TEST_MYSQL_URL)"),
    }
}

#[tokio::test]
async fn every_sqlite_case_is_blocked_without_effect_or_runs() {
    let one_login = SETTINGS.iter().filter(|s| !s.name.contains("strong"));
    let settings: Vec<&Setting> = one_login.collect();
    run_each(sqlite::Sqlite::new(), "sqlite", &settings, &[]).await;
}

async fn run<W: World>(world: W, dialect: &str, settings: &[Setting]) {
    run_each(world, dialect, &settings.iter().collect::<Vec<_>>(), &[]).await;
}

async fn run_each<W: World>(mut world: W, dialect: &str, settings: &[&Setting], without: &[&str]) {
    let cases: Vec<Case> = case::all()
        .into_iter()
        .filter(|c| c.dialect == dialect && !without.contains(&c.id.as_str()))
        .collect();
    assert!(cases.len() > 80, "the corpus is there");
    judge::sees_harm(&mut world, settings[0]).await;
    let mut faults = Faults::default();
    for setting in settings {
        let cases: Vec<&Case> = cases.iter().filter(|c| c.mode == setting.mode).collect();
        assert!(!cases.is_empty(), "{:?} has cases", setting.mode);
        judge::judge(&mut world, setting, &cases, &mut faults).await;
    }
    assert!(faults.is_empty(), "{faults}");
}
