//! From enrolment to the changed row: a real server, a real browser, a passkey.

use secondkey::core::request::Status;
use secondkey::core::signer::{Presence, Surface};
use serde_json::json;

use crate::support::raw::{Era, Raw};
use crate::web::desk::Desk;

const UPDATE: &str = "UPDATE products SET price = $1 WHERE name = $2";

#[tokio::test]
async fn a_passkey_that_was_enrolled_in_the_browser_lets_a_change_of_a_client_run_once() {
    let Some(desk) = Desk::set_up("web::whole", "60s") else {
        return;
    };
    let able = json!({"elicitation": {"url": {}}});
    let mut server = Raw::start_able(able, &desk.program, Era::Legacy).await;
    let arguments = json!({"sql": UPDATE, "params": [15.5, "lamp"], "reason": "spring sale"});
    let call = server.call_soon("sql_execute", &arguments).await;
    // The client is asked to open the page; the person does, and decides there.
    let asked = loop {
        let message = server.message().await.expect("the server goes on");
        if message["method"] == "elicitation/create" {
            break message;
        }
    };
    let id = desk.waiting();
    assert!((desk.price() - 20.0).abs() < 1e-9);
    let link = asked["params"]["url"].as_str().unwrap();
    desk.approve(link, UPDATE);
    let answer = server.answer_to(call).await;
    let content = &answer["result"]["structuredContent"];
    assert_eq!(content["affected"], 1, "{answer}");
    assert_eq!(content["request"], id.as_str());
    assert!((desk.price() - 15.5).abs() < 1e-9);

    let request = desk.request(&id);
    assert_eq!(request.status(), Status::Succeeded);
    let [vote] = request.state().votes() else {
        panic!("one vote: {request:?}");
    };
    assert_eq!(vote.signer.to_string(), "human:ada");
    let proof = (vote.surface, vote.presence);
    assert_eq!(proof, (Surface::OwnPage, Presence::Hardware));
    let wait = json!({"action": "wait", "id": id.as_str()});
    let again = server.call("request", &wait).await;
    assert_eq!(again["result"]["isError"], true, "{again}");
    assert!((desk.price() - 15.5).abs() < 1e-9);
    assert!(server.finish().await.success());
    assert!(desk.state.log().verify(None).unwrap().outcome.is_ok());
}

const CAPABILITY: &str = "\
capabilities:
  set_price:
    description: Sets one price
    sql: update products set price = :price where name = :name
    params: { name: { type: string, required: true }, price: { type: number, required: true } }
    policy: { readonly: false }
";

/// The statement of a capability stays at the agent. On the page of the agent's own machine it is read before it is
/// agreed to.
#[tokio::test]
async fn whoever_approves_a_capability_reads_its_statement_on_the_page() {
    let Some(desk) = Desk::offering("web::whole", "60s", Some(CAPABILITY)) else {
        return;
    };
    let able = json!({"elicitation": {"url": {}}});
    let mut server = Raw::start_able(able, &desk.program, Era::Legacy).await;
    let arguments = json!({"name": "lamp", "price": 15.5, "reason": "spring sale"});
    let call = server.call_soon("set_price", &arguments).await;
    let asked = loop {
        let message = server.message().await.expect("the server goes on");
        if message["method"] == "elicitation/create" {
            break message;
        }
    };
    let link = asked["params"]["url"].as_str().unwrap();
    let statement = "update products set price = :price where name = :name";
    desk.read(link, "#behind", statement);
    let shown = desk.waiting_document();
    assert!(!shown.contains(statement), "{shown}");
    assert!((desk.price() - 20.0).abs() < 1e-9);
    desk.sign();
    let answer = server.answer_to(call).await;
    assert_eq!(
        answer["result"]["structuredContent"]["affected"], 1,
        "{answer}"
    );
    assert!((desk.price() - 15.5).abs() < 1e-9);
    assert!(server.finish().await.success());
}
