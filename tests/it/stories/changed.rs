//! A capability that is no longer what it was: noticed, recorded, and called again only once somebody has signed.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use serde_json::json;

use super::approval::{World, key};
use super::capabilities::{FILE, start, tool, tools, world, write};
use super::{content, refusal};
use crate::support::raw::{Era, Raw};
use crate::support::{binary, skip, ssh};

const ASK: &str = "changed_capabilities = \"ask\"\n";

/// The same file, and a product costs twice as much.
fn dearer() -> String {
    FILE.replace(
        "select id, name, price from",
        "select id, name, price * 2 as price from",
    )
}

/// `secondkey capability`, as the person in front of the agent.
fn capability(world: &World, arguments: &[&str]) -> Output {
    let state = world.program.state();
    let mut command = Command::new(binary());
    command
        .arg("capability")
        .args(arguments)
        .arg("--state")
        .arg(state)
        .env_clear()
        .env("HOME", world.program.folder.path())
        .env("PATH", "/usr/bin:/bin")
        .env("SHOP_SECRET", "CANARY-secret")
        .current_dir(world.program.folder.path())
        .stdin(Stdio::null());
    command.output().unwrap()
}

fn doctor(world: &World) -> Output {
    let mut command = Command::new(binary());
    command
        .args(["doctor", "--config", "secondkey.toml", "--state"])
        .arg(world.program.state())
        .env_clear()
        .env("HOME", world.program.folder.path())
        .env("PATH", "/usr/bin:/bin")
        .env("SHOP_SECRET", "CANARY-secret")
        .current_dir(world.program.folder.path())
        .stdin(Stdio::null());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// A file with somebody's private key.
fn key_file(world: &World, name: &str, key: &SigningKey) -> String {
    let file = world.program.folder.path().join(name);
    std::fs::write(&file, ssh::private_file(key)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file.display().to_string()
}

/// What a lamp costs by the capability, or the code of the refusal.
async fn price(server: &mut Raw) -> Result<f64, String> {
    let call = json!({"name": "find_product", "params": {"name": "lamp"}});
    let answer = server.call("capability_call", &call).await;
    if answer["result"]["isError"] == true || answer["isError"] == true {
        return Err(refusal(&answer)["code"].as_str().unwrap().to_owned());
    }
    Ok(content(&answer)["rows"][0]["price"].as_f64().unwrap())
}

/// Waits until the agent remembers what it offers.
async fn remembered(world: &World) {
    let known = async || world.person.memory().of("shop").await.unwrap().len();
    for _ in 0..400 {
        if known().await > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing is remembered");
}

async fn is_listed(server: &mut Raw, name: &str, wanted: bool) {
    for _ in 0..400 {
        if tool(&tools(server).await, name).is_some() == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name}: {wanted} is not so");
}

/// The digest that a refused acceptance shows.
fn digest(world: &World, key: &str) -> String {
    let shown = capability(world, &["accept", "find_product", "--key", key]);
    let shown = said(&shown);
    assert!(shown.contains("nobody is here to be asked"), "{shown}");
    assert!(shown.contains("- select id, name, price from"), "{shown}");
    assert!(shown.contains("+ select id, name, price * 2"), "{shown}");
    let (_, rest) = shown.split_once("\nis ").unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn one_that_has_changed_is_called_again_once_somebody_has_signed() {
    if Command::new("ssh-keygen")
        .arg("-?")
        .stdin(Stdio::null())
        .output()
        .is_err()
    {
        return skip("stories::changed", "ssh-keygen is not installed");
    }
    let (world, mut server) = start(world("0s", ASK).await, Era::Modern).await;
    assert_eq!(price(&mut server).await, Ok(20.0));
    remembered(&world).await;
    let more = "  extra:\n    sql: select 1 as one\n    result: { one: { type: integer } }\n";
    write(&world, &(dearer() + more));
    // What was accepted is answered for as long as the old file is in force, and the new one never.
    loop {
        match price(&mut server).await {
            Ok(old) => assert!((old - 20.0).abs() < 1e-9, "{old}"),
            Err(code) if code == "capability_withdrawn" => break,
            Err(_) => {}
        }
    }
    is_listed(&mut server, "find_product", false).await;
    is_listed(&mut server, "extra", false).await;
    is_listed(&mut server, "who", true).await;
    let list = said(&capability(&world, &["list", "--config", "secondkey.toml"]));
    assert!(list.contains("withdrawn: it is not what it was"), "{list}");

    let doctor = said(&doctor(&world));
    for words in [
        "find_product is not what it was: ",
        "extra is new: ",
        "capability accept find_product",
    ] {
        assert!(doctor.contains(words), "{words}: {doctor}");
    }

    let ada = key_file(&world, "ada", &key());
    let eve = key_file(&world, "eve", &SigningKey::from_bytes(&[9; 32]));
    let digest = digest(&world, &ada);
    let other = digest.replace(|c: char| c.is_ascii_digit(), "0");
    for (key, digest, words) in [
        (&eve, &digest, "the trust file does not hold the key"),
        (&ada, &other, "it has another digest now"),
    ] {
        let arguments = ["accept", "find_product", "--key", key, "--digest", digest];
        let refused = capability(&world, &arguments);
        assert!(
            !refused.status.success() && said(&refused).contains(words),
            "{refused:?}"
        );
    }
    assert_eq!(price(&mut server).await, Err("capability_withdrawn".into()));
    let arguments = ["accept", "find_product", "--key", &ada, "--digest", &digest];
    let accepted = capability(
        &world,
        &[&arguments[..], &["--comment", "asked for"]].concat(),
    );
    assert!(accepted.status.success(), "{accepted:?}");
    is_listed(&mut server, "find_product", true).await;
    assert_eq!(price(&mut server).await, Ok(40.0));
    is_listed(&mut server, "extra", false).await;

    // What it was before is another change, for which nobody has signed.
    write(&world, FILE);
    is_listed(&mut server, "find_product", false).await;
    assert_eq!(price(&mut server).await, Err("capability_withdrawn".into()));
    loop {
        // The agent notes it within seconds.
        let again = said(&capability(&world, &arguments));
        assert!(!again.contains("is accepted"), "{again}");
        if again.contains("it has another digest now") {
            break;
        }
    }
    server.finish().await;
    let log = said(&audit(&world));
    let by_ada = log
        .lines()
        .find(|line| line.contains("capability.accepted") && line.contains("human:ada"));
    assert!(
        by_ada.is_some_and(|line| line.contains(&digest) && line.contains("asked for")),
        "{log}"
    );
    assert!(log.matches("capability.changed").count() >= 3, "{log}");
}

fn audit(world: &World) -> Output {
    let mut command = Command::new(binary());
    command.args(["audit", "list", "-n", "500", "--json", "--state"]);
    command.arg(world.program.state()).output().unwrap()
}

#[tokio::test]
async fn one_that_has_changed_while_nobody_looked_is_not_called_unseen() {
    let (world, mut server) = start(world("0s", ASK).await, Era::Legacy).await;
    assert_eq!(price(&mut server).await, Ok(20.0));
    remembered(&world).await;
    server.finish().await;
    write(&world, &dearer());
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    assert_eq!(price(&mut server).await, Err("capability_withdrawn".into()));
    server.finish().await;
    // The same, where nobody asks: this is what it is kept from.
    let config = world.program.folder.path().join("secondkey.toml");
    let asks = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, asks.replace(ASK, "")).unwrap();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    assert_eq!(price(&mut server).await, Ok(40.0));
    let list = said(&capability(&world, &["list", "--config", "secondkey.toml"]));
    let line = list
        .lines()
        .find(|line| line.contains("find_product"))
        .unwrap();
    assert!(line.contains("offered, changed"), "{list}");
    server.finish().await;
}

#[tokio::test]
async fn the_statement_behind_a_request_is_that_of_exactly_its_bundle() {
    let (world, mut server) = start(world("0s", "").await, Era::Modern).await;
    let call = json!({"name": "lamp", "price": 12.5});
    refusal(&server.call("set_price", &call).await);
    let id = world.pending().await;
    let show = || {
        let state = world.program.state();
        let mut command = Command::new(binary());
        command
            .args([
                "requests",
                "show",
                id.as_str(),
                "--statement",
                "--config",
                "secondkey.toml",
            ])
            .arg("--state")
            .arg(state)
            .env("SHOP_SECRET", "CANARY-secret")
            .current_dir(world.program.folder.path());
        said(&command.output().unwrap())
    };
    let shown = show();
    assert!(
        shown.contains("update products set price = :price where name = :name"),
        "{shown}"
    );
    assert!(!shown.contains("CANARY"), "{shown}");
    write(&world, &dearer());
    let shown = show();
    assert!(
        shown.contains("is not what it was: its file has changed"),
        "{shown}"
    );
    server.finish().await;
}
