//! The relay's REST interface, with the built programs and plain HTTP.

use secondkey::core::approval::Decision;
use secondkey::core::ids::RequestId;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::rig::{Fleet, UPDATE};
use crate::stories::approval::signed;
use crate::support::http::{Answer, send};

/// Asks with a key and these headers, and this body as it is.
pub(super) fn send_as(
    fleet: &Fleet,
    key: &str,
    (method, path): (&str, &str),
    (kind, body): (&str, &str),
) -> Answer {
    let host = format!("127.0.0.1:{}", fleet.port);
    let bearer = format!("Bearer {key}");
    let headers = [
        ("Host", host.as_str()),
        ("Authorization", &bearer),
        ("Content-Type", kind),
    ];
    send(fleet.port, method, path, &headers, body)
}

/// Asks with a key, and with JSON where there is a body.
pub(super) fn ask(fleet: &Fleet, key: &str, call: (&str, &str), body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    send_as(fleet, key, call, ("application/json", &body))
}

pub(super) fn get(fleet: &Fleet, key: &str, path: &str) -> Answer {
    ask(fleet, key, ("GET", path), &Value::Null)
}

/// The JSON of an answer with this status.
pub(super) fn json_of(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    let kind = answer.header("content-type").unwrap();
    let expected = if status < 400 {
        "application/json"
    } else {
        "application/problem+json"
    };
    assert_eq!(kind, expected, "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    if status >= 400 {
        assert_eq!(body["status"], status, "{body}");
        let code = body["code"].as_str().unwrap();
        assert_eq!(body["type"], format!("urn:secondkey:problem:{code}"));
        assert!(
            body["title"].is_string() && body["detail"].is_string(),
            "{body}"
        );
    }
    body
}

fn code_of(answer: &Answer, status: u16) -> String {
    json_of(answer, status)["code"].as_str().unwrap().to_owned()
}

fn execute(fleet: &Fleet, key: &str, statement: &Value) -> Answer {
    ask(fleet, key, ("POST", "/v1/sql/execute"), statement)
}

/// What the relay's log holds of refusals.
fn refusals(fleet: &Fleet) -> String {
    let list = [
        "audit",
        "list",
        "-n",
        "200",
        "--kind",
        "request.refused",
        "--json",
    ];
    fleet.run(&list, "relay")
}

#[tokio::test]
async fn reads_pages_and_tables_come_over_rest() {
    let fleet = Fleet::start().await;
    let key = &fleet.key;
    let me = json_of(&get(&fleet, key, "/v1/me"), 200);
    assert_eq!(me["principal"], "ai:ada/rest");
    assert_eq!(me["roles"], json!(["developer"]));
    assert_eq!(me["targets"][0]["name"], "shop");
    let targets = json_of(&get(&fleet, key, "/v1/targets"), 200);
    assert_eq!(targets["targets"], me["targets"]);

    let sql = "SELECT name FROM products WHERE price > $1 ORDER BY name";
    let statement =
        json!({"sql": sql, "params": [1], "max_rows": 1, "target": "shop", "reason": "a look"});
    let answer = execute(&fleet, key, &statement);
    assert!(answer.header("ratelimit").is_some(), "{answer:?}");
    assert!(answer.header("ratelimit-policy").is_some(), "{answer:?}");
    let first = json_of(&answer, 200);
    assert_eq!(first["rows"].as_array().unwrap().len(), 1, "{first}");
    let cut = &first["truncated"];
    let path = format!(
        "/v1/results/{}?from={}",
        cut["handle"].as_str().unwrap(),
        cut["next"]
    );
    let rest = json_of(&get(&fleet, key, &path), 200);
    let rows = rest["rows"].as_array().unwrap();
    assert!(
        !rows.is_empty() && !rows.contains(&first["rows"][0]),
        "{rest}"
    );
    // The rows are the key's own.
    let other = fleet.issue(&["--for", "ai:bo", "--role", "developer"]);
    assert_eq!(code_of(&get(&fleet, &other, &path), 404), "page_gone");

    let tables = json_of(
        &get(&fleet, key, "/v1/targets/shop/tables?search=prod"),
        200,
    );
    assert_eq!(tables["tables"][0]["name"], "products", "{tables}");
    let table = json_of(&get(&fleet, key, "/v1/targets/shop/tables/products"), 200);
    assert!(table["columns"].to_string().contains("price"), "{table}");
    for (path, code) in [
        ("/v1/targets/none/tables", "unknown_target"),
        ("/v1/targets/shop/tables/none", "unknown_table"),
    ] {
        assert_eq!(code_of(&get(&fleet, key, path), 404), code);
    }
}

