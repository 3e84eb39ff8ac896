//! `secondkey policy`.

use std::fs;

use serde_json::{Value, json};
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

/// Each line of an answer, as the JSON that it has to be.
fn lines(said: &str) -> Vec<Value> {
    let read = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    said.lines().map(read).collect()
}

/// Those lines that are about this.
fn about<'l>(lines: &'l [Value], what: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["about"] == what).collect()
}

#[test]
fn check_names_the_mistakes_of_both_policies_at_once() {
    let workspace = "@colour(\"red\")\npermit (principal, action, resource);\n\
        @ask(\"two of dba; surface=moon\")\npermit (principal, action, resource)\n\
        when { context.nonsense == 1 };\n\
        permit (principal, action, resource)\nwhen { context.level == \"high\" };\n";
    let agent = "@limit(\"rows=0\")\nforbid (principal, action, resource);\n";
    let config = "policy = \"w.cedar\"\nagent_policy = \"a.cedar\"\n";
    let folder = folder(&[
        ("w.cedar", workspace),
        ("a.cedar", agent),
        ("secondkey.toml", config),
    ]);
    let check = |more: &[&str]| {
        let mut command = secondkey(folder.path());
        command
            .args(["policy", "check"])
            .args(more)
            .output()
            .unwrap()
    };
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for mistake in [
        "w.cedar:1:1: @colour is not known",
        "w.cedar:3:1: in @ask: `two` is not a number of persons",
        "w.cedar:3:1: in @ask: `surface=moon` is not an option",
        "w.cedar:5:",
        "attribute `nonsense`",
        "w.cedar:7:",
        "a.cedar:1:1: a `forbid` cannot have @limit",
    ] {
        assert!(said.contains(mistake), "{mistake} is not in:\n{said}");
    }
    let output = check(&["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let lines = lines(&text(&output.stdout));
    let problems = about(&lines, "problem");
    assert!(problems.len() >= 6, "{problems:#?}");
    assert_eq!(problems[0]["line"], 1);
    assert!(
        problems
            .iter()
            .all(|one| one["message"].is_string() && one["column"].is_u64())
    );
}

#[test]
fn check_names_conditions_that_can_never_be_true() {
    for never in [
        "context.effect == \"read\" && false",
        "principal is Ai && principal is Human",
        "context.level > 1 && !(true)",
        "resource is Ai",
        "[\"ai\", \"humans\"].contains(principal.kind)",
    ] {
        let policy = format!(
            "permit (principal, action, resource)\nwhen {{ context.effect == \"read\" }};\n\
             permit (principal, action, resource)\nwhen {{ {never} }};\n"
        );
        let folder = folder(&[("p.cedar", &policy)]);
        let mut command = secondkey(folder.path());
        let output = command
            .args(["policy", "check", "p.cedar"])
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{never}");
        // The rule that can be true is not complained of.
        let complaints: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("p.cedar:"))
            .collect();
        let of_the_second =
            |line: &&str| line.starts_with("p.cedar:3:") || line.starts_with("p.cedar:4:");
        assert!(
            !complaints.is_empty() && complaints.iter().all(of_the_second),
            "{said}"
        );
    }
}

#[test]
fn check_and_test_answer_programs_line_by_line() {
    let folder = folder(&[("p.cedar", POLICY), ("p.cases.toml", CASES)]);
    let run =
        |what: &str| answer(secondkey(folder.path()).args(["policy", what, "p.cedar", "--json"]));
    let (said, code) = run("check");
    assert_eq!(code, 0, "{said}");
    let found = lines(&said);
    assert_eq!(about(&found, "trust")[0]["version"], Value::Null);
    assert_eq!(about(&found, "policy")[0]["rules"], 2);
    let idle = about(&found, "overshadowed");
    assert_eq!(
        (&idle[0]["case"], &idle[0]["permits"], &idle[0]["by"]),
        (
            &json!("reading orders asks"),
            &json!(["all"]),
            &json!(["orders"])
        )
    );

    let (said, code) = run("test");
    assert_eq!(code, 0, "{said}");
    let found = lines(&said);
    let cases = about(&found, "case");
    assert_eq!(cases[0]["outcome"], "ask");
    assert_eq!(
        cases[0]["asks"][0]["steps"],
        json!([{"count": 1, "group": "anyone"}])
    );
    assert_eq!(
        (&cases[1]["outcome"], &cases[1]["objection"]),
        (&json!("allow"), &Value::Null)
    );
    assert_eq!(
        about(&found, "summary")[0],
        &json!({"about": "summary", "cases": 2, "wrong": 0})
    );

    let wrong = CASES.replace("\"allow\"", "\"deny\"");
    fs::write(folder.path().join("p.cases.toml"), wrong).unwrap();
    let (said, code) = run("test");
    assert_eq!(code, 1);
    let found = lines(&said);
    assert_eq!(
        about(&found, "case")[1]["objection"],
        "expected `deny` and got `allow`"
    );
}

#[test]
fn every_case_that_cannot_be_read_is_named() {
    let cases = "[[case]]\nname = \"one\"\nsql = \"selec 1\"\nexpect = \"allow\"\n\
        [[case]]\nname = \"two\"\nsql = \"select 1; select 2\"\nexpect = \"allow\"\n";
    let folder = folder(&[("p.cedar", POLICY), ("p.cases.toml", cases)]);
    for what in ["check", "test"] {
        let mut command = secondkey(folder.path());
        let output = command.args(["policy", what, "p.cedar"]).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("p.cases.toml: one: ") && said.contains("p.cases.toml: two: "),
            "{said}"
        );
    }
}

#[test]
fn explain_knows_the_roles_of_who_asks() {
    let policy = "@id(\"developers\")\npermit (principal, action, resource)\n\
        when { principal.roles.contains(\"developer\") && principal.groups.contains(\"payments\") };\n";
    let config = "policy = \"p.cedar\"\nagent_policy = \"p.cedar\"\n\
        [principals.\"ai:ada/*\"]\nroles = [\"developer\"]\ngroups = [\"payments\"]\n\
        [targets.shop]\nurl = \"sqlite:shop.db\"\n";
    let folder = folder(&[("p.cedar", policy), ("secondkey.toml", config)]);
    let explain = |who: &str| {
        let arguments = [
            "policy", "explain", "--json", "--as", who, "--sql", "select 1",
        ];
        let (said, code) = answer(secondkey(folder.path()).args(arguments));
        assert_eq!(code, 0, "{said}");
        lines(&said)
    };
    let found = explain("ai:ada/claude-code");
    let question = about(&found, "question")[0];
    assert_eq!(
        (&question["roles"], &question["groups"]),
        (&json!(["developer"]), &json!(["payments"]))
    );
    let said = about(&found, "judgement");
    let by: Vec<_> = said
        .iter()
        .map(|one| (&one["by"], &one["outcome"]))
        .collect();
    assert_eq!(
        json!(by),
        json!([
            ["workspace", "allow"],
            ["agent", "allow"],
            ["together", "allow"]
        ])
    );
    let found = explain("ai:bob/claude-code");
    let said = about(&found, "judgement");
    assert!(
        said.iter()
            .all(|one| one["outcome"] == "deny" && one["denial"] == "no_rule")
    );
}
