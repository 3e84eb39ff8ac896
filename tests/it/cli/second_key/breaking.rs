//! `secondkey break-glass` and `secondkey requests review`.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{Home, Said};
use crate::support::receiver::{Receiver, SECRET};
use crate::support::shop;

const REASON: &str = "orders are stuck since 02:10";
const UPDATE: &str = "update products set price = ? where name = 'lamp'";

/// A shop that may only be read, `human:ada`, who may break the glass, and `human:bo`, who may approve.
struct Fire {
    home: Home,
    ada: String,
    bo: String,
}

impl Fire {
    fn for_test(test: &str) -> Option<Self> {
        let home = Home::for_test(test)?;
        shop::create(&home.path("shop.db"));
        home.configure();
        let ada = home.key("ada");
        let init = [
            "trust",
            "init",
            "--break-glass",
            "--name",
            "ada",
            "--key",
            &ada,
        ];
        home.run(&init).well();
        let bo = home.trust("bo", "approve", &ada);
        Some(Self { home, ada, bo })
    }

    fn break_glass(&self, key: &str, more: &[&str], sql: &str) -> Said {
        let whole = [
            &["break-glass", "--key", key, "--yes", "--json"][..],
            more,
            &[sql],
        ];
        self.home.run(&whole.concat())
    }

    /// Breaks the glass as Ada, and gives the answer.
    fn broken(&self) -> Value {
        let said = self.break_glass(&self.ada, &["--reason", REASON, "--params", "[9]"], UPDATE);
        serde_json::from_str(&said.well().out).unwrap()
    }

    /// The price of the lamp, read on a connection of its own.
    fn price(&self) -> i64 {
        let database = rusqlite::Connection::open(self.home.path("shop.db")).unwrap();
        let price = "select cast(price as integer) from products where name = 'lamp'";
        database.query_row(price, [], |row| row.get(0)).unwrap()
    }

    fn review(&self, id: &str, key: &str, more: &[&str]) -> Said {
        let shown = self.home.run(&["requests", "show", id, "--json"]).well();
        let shown: Value = serde_json::from_str(&shown.out).unwrap();
        let digest = shown["document_digest"].as_str().unwrap();
        let review = ["requests", "review", id, "--key", key, "--document", digest];
        self.home.run(&[&review[..], more].concat())
    }

    /// The requests whose review is open.
    fn open(&self) -> Vec<Value> {
        let list = self.home.run(&["requests", "list", "--reviews", "--json"]);
        let lines = list.well().out;
        let lines = lines.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[test]
fn a_person_breaks_the_glass_and_somebody_else_reviews_it() {
    let Some(fire) = Fire::for_test("cli::second_key::breaking") else {
        return;
    };
    let before = fire.price();
    let answer = fire.broken();
    assert_eq!(answer["affected"], 1);
    assert_eq!(answer["state"], "succeeded");
    assert_eq!(answer["purpose"], "break_glass");
    assert_ne!(before, 9);
    assert_eq!(fire.price(), 9);
    let id = answer["request"].as_str().unwrap();

    // It is marked wherever it is met.
    let open = fire.open();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0]["request"], id);
    assert_eq!(open[0]["purpose"], "break_glass");
    let list = fire.home.run(&["requests", "list"]).well();
    assert!(
        list.out.contains("succeeded, BREAK GLASS, review open"),
        "{list:?}"
    );
    let shown = fire.home.run(&["requests", "show", id]).well();
    assert!(shown.out.contains("BREAK GLASS: runs at once"), "{shown:?}");
    assert!(shown.out.contains("OPEN since"), "{shown:?}");
    let log = fire.home.run(&["audit", "show", id, "--json"]).well();
    for kind in [
        "request.submitted",
        "request.approved",
        "request.dispatched",
        "execution.started",
        "review.opened",
        "execution.succeeded",
    ] {
        let entry = log.out.lines().find(|line| line.contains(kind));
        let entry = entry.unwrap_or_else(|| panic!("{kind} is not in {}", log.out));
        assert!(entry.contains("break_glass"), "{entry}");
    }