#[tokio::test]
async fn a_change_is_accepted_signed_elsewhere_and_collected_once() {
    let fleet = Fleet::start().await;
    let key = &fleet.key;
    let change = json!({"sql": UPDATE, "params": [12.5, "lamp"], "reason": "sale"});
    let accepted = execute(&fleet, key, &change);
    let request = json_of(&accepted, 202);
    let path = accepted.header("location").unwrap().to_owned();
    let id = request["id"].as_str().unwrap();
    assert_eq!(path, format!("/v1/requests/{id}"));
    assert_eq!(json_of(&get(&fleet, key, &path), 200)["status"], "pending");
    let collect = format!("{path}/collect");
    let early = ask(&fleet, key, ("POST", &collect), &Value::Null);
    assert_eq!(code_of(&early, 409), "approval_pending");
    assert!((fleet.price() - 20.0).abs() < 1e-9);

    // To another key it is not there; to a person who signs it is.
    let other = fleet.issue(&["--for", "ai:bo", "--role", "developer"]);
    let document = format!("{path}/document");
    for hidden in [&path, &document, &format!("{path}/explanation")] {
        assert_eq!(
            code_of(&get(&fleet, &other, hidden), 404),
            "unknown_request"
        );
    }
    for call in [&collect, &format!("{path}/cancel")] {
        let refused = ask(&fleet, &other, ("POST", call), &Value::Null);
        assert_eq!(code_of(&refused, 404), "unknown_request");
    }
    let stranger = fleet.issue(&["--for", "human:bo", "--role", "readonly"]);
    assert_eq!(
        code_of(&get(&fleet, &stranger, &document), 404),
        "unknown_request"
    );
    let ada = fleet.issue(&["--for", "human:ada", "--role", "readonly"]);
    let listed = json_of(&get(&fleet, &ada, "/v1/requests?status=pending"), 200);
    assert_eq!(listed["requests"][0]["id"], id, "{listed}");
    let none = json_of(&get(&fleet, &other, "/v1/requests"), 200);
    assert_eq!(none["requests"], json!([]));
    let said = json_of(&get(&fleet, &ada, &format!("{path}/explanation")), 200);
    assert_eq!(said["outcome"], "ask", "{said}");

    // What is signed elsewhere, over exactly this document.
    let shown = json_of(&get(&fleet, &ada, &document), 200);
    assert_eq!(shown["params"], json!([12.5, "lamp"]));
    let verdicts = format!("{path}/verdicts");
    let digest = shown["digest"].as_str().unwrap();
    let forged = signed(&id.parse().unwrap(), &"0".repeat(64), Decision::Approve);
    let refused = ask(&fleet, &ada, ("POST", &verdicts), &json!(forged));
    assert_eq!(code_of(&refused, 403), "approval_refused");
    assert_eq!(json_of(&get(&fleet, key, &path), 200)["status"], "pending");
    let id: RequestId = id.parse().unwrap();
    let verdict = json!(signed(&id, digest, Decision::Approve));
    let voted = ask(&fleet, &ada, ("POST", &verdicts), &verdict);
    assert_eq!(json_of(&voted, 200)["status"], "approved");
    let waited = get(&fleet, key, &format!("{path}?wait=5"));
    assert_eq!(json_of(&waited, 200)["status"], "approved");
    assert!((fleet.price() - 20.0).abs() < 1e-9);

    let collected = json_of(&ask(&fleet, key, ("POST", &collect), &Value::Null), 200);
    assert_eq!(collected["result"]["affected"], 1, "{collected}");
    assert_eq!(collected["request"]["status"], "succeeded");
    assert!((fleet.price() - 12.5).abs() < 1e-9);
    let again = ask(&fleet, key, ("POST", &collect), &Value::Null);
    assert_eq!(code_of(&again, 409), "request_state");
}

