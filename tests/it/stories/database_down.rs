//! Databases that are not there, go away and come back.

pub(crate) mod server;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{assert_serves, content, refusal, wait_for};
use crate::support::program::Program;
use crate::support::raw::{Era, Raw};
use crate::support::{shop, skip};
use server::{Kind, Server};

#[tokio::test]
async fn a_file_that_comes_later_is_served() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("later.db");
    let url = format!("sqlite:{}", file.display());
    let program = Program::with_arguments(&["--database-url", &url]);
    let mut raw = Raw::start(&program, Era::Modern).await;
    let select = json!({"sql": "SELECT count(*) FROM products"});
    let answer = raw.call("sql_execute", &select).await;
    assert_eq!(refusal(&answer)["code"], "database_unavailable", "{answer}");
    let health = raw.call("health", &json!({})).await;
    assert_eq!(content(&health)["ok"], false, "{health}");
    assert!(!file.exists());
    shop::create(&file);
    let answer = raw.call("sql_execute", &select).await;
    assert_eq!(content(&answer)["rows"], json!([[shop::PRODUCTS]]));
    let health = raw.call("health", &json!({})).await;
    assert_eq!(content(&health)["ok"], true, "{health}");
    // Another file in its place is another database.
    std::fs::remove_file(&file).unwrap();
    let answer = raw.call("sql_execute", &select).await;
    assert_eq!(refusal(&answer)["code"], "database_unavailable", "{answer}");
    shop::create(&file);
    let answer = raw.call("sql_execute", &select).await;
    assert_eq!(content(&answer)["rows"], json!([[shop::PRODUCTS]]));
}

/// A writer that dies in the middle of its transaction leaves a journal from which the file has to
/// be put right before anybody can read it.
#[tokio::test]
async fn a_file_whose_writer_died_is_served_as_it_was_committed() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("left.db");
    leave_half_written(&file);
    let url = format!("sqlite:{}", file.display());
    let program = Program::with_arguments(&["--database-url", &url]);
    let mut raw = Raw::start(&program, Era::Modern).await;
    let described = raw.call("describe_table", &json!({"table": "t"})).await;
    assert_eq!(content(&described)["name"], "t", "{described}");
    let count = json!({"sql": "SELECT count(*) AS n, max(length(filler)) AS length FROM t"});
    let answer = raw.call("sql_execute", &count).await;
    assert_eq!(content(&answer)["rows"], json!([[200, 500]]), "{answer}");
    // Once more, while the program has the file open.
    leave_half_written(&file);
    let answer = raw.call("sql_execute", &count).await;
    assert_eq!(content(&answer)["rows"], json!([[200, 500]]), "{answer}");
    let database = rusqlite::Connection::open(&file).unwrap();
    let longest = database.query_row("SELECT max(length(filler)) FROM t", [], |row| row.get(0));
    assert_eq!(longest, Ok(500));
}

