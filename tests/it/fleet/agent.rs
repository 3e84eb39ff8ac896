//! An agent in the wrong hands: a program with a key that the relay knows, which says of its work what it likes.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use secondkey::clock::SystemClock;
use secondkey::core::engine::Engine;
use secondkey::core::handshake::{Handshake, Hex32, Side, join_key};
use secondkey::core::limits::Limits;
use secondkey::core::report::Report;
use secondkey::core::statement::Effect;
use secondkey::store::State;
use secondkey::wire::Answer;
use secondkey::wire::fleet::{
    FromAgent, FromRelay, Hello, Join, Proof, Question, Ready, Reply, Served,
};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::rig::{Fleet, content, refusal, result};

/// A connection to the relay, after a handshake.
struct Fake(WebSocketStream<TcpStream>);

impl Fake {
    /// Joins by a new token, and serves this shop.
    async fn join(fleet: &Fleet, shop: Served, slots: u32) -> Self {
        let token = fleet.run(&["relay", "join-token", "--serves", "shop"], "relay");
        let (token, relay) = token.trim().rsplit_once('.').unwrap();
        let relay = Hex32::try_from(relay.to_owned()).unwrap();
        let (id, secret) = token
            .strip_prefix("sjoin_")
            .unwrap()
            .split_once('_')
            .unwrap();
        let state = State::open(&fleet.path("fake"), Arc::new(SystemClock)).unwrap();
        let key = state.dial_key().unwrap();
        let stream = TcpStream::connect(("127.0.0.1", fleet.port)).await.unwrap();
        let url = format!("ws://127.0.0.1:{}/agent", fleet.port);
        let (socket, _) = client_async(url, stream).await.unwrap();
        let mut fake = Self(socket);
        let (agent, agent_nonce) = (state.agent(), Hex32::new([7; 32]));
        let agent_key = Hex32::of_key(&key.verifying_key());
        let hello = Hello::new(agent.clone(), agent_key, agent_nonce, relay);
        fake.say(FromAgent::Hello(hello)).await;
        let FromRelay::Challenge(challenge) = fake.hear().await else {
            panic!("no challenge");
        };
        let handshake = Handshake {
            agent,
            agent_key,
            relay_key: challenge.key,
            agent_nonce,
            relay_nonce: challenge.nonce,
        };
        let join = Join {
            token: id.to_owned(),
            signature: handshake.sign(Side::Joiner, &join_key(secret)),
        };
        let proof = Proof {
            signature: handshake.sign(Side::Agent, &key),
            join: Some(join),
        };
        fake.say(FromAgent::Proof(proof)).await;
        assert!(matches!(fake.hear().await, FromRelay::Welcome { .. }));
        let targets = vec![shop];
        fake.say(FromAgent::Ready(Ready { targets, slots })).await;
        fake
    }

    async fn say(&mut self, what: FromAgent) {
        let text = serde_json::to_string(&what).unwrap();
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn hear(&mut self) -> FromRelay {
        loop {
            if let Message::Text(text) = self.0.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// The next order. The relay is told every second that this is alive.
    async fn order(&mut self) -> u64 {
        loop {
            let heard = tokio::time::timeout(Duration::from_secs(1), self.hear()).await;
            match heard {
                Ok(FromRelay::Ask { call, question }) => {
                    assert!(matches!(*question, Question::Order(_)), "{question:?}");
                    return call;
                }
                Ok(_) => {}
                Err(_) => self.beat().await,
            }
        }
    }

    async fn beat(&mut self) {
        self.say(FromAgent::Beat { sent_ms: 0 }).await;
    }
}

fn served(rows: u32) -> Served {
    Served {
        name: "shop".parse().unwrap(),
        engine: Engine::Sqlite,
        environment: "development".to_owned(),
        labels: [("team".to_owned(), "other".to_owned())].into(),
        allow: [Effect::Read].into(),
        limits: Limits {
            rows,
            ..Limits::DEFAULT
        },
        only_capabilities: false,
    }
}

fn alone() -> Fleet {
    let mut fleet = Fleet::alone();
    fleet.start_relay();
    fleet
}

#[tokio::test]
async fn what_an_agent_says_it_did_is_held_against_its_order() {
    let fleet = alone();
    let mut fake = Fake::join(&fleet, served(200), 32).await;
    fleet.wait_until_ready();
    let agent = async {
        let call = fake.order().await;
        let report = Report {
            effect: Effect::Write,
            columns: vec![],
            rows: vec![],
            affected: Some(3),
            truncated: None,
            findings: vec![],
            capability: false,
            parts: vec![],
            replayed: false,
            elapsed: Duration::ZERO,
        };
        let answer = Box::new(Answer::Ok(Reply::Ran(report)));
        fake.say(FromAgent::Answer { call, answer }).await;
    };
    let (answer, ()) = tokio::join!(fleet.sql("SELECT 1"), agent);
    assert_eq!(
        refusal(&answer)["code"],
        "classification_mismatch",
        "{answer}"
    );
    let log = fleet.run(&["audit", "list", "-n", "50"], "relay");
    assert!(log.contains("execution.failed"), "{log}");
}

#[tokio::test]
async fn an_order_that_is_never_answered_has_an_end() {
    let fleet = alone();
    let mut fake = Fake::join(&fleet, served(200), 1).await;
    fleet.wait_until_ready();
    let key = fleet.key.clone();
    let wanted = json!({"sql": "SELECT 1", "timeout_ms": 1});
    let call = fleet.call_with(&key, "sql_execute", &wanted);
    tokio::pin!(call);
    let agent = async {
        let first = fake.order().await;
        // The place of an order that is given up is free again: there is just one.
        loop {
            let heard = tokio::time::timeout(Duration::from_secs(1), fake.hear()).await;
            match heard {
                Ok(FromRelay::Cancel { call, .. }) => break assert_eq!(call, first),
                Ok(_) => {}
                Err(_) => fake.beat().await,
            }
        }
    };
    let (answer, ()) = tokio::join!(&mut call, agent);
    let refused = refusal(&result(&answer));
    assert_eq!(refused["code"], "agent_unavailable", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("in time"));
}

#[tokio::test]
async fn an_agent_is_not_held_to_what_another_says_of_a_target_of_the_same_name() {
    let fleet = Fleet::start().await;
    let list = fleet.call("whoami", &json!({})).await;
    let environment = content(&list)["targets"][0]["environment"].clone();
    let mut shop = served(3);
    shop.environment = environment.as_str().unwrap().to_owned();
    // It has less room, so that the real one is asked.
    let _fake = Fake::join(&fleet, shop, 1).await;
    let listed = || fleet.run(&["relay", "agents", "list"], "relay");
    while listed().matches("agt_").count() < 2 {}
    let ten = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT i FROM n";
    let answer = fleet.sql(ten).await;
    let rows = content(&answer)["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 10, "{answer}");
}