#[tokio::test]
async fn a_request_that_is_cancelled_or_waited_for_answers_so() {
    let fleet = Fleet::start().await;
    let change = json!({"sql": UPDATE, "params": [9, "lamp"]});
    let request = json_of(&execute(&fleet, &fleet.key, &change), 202);
    let path = format!("/v1/requests/{}", request["id"].as_str().unwrap());
    let (port, bearer) = (fleet.port, format!("Bearer {}", fleet.key));
    let waiting = format!("{path}?wait=45");
    let waiter = spawn_blocking(move || {
        let headers = [("Host", "127.0.0.1"), ("Authorization", bearer.as_str())];
        send(port, "GET", &waiting, &headers, "")
    });
    let cancelled = ask(
        &fleet,
        &fleet.key,
        ("POST", &format!("{path}/cancel")),
        &Value::Null,
    );
    assert_eq!(json_of(&cancelled, 200)["status"], "cancelled");
    assert_eq!(json_of(&waiter.await.unwrap(), 200)["status"], "cancelled");
    assert!((fleet.price() - 20.0).abs() < 1e-9);
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_a_problem_and_changes_nothing() {
    let fleet = Fleet::start().await;
    let key = &fleet.key;
    let run = ("POST", "/v1/sql/execute");
    for (statement, status, code) in [
        (json!({"sql": "SELEC 1"}), 422, "syntax_error"),
        (
            json!({"sql": "SELECT 1; DELETE FROM products"}),
            422,
            "multiple_statements",
        ),
        (
            json!({"sql": "SELECT nam FROM products"}),
            422,
            "unknown_column",
        ),
        (
            json!({"sql": "SELECT 1", "target": "none"}),
            422,
            "unknown_target",
        ),
        (json!({"sql": "SELECT $1"}), 422, "parameter_count"),
        (
            json!({"sql": "DROP TABLE products", "reason": "CANARY-reason"}),
            202,
            "",
        ),
        (
            json!({"sql": "PRAGMA journal_mode = OFF"}),
            403,
            "forbidden",
        ),
        (json!({"sql": 5}), 422, "invalid_argument"),
        (
            json!({"sql": "SELECT 1", "params": "CANARY-value"}),
            422,
            "invalid_argument",
        ),
        (
            json!({"sql": "SELECT 1", "limit": 5}),
            422,
            "invalid_argument",
        ),
        (json!([]), 422, "invalid_argument"),
    ] {
        let answer = ask(&fleet, key, run, &statement);
        assert!(!answer.body.contains("CANARY"), "{answer:?}");
        if status == 202 {
            json_of(&answer, 202);
        } else {
            assert_eq!(code_of(&answer, status), code, "{statement}");
        }
    }
    let huge = format!("{{\"sql\": \"{}\"}}", "x".repeat(4 * 1024 * 1024));
    for (call, kind, body, status, code) in [
        (run, "application/json", "{", 400, "malformed_json"),
        (run, "application/json", "", 400, "malformed_json"),
        (run, "text/plain", "{}", 415, "unsupported_media_type"),
        (
            run,
            "application/json",
            huge.as_str(),
            413,
            "body_too_large",
        ),
        (
            ("GET", "/v1/sql/execute"),
            "",
            "",
            405,
            "method_not_allowed",
        ),
        (
            ("DELETE", "/v1/requests"),
            "",
            "",
            405,
            "method_not_allowed",
        ),
        (("GET", "/v1/nothing"), "", "", 404, "not_found"),
        (("GET", "/v1"), "", "", 404, "not_found"),
        (("GET", "/v1/me?more=1"), "", "", 422, "invalid_argument"),
        (
            ("GET", "/v1/requests?limit=0"),
            "",
            "",
            422,
            "invalid_argument",
        ),
        (
            ("GET", "/v1/requests?limit=1&limit=2"),
            "",
            "",
            422,
            "invalid_argument",
        ),
        (
            ("GET", "/v1/requests?status=odd"),
            "",
            "",
            422,
            "invalid_argument",
        ),
        (
            ("GET", "/v1/requests/req_1"),
            "",
            "",
            404,
            "unknown_request",
        ),
        (("GET", "/v1/results/page_1"), "", "", 404, "page_gone"),
    ] {
        let answer = send_as(&fleet, key, call, (kind, body));
        assert_eq!(code_of(&answer, status), code, "{call:?}");
        if status == 405 {
            assert!(answer.header("allow").is_some(), "{answer:?}");
        }
    }
    assert!((fleet.price() - 20.0).abs() < 1e-9);
    let log = refusals(&fleet);
    for code in [
        "syntax_error",
        "multiple_statements",
        "forbidden",
        "unknown_target",
    ] {
        assert!(log.contains(code), "{code}: {log}");
    }
    assert!(log.contains("ai:ada/rest"), "{log}");
}

#[tokio::test]
async fn a_key_gets_no_further_than_its_roles() {
    let fleet = Fleet::start().await;
    let reader = fleet.issue(&["--for", "service:report", "--role", "readonly"]);
    let read = json!({"sql": "SELECT price FROM products WHERE name = 'lamp'"});
    assert_eq!(
        json_of(&execute(&fleet, &reader, &read), 200)["rows"],
        json!([[20]])
    );
    let change = json!({"sql": UPDATE, "params": [1, "lamp"]});
    assert_eq!(
        code_of(&execute(&fleet, &reader, &change), 403),
        "forbidden"
    );
    let admin = fleet.issue(&["--for", "human:eve", "--role", "admin"]);
    assert_eq!(code_of(&execute(&fleet, &admin, &read), 403), "forbidden");
    assert_eq!(
        code_of(&get(&fleet, &admin, "/v1/targets/shop/tables"), 403),
        "forbidden"
    );
    for path in [
        "/v1/agents",
        "/v1/keys",
        "/v1/audit",
        "/v1/audit/head",
        "/v1/policy",
    ] {
        json_of(&get(&fleet, &admin, path), 200);
        for key in [&fleet.key, &reader] {
            assert_eq!(code_of(&get(&fleet, key, path), 403), "forbidden", "{path}");
        }
        for none in ["", "skey_0_0", &format!("{}0", fleet.key)] {
            let answer = get(&fleet, none, path);
            assert_eq!(code_of(&answer, 401), "unauthenticated");
            assert!(
                answer
                    .header("www-authenticate")
                    .unwrap()
                    .starts_with("Bearer")
            );
        }
    }
    let wanted = json!({"for": "human:mallory", "roles": ["admin"]});
    let taken = ask(&fleet, &fleet.key, ("POST", "/v1/keys"), &wanted);
    assert_eq!(code_of(&taken, 403), "forbidden");
    let keys = fleet.run(&["relay", "keys", "list"], "relay");
    assert!(!keys.contains("mallory"), "{keys}");
    assert!((fleet.price() - 20.0).abs() < 1e-9);
    let log = refusals(&fleet);
    for who in ["human:eve", "service:report", "ai:ada/rest"] {
        assert!(log.contains(who), "{who}: {log}");
    }
}

#[tokio::test]
async fn an_admin_makes_rotates_and_ends_keys() {
    let fleet = Fleet::start().await;
    let admin = fleet.issue(&["--for", "human:eve", "--role", "admin"]);
    let wanted =
        json!({"for": "ai:bo", "roles": ["developer"], "per_minute": 77, "expires_in": 3600});
    let made = json_of(&ask(&fleet, &admin, ("POST", "/v1/keys"), &wanted), 201);
    let (secret, id) = (
        made["secret"].as_str().unwrap(),
        made["key"]["id"].as_str().unwrap(),
    );
    let answer = get(&fleet, secret, "/v1/me");
    assert_eq!(json_of(&answer, 200)["principal"], "ai:bo/rest");
    assert!(answer.header("ratelimit-policy").unwrap().contains("q=77"));
    for unfit in [
        json!({"for": "bo", "roles": ["developer"]}),
        json!({"for": "ai:a/b", "roles": ["developer"]}),
        json!({"for": "ai:bo", "roles": []}),
        json!({"for": "ai:bo", "roles": ["Admin"]}),
        json!({"for": "ai:bo", "roles": ["developer"], "at_once": 0}),
    ] {
        let answer = ask(&fleet, &admin, ("POST", "/v1/keys"), &unfit);
        assert_eq!(code_of(&answer, 422), "invalid_argument", "{unfit}");
    }
    let rotate = format!("/v1/keys/{id}/rotate");
    let next = json_of(
        &ask(&fleet, &admin, ("POST", &rotate), &json!({"overlap": 0})),
        201,
    );
    assert_eq!(
        code_of(&get(&fleet, secret, "/v1/me"), 401),
        "unauthenticated"
    );
    let secret = next["secret"].as_str().unwrap();
    json_of(&get(&fleet, secret, "/v1/me"), 200);
    let revoke = format!("/v1/keys/{}/revoke", next["key"]["id"].as_str().unwrap());
    let ended = json_of(&ask(&fleet, &admin, ("POST", &revoke), &Value::Null), 200);
    assert_eq!(ended["counts"], false);
    assert_eq!(
        code_of(&get(&fleet, secret, "/v1/me"), 401),
        "unauthenticated"
    );
    assert_eq!(
        code_of(
            &ask(
                &fleet,
                &admin,
                ("POST", "/v1/keys/none/revoke"),
                &Value::Null
            ),
            404
        ),
        "invalid_argument"
    );
    let list = get(&fleet, &admin, "/v1/keys");
    assert!(!list.body.contains(secret), "{list:?}");
    let of_bo = json_of(&list, 200)["keys"].to_string();
    assert_eq!(of_bo.matches("ai:bo").count(), 2, "{of_bo}");
    let log = json_of(&get(&fleet, &admin, "/v1/audit?limit=200"), 200).to_string();
    assert!(
        log.contains("api_key.issued") && log.contains("human:eve"),
        "{log}"
    );
    assert!(!log.contains(secret), "a secret is in the log");
    let policy = json_of(&get(&fleet, &admin, "/v1/policy"), 200);
    assert!(
        policy["text"].as_str().unwrap().contains("permit"),
        "{policy}"
    );
    let agents = json_of(&get(&fleet, &admin, "/v1/agents"), 200);
    assert_eq!(agents["agents"][0]["connected"], true, "{agents}");
    let head = json_of(&get(&fleet, &admin, "/v1/audit/head"), 200);
    std::fs::write(fleet.path("head"), head["head"].as_str().unwrap()).unwrap();
    let verified = fleet.run(&["audit", "verify", "--head", "head"], "relay");
    assert!(verified.contains("whole"), "{verified}");
}
