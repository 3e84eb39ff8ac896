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
async fn every_mariadb_case_is_blocked_without_effect_or_runs() {
    match mariadb::MariaDb::new().await {
        Some(world) => run(world, "mysql", &SETTINGS).await,
        None => skip("corpus::mariadb", "no MariaDB server (TEST_MARIADB_URL)"),
    }
}

#[tokio::test]
async fn every_sqlite_case_is_blocked_without_effect_or_runs() {
    let one_login = SETTINGS.iter().filter(|s| !s.name.contains("strong"));
    let settings: Vec<&Setting> = one_login.collect();
    run_each(sqlite::Sqlite::new(), "sqlite", &settings).await;
}

async fn run<W: World>(world: W, dialect: &str, settings: &[Setting]) {
    run_each(world, dialect, &settings.iter().collect::<Vec<_>>()).await;
}

async fn run_each<W: World>(mut world: W, dialect: &str, settings: &[&Setting]) {
    let cases: Vec<Case> = case::all()
        .into_iter()
        .filter(|c| c.dialect == dialect)
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
