use serde_json::{Value, json};

use super::{Document, Unreadable};

const OTHERS: &str = "{\n    \"note\" : 1,\n    \"mcpServers\": {\n        \"zeta\": { \"url\": \"https://z\" },\n        \
    \"alpha\": {\"args\":[ 1,2 ]}\n    },\n    \"z\": [ ]\n}";

/// Puts a server in, and checks that what was there is there as before, and that it comes out again.
fn added(before: &str) -> String {
    let server = json!({"args": ["mcp", "a"]});
    let after = Document::read(before).unwrap();
    let after = after.with("secondkey", &server).unwrap();
    let document = Document::read(&after).unwrap();
    assert_eq!(document.server("secondkey").unwrap(), Some(server.clone()));
    let mut expected: Value = serde_json::from_str(before).unwrap();
    expected["mcpServers"]["secondkey"] = server;
    assert_eq!(serde_json::from_str::<Value>(&after).unwrap(), expected);
    after
}

fn removed(after: &str, name: &str) -> String {
    Document::read(after).unwrap().without(name).unwrap()
}

#[test]
fn a_server_comes_last_in_the_layout_of_the_others_and_goes_without_a_trace() {
    let after = added(OTHERS);
    let entry = ",\n        \"secondkey\": {\n            \"args\": [\"mcp\", \"a\"]\n        }";
    assert_eq!(after.replace(entry, ""), OTHERS);
    for before in [
        OTHERS.to_owned(),
        OTHERS.replace("    ", "\t"),
        OTHERS.replace('\n', "\r\n"),
        OTHERS.replace('\n', " "),
        r#"{"mcpServers":{"a":{}},"b":2}"#.to_owned(),
    ] {
        let after = added(&before);
        assert_eq!(removed(&after, "secondkey"), before);
        let crlf = before.contains("\r\n");
        assert_eq!(
            after.replace("\r\n", "").contains('\n'),
            !crlf && before.contains('\n')
        );
    }
}

#[test]
fn a_list_of_servers_is_made_where_there_is_none() {
    for (before, after) in [
        ("{}\n", "{\n  \"mcpServers\": {}\n}\n"),
        (r#"{"a":1}"#, r#"{"a":1,"mcpServers":{}}"#),
        (
            "{\n\t\"a\": 1\n}",
            "{\n\t\"a\": 1,\n\t\"mcpServers\": {}\n}",
        ),
        ("{\"mcpServers\": { }}", "{\"mcpServers\": {}}"),
    ] {
        assert_eq!(removed(&added(before), "secondkey"), after);
    }
}

#[test]
fn any_server_can_be_taken_out_or_replaced() {
    let text = r#"{"mcpServers":{"a": 1 ,"b":2, "c" : 3}}"#;
    for (name, rest) in [
        ("a", r#"{"mcpServers":{"b":2, "c" : 3}}"#),
        ("b", r#"{"mcpServers":{"a": 1 ,"c" : 3}}"#),
        ("c", r#"{"mcpServers":{"a": 1 ,"b":2}}"#),
        ("d", text),
    ] {
        assert_eq!(removed(text, name), rest);
    }
    let replaced = Document::read(text).unwrap().with("b", &json!({})).unwrap();
    assert_eq!(replaced, r#"{"mcpServers":{"a": 1 ,"b":{}, "c" : 3}}"#);
}

#[test]
fn names_are_compared_as_they_are_meant() {
    let text = r#"{"mcp\u0053ervers":{"second\u006bey":7}}"#;
    let document = Document::read(text).unwrap();
    assert_eq!(document.server("secondkey").unwrap(), Some(json!(7)));
    assert_eq!(removed(text, "secondkey"), r#"{"mcp\u0053ervers":{}}"#);
}

#[test]
fn what_cannot_be_understood_is_left_alone() {
    for text in [
        "",
        "{",
        "{} {}",
        "// mine\n{}",
        r#"{"mcpServers":{},}"#,
        r#"{"mcpServers":{/* none */}}"#,
        "\u{feff}{}",
    ] {
        let found = Document::read(text);
        assert!(matches!(found, Err(Unreadable::Json(_))), "{text}");
    }
    for text in ["[]", "7", r#"{"mcpServers":[]}"#, r#"{"mcpServers":null}"#] {
        let found = Document::read(text);
        assert!(matches!(found, Err(Unreadable::Shape(_))), "{text}");
    }
    let twice = Document::read(r#"{"mcpServers":{},"mcpServers":{}}"#);
    assert!(matches!(twice, Err(Unreadable::Twice(_))));
    let twice = Document::read(r#"{"mcpServers":{"a":1,"a":2}}"#).unwrap();
    assert!(matches!(twice.server("a"), Err(Unreadable::Twice(_))));
    assert!(matches!(twice.without("a"), Err(Unreadable::Twice(_))));
    assert_eq!(twice.server("b").unwrap(), None);
}
