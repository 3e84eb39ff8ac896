//! The relay's page, for browsers on other machines than the relay's.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secondkey::core::approval::Decision;
use secondkey::core::request::Status;
use secondkey::core::signer::{Presence, Surface};
use secondkey::store::State;
use serde_json::{Value, json};

use super::rig::{Fleet, UPDATE, content, refusal};
use crate::stories::approval::say;
use crate::support::authenticator::{Passkey, client_data};
use crate::support::http::{Answer, send};
use crate::support::{binary, skip};
use crate::web::browser::Browser;
use crate::web::rig::free_port;

/// A relay that was made and serves its page; nobody is trusted yet, and there is no agent.
fn relay() -> Fleet {
    let mut fleet = Fleet::alone();
    fleet.port = free_port();
    fleet.besides = vec!["--page".into(), origin(&fleet)];
    fleet.start_relay();
    fleet
}

/// The same with an agent, where Ada is trusted by both.
async fn fleet() -> Fleet {
    let port = free_port();
    let page = format!("http://localhost:{port}");
    Fleet::start_at(port, &["--page", &page]).await
}

fn origin(fleet: &Fleet) -> String {
    format!("http://localhost:{}", fleet.port)
}

fn host(fleet: &Fleet) -> String {
    format!("localhost:{}", fleet.port)
}

