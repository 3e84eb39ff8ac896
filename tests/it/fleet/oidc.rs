//! Tokens of an identity provider: a small one of the test's own, with real keys.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use ed25519_dalek::{Signer as _, SigningKey};
use ring::hmac;
use serde_json::{Value, json};

use super::rest::{ask, get, json_of};
use super::rig::{Fleet, UPDATE, content, result};
use crate::stories::approval::trust;
use crate::support::http::{Answer, send};
use secondkey::clock::SystemClock;
use secondkey::core::time::Clock as _;
use secondkey::store::State;

const AUDIENCE: &str = "https://relay.example.com/mcp";

/// An identity provider that gives out its description and its keys, and counts how often.
struct Provider {
    at: String,
    fetched: Arc<AtomicUsize>,
}

impl Provider {
    fn start(keys: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let described = json!({"issuer": at, "jwks_uri": format!("{at}/keys")}).to_string();
        let (keys, fetched) = (keys.to_string(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&fetched);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
                let body = if head.starts_with("GET /keys ") {
                    count.fetch_add(1, Ordering::SeqCst);
                    &keys
                } else if head.starts_with("GET /.well-known/openid-configuration ") {
                    &described
                } else {
                    "null"
                };
                let length = body.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {length}\r\n\r\n");
                drop(stream.write_all(format!("{head}{body}").as_bytes()));
            }
        });
        Self { at, fetched }
    }
}

/// Keys of the three algorithms.
struct Keys {
    folder: std::path::PathBuf,
}

impl Keys {
    fn edwards() -> SigningKey {
        SigningKey::from_bytes(&[9; 32])
    }

    fn p256() -> p256::ecdsa::SigningKey {
        p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap()
    }

    fn make(folder: &Path) -> Self {
        let made = Command::new("openssl")
            .args(["genrsa", "-out", "rsa.pem", "2048"])
            .current_dir(folder)
            .output();
        assert!(made.unwrap().status.success());
        Self {
            folder: folder.to_owned(),
        }
    }

    fn modulus(&self) -> Vec<u8> {
        let said = Command::new("openssl")
            .args(["rsa", "-in", "rsa.pem", "-noout", "-modulus"])
            .current_dir(&self.folder)
            .output();
        let said = String::from_utf8(said.unwrap().stdout).unwrap();
        hex::decode(said.trim().strip_prefix("Modulus=").unwrap()).unwrap()
    }

    fn set(&self) -> Value {
        let point = Self::p256().verifying_key().to_encoded_point(false);
        let x = B64.encode(Self::edwards().verifying_key().as_bytes());
        json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "EdDSA", "x": x},
            {"kty": "EC", "crv": "P-256", "kid": "ES256", "use": "sig", "alg": "ES256",
             "x": B64.encode(point.x().unwrap()), "y": B64.encode(point.y().unwrap())},
            {"kty": "RSA", "kid": "RS256", "use": "sig", "n": B64.encode(self.modulus()), "e": "AQAB"},
        ]})
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        match algorithm {
            "EdDSA" => Self::edwards().sign(message).to_bytes().to_vec(),
            "ES256" => {
                let signature: p256::ecdsa::Signature =
                    p256::ecdsa::signature::Signer::sign(&Self::p256(), message);
                signature.to_bytes().to_vec()
            }
            "RS256" => {
                std::fs::write(self.folder.join("message"), message).unwrap();
                let signed = Command::new("openssl")
                    .args(["dgst", "-sha256", "-sign", "rsa.pem", "message"])
                    .current_dir(&self.folder)
                    .output();
                signed.unwrap().stdout
            }
            // With the public key as the secret that both sides know.
            "HS256" => {
                let key = hmac::Key::new(
                    hmac::HMAC_SHA256,
                    Self::edwards().verifying_key().as_bytes(),
                );
                hmac::sign(&key, message).as_ref().to_vec()
            }
            _ => Vec::new(),
        }
    }

    fn token(&self, head: &Value, claims: &Value) -> String {
        let signed = format!(
            "{}.{}",
            B64.encode(head.to_string()),
            B64.encode(claims.to_string())
        );
        let signature = self.sign(head["alg"].as_str().unwrap(), signed.as_bytes());
        format!("{signed}.{}", B64.encode(signature))
    }
}

