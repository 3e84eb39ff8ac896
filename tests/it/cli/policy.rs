//! `secondkey policy`.

use std::fs;

use tempfile::TempDir;

use crate::cli::{answer, secondkey, text};

const POLICY: &str = r#"
@id("all")
permit (principal, action, resource)
when { context.effect == "read" };

@id("orders")
@ask("1 of anyone")
@reason("orders are looked at")
permit (principal, action, resource)
when { context.touches.contains("orders") };
"#;

const CASES: &str = r#"
[[case]]
name = "reading orders asks"
sql = "select * from orders"
expect = "ask 1 of anyone"
rules = ["orders"]

[[case]]
sql = "select 1"
expect = "allow"
"#;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn check_names_every_mistake_and_ends_with_1() {
    let text_of = "@colour(\"red\")\npermit (principal, action, resource)\nwhen { context.effect == \"wriet\" };\n";
    let folder = folder(&[("p.cedar", text_of)]);
    let mut command = secondkey(folder.path());
    let output = command
        .args(["policy", "check", "p.cedar"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("p.cedar:1:1: @colour is not known"), "{said}");
    assert!(
        said.contains("p.cedar:3:26: `wriet` never matches"),
        "{said}"
    );
}

#[test]
fn check_tells_of_a_permit_that_does_nothing_in_a_case() {
    let folder = folder(&[("p.cedar", POLICY), ("p.cases.toml", CASES)]);
    let (said, code) = answer(secondkey(folder.path()).args(["policy", "check", "p.cedar"]));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("p.cedar: 2 rules, nothing wrong"), "{said}");
    let idle =
        "in the case \"reading orders asks\" the permit `all` does nothing, because `orders` asks";
    assert!(said.contains(idle), "{said}");
}

#[test]
fn test_runs_the_cases_and_ends_with_1_when_one_differs() {
    let folder = folder(&[("p.cedar", POLICY), ("p.cases.toml", CASES)]);
    let run = || answer(secondkey(folder.path()).args(["policy", "test", "p.cedar"]));
    assert_eq!(run(), ("2 cases, 0 wrong\n".to_owned(), 0));
    let wrong = CASES.replace("\"allow\"", "\"deny\"");
    fs::write(folder.path().join("p.cases.toml"), wrong).unwrap();
    let (said, code) = run();
    assert_eq!(code, 1);
    assert_eq!(
        said,
        "p.cedar: select 1: expected `deny` and got `allow`\n2 cases, 1 wrong\n"
    );
}

#[test]
fn explain_says_what_both_policies_make_of_a_statement() {
    let config =
        "policy = \"p.cedar\"\n[targets.shop]\nurl = \"sqlite:shop.db\"\nenvironment = \"test\"\n";
    let folder = folder(&[("p.cedar", POLICY), ("secondkey.toml", config)]);
    let explain = |sql: &str| {
        let arguments = ["policy", "explain", "--as", "ai:ada/test", "--sql", sql];
        let (said, code) = answer(secondkey(folder.path()).args(arguments));
        assert_eq!(code, 0, "{said}");
        said.replace(&folder.path().display().to_string(), "DIR")
    };
    insta::assert_snapshot!(explain("delete from orders"));
    let read = explain("select 1");
    assert!(read.ends_with("together\n  allow\n"), "{read}");
}