/// What `secondkey page --link` says to the holder of a key.
fn asked(fleet: &Fleet, key: &str, more: &[&str]) -> Result<String, String> {
    let output = Command::new(binary())
        .args(["page", "--link", "--relay", &origin(fleet)])
        .args(more)
        .env_clear()
        .env("HOME", fleet.folder.path())
        .env("SECONDKEY_API_KEY", key)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

fn get(fleet: &Fleet, path: &str, cookie: &str) -> Answer {
    let host = host(fleet);
    let headers = [("Host", host.as_str()), ("Cookie", cookie)];
    send(fleet.port, "GET", path, &headers, "")
}

/// The cookie that a link gives.
fn entered(fleet: &Fleet, link: &str) -> String {
    let path = link.strip_prefix(&origin(fleet)).unwrap();
    let answer = get(fleet, path, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_is_let_in_sees_what_their_key_and_the_trust_file_say_and_no_longer_than_that() {
    let fleet = fleet().await;
    let issue = |name: &str| fleet.issue(&["--for", name, "--role", "readonly"]);
    let (ada, bob) = (issue("human:ada"), issue("human:bob"));
    let locked = get(&fleet, "/", "");
    assert_eq!(locked.status, 401);
    let command = format!("secondkey page --link --relay {}", origin(&fleet));
    assert!(locked.body.contains(&command), "{}", locked.body);
    // What is no page is what it was.
    assert_eq!(get(&fleet, "/healthz", "").status, 200);
    assert_eq!(get(&fleet, "/v1/me", "").status, 401);
    let other = send(fleet.port, "GET", "/", &[("Host", "relay.example")], "");
    assert_eq!(other.status, 421);

    let link = asked(&fleet, &ada, &[]).unwrap();
    let cookie = entered(&fleet, &link);
    let inbox = get(&fleet, "/", &cookie);
    assert_eq!(inbox.status, 200);
    for part in ["human:ada", "workspace <strong>local"] {
        assert!(inbox.body.contains(part), "{}", inbox.body);
    }
    // Once.
    let path = link.strip_prefix(&origin(&fleet)).unwrap();
    assert_eq!(get(&fleet, path, "").status, 401);

    // Whose signature does not count yet sees how to get there.
    let theirs = entered(&fleet, &asked(&fleet, &bob, &[]).unwrap());
    for path in ["/", "/history", "/audit", "/pulse"] {
        let refused = get(&fleet, path, &theirs);
        assert_eq!(refused.status, 403, "{path}: {}", refused.body);
        assert!(refused.body.contains("have a trust admin add it"));
    }
    assert_eq!(get(&fleet, "/trust", &theirs).status, 200);
    // A model has no page.
    let refused = asked(&fleet, &fleet.key, &[]).unwrap_err();
    assert!(refused.contains("is no person"), "{refused}");

    // Neither a suspended person nor one whose key was revoked is let in any more.
    let principals = |what| fleet.run(&["relay", "principals", what, "human:ada"], "relay");
    principals("suspend");
    assert_eq!(get(&fleet, "/", &cookie).status, 401);
    principals("resume");
    assert_eq!(get(&fleet, "/", &cookie).status, 200);
    let id = ada.split('_').nth(1).unwrap();
    fleet.run(&["relay", "keys", "revoke", id], "relay");
    assert_eq!(get(&fleet, "/", &cookie).status, 401);
    assert_eq!(get(&fleet, "/trust", &theirs).status, 200);
}

#[tokio::test]
async fn a_session_of_one_workspace_is_none_of_another() {
    let fleet = fleet().await;
    fleet.run(&["relay", "workspaces", "create", "acme"], "relay");
    let create = ["relay", "keys", "create", "--workspace", "acme"];
    let create = [&create[..], &["--for", "human:ada", "--role", "readonly"]].concat();
    let theirs = fleet.run(&create, "relay");
    let ada = fleet.issue(&["--for", "human:ada", "--role", "readonly"]);
    let change = json!({"sql": UPDATE, "params": [15.5, "lamp"]});
    let call = fleet.call("sql_execute", &change);
    tokio::pin!(call);
    let person = fleet.relay_state();
    let id = tokio::select! {
        answer = &mut call => panic!("{answer}"),
        id = fleet.pending(&person) => id,
    };
    let request = format!("/requests/{id}");
    let ours = entered(&fleet, &asked(&fleet, &ada, &[]).unwrap());
    assert!(get(&fleet, &request, &ours).body.contains("products"));
    // The relay opens a new workspace within seconds.
    let link = loop {
        if let Ok(link) = asked(&fleet, &theirs, &[]) {
            break link;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    assert!(link.contains("workspace=acme"), "{link}");
    // A code is good in its own workspace alone.
    let moved = link.replace("workspace=acme", "workspace=local");
    assert_eq!(
        get(&fleet, moved.strip_prefix(&origin(&fleet)).unwrap(), "").status,
        401
    );
    let foreign = entered(&fleet, &link);
    let shown = get(&fleet, &request, &foreign);
    assert_ne!(shown.status, 200);
    assert!(!shown.body.contains("products"), "{}", shown.body);
    // Nor does it become one by its name.
    let (name, value) = foreign.split_once('=').unwrap();
    let parts: Vec<&str> = value.split('.').collect();
    let visitor = String::from_utf8(hex::decode(parts[2]).unwrap()).unwrap();
    let visitor = hex::encode(visitor.replace("acme", "local"));
    let forged = format!("{name}={}.{}.{visitor}.{}", parts[0], parts[1], parts[3]);
    assert_eq!(get(&fleet, &request, &forged).status, 401);
    say(&person, &id, Decision::Reject).await.unwrap();
    let refused = call.await;
    assert_eq!(refusal(&refused)["code"], "approval_rejected", "{refused}");
    person.close().await.unwrap();
}

/// Runs a command that has to go well, beside the relay or the agent.
fn run(fleet: &Fleet, arguments: &[&str], state: &str) -> String {
    fleet.run(arguments, state)
}

#[tokio::test]
async fn a_passkey_that_was_enrolled_at_the_relay_lets_a_change_run_once_at_the_agent() {
    let keygen = Command::new("ssh-keygen").arg("-?").output();
    if keygen.is_err() {
        skip("fleet::page", "ssh-keygen is not installed");
        return;
    }
    let Some(browser) = Browser::start("fleet::page") else {
        return;
    };
    let mut fleet = relay();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", "root"])
        .current_dir(fleet.folder.path())
        .status();
    assert!(made.unwrap().success());
    run(
        &fleet,
        &["trust", "init", "--name", "root", "--key", "root"],
        "relay",
    );
    let ada = fleet.issue(&["--for", "human:ada", "--role", "readonly"]);

    // Ada makes a passkey on her own machine; a trust admin adds it; the agent's operator takes the file.
    browser.add_authenticator();
    browser.open(&asked(&fleet, &ada, &[]).unwrap());
    browser.find("main");
    browser.open(&format!("{}/trust", origin(&fleet)));
    browser.write("input[name=label]", "test laptop");
    browser.click("#enrol-form button");
    let code = browser.says("#proposal-code", "-");
    let command = browser.says("#proposal-command", "secondkey trust add ");
    let proposal = command.strip_prefix("secondkey trust add ").unwrap().trim();
    let add = ["trust", "add", proposal, "--groups", "owner"];
    let by = ["--code", code.trim(), "--key", "root"];
    run(&fleet, &[&add[..], &by[..]].concat(), "relay");
    let exported = run(&fleet, &["trust", "export", "--json"], "relay");
    std::fs::write(fleet.path("trust.json"), exported).unwrap();
    let pinned = run(&fleet, &["trust", "install", "trust.json"], "agent");
    assert!(
        pinned.contains("Version 2 of the trust file is pinned"),
        "{pinned}"
    );
    let again = run(&fleet, &["trust", "install", "trust.json"], "agent");
    assert_eq!(again, "Every version in the file is pinned here already.");
    fleet.start_agent();

    let change = json!({"sql": UPDATE, "params": [15.5, "lamp"]});
    let call = fleet.call("sql_execute", &change);
    tokio::pin!(call);
    let person = fleet.relay_state();
    let id = tokio::select! {
        answer = &mut call => panic!("{answer}"),
        id = fleet.pending(&person) => id,
    };
    assert!((fleet.price() - 20.0).abs() < 1e-9);
    let link = asked(&fleet, &ada, &["--request", id.as_str()]).unwrap();
    browser.open(&link);
    browser.says("#statement", UPDATE);
    browser.click("button.go");
    browser.says(
        ".timeline",
        "A signed vote was counted by human:ada (approve)",
    );
    let answer: Value = call.await;
    assert_eq!(content(&answer)["affected"], 1, "{answer}");
    assert!((fleet.price() - 15.5).abs() < 1e-9);
    let request = person.requests().get(&id).unwrap();
    assert_eq!(request.status(), Status::Succeeded);
    let [vote] = request.state().votes() else {
        panic!("one vote: {request:?}");
    };
    assert_eq!(vote.signer.to_string(), "human:ada");
    let proof = (vote.surface, vote.presence);
    assert_eq!(proof, (Surface::OwnPage, Presence::Hardware));
    // It ran once.
    let again = fleet
        .call("request", &json!({"action": "wait", "id": id.as_str()}))
        .await;
    assert_eq!(again["isError"], true, "{again}");
    person.close().await.unwrap();
    fleet.run(&["audit", "verify"], "relay");
    fleet.run(&["audit", "verify"], "agent");
}

#[tokio::test]
async fn a_client_is_told_where_people_decide() {
    let fleet = fleet().await;
    let (host, bearer) = (host(&fleet), format!("Bearer {}", fleet.key));
    let ask = |method: &str, path: &str, body: &str| {
        let headers = [
            ("Host", host.as_str()),
            ("Authorization", &bearer),
            ("Content-Type", "application/json"),
        ];
        let answer = send(fleet.port, method, path, &headers, body);
        (
            answer.status,
            serde_json::from_str::<Value>(&answer.body).unwrap(),
        )
    };
    let change = json!({"sql": UPDATE, "params": [15.5, "lamp"]}).to_string();
    let (status, filed) = ask("POST", "/v1/sql/execute", &change);
    assert_eq!(status, 202, "{filed}");
    let id = filed["id"].as_str().unwrap();
    let (status, waits) = ask("POST", &format!("/v1/requests/{id}/collect"), "");
    assert_eq!(status, 409, "{waits}");
    let hint = waits["hint"].as_str().unwrap();
    let page = format!("open {}/r/{id}", origin(&fleet));
    assert!(hint.contains(&page), "{hint}");
    let command = format!("secondkey approve {id} --relay {}", origin(&fleet));
    assert!(hint.contains(&command), "{hint}");
}

/// Where a proxy that does the TLS would have browsers come.
const PUBLIC: &str = "https://relay.example.com";

/// A browser at a public page: what it sends, and its passkey.
struct Visit<'f> {
    fleet: &'f Fleet,
    cookie: String,
    token: String,
    passkey: Passkey,
}

impl<'f> Visit<'f> {
    fn new(fleet: &'f Fleet, link: &str) -> Self {
        let path = link.strip_prefix(PUBLIC).unwrap();
        let get = |path: &str, cookie: &str| {
            let headers = [("Host", "relay.example.com"), ("Cookie", cookie)];
            send(fleet.port, "GET", path, &headers, "")
        };
        let answer = get(path, "");
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.starts_with("__Host-secondkey="), "{cookie}");
        for part in ["; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let page = get("/trust", &cookie).body;
        let (_, rest) = page.split_once("name=\"token\" content=\"").unwrap();
        let (token, _) = rest.split_once('"').unwrap();
        Self {
            fleet,
            token: token.to_owned(),
            passkey: Passkey::new(9, "relay.example.com"),
            cookie,
        }
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let headers = [
            ("Host", "relay.example.com"),
            ("Origin", PUBLIC),
            ("Cookie", &self.cookie),
            ("X-Secondkey-Token", &self.token),
        ];
        let answer = send(self.fleet.port, "POST", path, &headers, &body.to_string());
        let read = serde_json::from_str(&answer.body);
        (answer.status, read.unwrap_or_else(|_| panic!("{answer:?}")))
    }

    fn well(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(path, body);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// What a browser hands over of a signature for this challenge.
    fn assertion(&self, challenge: &Value) -> Value {
        let challenge = URL_SAFE_NO_PAD.decode(challenge.as_str().unwrap()).unwrap();
        let client = client_data(
            "webauthn.get",
            &challenge,
            PUBLIC,
            r#","crossOrigin":false"#,
        );
        let (data, signature) = self.passkey.get(&client);
        json!({
            "authenticator_data": URL_SAFE_NO_PAD.encode(data),
            "client_data": URL_SAFE_NO_PAD.encode(client),
            "signature": URL_SAFE_NO_PAD.encode(signature),
        })
    }

    /// Makes a key, and gives the command by which a trust admin adds it.
    fn enrol(&self) -> (String, String) {
        let wish = json!({"name": "ada", "label": "phone"});
        let to_make = self.well("/enrol/begin", &wish);
        assert_eq!(to_make["rp_id"], "relay.example.com");
        let challenge = URL_SAFE_NO_PAD
            .decode(to_make["challenge"].as_str().unwrap())
            .unwrap();
        let client = client_data("webauthn.create", &challenge, PUBLIC, "");
        let mut made = wish.clone();
        made["ticket"] = to_make["ticket"].clone();
        made["authenticator_data"] =
            json!(URL_SAFE_NO_PAD.encode(self.passkey.create(b"credential")));
        made["client_data"] = json!(URL_SAFE_NO_PAD.encode(client));
        let to_prove = self.well("/enrol/registered", &made);
        let mut proof = self.assertion(&to_prove["challenge"]);
        proof["proposal"] = to_prove["proposal"].clone();
        let proposed = self.well("/enrol/prove", &proof);
        let text = |name: &str| proposed[name].as_str().unwrap().to_owned();
        (text("command"), text("code"))
    }

    /// Approves a request, of which the page shows this document. The status and the answer.
    fn approve(&self, id: &str, document: &str) -> (u16, Value) {
        let wish = json!({"decision": "approve", "comment": "", "signer": "human:ada", "document": document});
        let to_sign = self.well(&format!("/requests/{id}/verdict"), &wish);
        let mut vote = self.assertion(&to_sign["challenge"]);
        vote["verdict"] = to_sign["verdict"].clone();
        vote["credential"] = to_sign["credentials"][0].clone();
        self.post(&format!("/requests/{id}/vote"), &vote)
    }
}

/// A request that waits, and the digest of its document.
async fn waiting(fleet: &Fleet, state: &State) -> (String, String) {
    let id = fleet.pending(state).await;
    let shown = secondkey::broker::requests::show(state, &id).unwrap();
    (id.as_str().to_owned(), shown.document.digest().to_string())
}

/// What a relay's page has shown, only the relay knows. So a signature that was given there says so, and counts where
/// the policy takes that: not in production.
#[tokio::test]
async fn a_signature_of_a_public_page_counts_as_that_and_not_in_production() {
    let mut fleet = Fleet::alone();
    fleet.besides = vec!["--page".into(), PUBLIC.into()];
    fleet.start_relay();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", "root"])
        .current_dir(fleet.folder.path())
        .status();
    if made.is_err() {
        skip("fleet::page", "ssh-keygen is not installed");
        return;
    }
    run(
        &fleet,
        &["trust", "init", "--name", "root", "--key", "root"],
        "relay",
    );
    let ada = fleet.issue(&["--for", "human:ada", "--role", "readonly"]);
    let visit = Visit::new(&fleet, &linked(&fleet, &ada));
    let (command, code) = visit.enrol();
    // The command says whose page it is; without that the key is none that counts.
    let (command, page) = command.split_once(" --relay-page ").unwrap();
    assert_eq!(page, PUBLIC);
    let proposal = command.strip_prefix("secondkey trust add ").unwrap();
    let add = [
        "trust",
        "add",
        proposal,
        "--groups",
        "owner",
        "--relay-page",
        PUBLIC,
    ];
    run(
        &fleet,
        &[&add[..], &["--code", &code, "--key", "root"]].concat(),
        "relay",
    );
    let exported = run(&fleet, &["trust", "export", "--json"], "relay");
    std::fs::write(fleet.path("trust.json"), exported).unwrap();
    run(&fleet, &["trust", "install", "trust.json"], "agent");
    drop(visit);
    fleet.start_agent();
    let state = fleet.relay_state();
    let visit = Visit::new(&fleet, &linked(&fleet, &ada));

    let change = json!({"sql": UPDATE, "params": [15.5, "lamp"]});
    let (answer, vote) = tokio::join!(fleet.call("sql_execute", &change), async {
        let (id, document) = waiting(&fleet, &state).await;
        visit.approve(&id, &document)
    });
    assert_eq!(vote.0, 200, "{vote:?}");
    assert_eq!(content(&answer)["affected"], 1, "{answer}");
    assert!((fleet.price() - 15.5).abs() < 1e-9);
    let log = fleet.run(&["audit", "list", "--kind", "vote.cast", "--json"], "relay");
    assert!(log.contains("relay_page"), "{log}");
    drop(visit);

    // In production it takes a screen of the approver's own.
    let production = format!(
        "[targets.shop]\nurl = \"sqlite:{}\"\nenvironment = \"production\"\n",
        fleet.shop().display()
    );
    fleet.start_agent_with(&production);
    let visit = Visit::new(&fleet, &linked(&fleet, &ada));
    let change = json!({"sql": UPDATE, "params": [99, "lamp"]});
    let call = fleet.call("sql_execute", &change);
    tokio::pin!(call);
    let (id, document) = tokio::select! {
        answer = &mut call => {
            // Nobody here could ever approve it: it is said at once.
            assert_eq!(refusal(&answer)["code"], "approval_required", "{answer}");
            assert!((fleet.price() - 15.5).abs() < 1e-9);
            state.close().await.unwrap();
            return;
        }
        waits = waiting(&fleet, &state) => waits,
    };
    let (status, refused) = visit.approve(&id, &document);
    assert_ne!(status, 200, "{refused}");
    assert!((fleet.price() - 15.5).abs() < 1e-9);
    state.close().await.unwrap();
}

/// A link to the public page.
fn linked(fleet: &Fleet, key: &str) -> String {
    let output = Command::new(binary())
        .args([
            "page",
            "--link",
            "--relay",
            &format!("http://127.0.0.1:{}", fleet.port),
        ])
        .env_clear()
        .env("HOME", fleet.folder.path())
        .env("SECONDKEY_API_KEY", key)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
