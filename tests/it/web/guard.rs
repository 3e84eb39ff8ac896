//! Who is let in: the host, the origin, the session and the token.

use crate::support::http::{Answer, send};
use crate::web::rig::{REASON, Rig, STATEMENT, VALUE, file};

/// Every page that shows something.
const PAGES: &[&str] = &["/", "/history", "/audit", "/trust", "/pulse"];
/// Everything that changes something.
const POSTS: &[&str] = &[
    "/requests/ID/verdict",
    "/requests/ID/vote",
    "/audit/verify",
    "/enrol/begin",
    "/enrol/registered",
    "/enrol/prove",
];

fn shows_nothing(answer: &Answer) {
    let secrets = ["UPDATE", "orders", VALUE, "called", "ai:ada", "req_"];
    for secret in secrets {
        assert!(!answer.body.contains(secret), "{secret}: {}", answer.body);
    }
}

fn is_strict(answer: &Answer) {
    let csp = answer.header("content-security-policy").unwrap();
    assert!(
        csp.starts_with("default-src 'none'; script-src 'self'"),
        "{csp}"
    );
    assert!(!csp.contains("unsafe"), "{csp}");
    for part in [
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'none'",
    ] {
        assert!(csp.contains(part), "{csp}");
    }
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn without_a_session_nothing_is_shown() {
    let rig = Rig::start();
    let id = file(&rig.state, 1, "production").await;
    let pages = [
        format!("/requests/{id}"),
        format!("/r/{id}"),
        format!("/pulse/{id}"),
    ];
    let pages = PAGES.iter().map(|page| (*page).to_owned()).chain(pages);
    for path in pages {
        let stolen = format!("secondkey_{}=9999999999999.00.{}", rig.port, "0".repeat(64));
        for cookie in ["", stolen.as_str()] {
            let headers = [("Host", rig.host()), ("Cookie", cookie.to_owned())];
            let headers: Vec<_> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
            let answer = send(rig.port, "GET", &path, &headers, "");
            assert_eq!(answer.status, 401, "{path}");
            is_strict(&answer);
            let about = answer.body.replace(&id.to_string(), "");
            shows_nothing(&Answer {
                body: about,
                ..answer
            });
        }
    }
}

#[tokio::test]
async fn with_a_session_the_same_pages_show_it_strictly() {
    let rig = Rig::start();
    let id = file(&rig.state, 1, "production").await;
    let session = rig.enter();
    for path in PAGES {
        let answer = session.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        is_strict(&answer);
        let inline = [
            "<script>",
            "onclick",
            "onload",
            " style=",
            "javascript:",
            "http://",
            "https://",
        ];
        for word in inline {
            let body = answer.body.replace(&rig.origin(), "");
            assert!(!body.contains(word), "{path}: {word}");
        }
    }
    let answer = session.get(&format!("/requests/{id}"));
    is_strict(&answer);
    for secret in ["UPDATE", "orders", "ai:ada/claude-code"] {
        assert!(answer.body.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn only_the_one_host_is_answered() {
    let rig = Rig::start();
    file(&rig.state, 1, "production").await;
    let session = rig.enter();
    let ask = |method: &str, host: Option<&str>| {
        let mut headers = vec![("Cookie", session.cookie.as_str())];
        headers.extend(host.map(|host| ("Host", host)));
        send(rig.port, method, "/", &headers, "")
    };
    let good = rig.host();
    assert_eq!(ask("GET", Some(&good)).status, 200);
    let numeric = format!("127.0.0.1:{}", rig.port);
    let moved = ask("GET", Some(&numeric));
    assert_eq!(moved.status, 308);
    assert_eq!(
        moved.header("location"),
        Some(format!("{}/", rig.origin()).as_str())
    );
    shows_nothing(&moved);
    let other_port = format!("localhost:{}", rig.port - 1);
    let dotted = format!("localhost.:{}", rig.port);
    let evil = format!("evil.example:{}", rig.port);
    let within = format!("localhost:{}@evil.example", rig.port);
    for host in [
        "evil.example",
        &evil,
        &within,
        "localhost",
        &other_port,
        &dotted,
        "",
    ] {
        let answer = ask("GET", Some(host));
        assert!(
            [400, 421].contains(&answer.status),
            "{host}: {}",
            answer.status
        );
        shows_nothing(&answer);
    }
    assert!([400, 421].contains(&ask("GET", None).status));
    assert_eq!(ask("POST", Some(&numeric)).status, 421);
}

#[tokio::test]
async fn only_our_own_origin_with_the_sessions_token_changes_anything() {
    let rig = Rig::start();
    let id = file(&rig.state, 1, "production").await;
    let session = rig.enter();
    let (host, origin) = (rig.host(), rig.origin());
    let evil = [
        "http://evil.example".to_owned(),
        "null".to_owned(),
        format!("http://127.0.0.1:{}", rig.port),
        format!("http://localhost:{}", rig.port - 1),
        format!("https://localhost:{}", rig.port),
    ];
    let wrong = "0".repeat(64);
    for path in POSTS {
        let path = path.replace("ID", id.as_str());
        let ask = |origin: Option<&str>, cookie: &str, token: Option<&str>, body: &str| {
            let mut headers = vec![("Host", host.as_str()), ("Cookie", cookie)];
            headers.extend(origin.map(|origin| ("Origin", origin)));
            headers.extend(token.map(|token| ("X-Secondkey-Token", token)));
            send(rig.port, "POST", &path, &headers, body)
        };
        let (cookie, token) = (session.cookie.as_str(), Some(session.token.as_str()));
        for evil in &evil {
            assert_eq!(
                ask(Some(evil), cookie, token, "{}").status,
                403,
                "{path} {evil}"
            );
        }
        assert_eq!(ask(None, cookie, token, "{}").status, 403, "{path}");
        assert_eq!(ask(Some(&origin), "", token, "{}").status, 401, "{path}");
        for (token, body) in [(None, "{}"), (Some(wrong.as_str()), "{}"), (None, "token=")] {
            let refused = ask(Some(&origin), cookie, token, body);
            assert_eq!(refused.status, 403, "{path} {body}");
        }
        // The test would say nothing if these were refused for another reason.
        let taken = ask(Some(&origin), cookie, token, "{}").status;
        assert!(![401, 403, 421].contains(&taken), "{path}: {taken}");
        let long = "x".repeat(70_000);
        assert_eq!(
            ask(Some(&origin), cookie, token, &long).status,
            413,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_page_of_another_port_of_this_machine_reads_nothing() {
    let rig = Rig::start();
    file(&rig.state, 1, "production").await;
    let session = rig.enter();
    let host = rig.host();
    for from in ["same-site", "cross-site"] {
        let headers = [
            ("Host", host.as_str()),
            ("Cookie", session.cookie.as_str()),
            ("Sec-Fetch-Site", from),
        ];
        let answer = send(rig.port, "GET", "/", &headers, "");
        assert_eq!(answer.status, 401, "{from}");
        shows_nothing(&answer);
    }
    let neighbour = format!("http://localhost:{}", rig.port - 1);
    let headers = [
        ("Host", host.as_str()),
        ("Cookie", session.cookie.as_str()),
        ("Origin", neighbour.as_str()),
    ];
    assert_eq!(send(rig.port, "GET", "/", &headers, "").status, 403);
}

#[test]
fn a_link_works_once_and_a_guess_never() {
    let rig = Rig::start();
    drop(rig.enter());
    let path = rig.link.strip_prefix(&rig.origin()).unwrap();
    let again = send(rig.port, "GET", path, &[("Host", &rig.host())], "");
    assert_eq!((again.status, again.header("set-cookie")), (401, None));
    for code in [
        "",
        "00",
        &"0".repeat(32),
        "../../state.db",
        "%2e%2e%2fpage.lock",
    ] {
        let path = format!("/enter?code={code}");
        let answer = send(rig.port, "GET", &path, &[("Host", &rig.host())], "");
        assert_eq!(
            (answer.status, answer.header("set-cookie")),
            (401, None),
            "{code}"
        );
    }
}

#[tokio::test]
async fn nothing_that_was_written_by_others_becomes_markup() {
    let rig = Rig::start();
    let statement = "UPDATE t SET a = '</code><script>alert(1)</script>' -- \u{202e}x\u{200b}";
    let id = crate::web::rig::file_statement(&rig.state, 1, "<img src=x>", statement).await;
    let session = rig.enter();
    for path in [
        format!("/requests/{id}"),
        "/".to_owned(),
        "/audit".to_owned(),
    ] {
        let body = session.get(&path).body;
        for bad in [
            "<script>alert",
            "<img src=x>",
            "\u{202e}",
            "\u{200b}",
            "<b>arrived",
        ] {
            assert!(!body.contains(bad), "{path}: {bad}");
        }
    }
    let body = session.get(&format!("/requests/{id}")).body;
    assert!(body.contains("<span class=\"odd\">U+202E</span>"), "{body}");
    assert!(body.contains("alert(1)"), "{body}");
    assert!(REASON.contains("<b>") && STATEMENT.contains("UPDATE"));
}
