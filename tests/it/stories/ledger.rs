//! A ledger in the target: the note of a change stands or falls with the change, whenever the program dies.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};

use super::batch::Bank;
use super::{content, refusal, wait_for};
use crate::documents::blocks;
use crate::support::binary;
use crate::support::program::Program;
use crate::support::raw::{Era, Raw};

const TABLE: &str = "secondkey_ledger";

/// Somebody who keeps the first account's row from being changed.
enum Held {
    Sqlite(Connection),
    Postgres(tokio_postgres::Client),
    MySql(sqlx::mysql::MySqlConnection),
}

impl Held {
    async fn on(bank: &Bank) -> Self {
        let update = "UPDATE accounts SET balance = balance WHERE id = 1";
        if let Some(file) = bank.url.strip_prefix("sqlite:") {
            let database = Connection::open(file).unwrap();
            database.execute_batch("BEGIN IMMEDIATE").unwrap();
            return Self::Sqlite(database);
        }
        if bank.url.starts_with("postgres") {
            let connecting = tokio_postgres::connect(&bank.url, tokio_postgres::NoTls);
            let (client, connection) = connecting.await.unwrap();
            tokio::spawn(connection);
            client
                .batch_execute(&format!("BEGIN; {update}"))
                .await
                .unwrap();
            return Self::Postgres(client);
        }
        let mut own = sqlx::mysql::MySqlConnection::connect(&bank.url)
            .await
            .unwrap();
        own.execute(sqlx::raw_sql("START TRANSACTION"))
            .await
            .unwrap();
        own.execute(sqlx::raw_sql(update)).await.unwrap();
        Self::MySql(own)
    }

    async fn let_go(self) {
        match self {
            Self::Sqlite(database) => database.execute_batch("ROLLBACK").unwrap(),
            Self::Postgres(client) => client.batch_execute("ROLLBACK").await.unwrap(),
            Self::MySql(mut own) => {
                own.execute(sqlx::raw_sql("ROLLBACK")).await.unwrap();
            }
        }
    }
}

/// A program that serves the bank, with a ledger or without.
fn program(bank: &Bank, ledger: bool) -> Program {
    let ledger = if ledger {
        format!("ledger = \"{TABLE}\"\n")
    } else {
        String::new()
    };
    let config = format!(
        "[targets.bank]\nurl = \"env:BANK_URL\"\nallow = [\"read\", \"write\", \"schema\", \"admin\"]\n\
         allow_privileged_login = true\n{ledger}"
    );
    Program::with_config(&config).variable("BANK_URL", &bank.url)
}

pub(super) async fn execute(bank: &Bank, sql: &str) {
    match bank.url.strip_prefix("sqlite:") {
        Some(file) => Connection::open(file).unwrap().execute_batch(sql).unwrap(),
        None => Bank::execute(&bank.url, sql).await,
    }
}

/// Makes the table with the statement that `secondkey doctor` says.
async fn make(bank: &Bank) {
    let program = program(bank, true);
    let said = doctor(&program).await;
    let (_, rest) = said
        .split_once("let its owner run: ")
        .unwrap_or_else(|| panic!("{said}"));
    let (statement, _) = rest.split_once("; then").unwrap();
    execute(bank, statement).await;
    let said = doctor(&program).await;
    assert!(
        said.contains(&format!("the ledger `{TABLE}` is there")),
        "{said}"
    );
}