    // Whoever broke the glass does not close its review; somebody else does, once.
    let said = ["--comment", "looked at the row"];
    fire.review(id, &fire.ada, &said)
        .refused("whoever broke the glass");
    assert_eq!(fire.open().len(), 1);
    fire.review(id, &fire.bo, &["--comment", " "])
        .refused("needs a comment");
    let closed = fire
        .review(id, &fire.bo, &[&said[..], &["--json"]].concat())
        .well();
    let closed: Value = serde_json::from_str(&closed.out).unwrap();
    assert_eq!(closed["review"]["is"], "closed");
    assert_eq!(closed["review"]["reviewer"], "human:bo");
    assert_eq!(closed["review"]["finding"], "accepted");
    assert!(fire.open().is_empty());
    fire.review(id, &fire.bo, &said)
        .refused("no review of this request is open");
    let shown = fire.home.run(&["requests", "show", id]).well();
    assert!(shown.out.contains("accepted by human:bo"), "{shown:?}");
    assert!(shown.out.contains("  > looked at the row"), "{shown:?}");
    assert_eq!(fire.home.logged("review.closed"), 1);
    assert_eq!(fire.home.logged("review.refused"), 1);
    fire.home.run(&["audit", "verify"]).well();
}

#[test]
fn a_review_that_stays_open_is_pointed_out() {
    let Some(fire) = Fire::for_test("cli::second_key::breaking_doctor") else {
        return;
    };
    fire.broken();
    let said = || fire.home.run(&["doctor"]).out;
    let fresh = said();
    assert!(
        fresh.contains("good     the review of 1 request that broke the glass is open"),
        "{fresh}"
    );
    let raw = rusqlite::Connection::open(fire.home.path("state/state.db")).unwrap();
    let older = "update requests set review = json_set(review, '$.since', 1700000000000)";
    assert_eq!(raw.execute(older, ()).unwrap(), 1);
    let old = said();
    assert!(
        old.contains("warning  the review of 1 request that broke the glass is open, since 2023"),
        "{old}"
    );
}

#[test]
fn the_glass_holds_against_whoever_may_not_break_it() {
    let Some(fire) = Fire::for_test("cli::second_key::breaking_refused") else {
        return;
    };
    let before = fire.price();
    let reason = ["--reason", REASON, "--params", "[9]"];
    let unchanged = |said: Said, words: &str| {
        said.refused(words);
        assert_eq!(fire.price(), before);
        assert!(fire.open().is_empty());
    };
    // Bo is not marked; what was asked is taken back.
    let bo = fire.break_glass(&fire.bo, &reason, UPDATE);
    unchanged(bo, "the signer is not trusted for this purpose");
    assert_eq!(fire.home.logged("vote.refused"), 1);
    assert_eq!(fire.home.logged("request.cancelled"), 1);
    let eve = fire.home.key("eve");
    unchanged(
        fire.break_glass(&eve, &reason, UPDATE),
        "does not hold the key",
    );

    for why in ["", "   ", "fire"] {
        let said = fire.break_glass(&fire.ada, &["--reason", why, "--params", "[9]"], UPDATE);
        unchanged(said, "needs a reason");
    }
    let admin = "attach database 'other.db' as other";
    unchanged(
        fire.break_glass(&fire.ada, &["--reason", REASON], admin),
        "is refused",
    );
    let several = format!("{UPDATE}; {UPDATE}");
    unchanged(
        fire.break_glass(&fire.ada, &reason, &several),
        "exactly one",
    );
    assert_eq!(fire.home.logged("request.refused"), 5);

    // Nobody is asked without a terminal.
    let silent = [
        "break-glass",
        "--key",
        &fire.ada,
        "--reason",
        REASON,
        "delete from products",
    ];
    unchanged(fire.home.run(&silent), "nobody is here to be asked");
    fire.home
        .run(&["break-glass", "delete from products"])
        .refused_as_misuse();
    let json = [
        "break-glass",
        "--json",
        "--reason",
        REASON,
        "delete from products",
    ];
    fire.home.run(&json).refused_as_misuse();
    assert_eq!(fire.price(), before);
}

