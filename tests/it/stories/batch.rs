//! Several statements that all stand or none does: on each engine, through the built server, with the
//! data re-read on a connection of the test's own.

use secondkey::broker::requests;
use secondkey::core::approval::Decision;
use secondkey::core::request::Status;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tempfile::TempDir;

use super::approval::World;
use super::{content, count, entries, refusal};
use crate::support::program::Program;
use crate::support::raw::{Era, Raw};
use crate::support::{skip, variable};

const TABLES: &str =
    "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0));
CREATE TABLE moves (source INTEGER NOT NULL, amount INTEGER NOT NULL);
INSERT INTO accounts VALUES (1, 100), (2, 5)";

/// A database with two accounts in it.
pub(crate) struct Bank {
    pub(crate) url: String,
    _folder: TempDir,
}

impl Bank {
    /// One on each engine that there is a server of.
    pub(crate) async fn all(test: &str) -> Vec<Self> {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("bank.db");
        let database = rusqlite::Connection::open(&file).unwrap();
        database.execute_batch(TABLES).unwrap();
        let mut banks = vec![Self {
            url: format!("sqlite:{}", file.display()),
            _folder: folder,
        }];
        for (name, engine) in [
            ("TEST_POSTGRES_URL", "PostgreSQL"),
            ("TEST_MARIADB_URL", "MariaDB"),
        ] {
            match variable(name) {
                Some(server) => banks.push(Self::on(&server, &format!("sk_batch_{test}")).await),
                None => skip("stories::batch", &format!("no {engine} server ({name})")),
            }
        }
        banks
    }

    pub(crate) async fn on(server: &str, name: &str) -> Self {
        let mut url = url::Url::parse(server).unwrap();
        for verb in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
            Self::execute(url.as_str(), &format!("{verb} {name}")).await;
        }
        url.set_path(name);
        for statement in TABLES.split(";\n") {
            Self::execute(url.as_str(), statement).await;
        }
        Self {
            url: url.into(),
            _folder: TempDir::new().unwrap(),
        }
    }

    pub(super) async fn execute(url: &str, sql: &str) {
        if url.starts_with("postgres") {
            let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client.batch_execute(sql).await.unwrap();
        } else {
            let mut own = sqlx::mysql::MySqlConnection::connect(url).await.unwrap();
            own.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
                .await
                .unwrap();
        }
    }

    /// A number, read on a connection of its own.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        if let Some(file) = self.url.strip_prefix("sqlite:") {
            let database = rusqlite::Connection::open(file).unwrap();
            return database.query_row(sql, [], |row| row.get(0)).unwrap();
        }
        if self.url.starts_with("postgres") {
            let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            let row = client
                .query_one(&format!("SELECT ({sql})::bigint"), &[])
                .await
                .unwrap();
            return row.get(0);
        }
        let mut own = sqlx::mysql::MySqlConnection::connect(&self.url)
            .await
            .unwrap();
        let sql = format!("SELECT CAST(({sql}) AS CHAR)");
        let row = own
            .fetch_one(sqlx::raw_sql(AssertSqlSafe(sql)))
            .await
            .unwrap();
        row.get_unchecked::<String, _>(0).parse().unwrap()
    }

    /// The two balances and the number of moves.
    pub(crate) async fn stands(&self) -> [i64; 3] {
        [
            self.number("SELECT balance FROM accounts WHERE id = 1")
                .await,
            self.number("SELECT balance FROM accounts WHERE id = 2")
                .await,
            self.number("SELECT count(*) FROM moves").await,
        ]
    }

    fn program(&self, allow: &str) -> Program {
        let config = format!(
            "[targets.bank]\nurl = \"env:BANK_URL\"\nallow = {allow}\nallow_privileged_login = true\n"
        );
        Program::with_config(&config).variable("BANK_URL", &self.url)
    }

    /// A statement with the engine's own placeholders.
    pub(crate) fn one(&self, sql: &str, params: &[i64]) -> Value {
        let mut sql = sql.to_owned();
        if self.url.starts_with("mysql") || self.url.starts_with("mariadb") {
            for number in 1..=params.len() {
                sql = sql.replace(&format!("${number}"), "?");
            }
        }
        json!({ "sql": sql, "params": params })
    }

    /// Moves money from the first account to the second, and says what is left.
    pub(crate) fn transfer(&self, amount: i64) -> Value {
        json!({ "reason": "rent", "statements": [
            self.one("UPDATE accounts SET balance = balance - $1 WHERE id = 1", &[amount]),
            self.one("UPDATE accounts SET balance = balance + $1 WHERE id = 2", &[amount]),
            self.one("INSERT INTO moves VALUES (1, $1)", &[amount]),
            self.one("SELECT balance FROM accounts ORDER BY id", &[]),
        ]})
    }
}