fn head(algorithm: &str) -> Value {
    json!({"alg": algorithm, "kid": algorithm, "typ": "at+jwt"})
}

fn now() -> u64 {
    SystemClock.now().unix_seconds().unsigned_abs()
}

fn claims(provider: &Provider) -> Value {
    json!({
        "iss": provider.at, "aud": AUDIENCE, "sub": "ada", "exp": now() + 600,
        "groups": ["db-developers", "everybody"],
    })
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

async fn fleet(provider: &Provider) -> Fleet {
    let mut fleet = Fleet::alone();
    let config = format!(
        "[oidc]\nissuer = \"{}\"\naudience = \"{AUDIENCE}\"\nroles_claim = \"groups\"\nkind_claim = \"kind\"\n\
         [oidc.roles]\ndb-developers = \"developer\"\n",
        provider.at
    );
    std::fs::write(fleet.path("oidc.toml"), config).unwrap();
    fleet.besides = vec!["--config".into(), "oidc.toml".into()];
    for name in ["relay", "agent"] {
        let state = State::open(&fleet.path(name), Arc::new(SystemClock)).unwrap();
        state.install_trust(trust()).await.unwrap();
        state.close().await.unwrap();
    }
    fleet.start_relay();
    fleet.start_agent();
    fleet
}

fn unknown(answer: &Answer) {
    assert_eq!(json_of(answer, 401)["code"], "unauthenticated");
    let challenge = answer.header("www-authenticate").unwrap();
    let metadata =
        "resource_metadata=\"https://relay.example.com/.well-known/oauth-protected-resource/mcp\"";
    assert!(
        challenge.starts_with("Bearer ") && challenge.contains(metadata),
        "{challenge}"
    );
}

#[tokio::test]
async fn tokens_of_the_provider_let_in_whom_they_name_and_nobody_else() {
    let folder = tempfile::TempDir::new().unwrap();
    let keys = Keys::make(folder.path());
    let provider = Provider::start(&keys.set());
    let fleet = fleet(&provider).await;
    let read = json!({"sql": "SELECT 1"});
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let token = keys.token(&head(algorithm), &claims(&provider));
        let me = json_of(&get(&fleet, &token, "/v1/me"), 200);
        assert_eq!(me["principal"], "ai:ada/rest", "{algorithm}");
        assert_eq!(me["roles"], json!(["developer"]));
        let answer = ask(&fleet, &token, ("POST", "/v1/sql/execute"), &read);
        assert_eq!(json_of(&answer, 200)["rows"], json!([[1]]));
        let answer = fleet.call_with(&token, "whoami", &json!({})).await;
        assert_eq!(content(&result(&answer))["principal"], "ai:ada/raw");
    }
    // Roles that are not mapped are none, and without one nothing is reached.
    let nobody = with(claims(&provider), "groups", json!(["everybody", "admin"]));
    let nobody = keys.token(&head("EdDSA"), &nobody);
    let answer = ask(&fleet, &nobody, ("POST", "/v1/sql/execute"), &read);
    assert_eq!(json_of(&answer, 403)["code"], "forbidden");
    assert_eq!(
        json_of(&get(&fleet, &nobody, "/v1/keys"), 403)["code"],
        "forbidden"
    );

    let good = claims(&provider);
    let mut abuses = vec![
        keys.token(&head("none"), &good),
        keys.token(&with(head("HS256"), "kid", json!("EdDSA")), &good),
        keys.token(&with(head("ES256"), "kid", json!("EdDSA")), &good),
        keys.token(&with(head("EdDSA"), "typ", json!("dpop+jwt")), &good),
        keys.token(&with(head("EdDSA"), "crit", json!(["x"])), &good),
        keys.token(&with(head("EdDSA"), "kid", json!("../keys/EdDSA")), &good),
        keys.token(
            &head("EdDSA"),
            &with(good.clone(), "aud", json!("https://other.example")),
        ),
        keys.token(
            &head("EdDSA"),
            &with(good.clone(), "iss", json!("https://other.example")),
        ),
        keys.token(&head("EdDSA"), &with(good.clone(), "exp", json!(now() - 1))),
        keys.token(
            &head("EdDSA"),
            &with(good.clone(), "nbf", json!(now() + 3_600)),
        ),
        keys.token(
            &head("EdDSA"),
            &with(good.clone(), "sub", json!("ada/other")),
        ),
    ];
    // Another's key, wherever the header says that it is to be had.
    let mallory = SigningKey::from_bytes(&[1; 32]);
    for place in ["jku", "x5u"] {
        let elsewhere = with(
            head("EdDSA"),
            place,
            json!(format!("{}/mallory", provider.at)),
        );
        let signed = format!(
            "{}.{}",
            B64.encode(elsewhere.to_string()),
            B64.encode(good.to_string())
        );
        let signature = B64.encode(mallory.sign(signed.as_bytes()).to_bytes());
        abuses.push(format!("{signed}.{signature}"));
    }
    for token in &abuses {
        unknown(&get(&fleet, token, "/v1/me"));
        unknown(&fleet.call_with(token, "whoami", &json!({})).await);
    }
    // Names of keys that are made up make nobody fetch: there is one fetch a minute.
    let before = provider.fetched.load(Ordering::SeqCst);
    for number in 0..20 {
        let made_up = with(head("EdDSA"), "kid", json!(format!("made-up-{number}")));
        unknown(&get(&fleet, &keys.token(&made_up, &good), "/v1/me"));
    }
    let after = provider.fetched.load(Ordering::SeqCst);
    assert!(after <= before + 1, "{before}, {after}");
    let log = [fleet.log("relay"), fleet.run(&["audit", "export"], "relay")].concat();
    assert!(!log.contains(abuses[0].as_str()), "a token is in a log");
}

