//! What a model reads, word for word: the tools, one answer of each, the refusals, the resources
//! and the prompt. A change here is a change for every user.

use insta::{Settings, assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use super::ShopServer;
use crate::support::raw::{Era, Raw};

/// The whole `tools/list` may cost a model 1,500 tokens. Two public tokenizers (o200k and
/// Anthropic's) count 4.1 bytes to a token of it, so this leaves a margin of a tenth.
const TOOLS_BYTES: usize = 5_650;

#[tokio::test]
async fn the_tools_are_as_reviewed_and_cost_at_most_1500_tokens() {
    let (_shop, mut server) = start().await;
    let answer = server.request("tools/list", json!({})).await;
    let tools = &answer["result"]["tools"];
    let bytes = tools.to_string().len();
    assert!(bytes <= TOOLS_BYTES, "tools/list has {bytes} bytes");
    assert_json_snapshot!("tools", tools);
}

#[tokio::test]
async fn each_tool_answers_as_reviewed() {
    let (_shop, mut server) = start().await;
    for (name, tool, arguments) in [
        ("whoami", "whoami", json!({})),
        ("health", "health", json!({})),
        ("list_tables", "list_tables", json!({})),
        (
            "describe_table",
            "describe_table",
            json!({"table": "orders"}),
        ),
        (
            "sql_execute",
            "sql_execute",
            json!({"sql": "SELECT id, name, price FROM products WHERE price > $1", "params": [30]}),
        ),
        (
            "cut",
            "sql_execute",
            json!({"sql": "SELECT name FROM products ORDER BY id", "max_rows": 2}),
        ),
    ] {
        let answer = server.call(tool, &arguments).await;
        let content = &answer["result"]["structuredContent"];
        // Clients that know no structured content read the same as text.
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert_eq!(&serde_json::from_str::<Value>(text).unwrap(), content);
        settings().bind(|| assert_json_snapshot!(name, content));
    }
}

#[tokio::test]
async fn a_further_page_answers_as_reviewed() {
    let (_shop, mut server) = start().await;
    let sql = json!({"sql": "SELECT name FROM products ORDER BY id", "max_rows": 2});
    let first = server.call("sql_execute", &sql).await;
    let cut = &first["result"]["structuredContent"]["truncated"];
    let next = json!({"handle": cut["handle"], "from": cut["next"]});
    let page = server.call("result_page", &next).await;
    settings().bind(|| assert_json_snapshot!("result_page", page["result"]["structuredContent"]));
}

#[tokio::test]
async fn refusals_read_as_reviewed() {
    let (_shop, mut server) = start().await;
    let mut said = String::new();
    for (tool, arguments) in [
        ("sql_execute", json!({"sql": "DELETE FROM products"})),
        ("sql_execute", json!({"sql": "DROP TABLE products"})),
        ("sql_execute", json!({"sql": "PRAGMA journal_mode = OFF"})),
        ("sql_execute", json!({"sql": "SELECT 1; SELECT 2"})),
        ("sql_execute", json!({"sql": ""})),
        ("sql_execute", json!({"sql": "SELEC 1"})),
        ("sql_execute", json!({"sql": "SELECT nam FROM products"})),
        ("sql_execute", json!({"sql": "SELECT * FROM product"})),
        ("sql_execute", json!({"sql": "SELECT $1", "params": []})),
        (
            "sql_execute",
            json!({"sql": "SELECT 1", "target": "orders"}),
        ),
        ("sql_execute", json!({"sql": "SELECT 1", "limit": 5})),
        ("sql_execute", json!({})),
        ("describe_table", json!({"table": "ordres"})),
        ("result_page", json!({"handle": "page_1", "from": 0})),
    ] {
        let answer = server.call(tool, &arguments).await;
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        said += &format!("{tool} {arguments}\n  {text}\n");
    }
    assert_snapshot!("refusals", said);
}

#[tokio::test]
async fn resources_and_the_prompt_read_as_reviewed() {
    let (_shop, mut server) = start().await;
    let list = server.request("resources/list", json!({})).await;
    assert_json_snapshot!("resources", list["result"]["resources"]);
    for uri in ["secondkey://shop/schema", "secondkey://shop/tables/orders"] {
        let read = server.request("resources/read", json!({"uri": uri})).await;
        let text = read["result"]["contents"][0]["text"].as_str().unwrap();
        assert!(serde_json::from_str::<Value>(text).is_ok(), "{read}");
        assert_snapshot!(uri.rsplit('/').next().unwrap(), text);
    }
    let arguments =
        json!({"name": "explore", "arguments": {"question": "Which product sells best?"}});
    let prompt = server.request("prompts/get", arguments).await;
    let text = prompt["result"]["messages"][0]["content"]["text"]
        .as_str()
        .unwrap();
    assert_snapshot!("explore", text);
    let unknown = server
        .request(
            "resources/read",
            json!({"uri": "secondkey://shop/tables/none"}),
        )
        .await;
    assert!(unknown["error"]["code"].is_number(), "{unknown}");
}

async fn start() -> (ShopServer, Raw) {
    let shop = ShopServer::new();
    let server = Raw::start_as("snapshot", &shop.program, Era::Legacy).await;
    (shop, server)
}

/// What differs from run to run.
fn settings() -> Settings {
    let mut settings = Settings::clone_current();
    settings.add_filter("(req|page)_[0-9a-f]{32}", "${1}_…");
    settings.add_filter("\"elapsed_ms\": [0-9]+", "\"elapsed_ms\": 0");
    settings.add_filter("\"ai:[^/\"]+/", "\"ai:USER/");
    settings.add_filter("\"version\": \"[0-9.]+\"", "\"version\": \"VERSION\"");
    settings
}