#[tokio::test]
async fn all_statements_of_a_batch_stand_or_none_does() {
    for bank in Bank::all("whole").await {
        let program = bank.program("[\"read\", \"write\"]");
        let mut server = Raw::start(&program, Era::Legacy).await;
        let answer = server.call("sql_batch", &bank.transfer(30)).await;
        let answer = content(&answer);
        assert_eq!(answer["effect"], "write", "{answer}");
        let results = answer["results"].as_array().unwrap();
        let affected: Vec<&Value> = results.iter().map(|one| &one["affected"]).collect();
        assert_eq!(
            affected,
            [&json!(1), &json!(1), &json!(1), &Value::Null],
            "{answer}"
        );
        assert_eq!(results[3]["rows"], json!([[70], [35]]), "{answer}");
        assert_eq!(bank.stands().await, [70, 35, 1]);

        // The third breaks: what the first two did is undone, and it is named.
        let mut broken = bank.transfer(10);
        broken["statements"][2] = bank.one("INSERT INTO moves VALUES (NULL, $1)", &[10]);
        let refused = refusal(&server.call("sql_batch", &broken).await);
        let message = refused["message"].as_str().unwrap();
        assert!(
            message.starts_with("statement 3 of the batch: "),
            "{refused}"
        );
        assert_eq!(bank.stands().await, [70, 35, 1]);
        // So is the first statement's own constraint.
        let refused = refusal(&server.call("sql_batch", &bank.transfer(71)).await);
        let message = refused["message"].as_str().unwrap();
        assert!(
            message.starts_with("statement 1 of the batch: "),
            "{refused}"
        );
        assert_eq!(bank.stands().await, [70, 35, 1]);
        server.finish().await;

        let log = entries(&program);
        assert_eq!(
            count(&log, "execution.started"),
            3,
            "one entry for each batch"
        );
        assert_eq!(count(&log, "execution.succeeded"), 1);
        assert_eq!(count(&log, "execution.failed"), 2);
    }
}

#[tokio::test]
async fn a_batch_of_reads_changes_nothing_and_each_statement_is_held_to_what_the_policy_allows() {
    for bank in Bank::all("reads").await {
        let program = bank.program("[\"read\"]");
        let mut server = Raw::start(&program, Era::Modern).await;
        let reads = json!({ "statements": [
            bank.one("SELECT balance FROM accounts WHERE id = $1", &[1]),
            bank.one("SELECT count(*) FROM moves", &[]),
        ]});
        let answer = server.call("sql_batch", &reads).await;
        let answer = content(&answer);
        assert_eq!(answer["effect"], "read", "{answer}");
        assert_eq!(answer["results"][0]["rows"], json!([[100]]));
        assert_eq!(answer["results"][1]["rows"], json!([[0]]));
        // One change among reads makes all of it a change, and nothing of it runs.
        let refused = refusal(&server.call("sql_batch", &bank.transfer(30)).await);
        assert!(
            matches!(
                refused["code"].as_str(),
                Some("approval_required" | "forbidden")
            ),
            "{refused}"
        );
        assert_eq!(bank.stands().await, [100, 5, 0]);
        for (statements, code) in [
            (json!([]), "invalid_argument"),
            (
                json!(vec![json!({"sql": "SELECT 1"}); 51]),
                "invalid_argument",
            ),
            (
                json!([{"sql": "SELECT 1"}, {"sql": "DROP TABLE moves"}]),
                "forbidden",
            ),
            (json!([{"sql": "SELECT 1"}, {"sql": "COMMIT"}]), "forbidden"),
            (
                json!([{"sql": "SELECT 1; DELETE FROM moves"}]),
                "multiple_statements",
            ),
            (
                // What MariaDB's parser here lets through, the server's own grammar does not.
                json!([{"sql": "SELECT 1"}, {"sql": "SELECT ("}]),
                "syntax_error or forbidden",
            ),
            (
                json!([{"sql": "SELECT 1", "params": [1]}]),
                "parameter_count",
            ),
        ] {
            let refused = refusal(
                &server
                    .call("sql_batch", &json!({ "statements": statements }))
                    .await,
            );
            let mut codes = code.split(" or ");
            assert!(
                codes.any(|code| refused["code"] == code),
                "{statements} {refused}"
            );
        }
        assert_eq!(bank.stands().await, [100, 5, 0]);
        server.finish().await;
    }
}

#[tokio::test]
async fn one_signature_lets_a_whole_batch_run_and_covers_every_statement_and_value() {
    let world = World::new("30s").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let statements = json!([
        { "sql": "UPDATE products SET price = $1 WHERE name = $2", "params": [15.5, "lamp"] },
        { "sql": "DELETE FROM orders WHERE id = $1", "params": [2] },
    ]);
    let person = async {
        let id = world.pending().await;
        let shown = requests::show(&world.person, &id).unwrap();
        let parts = &shown.document.parts;
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[1].statement, "DELETE FROM orders WHERE id = $1");
        assert_eq!((parts[0].params, parts[1].params), (2, 1));
        assert_eq!(shown.document.kind, "batch");
        assert_eq!(shown.document.writes, ["orders", "products"]);
        assert_eq!(
            shown.values.unwrap().params,
            [json!([15.5, "lamp"]), json!([2])]
        );
        assert!(
            (world.price() - 20.0).abs() < 1e-9,
            "not before the signature"
        );
        world.say(&id, Decision::Approve).await.unwrap();
        id
    };
    let wanted = json!({ "statements": statements, "reason": "spring sale" });
    let (id, answer) = tokio::join!(person, server.call("sql_batch", &wanted));
    let answer = content(&answer);
    assert_eq!(answer["results"][0]["affected"], 1, "{answer}");
    assert_eq!(answer["results"][1]["affected"], 1, "{answer}");
    assert!((world.price() - 15.5).abs() < 1e-9);
    let over = world.person.requests().get(&id).unwrap();
    assert_eq!(over.status(), Status::Succeeded);
    let again = json!({"action": "wait", "id": id.as_str()});
    let again = server.call("request", &again).await;
    assert_eq!(refusal(&again)["code"], "request_state");
    server.finish().await;
}