#[tokio::test]
async fn a_person_by_a_token_signs_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    let keys = Keys::make(folder.path());
    let provider = Provider::start(&keys.set());
    let fleet = fleet(&provider).await;
    let change = json!({"sql": UPDATE, "params": [9, "lamp"]});
    let filed = ask(&fleet, &fleet.key, ("POST", "/v1/sql/execute"), &change);
    let path = format!(
        "/v1/requests/{}",
        json_of(&filed, 202)["id"].as_str().unwrap()
    );
    let human = with(claims(&provider), "kind", json!("human"));
    let human = keys.token(&head("EdDSA"), &human);
    assert_eq!(
        json_of(&get(&fleet, &human, "/v1/me"), 200)["principal"],
        "human:ada"
    );
    let shown = json_of(&get(&fleet, &human, &format!("{path}/document")), 200);
    let unsigned = json!({"verdict": shown["document"], "signature": human});
    let refused = ask(
        &fleet,
        &human,
        ("POST", &format!("{path}/verdicts")),
        &unsigned,
    );
    assert_eq!(json_of(&refused, 403)["code"], "approval_refused");
    let taken = ask(
        &fleet,
        &human,
        ("POST", &format!("{path}/collect")),
        &Value::Null,
    );
    json_of(&taken, 404);
    assert_eq!(
        json_of(&get(&fleet, &fleet.key, &path), 200)["status"],
        "pending"
    );
    assert!((fleet.price() - 20.0).abs() < 1e-9);
}

#[tokio::test]
async fn whoever_shows_nothing_is_told_where_to_go() {
    let provider = Provider::start(&json!({"keys": []}));
    let fleet = fleet(&provider).await;
    let headers = [("Host", "127.0.0.1")];
    for path in ["", "/mcp"] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let said = json_of(&send(fleet.port, "GET", &path, &headers, ""), 200);
        assert_eq!(said["resource"], AUDIENCE);
        assert_eq!(said["authorization_servers"], json!([provider.at]));
    }
    unknown(&send(fleet.port, "POST", "/mcp", &headers, "{}"));
    let said = send(fleet.port, "POST", "/register", &headers, "{}");
    assert_eq!(said.status, 400);
    assert!(said.body.contains(&provider.at), "{said:?}");
    // API keys count as before.
    json_of(&get(&fleet, &fleet.key, "/v1/me"), 200);
}