async fn doctor(program: &Program) -> String {
    let state = program.state().display().to_string();
    let like = program.command();
    let mut doctor = tokio::process::Command::new(binary());
    doctor
        .args(["doctor", "--config", "secondkey.toml", "--state", &state])
        .envs(like.as_std().get_envs().filter_map(|(k, v)| Some((k, v?))))
        .current_dir(program.folder.path());
    let output = doctor.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn pay(bank: &Bank, key: &str) -> Value {
    let mut call = bank.one(
        "UPDATE accounts SET balance = balance - $1 WHERE id = 1",
        &[7],
    );
    call["idempotency_key"] = json!(key);
    call["timeout_ms"] = json!(1_000);
    call
}

async fn balance(bank: &Bank) -> i64 {
    bank.number("SELECT balance FROM accounts WHERE id = 1")
        .await
}

async fn noted(bank: &Bank) -> i64 {
    bank.number("SELECT count(*) FROM secondkey_ledger").await
}

/// Has a change committed by a program that cannot put its end on record, and kills it there.
async fn die_between(bank: &Bank, program: &Program, key: &str) {
    let held = Held::on(bank).await;
    let mut server = Raw::start(program, Era::Legacy).await;
    let mut call = pay(bank, key);
    call["timeout_ms"] = json!(20_000);
    server.call_soon("sql_execute", &call).await;
    wait_for(program, "execution.started").await;
    let log = Connection::open(program.state().join("state.db")).unwrap();
    log.busy_timeout(Duration::from_secs(10)).unwrap();
    log.execute_batch("BEGIN IMMEDIATE").unwrap();
    held.let_go().await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while balance(bank).await != 93 {
        assert!(Instant::now() < deadline, "{}", program.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.kill().await;
    log.execute_batch("ROLLBACK").unwrap();
}

#[tokio::test]
async fn killed_between_commit_and_record_a_change_is_told_of_from_the_ledger() {
    for bank in Bank::all("between").await {
        make(&bank).await;
        let served = program(&bank, true);
        die_between(&bank, &served, "k").await;
        let mut server = Raw::start(&served, Era::Legacy).await;
        let mut call = pay(&bank, "k");
        call["timeout_ms"] = json!(20_000);
        let told = server.call("sql_execute", &call).await;
        let told = content(&told);
        assert_eq!(
            (&told["affected"], &told["replayed"]),
            (&json!(1), &json!(true)),
            "{told}"
        );
        server.finish().await;
        assert_eq!((balance(&bank).await, noted(&bank).await), (93, 1));
    }
}

#[tokio::test]
async fn without_a_ledger_nobody_knows_then() {
    for bank in Bank::all("without").await {
        let served = program(&bank, false);
        die_between(&bank, &served, "k").await;
        let mut server = Raw::start(&served, Era::Legacy).await;
        let refused = refusal(&server.call("sql_execute", &pay(&bank, "k")).await);
        assert_eq!(refused["code"], "outcome_unknown", "{refused}");
        server.finish().await;
        assert_eq!(balance(&bank).await, 93);
    }
}

#[tokio::test]
async fn killed_at_any_moment_it_says_what_stands() {
    for bank in Bank::all("anytime").await {
        make(&bank).await;
        let served = program(&bank, true);
        for round in 0..6_u64 {
            let mut server = Raw::start(&served, Era::Legacy).await;
            server
                .call_soon("sql_execute", &pay(&bank, &format!("k{round}")))
                .await;
            tokio::time::sleep(Duration::from_millis(round * 7 % 23)).await;
            server.kill().await;
        }
        let mut server = Raw::start(&served, Era::Legacy).await;
        let mut effects = 0;
        for round in 0..6_u64 {
            let before = balance(&bank).await;
            let call = pay(&bank, &format!("k{round}"));
            let answer = server.call("sql_execute", &call).await;
            let now = balance(&bank).await;
            if answer["result"]["isError"] == true {
                // It broke off before it was done, and the ledger makes sure of that.
                let refused = refusal(&answer);
                assert_eq!(refused["code"], "request_state", "{refused}");
                assert_eq!(before, now, "{refused}");
            } else {
                let told = content(&answer);
                assert_eq!(told["affected"], 1, "{told}");
                effects += 1;
                let made = if told["replayed"] == true { 0 } else { 7 };
                assert_eq!(before - now, made, "{told}");
            }
            // And once more, it is the same.
            let again = server.call("sql_execute", &call).await;
            assert_eq!(again["result"]["isError"], answer["result"]["isError"]);
            assert_eq!(balance(&bank).await, now);
        }
        server.finish().await;
        assert_eq!(balance(&bank).await, 100 - 7 * effects);
    }
}

#[tokio::test]
async fn two_programs_that_know_nothing_of_each_other_run_a_call_once() {
    for bank in Bank::all("two").await {
        make(&bank).await;
        let programs = [program(&bank, true), program(&bank, true)];
        let mut first = Raw::start(&programs[0], Era::Legacy).await;
        let mut second = Raw::start(&programs[1], Era::Legacy).await;
        let pay = "UPDATE accounts SET balance = balance - 7 WHERE id = 1";
        let call = json!({"sql": pay, "idempotency_key": "k"});
        let ran = first.call("sql_execute", &call).await;
        assert_eq!(content(&ran)["affected"], 1, "{ran}");
        let refused = second.call("sql_execute", &call).await;
        assert_eq!(
            refusal(&refused)["code"],
            "idempotency_conflict",
            "{refused}"
        );
        assert_eq!((balance(&bank).await, noted(&bank).await), (93, 1));
        first.finish().await;
        second.finish().await;
    }
}

#[tokio::test]
async fn old_rows_go_and_those_of_today_are_told_of() {
    // As docs/free-sql.md says, each for its engine.
    let page = blocks::joined("docs/free-sql.md", "sql");
    let delete = |engine: &str| {
        let line = page.lines().find(|line| line.ends_with(engine)).unwrap();
        line.split(';').next().unwrap().to_owned()
    };
    for bank in Bank::all("old").await {
        make(&bank).await;
        let served = program(&bank, true);
        let mut server = Raw::start(&served, Era::Legacy).await;
        content(&server.call("sql_execute", &pay(&bank, "old")).await);
        let three_days = 3 * 24 * 60 * 60 * 1_000;
        let aged = format!("UPDATE {TABLE} SET at_ms = at_ms - {three_days}");
        execute(&bank, &aged).await;
        let today = server.call("sql_execute", &pay(&bank, "today")).await;
        let (stands, rows) = (balance(&bank).await, noted(&bank).await);
        assert_eq!(rows, 2, "{today}");
        let engine = match bank.url.split_once(':').unwrap().0 {
            "sqlite" => "-- SQLite",
            "mysql" => "-- MySQL, MariaDB",
            _ => "-- PostgreSQL",
        };
        execute(&bank, &delete(engine)).await;
        assert_eq!(noted(&bank).await, 1);
        let again = server.call("sql_execute", &pay(&bank, "today")).await;
        assert_eq!(content(&again)["replayed"], true, "{again}");
        assert_eq!(balance(&bank).await, stands);
        server.finish().await;
    }
}

#[tokio::test]
async fn nobodys_statement_reaches_the_ledger() {
    for bank in Bank::all("guard").await {
        make(&bank).await;
        let served = program(&bank, true);
        let mut server = Raw::start(&served, Era::Legacy).await;
        content(&server.call("sql_execute", &pay(&bank, "k")).await);
        assert_eq!(noted(&bank).await, 1);
        for attack in [
            "DELETE FROM secondkey_ledger",
            "DELETE FROM Secondkey_Ledger WHERE 1 = 1",
            "UPDATE secondkey_ledger SET changed = 2",
            "SELECT * FROM secondkey_ledger",
            "WITH gone AS (SELECT request FROM secondkey_ledger) SELECT * FROM gone",
            "INSERT INTO moves SELECT 1, statements FROM secondkey_ledger",
            "DROP TABLE secondkey_ledger",
            "ALTER TABLE secondkey_ledger RENAME TO other",
            "CREATE TEMPORARY TABLE secondkey_ledger (request VARCHAR(64))",
            "CREATE VIEW looks AS SELECT * FROM secondkey_ledger",
        ] {
            let refused = server.call("sql_execute", &json!({ "sql": attack })).await;
            let refused = refusal(&refused);
            assert_eq!(refused["code"], "forbidden", "{attack}: {refused}");
            let batch = json!({"statements": [{"sql": "SELECT 1"}, {"sql": attack}]});
            assert!(refusal(&server.call("sql_batch", &batch).await)["code"].is_string());
            assert_eq!(noted(&bank).await, 1, "{attack}");
        }
        server.finish().await;

        // Without the defence the row is gone, and another executor does the work again.
        let open = program(&bank, false);
        let mut server = Raw::start(&open, Era::Legacy).await;
        let attack = json!({"sql": "DELETE FROM secondkey_ledger WHERE request <> ''"});
        content(&server.call("sql_execute", &attack).await);
        server.finish().await;
        assert_eq!(noted(&bank).await, 0);
        let another = program(&bank, true);
        let mut server = Raw::start(&another, Era::Legacy).await;
        let again = server.call("sql_execute", &pay(&bank, "k")).await;
        assert_eq!(content(&again)["replayed"], Value::Null, "{again}");
        server.finish().await;
        assert_eq!(balance(&bank).await, 86);
    }
}