/// What is on the disk when a writer is killed after part of its pages have reached the file.
fn leave_half_written(file: &Path) {
    let work = TempDir::new().unwrap();
    let (original, journal) = (work.path().join("t.db"), work.path().join("t.db-journal"));
    let writer = rusqlite::Connection::open(&original).unwrap();
    let filled = "CREATE TABLE t (id INTEGER PRIMARY KEY, filler TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
        INSERT INTO t (filler) SELECT printf('%.500c', 'x') FROM n;
        PRAGMA cache_size = 2; BEGIN; UPDATE t SET filler = filler || 'y';";
    writer.execute_batch(filled).unwrap();
    let left = file.with_extension("db-journal");
    std::fs::copy(&journal, left).unwrap();
    std::fs::copy(&original, file).unwrap();
    // Without the journal the file is not what was committed.
    let torn = work.path().join("torn.db");
    std::fs::copy(&original, &torn).unwrap();
    let torn = rusqlite::Connection::open(torn).unwrap();
    let changed = torn.query_row("SELECT max(length(filler)) FROM t", [], |row| row.get(0));
    assert_ne!(changed, Ok(500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_server_that_comes_and_goes_is_served() {
    comes_and_goes(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_server_that_comes_and_goes_is_served() {
    comes_and_goes(Kind::MariaDb).await;
}

async fn comes_and_goes(kind: Kind) {
    let Some(mut server) = Server::install(kind) else {
        return skip(
            "stories::database_down",
            &format!("no {kind:?} on this machine"),
        );
    };
    let config = format!(
        "[targets.main]\nurl = \"{}\"\nallow = [\"read\", \"write\"]\nallow_privileged_login = true\n",
        server.url()
    );
    let program = Program::with_config(&config);
    let mut raw = Raw::start(&program, Era::Modern).await;
    is_down(&mut raw).await;

    server.start();
    server.run("CREATE TABLE things (n int)");
    server.run("INSERT INTO things VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)");
    assert_serves(&mut raw).await;
    // Connections that were idle while the server was restarted are no reason to fail.
    server.stop();
    server.start();
    assert_serves(&mut raw).await;
    server.stop();
    is_down(&mut raw).await;
    server.start();
    assert_serves(&mut raw).await;

    goes_away_in_the_middle(&mut raw, &mut server).await;
    server.start();
    assert_serves(&mut raw).await;
    killed_client(raw, &program, &server).await;
    server.stop();
}

/// The server is gone after it was told to commit and before it said that it had: the change stands,
/// and nobody could know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_not_confirmed_is_said_to_be_unknown() {
    let Some(mut server) = Server::install(Kind::Postgres) else {
        return skip("stories::database_down", "no PostgreSQL on this machine");
    };
    let config = format!(
        "[targets.main]\nurl = \"{}\"\nallow = [\"read\", \"write\"]\nallow_privileged_login = true\n",
        server.url()
    );
    let program = Program::with_config(&config);
    let mut raw = Raw::start(&program, Era::Modern).await;
    server.start();
    server.run("CREATE TABLE things (n int)");
    // From now on a commit waits for a second server, which never comes.
    server.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    server.run("SELECT pg_reload_conf()");
    let change = json!({"sql": "INSERT INTO things VALUES (7)"});
    raw.call_soon("sql_execute", &change).await;
    let deadline = Instant::now() + Duration::from_secs(15);
    while !server.activity().contains("SyncRep") {
        assert!(Instant::now() < deadline, "{}", server.activity());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop();
    let answer = raw.message().await.unwrap();
    assert_eq!(refusal(&answer)["code"], "outcome_unknown", "{answer}");
    wait_for(&program, "execution.unknown").await;
    server.start();
    let count = json!({"sql": "SELECT n FROM things"});
    let answer = raw.call("sql_execute", &count).await;
    assert_eq!(content(&answer)["rows"], json!([[7]]), "{answer}");
    raw.finish().await;
    server.stop();
}

/// Calls fail soon, and say why.
/// A standby's settings hold the password that it logs in to its primary with. A login that sees all
/// settings reads it, and is more than a login that reads tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_could_read_the_password_to_the_primary_is_refused() {
    let Some(mut server) = Server::install(Kind::Postgres) else {
        return skip("stories::database_down", "no PostgreSQL on this machine");
    };
    server.start();
    server.run("CREATE ROLE watcher LOGIN");
    server.run("GRANT pg_monitor TO watcher");
    let url = server.url().replace("app@", "watcher@");
    let program = Program::with_config(&format!("[targets.main]\nurl = \"{url}\"\n"));
    let looks = json!({"sql": "SELECT setting FROM pg_settings WHERE name = 'primary_conninfo'"});
    let mut raw = Raw::start(&program, Era::Modern).await;
    let answer = raw.call("sql_execute", &looks).await;
    assert_eq!(content(&answer)["rows"], json!([[""]]), "{answer}");
    raw.finish().await;

    server.run("ALTER SYSTEM SET primary_conninfo = 'user=copier password=0pen-sesame'");
    server.run("SELECT pg_reload_conf()");
    let mut raw = Raw::start(&program, Era::Modern).await;
    let answer = raw.call("sql_execute", &looks).await;
    assert_eq!(refusal(&answer)["code"], "privileged_login", "{answer}");
    assert!(!answer.to_string().contains("0pen-sesame"), "{answer}");
    raw.finish().await;

    // One that does not see them has nothing to read there.
    server.run("REVOKE pg_monitor FROM watcher");
    let mut raw = Raw::start(&program, Era::Modern).await;
    let answer = raw.call("sql_execute", &looks).await;
    assert_eq!(content(&answer)["rows"], json!([]), "{answer}");
    raw.finish().await;
    server.stop();
}

async fn is_down(raw: &mut Raw) {
    for sql in ["SELECT 1", "INSERT INTO things VALUES (0)"] {
        let asked = Instant::now();
        let answer = raw.call("sql_execute", &json!({ "sql": sql })).await;
        assert_eq!(refusal(&answer)["code"], "database_unavailable", "{answer}");
        assert!(
            asked.elapsed() < Duration::from_secs(15),
            "{:?}",
            asked.elapsed()
        );
    }
    let tables = raw.call("list_tables", &json!({})).await;
    assert_eq!(refusal(&tables)["code"], "database_unavailable", "{tables}");
    let health = raw.call("health", &json!({})).await;
    assert_eq!(content(&health)["ok"], false, "{health}");
}

/// A read fails; of a change nobody can know, and that is what is said.
async fn goes_away_in_the_middle(raw: &mut Raw, server: &mut Server) {
    let read = raw
        .call_soon("sql_execute", &json!({"sql": endless_read()}))
        .await;
    let change = format!("INSERT INTO things {}", endless_read());
    let change = raw.call_soon("sql_execute", &json!({"sql": change})).await;
    until_busy(raw, server, 2).await;
    server.stop();
    let mut codes = std::collections::BTreeMap::<u64, Value>::new();
    while codes.len() < 2 {
        let message = raw.message().await.unwrap();
        codes.insert(
            message["id"].as_u64().unwrap(),
            refusal(&message)["code"].clone(),
        );
    }
    assert_eq!(codes[&read], "database_unavailable", "{codes:?}");
    let expected = [json!("outcome_unknown"), json!("database_unavailable")];
    assert!(expected.contains(&codes[&change]), "{codes:?}");
}

/// The server stops what nobody waits for any more, seen from another connection.
async fn killed_client(mut raw: Raw, program: &Program, server: &Server) {
    raw.call_soon("sql_execute", &json!({"sql": endless_read()}))
        .await;
    until_busy(&mut raw, server, 1).await;
    let killed = Instant::now();
    let child = raw.vanish();
    while server.busy() > 0 {
        assert!(
            killed.elapsed() < Duration::from_secs(2),
            "{:?}",
            killed.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    wait_for(program, "execution.cancelled").await;
    drop(child);
}

/// Waits until so many statements are being run; an answer before that is a fault.
async fn until_busy(raw: &mut Raw, server: &Server, statements: usize) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while server.busy() < statements {
        assert!(Instant::now() < deadline, "{}", server.activity());
        let pause = Duration::from_millis(50);
        let early = tokio::time::timeout(pause, raw.message()).await;
        assert!(early.is_err(), "{early:?}");
    }
}

/// Takes hours on ten rows.
fn endless_read() -> &'static str {
    "SELECT count(*) FROM things a, things b, things c, things d, things e, things f, things g, \
     things h, things i, things j, things k, things l"
}
