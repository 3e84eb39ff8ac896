//! A risky statement stops, a person signs exactly that, and it runs once: through the built server,
//! with the person in another process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use secondkey::broker::{requests, votes};
use secondkey::clock::SystemClock;
use secondkey::core::approval::sshsig::{PublicKey, SshSig};
use secondkey::core::approval::{APPROVAL, Decision, SignedVerdict, Verdict, verdict};
use secondkey::core::ids::RequestId;
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::refusal::Refusal;
use secondkey::core::request::{Request, Status};
use secondkey::core::signer::{Presence, Surface};
use secondkey::core::time::Clock as _;
use secondkey::core::trust::{Purpose, SignedTrust, Signer, SignerKey, TrustFile};
use secondkey::store::State;
use secondkey::store::requests::Filter;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{content, refusal};
use crate::support::program::Program;
use crate::support::raw::{Era, Raw};
use crate::support::shop;

const UPDATE: &str = "UPDATE products SET price = $1 WHERE name = $2";

/// A shop that may only be read, its server, and a person with a key.
pub(super) struct World {
    folder: TempDir,
    pub(super) program: Program,
    pub(super) person: State,
}

impl World {
    /// A call waits so long for a person.
    pub(super) async fn new(wait: &str) -> Self {
        Self::with(wait, "").await
    }

    /// The same, with this at the end of the configuration.
    pub(super) async fn with(wait: &str, more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("shop.db");
        shop::create(&file);
        let url = file.display();
        let config =
            format!("approval_wait = \"{wait}\"\n[targets.shop]\nurl = \"sqlite:{url}\"\n{more}");
        let program = Program::with_config(&config);
        let person = State::open(&program.state(), Arc::new(SystemClock)).unwrap();
        person.install_trust(trust()).await.unwrap();
        Self {
            folder,
            program,
            person,
        }
    }

    /// The shop's database.
    pub(super) fn shop(&self) -> std::path::PathBuf {
        self.folder.path().join("shop.db")
    }

    /// The price of the lamp, read on a connection of its own.
    pub(super) fn price(&self) -> f64 {
        let price = "SELECT price FROM products WHERE name = 'lamp'";
        let found = self.open().query_row(price, [], |row| row.get(0));
        found.unwrap()
    }

