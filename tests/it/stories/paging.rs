//! Results that are larger than a page.

use serde_json::{Value, json};

use super::{World, content, count, refusal};
use crate::support::raw::{Era, Raw};

/// Numbers from 1 on.
fn numbers(count: u64) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         SELECT i FROM n"
    )
}

async fn execute(server: &mut Raw, arguments: Value) -> Value {
    content(&server.call("sql_execute", &arguments).await).clone()
}

async fn page(server: &mut Raw, handle: &Value, from: u64) -> Value {
    let arguments = json!({"handle": handle, "from": from});
    content(&server.call("result_page", &arguments).await).clone()
}

#[tokio::test]
async fn what_is_left_out_is_told_exactly() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Modern).await;
    for rows in [0, 1, 199, 200] {
        let sql = match rows {
            0 => "SELECT 1 WHERE 0".to_owned(),
            rows => numbers(rows),
        };
        let answer = execute(&mut server, json!({"sql": sql})).await;
        assert_eq!(answer["rows"].as_array().unwrap().len() as u64, rows);
        assert!(answer.get("truncated").is_none(), "{rows}: {answer}");
    }
    let answer = execute(&mut server, json!({"sql": numbers(201)})).await;
    let cut = &answer["truncated"];
    assert_eq!(cut["by"], "rows");
    assert_eq!((&cut["shown"], &cut["next"]), (&json!(200), &json!(200)));
    assert_eq!(cut["at_least"], 201, "{cut}");
    let last = page(&mut server, &cut["handle"], 200).await;
    assert_eq!(last["rows"], json!([[201]]));
    assert!(last.get("truncated").is_none(), "{last}");
    let beyond = page(&mut server, &cut["handle"], 5_000).await;
    assert_eq!(beyond["rows"], json!([]));
    assert!(beyond.get("truncated").is_none(), "{beyond}");

    let small = json!({"sql": numbers(7), "max_rows": 3});
    let answer = execute(&mut server, small).await;
    assert_eq!(answer["rows"], json!([[1], [2], [3]]));
    let cut = &answer["truncated"];
    assert_eq!((&cut["by"], &cut["next"]), (&json!("rows"), &json!(3)));
    let three = json!({"handle": cut["handle"], "from": 3, "max_rows": 3});
    let next = content(&server.call("result_page", &three).await).clone();
    assert_eq!(next["rows"], json!([[4], [5], [6]]));
    let cut = &next["truncated"];
    assert_eq!(cut["by"], "rows", "{cut}");
    assert_eq!((&cut["at_least"], &cut["exact"]), (&json!(7), &json!(true)));
}

#[tokio::test]
async fn a_result_cut_by_bytes_comes_whole_in_pages() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let sql = format!("SELECT i, hex(zeroblob(500)) FROM ({})", numbers(300));
    let first = execute(&mut server, json!({"sql": sql, "max_rows": 1_000})).await;
    let mut rows = first["rows"].as_array().unwrap().clone();
    assert!((60..70).contains(&rows.len()), "{}", rows.len());
    let mut cut = first["truncated"].clone();
    while cut["handle"].is_string() {
        assert_eq!(cut["by"], "bytes", "{cut}");
        assert_eq!(cut["next"], rows.len() as u64);
        let next = page(&mut server, &cut["handle"], rows.len() as u64).await;
        assert!(next["rows"].to_string().len() <= 64 * 1024);
        rows.extend(next["rows"].as_array().unwrap().clone());
        cut = next["truncated"].clone();
    }
    assert!(cut.is_null(), "{cut}");
    let expected: Vec<Value> = (1..=300).map(Value::from).collect();
    let numbers: Vec<Value> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn a_row_larger_than_a_page_is_explained_and_does_not_end_the_world() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Modern).await;
    let sql = "SELECT hex(zeroblob(50000)) AS large";
    let answer = execute(&mut server, json!({"sql": sql})).await;
    assert_eq!(answer["rows"], json!([]));
    let cut = &answer["truncated"];
    assert_eq!(cut["by"], "bytes");
    assert_eq!((&cut["shown"], &cut["at_least"]), (&json!(0), &json!(1)));
    assert!(
        cut["note"].as_str().unwrap().contains("100004 bytes"),
        "{cut}"
    );
    super::assert_serves(&mut server).await;
}

