//! Texts that rules compare with a closed set of words. Cedar's types cannot see that
//! `context.effect == "wriet"` is never true; a rule that silently never holds is found here.

use serde_json::Value;

use crate::core::review;

/// What an attribute can be compared with.
enum Words {
    /// Only these.
    OneOf(Vec<&'static str>),
    /// Anything in lower case.
    LowerCase,
}

/// A word that an attribute never holds: the word, and what is wrong with it.
pub(super) fn mistakes(rule: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(rule, &mut found);
    found
}

/// Walks Cedar's JSON form of a rule
/// (<https://docs.cedarpolicy.com/policies/json-format.html>).
fn walk(node: &Value, found: &mut Vec<(String, String)>) {
    match node {
        Value::Object(fields) => {
            for (operator, operands) in fields {
                if COMPARISONS.contains(&operator.as_str()) {
                    compare(operands, found);
                }
                walk(operands, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

const COMPARISONS: [&str; 5] = ["==", "!=", "contains", "containsAll", "containsAny"];

fn compare(operands: &Value, found: &mut Vec<(String, String)>) {
    let (left, right) = (&operands["left"], &operands["right"]);
    for (attribute, other) in [(left, right), (right, left)] {
        let Some((name, words)) = attribute_words(attribute) else {
            continue;
        };
        let mut literals = Vec::new();
        literals_of(other, &mut literals);
        for word in literals {
            let wrong = match &words {
                Words::OneOf(all) if !all.contains(&word) => {
                    Some(format!("`{name}` holds only {}", list(all)))
                }
                Words::LowerCase if word.to_lowercase() != word => {
                    Some(format!("`{name}` holds names in lower case only"))
                }
                Words::OneOf(_) | Words::LowerCase => None,
            };
            found.extend(wrong.map(|wrong| (word.to_owned(), wrong)));
        }
    }
}

/// The words that `context.effect` and its like can hold.
fn attribute_words(node: &Value) -> Option<(String, Words)> {
    let access = &node["."];
    let (of, attribute) = (
        access.pointer("/left/Var")?.as_str()?,
        access["attr"].as_str()?,
    );
    let words = match (of, attribute) {
        ("context", "effect") | ("resource", "allow") => {
            Words::OneOf(vec!["read", "write", "schema", "admin"])
        }
        ("context", "findings") => {
            Words::OneOf(review::Rule::ALL.iter().map(|rule| rule.as_str()).collect())
        }
        ("context", "reads" | "writes" | "touches" | "columns_written" | "functions" | "kind") => {
            Words::LowerCase
        }
        ("principal", "kind") => Words::OneOf(vec!["ai", "human", "service"]),
        ("resource", "engine") => Words::OneOf(vec!["mysql", "postgres", "sqlite"]),
        _ => return None,
    };
    Some((format!("{of}.{attribute}"), words))
}

/// The literal texts of an operand: one, or a set of them.
fn literals_of<'v>(node: &'v Value, found: &mut Vec<&'v str>) {
    if let Some(text) = node["Value"].as_str() {
        found.push(text);
    }
    if let Some(items) = node["Set"].as_array() {
        for item in items {
            literals_of(item, found);
        }
    }
}

fn list(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}