    /// A connection of somebody else's to the shop.
    pub(super) fn open(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("shop.db")).unwrap()
    }

    /// The request that waits for people, as soon as there is one.
    pub(super) async fn pending(&self) -> RequestId {
        let deadline = Instant::now() + Duration::from_secs(20);
        let filter = Filter {
            statuses: vec![Status::Pending],
            ..Filter::default()
        };
        loop {
            let page = requests::list(&self.person, &filter).unwrap();
            if let [one] = page.requests.as_slice() {
                return one.id.clone();
            }
            assert!(Instant::now() < deadline, "no request waits");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ada looks at the request and says this about it.
    pub(super) async fn say(&self, id: &RequestId, decision: Decision) -> Result<Request, Refusal> {
        say(&self.person, id, decision).await
    }
}

/// Ada looks at a request and says this about it.
pub(crate) async fn say(
    person: &State,
    id: &RequestId,
    decision: Decision,
) -> Result<Request, Refusal> {
    let shown = requests::show(person, id)?;
    let signed = signed(id, &shown.document.digest().to_string(), decision);
    votes::cast(person, id, signed).await
}

/// What Ada signs about the document with this digest.
pub(crate) fn signed(id: &RequestId, document: &str, decision: Decision) -> SignedVerdict {
    let said = Verdict {
        version: verdict::VERSION,
        decision,
        document: serde_json::from_value(json!(document)).unwrap(),
        request: id.clone(),
        signer: ada(),
        surface: Surface::Terminal,
        comment: Some("seen by Ada".into()),
        at_ms: SystemClock.now().unix_ms(),
    };
    let text = said.to_text();
    let signature = SshSig::sign_ed25519(&key(), APPROVAL, text.as_bytes()).unwrap();
    SignedVerdict {
        verdict: text,
        signature: signature.armored(),
    }
}

fn ada() -> Principal {
    Principal::new(PrincipalKind::Human, "ada")
}

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// Ada alone, with a key of hers, in the group `owner`.
pub(crate) fn trust() -> SignedTrust {
    let now = SystemClock.now().unix_ms();
    let trust = TrustFile::first(
        now,
        vec![Signer {
            name: ada(),
            groups: BTreeSet::from(["owner".to_owned()]),
            purposes: BTreeSet::from([Purpose::Approve, Purpose::Trust]),
            valid_from_ms: now - 1_000,
            valid_until_ms: None,
            keys: vec![SignerKey::ssh(
                PublicKey::ed25519(key().verifying_key()).unwrap(),
                Presence::Passphrase,
                "laptop",
            )],
        }],
    );
    let mut signed = SignedTrust::unsigned(trust);
    signed.sign(&key()).unwrap();
    signed
}

pub(super) fn update(price: f64) -> Value {
    json!({"sql": UPDATE, "params": [price, "lamp"], "reason": "spring sale"})
}

#[tokio::test]
async fn an_update_waits_for_a_person_and_runs_with_their_signature() {
    let world = World::new("30s").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let person = async {
        let id = world.pending().await;
        let shown = requests::show(&world.person, &id).unwrap();
        // What the person sees: all of it, the values too.
        assert_eq!(shown.document.statement, UPDATE);
        assert_eq!(shown.document.reason.as_deref(), Some("spring sale"));
        assert_eq!(shown.values.unwrap().params, [json!(15.5), json!("lamp")]);
        assert!(
            (world.price() - 20.0).abs() < 1e-9,
            "not before the signature"
        );
        world.say(&id, Decision::Approve).await.unwrap();
        id
    };
    let wanted = update(15.5);
    let call = server.call("sql_execute", &wanted);
    let (id, answer) = tokio::join!(person, call);
    let answer = content(&answer);
    assert_eq!(answer["affected"], 1, "{answer}");
    assert_eq!(answer["request"], id.as_str());
    assert!((world.price() - 15.5).abs() < 1e-9);
    let over = world.person.requests().get(&id).unwrap();
    assert_eq!(over.status(), Status::Succeeded);
    // Signed once, run once.
    world.say(&id, Decision::Approve).await.unwrap_err();
    let again = server
        .call("request", &json!({"action": "wait", "id": id.as_str()}))
        .await;
    assert_eq!(refusal(&again)["code"], "request_state");
    server.finish().await;
}

#[tokio::test]
async fn a_request_outlives_the_call_and_the_server_and_is_collected_later() {
    let world = World::new("0s").await;
    let mut server = Raw::start(&world.program, Era::Modern).await;
    // With people to ask there is one tool more, and the list still costs at most 1,500 tokens: a
    // token is 4.15 bytes of it.
    let tools = server.request("tools/list", json!({})).await;
    let tools = &tools["result"]["tools"];
    // That several statements can be run as one comes on top.
    let several = |tool: &&Value| tool["name"] == "sql_batch";
    let batch = tools.as_array().unwrap().iter().find(several).unwrap();
    let batch = batch.to_string().len();
    let bytes = tools.to_string().len() - batch;
    assert!(bytes <= 6_150 && batch <= 800, "{bytes} + {batch}");
    assert!(tools.to_string().contains("\"request\""));
    let pending = refusal(&server.call("sql_execute", &update(9.0)).await);
    assert_eq!(pending["code"], "approval_pending", "{pending}");
    let id = world.pending().await;
    assert!(pending["message"].as_str().unwrap().contains(id.as_str()));
    let listed = server.call("request", &json!({"action": "list"})).await;
    let listed = content(&listed);
    assert_eq!(listed["requests"][0]["status"], "pending", "{listed}");
    assert_eq!(listed["requests"][0]["id"], id.as_str());
    server.kill().await;

    world.say(&id, Decision::Approve).await.unwrap();
    // Approval runs nothing that nobody collects.
    assert!((world.price() - 20.0).abs() < 1e-9);
    let mut server = Raw::start(&world.program, Era::Modern).await;
    let wait = json!({"action": "wait", "id": id.as_str()});
    let collected = server.call("request", &wait).await;
    let collected = content(&collected);
    assert_eq!(collected["result"]["affected"], 1, "{collected}");
    assert!((world.price() - 9.0).abs() < 1e-9);
    server.finish().await;
}

#[tokio::test]
async fn a_rejection_reaches_the_model_with_its_comment() {
    let world = World::new("30s").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let person = async {
        let id = world.pending().await;
        world.say(&id, Decision::Reject).await.unwrap();
    };
    let wanted = update(1.0);
    let ((), answer) = tokio::join!(person, server.call("sql_execute", &wanted));
    let refused = refusal(&answer);
    assert_eq!(refused["code"], "approval_rejected", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("seen by Ada"));
    assert!((world.price() - 20.0).abs() < 1e-9);
    server.finish().await;
}

#[tokio::test]
async fn nobody_sees_or_stops_the_requests_of_another_client() {
    let world = World::new("0s").await;
    let mut mine = Raw::start_as("mine", &world.program, Era::Legacy).await;
    refusal(&mine.call("sql_execute", &update(9.0)).await);
    let id = world.pending().await;
    let mut theirs = Raw::start_as("theirs", &world.program, Era::Legacy).await;
    for action in ["show", "wait", "cancel"] {
        let ask = json!({"action": action, "id": id.as_str()});
        let refused = refusal(&theirs.call("request", &ask).await);
        assert_eq!(refused["code"], "unknown_request", "{refused}");
    }
    let listed = theirs.call("request", &json!({"action": "list"})).await;
    let listed = content(&listed);
    assert_eq!(listed["requests"], json!([]));
    let cancel = json!({"action": "cancel", "id": id.as_str()});
    let cancelled = mine.call("request", &cancel).await;
    let cancelled = content(&cancelled);
    assert_eq!(cancelled["requests"][0]["status"], "cancelled");
    world.say(&id, Decision::Approve).await.unwrap_err();
    assert!((world.price() - 20.0).abs() < 1e-9);
    mine.finish().await;
    theirs.finish().await;
}

#[tokio::test]
async fn an_approved_request_that_the_policy_now_forbids_does_not_run_and_that_is_recorded() {
    let world = World::new("0s").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    refusal(&server.call("sql_execute", &update(9.0)).await);
    let id = world.pending().await;
    server.finish().await;
    world.say(&id, Decision::Approve).await.unwrap();
    let folder = world.program.folder.path();
    let forbid = "forbid (principal, action, resource) when { context.effect == \"write\" };";
    std::fs::write(folder.join("closed.cedar"), forbid).unwrap();
    let config = folder.join("secondkey.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("policy = \"closed.cedar\"\n{text}")).unwrap();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let wait = json!({"action": "wait", "id": id.as_str()});
    let refused = refusal(&server.call("request", &wait).await);
    assert_eq!(refused["code"], "forbidden", "{refused}");
    server.finish().await;
    assert!((world.price() - 20.0).abs() < 1e-9);
    let wanted = secondkey::store::log::Select::Request(id.clone());
    let recorded = world.person.log().show(&wanted).unwrap();
    assert!(format!("{recorded:?}").contains("request.refused"));
}