#[tokio::test]
async fn pages_are_read_on_and_never_run_again() {
    let world = World::reads();
    let other = rusqlite::Connection::open(&world.file).unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
                INSERT INTO products (name, price) SELECT 'before', i FROM n";
    other.execute_batch(fill).unwrap();
    let mut server = Raw::start(&world.program, Era::Modern).await;
    let sql = "SELECT name FROM products WHERE name <> 'lamp'";
    let first = execute(&mut server, json!({"sql": sql})).await;
    let handle = first["truncated"]["handle"].clone();
    let whole = page(&mut server, &handle, 900).await;
    assert!(whole.get("truncated").is_none(), "{whole}");
    other
        .execute_batch("UPDATE products SET name = 'after'")
        .unwrap();
    let second = page(&mut server, &handle, 200).await;
    assert_eq!(second["rows"][5], json!(["before"]), "{second}");
    let entries = world.audit();
    assert_eq!(count(&entries, "execution.started"), 1);
    assert_eq!(count(&entries, "page.read"), 2);
}

#[tokio::test]
async fn a_page_waits_for_rows_that_are_still_to_come_and_says_when_time_was_up() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    // A thousand rows at once, and then none for ever.
    let sql = format!(
        "SELECT i FROM ({}) UNION ALL SELECT * FROM ({ENDLESS})",
        numbers(1_000),
        ENDLESS = super::ENDLESS
    );
    let first = execute(&mut server, json!({"sql": sql, "timeout_ms": 1_500})).await;
    let cut = &first["truncated"];
    assert_eq!((&cut["by"], &cut["exact"]), (&json!("rows"), &json!(false)));
    let last = page(&mut server, &cut["handle"], 900).await;
    let cut = &last["truncated"];
    assert_eq!(cut["by"], "time", "{last}");
    assert_eq!(cut["exact"], false);
}

#[tokio::test]
async fn a_handle_is_worth_nothing_to_anybody_else() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Modern).await;
    let first = execute(&mut server, json!({"sql": numbers(500)})).await;
    let handle = first["truncated"]["handle"].clone();
    let stolen = json!({
        "name": "result_page",
        "arguments": {"handle": handle, "from": 200},
        "_meta": {"io.modelcontextprotocol/clientInfo": {"name": "somebody else", "version": "1"}},
    });
    let (id, line) = server.request_line("tools/call", stolen);
    let line = line.replace("\"name\":\"raw\"", "\"name\":\"somebody else\"");
    server.send(line.as_bytes()).await;
    let answer = server.answer_to(id).await;
    assert_eq!(refusal(&answer)["code"], "page_gone", "{answer}");
    for wrong in ["", "page_0", "req_00000000000000000000000000000000"] {
        let arguments = json!({"handle": wrong, "from": 0});
        let answer = server.call("result_page", &arguments).await;
        assert_eq!(refusal(&answer)["code"], "page_gone", "{answer}");
    }
    assert_eq!(
        page(&mut server, &handle, 499).await["rows"],
        json!([[500]])
    );
}

#[tokio::test]
async fn many_readers_of_one_handle_see_the_same_rows() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let sql = format!("SELECT i, hex(zeroblob(1000)) FROM ({})", numbers(20_000));
    let first = execute(&mut server, json!({"sql": sql, "max_rows": 10})).await;
    let handle = first["truncated"]["handle"].clone();
    let mut asked = std::collections::BTreeMap::new();
    for round in 0..40_u64 {
        let from = round * 499;
        let arguments = json!({"handle": handle, "from": from, "max_rows": 5});
        asked.insert(server.call_soon("result_page", &arguments).await, from);
    }
    while !asked.is_empty() {
        let message = server.message().await.unwrap();
        let from = asked.remove(&message["id"].as_u64().unwrap()).unwrap();
        let rows = content(&message)["rows"].as_array().unwrap();
        let numbers: Vec<u64> = rows.iter().map(|row| row[0].as_u64().unwrap()).collect();
        let expected: Vec<u64> = (from + 1..=from + 5).collect();
        assert_eq!(numbers, expected);
    }
}
