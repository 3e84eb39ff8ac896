//! Both generations of the protocol by hand, and how the server ends.

use serde_json::json;

use super::ShopServer;
use crate::support::raw::{Era, Raw, is_refusal};
use crate::support::shop;

#[tokio::test]
async fn the_older_protocol_is_spoken() {
    let shop = ShopServer::new();
    let mut server = Raw::start(&shop.program, Era::Legacy).await;
    let hello = &server.server["result"];
    assert_eq!(hello["protocolVersion"], "2025-11-25");
    assert_eq!(hello["serverInfo"]["name"], "secondkey");
    exercise(&mut server, &shop).await;
    assert!(server.finish().await.success(), "{}", shop.program.log());
}

#[tokio::test]
async fn the_newer_protocol_is_spoken() {
    let shop = ShopServer::new();
    let mut server = Raw::start(&shop.program, Era::Modern).await;
    let versions = &server.server["result"]["supportedVersions"];
    let versions = versions.as_array().expect("a list of versions");
    assert!(versions.contains(&json!("2026-07-28")), "{}", server.server);
    exercise(&mut server, &shop).await;
    assert!(server.finish().await.success(), "{}", shop.program.log());
}

async fn exercise(server: &mut Raw, shop: &ShopServer) {
    let sql = json!({"sql": "SELECT count(*) AS n FROM products"});
    let read = server.call("sql_execute", &sql).await;
    let answer = &read["result"]["structuredContent"];
    assert_eq!(answer["columns"][0]["name"], "n", "{read}");
    assert_eq!(answer["rows"], json!([[shop::PRODUCTS]]), "{read}");

    let sql = json!({"sql": "DELETE FROM products"});
    let write = server.call("sql_execute", &sql).await;
    assert!(is_refusal(&write), "{write}");
    assert!(write.to_string().contains("approval_required"), "{write}");
    assert_eq!(shop::products(&shop.file), shop::PRODUCTS);
}

#[tokio::test]
async fn a_client_that_leaves_before_it_says_hello_is_no_error() {
    let shop = ShopServer::new();
    let mut command = shop.program.command();
    let status = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .status()
        .await;
    assert!(status.unwrap().success(), "{}", shop.program.log());
}

#[tokio::test]
async fn the_rust_client_is_served() {
    use rmcp::ServiceExt as _;
    use rmcp::model::CallToolRequestParams;
    use rmcp::transport::TokioChildProcess;

    let shop = ShopServer::new();
    let process = TokioChildProcess::new(shop.program.command()).unwrap();
    let client = ().serve(process).await.unwrap();
    let tools = client.list_all_tools().await.unwrap();
    assert!(tools.iter().any(|tool| tool.name == "sql_execute"));
    let mut call = CallToolRequestParams::new("sql_execute");
    call.arguments = json!({"sql": "SELECT name FROM products ORDER BY id"})
        .as_object()
        .cloned();
    let answer = client.call_tool(call).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    let rows = &answer["structuredContent"]["rows"];
    assert_eq!(*rows, json!([["lamp"], ["chair"], ["desk"]]), "{answer}");
    client.cancel().await.unwrap();
}