#[tokio::test]
async fn what_the_agent_would_not_begin_stays_approved_and_is_collected_later() {
    let world = World::new("0s").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    refusal(&server.call("sql_execute", &update(9.0)).await);
    let id = world.pending().await;
    world.say(&id, Decision::Approve).await.unwrap();
    let database = rusqlite::Connection::open(world.folder.path().join("shop.db")).unwrap();
    let more = "CREATE TRIGGER more AFTER UPDATE ON products BEGIN DELETE FROM orders; END";
    database.execute_batch(more).unwrap();
    let wait = json!({"action": "wait", "id": id.as_str()});
    let refused = refusal(&server.call("request", &wait).await);
    assert_eq!(refused["code"], "approval_refused", "{refused}");
    assert!((world.price() - 20.0).abs() < 1e-9);
    let orders = database.query_row("SELECT count(*) FROM orders", [], |row| row.get(0));
    assert_eq!(orders, Ok(2));
    let back = world.person.requests().get(&id).unwrap();
    assert_eq!(back.status(), Status::Approved);
    database.execute_batch("DROP TRIGGER more").unwrap();
    let collected = server.call("request", &wait).await;
    assert_eq!(content(&collected)["result"]["affected"], 1, "{collected}");
    assert!((world.price() - 9.0).abs() < 1e-9);
    server.finish().await;
}

