//! Capabilities on each engine through the built server: a change that people agree to runs once, and one whose
//! table was changed under it is withdrawn until its contract holds again.

use std::sync::Arc;
use std::time::Duration;

use secondkey::broker::requests;
use secondkey::clock::SystemClock;
use secondkey::core::approval::Decision;
use secondkey::core::request::Status;
use secondkey::store::State;
use secondkey::store::requests::Filter;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::approval::{say, trust};
use super::batch::Bank;
use super::ledger::execute;
use super::{content, refusal};
use crate::support::program::Program;
use crate::support::raw::{Era, Raw};

const FILE: &str = "\
capabilities:
  pay:
    sql: update accounts set balance = balance - :amount where id = :id
    params:
      id: { type: integer, required: true }
      amount: { type: integer, required: true, minimum: 1 }
    policy: { readonly: false, approval: true, max_affected_rows: 1 }
  balance_of:
    sql: select balance from accounts where id = :id
    params: { id: { type: integer, required: true } }
    result: { balance: { type: integer } }
";

/// The server of a bank that trusts Ada, and her own look at what waits.
async fn served(bank: &Bank) -> (Program, State) {
    let config = "approval_wait = \"0s\"\n[targets.bank]\nurl = \"env:BANK_URL\"\n\
                  capabilities = \"capability.yaml\"\nallow_privileged_login = true\n";
    let program = Program::with_config(config).variable("BANK_URL", &bank.url);
    std::fs::write(program.folder.path().join("capability.yaml"), FILE).unwrap();
    let ada = State::open(&program.state(), Arc::new(SystemClock)).unwrap();
    ada.install_trust(trust()).await.unwrap();
    (program, ada)
}

async fn balance(bank: &Bank, column: &str) -> i64 {
    bank.number(&format!("SELECT {column} FROM accounts WHERE id = 1"))
        .await
}

#[tokio::test]
async fn a_change_that_people_agree_to_runs_once() {
    for bank in Bank::all("agreed").await {
        let (program, ada) = served(&bank).await;
        let mut server = Raw::start(&program, Era::Modern).await;
        let call = json!({"id": 1, "amount": 7});
        let waits = refusal(&server.call("pay", &call).await);
        assert_eq!(waits["code"], "approval_pending", "{waits}");
        assert_eq!(balance(&bank, "balance").await, 100);
        let pending = Filter {
            statuses: vec![Status::Pending],
            ..Filter::default()
        };
        let waiting = requests::list(&ada, &pending).unwrap().requests;
        let [one] = waiting.as_slice() else {
            panic!("{waiting:?}");
        };
        say(&ada, &one.id, Decision::Approve).await.unwrap();
        assert_eq!(
            balance(&bank, "balance").await,
            100,
            "nobody has collected it"
        );
        let wait = json!({"action": "wait", "id": one.id.as_str()});
        let done = server.call("request", &wait).await;
        assert_eq!(content(&done)["result"]["affected"], 1, "{done}");
        assert_eq!(balance(&bank, "balance").await, 93);
        let again = refusal(&server.call("request", &wait).await);
        assert_eq!(again["code"], "request_state", "{again}");
        assert_eq!(balance(&bank, "balance").await, 93);
        // A value that the contract does not take files nothing.
        let refused = refusal(&server.call("pay", &json!({"id": 1, "amount": 0})).await);
        assert_eq!(refused["code"], "invalid_parameter", "{refused}");
        assert!(requests::list(&ada, &pending).unwrap().requests.is_empty());
        server.finish().await;
    }
}

fn has_it(listed: &Value) -> bool {
    let tools = listed["result"]["tools"].as_array().unwrap();
    tools.iter().any(|tool| tool["name"] == "balance_of")
}

/// Waits until there was news of the tools, and this is so.
async fn told(server: &mut Raw, listed: bool) {
    let mut news = false;
    let so = async {
        loop {
            let id = server.ask("tools/list", json!({})).await;
            let answer = loop {
                let message = server.message().await.unwrap();
                news |= message["method"] == "notifications/tools/list_changed";
                if message["id"] == id {
                    break message;
                }
            };
            if news && has_it(&answer) == listed {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = timeout(Duration::from_mins(1), so).await;
    assert!(waited.is_ok(), "{listed} and news: {news}");
}

fn held(listed: &Value) -> Value {
    let all = content(listed)["capabilities"].as_array().unwrap();
    let one = all.iter().find(|one| one["name"] == "balance_of").unwrap();
    one["withdrawn"].clone()
}

#[tokio::test]
async fn one_whose_table_has_changed_is_withdrawn_and_comes_back() {
    for bank in Bank::all("drift").await {
        let (program, ada) = served(&bank).await;
        let mut server = Raw::start(&program, Era::Legacy).await;
        let call = json!({"name": "balance_of", "params": {"id": 1}});
        let found = server.call("capability_call", &call).await;
        assert_eq!(
            content(&found)["rows"],
            json!([{"balance": 100}]),
            "{found}"
        );
        assert!(has_it(&server.request("tools/list", json!({})).await));
        execute(&bank, "ALTER TABLE accounts RENAME COLUMN balance TO held").await;
        // A call that fails has the agent look at once.
        server.call_soon("capability_call", &call).await;
        told(&mut server, false).await;
        let why = held(&server.call("capability_list", &json!({})).await);
        assert!(why.is_string(), "{} says {why}", bank.url);
        let refused = refusal(&server.call("capability_call", &call).await);
        assert_eq!(refused["code"], "capability_withdrawn", "{refused}");
        assert_eq!(balance(&bank, "held").await, 100);
        execute(&bank, "ALTER TABLE accounts RENAME COLUMN held TO balance").await;
        told(&mut server, true).await;
        let found = server.call("capability_call", &call).await;
        assert_eq!(
            content(&found)["rows"],
            json!([{"balance": 100}]),
            "{found}"
        );
        server.finish().await;
        ada.close().await.unwrap();
    }
}