#[tokio::test]
async fn where_keys_alone_count_a_client_that_registers_is_told_so() {
    let mut fleet = Fleet::alone();
    fleet.start_relay();
    let headers = [("Host", "127.0.0.1"), ("Content-Type", "application/json")];
    let said = send(fleet.port, "POST", "/register", &headers, "{}");
    assert_eq!(said.status, 400);
    let said: Value = serde_json::from_str(&said.body).unwrap();
    assert_eq!(said["error"], "invalid_client_metadata");
    let description = said["error_description"].as_str().unwrap();
    assert!(
        description.contains("secondkey relay keys create"),
        "{description}"
    );
    let path = "/.well-known/oauth-protected-resource/mcp";
    json_of(&send(fleet.port, "GET", path, &headers, ""), 404);
    // A token of anybody's is none.
    json_of(&get(&fleet, "eyJhbGciOiJub25lIn0.e30.", "/v1/me"), 401);
}

#[tokio::test]
async fn without_the_providers_keys_no_token_counts() {
    let folder = tempfile::TempDir::new().unwrap();
    let keys = Keys::make(folder.path());
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let provider = Provider {
        at: format!("http://{}", gone.local_addr().unwrap()),
        fetched: Arc::default(),
    };
    drop(gone);
    let fleet = fleet(&provider).await;
    let token = keys.token(&head("EdDSA"), &claims(&provider));
    let refused = json_of(&get(&fleet, &token, "/v1/me"), 503);
    assert_eq!(refused["code"], "identity_unavailable");
    json_of(&get(&fleet, &fleet.key, "/v1/me"), 200);
}

/// The audience of another workspace, at a name of its own.
const ACME: &str = "https://acme.example.com/mcp";

#[tokio::test]
async fn each_workspace_takes_the_tokens_that_are_for_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let keys = Keys::make(folder.path());
    let provider = Provider::start(&keys.set());
    let mut fleet = fleet(&provider).await;
    fleet
        .besides
        .extend(["--host", "acme.example.com"].map(str::to_owned));
    fleet.stop_relay();
    fleet.run(&["relay", "workspaces", "create", "acme"], "relay");
    let file = fleet.path("relay/workspaces/acme/secondkey.toml");
    let config = |audience: &str| {
        let at = &provider.at;
        let text = format!(
            "[oidc]\nissuer = \"{at}\"\naudience = \"{audience}\"\nroles_claim = \"groups\"\n\
             [oidc.roles]\ndb-developers = \"readonly\"\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    config(ACME);
    fleet.start_relay();
    fleet.wait_until_ready();
    let ours = keys.token(&head("EdDSA"), &claims(&provider));
    let theirs = keys.token(&head("EdDSA"), &with(claims(&provider), "aud", json!(ACME)));
    let me = |token: &str| json_of(&get(&fleet, token, "/v1/me"), 200);
    assert_eq!(me(&ours)["roles"], json!(["developer"]));
    assert_eq!(me(&theirs)["roles"], json!(["readonly"]));
    // What one of them reaches the other does not: there is no agent in that workspace.
    let targets = |token: &str| json_of(&get(&fleet, token, "/v1/targets"), 200)["targets"].clone();
    assert_eq!(targets(&ours)[0]["name"], "shop");
    assert_eq!(targets(&theirs), json!([]));
    // Each is told where to get a token by the name under which it asks.
    for (host, resource) in [("acme.example.com", ACME), ("localhost", AUDIENCE)] {
        let path = "/.well-known/oauth-protected-resource";
        let described = send(fleet.port, "GET", path, &[("Host", host)], "");
        assert_eq!(json_of(&described, 200)["resource"], resource);
        let nobody = send(fleet.port, "GET", "/v1/me", &[("Host", host)], "");
        let challenge = nobody.header("www-authenticate").unwrap();
        let (origin, _) = resource.split_once("/mcp").unwrap();
        assert!(challenge.contains(origin), "{challenge}");
    }
    // A token that would count in both counts in none.
    fleet.stop_relay();
    config(AUDIENCE);
    fleet.start_relay();
    fleet.wait_until_ready();
    let refused = json_of(&get(&fleet, &ours, "/v1/me"), 503);
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("two workspaces take the tokens"),
        "{refused}"
    );
}