#[tokio::test]
async fn a_store_that_was_edited_by_hand_runs_nothing() {
    let world = World::new("0s").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    refusal(&server.call("sql_execute", &update(9.0)).await);
    let id = world.pending().await;
    // The state is forced, with a vote as a person's would be recorded, but for the signature.
    let database = world.program.state().join("state.db");
    let database = rusqlite::Connection::open(database).unwrap();
    let until = SystemClock.now().unix_ms() + 3_000_000;
    let forged = json!({"is": "approved", "by": "quorum", "at": until - 3_000_000, "until": until, "votes": [{
        "signer": "human:ada", "key": "SHA256:x", "decision": "approve", "comment": null, "surface": "terminal",
        "presence": "passphrase", "groups": ["owner"], "at": until - 3_000_000, "verdict": "0".repeat(64),
        "signed": json!({"verdict": "{}", "signature": "x"}).to_string()}]});
    let changed = database
        .execute(
            "update requests set status = 'approved', state = ?1, due_at = ?2, votes = 1 where id = ?3",
            (forged.to_string(), until, id.as_str()),
        )
        .unwrap();
    assert_eq!(changed, 1);
    let wait = json!({"action": "wait", "id": id.as_str()});
    let refused = refusal(&server.call("request", &wait).await);
    assert_eq!(refused["code"], "approval_refused", "{refused}");
    assert!((world.price() - 20.0).abs() < 1e-9);
    let recorded =
        "select count(*) from audit where body like '%execution.refused%' and body like ?1";
    let request = format!("%{id}%");
    let recorded: i64 = database
        .query_row(recorded, [request], |row| row.get(0))
        .unwrap();
    assert_eq!(recorded, 1, "the agent's refusal is in the log");
    server.finish().await;
}

#[tokio::test]
async fn likely_mistakes_are_told_with_the_result_and_whoever_waits_is_counted() {
    let world = World::new("0s").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let mut other = Raw::start_as("other", &world.program, Era::Modern).await;
    let waiting = async |server: &mut Raw| {
        let me = server.call("whoami", &json!({})).await;
        let all = server.call("health", &json!({})).await;
        (
            content(&me)["waiting"].clone(),
            content(&all)["waiting"].clone(),
        )
    };
    assert_eq!(waiting(&mut server).await, (json!(0), json!(0)));
    let everything = json!({"sql": "UPDATE products SET price = 1"});
    let refused = refusal(&server.call("sql_execute", &everything).await);
    assert_eq!(refused["code"], "approval_pending");
    let id = world.pending().await;
    // One's own with oneself; of all where the whole is asked about.
    assert_eq!(waiting(&mut server).await, (json!(1), json!(1)));
    assert_eq!(waiting(&mut other).await, (json!(0), json!(1)));
    world.say(&id, Decision::Approve).await.unwrap();
    assert_eq!(waiting(&mut server).await, (json!(0), json!(0)));
    let wait = json!({"action": "wait", "id": id.as_str()});
    let answer = server.call("request", &wait).await;
    let warnings = &content(&answer)["result"]["warnings"];
    let told =
        "it has no WHERE and so changes every row of its table: add a WHERE that names the rows";
    assert_eq!(warnings, &json!([told]), "{answer}");
    assert!((world.price() - 1.0).abs() < 1e-9);
    other.finish().await;
    server.finish().await;
}