#[test]
fn a_policy_of_the_agent_keeps_its_glass_whole() {
    let Some(fire) = Fire::for_test("cli::second_key::breaking_forbidden") else {
        return;
    };
    let before = fire.price();
    let policy = "
        @ask(\"2 of anyone; presence=unattended\") permit (principal, action, resource);
        @id(\"glass\") @reason(\"nothing here is so urgent\")
        forbid (principal, action, resource) when { context.break_glass };";
    std::fs::write(fire.home.path("agent.cedar"), policy).unwrap();
    let reason = ["--reason", REASON, "--params", "[9]"];
    let said = fire.break_glass(&fire.ada, &reason, UPDATE);
    said.refused("nothing here is so urgent");
    assert_eq!(fire.price(), before);
    assert_eq!(fire.home.logged("request.refused"), 1);
    // Without that rule one signature takes the place of two.
    let rest = policy.lines().take(2).collect::<String>();
    std::fs::write(fire.home.path("agent.cedar"), rest).unwrap();
    fire.broken();
    assert_eq!(fire.price(), 9);
}

#[test]
fn what_fails_is_reviewed_too_and_may_be_objected_to() {
    let Some(fire) = Fire::for_test("cli::second_key::breaking_failed") else {
        return;
    };
    let before = fire.price();
    let wrong = "insert into products (id, name, price) select id, name, price from products";
    let said = fire.break_glass(&fire.ada, &["--reason", REASON], wrong);
    assert!(said.err.contains("BREAK GLASS"), "{said:?}");
    assert!(said.err.contains("requests review"), "{said:?}");
    said.refused("database_error");
    assert_eq!(fire.price(), before);
    let open = fire.open();
    assert_eq!(open[0]["state"], "failed");
    let id = open[0]["request"].as_str().unwrap();
    fire.review(id, &fire.bo, &["--comment", "not for this", "--object"])
        .well();
    let shown = fire.home.run(&["requests", "show", id, "--json"]).well();
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["review"]["finding"], json!("objected"));
    assert_eq!(shown["review"]["outcome"], json!("failed"));
    assert!(fire.open().is_empty());
}

/// Whoever is to look at it is told that a review is open, and not what was run.
#[tokio::test]
async fn people_are_told_of_the_review_that_opens() {
    let Some(fire) = Fire::for_test("cli::second_key::told") else {
        return;
    };
    let receiver = Receiver::start(vec![]);
    let webhook = format!(
        "[notify]\ndesktop = false\n[notify.webhook]\nurl = \"http://127.0.0.1:{}/\"\n\
         secret = \"file:webhook.secret\"\nallow_private = [\"127.0.0.1/32\"]\nevents = [\"review.opened\"]\n",
        receiver.port
    );
    std::fs::write(fire.home.path("webhook.secret"), SECRET).unwrap();
    let config = std::fs::File::options()
        .append(true)
        .open(fire.home.path("secondkey.toml"));
    config.unwrap().write_all(webhook.as_bytes()).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let mut page = fire.home.command(&["page", "--port", &port]);
    let mut page = page
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let path = fire.home.path("state").join("state.db");
    let database = rusqlite::Connection::open(path).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    let queued = |sql: &str| {
        database
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    for _ in 0..500 {
        if queued("select count(*) from notice_destinations") > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = fire.broken();
    let told = receiver.wait_for(1, Duration::from_secs(20)).await;
    told[0].verify();
    let body = told[0].json();
    assert_eq!(body["type"], "review.opened", "{body}");
    assert_eq!(body["data"]["request"], answer["request"]);
    let requester = body["data"]["requester"].as_str().unwrap();
    assert!(requester.starts_with("human:"), "{body}");
    assert_eq!(body["data"]["relations"], json!(["products"]));
    for hidden in [REASON, "lamp", "update products"] {
        assert!(!told[0].body.contains(hidden), "{body}");
    }
    // It is queued with the record of the run: what was refused before opens none.
    let refused = fire.break_glass(&fire.bo, &["--reason", REASON, "--params", "[8]"], UPDATE);
    assert_eq!(refused.code, 1, "{refused:?}");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(
        (
            receiver.taken().len(),
            queued("select count(*) from notices")
        ),
        (1, 0)
    );
    page.kill().unwrap();
    page.wait().unwrap();
}
