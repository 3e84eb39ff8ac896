//! Two agents for one target: what one has done under a key, the other tells of from the ledger between them.

use std::time::{Duration, Instant};

use secondkey::core::engine::Engine;
use secondkey::core::ledger::LedgerName;
use serde_json::json;

use super::rest::json_of;
use super::rest_capabilities::{FILE, post, products, wait_until_offered};
use super::rig::Fleet;

#[tokio::test]
async fn another_agent_tells_of_a_change_where_there_is_a_ledger_and_makes_it_again_where_there_is_none()
 {
    for (ledger, in_the_end) in [(true, 4), (false, 5)] {
        let mut fleet = Fleet::start().await;
        let name = LedgerName::try_from("secondkey_ledger".to_owned()).unwrap();
        let table = name.definition(Engine::Sqlite);
        let database = rusqlite::Connection::open(fleet.shop()).unwrap();
        database.execute_batch(&table).unwrap();
        let mut more = "allow = [\"read\", \"write\"]\n".to_owned();
        if ledger {
            more += "ledger = \"secondkey_ledger\"\n";
        }
        fleet.start_agent_offering(FILE, &more);
        wait_until_offered(&fleet).await;
        let insert = json!({"sql": "INSERT INTO products (name, price) VALUES ($1, 4)", "params": ["bench"]});
        let path = "/v1/sql/execute";
        json_of(&post(&fleet, path, &insert, Some("k")), 200);
        assert_eq!(products(&fleet), 4);

        let token = fleet.run(&["relay", "join-token", "--serves", "shop"], "relay");
        std::fs::write(fleet.path("join-2"), token).unwrap();
        fleet.kill_agent();
        fleet.start_configured("agent-2", "join-2", "agent.toml");
        let deadline = Instant::now() + Duration::from_secs(30);
        let told = loop {
            let told = post(&fleet, path, &insert, Some("k"));
            if told.status != 503 {
                break json_of(&told, 200);
            }
            assert!(Instant::now() < deadline, "{}", fleet.log("agent-2"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(told["affected"], 1, "{told}");
        assert_eq!(told["replayed"] == json!(true), ledger, "{told}");
        assert_eq!(products(&fleet), in_the_end);
    }
}
