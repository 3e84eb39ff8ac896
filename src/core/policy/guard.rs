//! Guards: the tests that a rule begins with, asked without Cedar.
//!
//! Cedar evaluates a rule from left to right and stops at the first test that is false: the scope,
//! then the first `when`, `&&` after `&&`. So a rule whose first tests cannot fail with an error,
//! and one of which is false, says nothing, whatever follows. Most rules of a long policy end there,
//! and need not be handed to Cedar at all. What is not known to be such a test ends the guard.

use serde_json::Value;

use crate::core::policy::facts::{Fact, Form};

/// A test of one fact that is always there against what the rule writes. It has no error.
#[derive(Debug)]
pub(super) enum Guard {
    /// `context.effect == "write"`, `context.level == 1`, `resource.production`.
    Is(Place, Fact),
    /// `["write", "schema"].contains(context.effect)`.
    OneOf(Place, Vec<String>),
    /// `context.touches.contains("orders")`, `.containsAny(["orders", "items"])`.
    HasAny(Place, Vec<String>),
    /// `context.level <= 1`: within both bounds.
    Within(Place, i64, i64),
    /// The opposite of a test.
    Not(Box<Guard>),
    /// `principal is Ai`.
    PrincipalIs(String),
    /// `principal == Ai::"ada"`: the type and the id.
    Principal(String, String),
    /// `resource == Target::"orders"`.
    Target(String, String),
}

/// Where a fact stands.
pub(super) type Place = (Part, usize);

/// The part of the facts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Principal,
    Resource,
    Context,
}

impl Guard {
    /// Whether it tests nothing but the target.
    pub(super) fn is_about_the_target(&self) -> bool {
        match self {
            Self::Is(place, _)
            | Self::OneOf(place, _)
            | Self::HasAny(place, _)
            | Self::Within(place, ..) => place.0 == Part::Resource,
            Self::Not(test) => test.is_about_the_target(),
            Self::Target(..) => true,
            Self::PrincipalIs(_) | Self::Principal(..) => false,
        }
    }

    /// Whether the test holds.
    pub(super) fn holds(&self, form: &Form) -> bool {
        match self {
            Self::Is(place, wanted) => form.fact(*place) == Some(wanted),
            Self::OneOf(place, all) => match form.fact(*place) {
                Some(Fact::Text(text)) => all.contains(text),
                _ => false,
            },
            Self::HasAny(place, some) => match form.fact(*place) {
                Some(Fact::Texts(texts)) => some.iter().any(|text| texts.contains(text)),
                _ => false,
            },
            Self::Within(place, low, high) => match form.fact(*place) {
                Some(Fact::Number(number)) => (low..=high).contains(&number),
                _ => false,
            },
            Self::Not(guard) => !guard.holds(form),
            Self::PrincipalIs(kind) => form.principal.0 == *kind,
            Self::Principal(kind, id) => form.principal.0 == *kind && form.principal.1 == *id,
            Self::Target(kind, id) => kind == "Target" && form.target == *id,
        }
    }
}

/// The guards of a rule in Cedar's JSON form
/// (<https://docs.cedarpolicy.com/policies/json-format.html>).
pub(super) fn guards(rule: &Value) -> Vec<Guard> {
    let mut found = Vec::new();
    let (principal, resource) = (&rule["principal"], &rule["resource"]);
    match principal["op"].as_str() {
        Some("is") => found.extend(text(&principal["entity_type"]).map(Guard::PrincipalIs)),
        Some("==") => {
            let entity = entity(&principal["entity"]);
            found.extend(entity.map(|(kind, id)| Guard::Principal(kind, id)));
        }
        _ => {}
    }
    if resource["op"] == "==" {
        let entity = entity(&resource["entity"]);
        found.extend(entity.map(|(kind, id)| Guard::Target(kind, id)));
    }
    if let Some(first) = rule.pointer("/conditions/0")
        && first["kind"] == "when"
    {
        leading(&first["body"], &mut found);
    }
    found
}

/// Adds the tests that a condition begins with; says whether it is nothing but such tests.
fn leading(body: &Value, found: &mut Vec<Guard>) -> bool {
    if let Some(both) = body.get("&&") {
        return leading(&both["left"], found) && leading(&both["right"], found);
    }
    match test(body) {
        Some(guard) => {
            found.push(guard);
            true
        }
        None => false,
    }
}

/// One test; `None` when it is something else.
fn test(body: &Value) -> Option<Guard> {
    let (operator, operands) = body.as_object()?.iter().next()?;
    let (left, right) = (&operands["left"], &operands["right"]);
    match operator.as_str() {
        "." => Some(Guard::Is(place(body)?, Fact::Truth(true))),
        "!" => Some(Guard::Not(Box::new(test(&operands["arg"])?))),
        "==" => equals(left, right).or_else(|| equals(right, left)),
        "!=" => {
            let same = equals(left, right).or_else(|| equals(right, left))?;
            Some(Guard::Not(Box::new(same)))
        }
        "contains" => match place(left) {
            Some(place) => Some(Guard::HasAny(place, vec![text(&right["Value"])?])),
            None => Some(Guard::OneOf(place(right)?, literals(left)?)),
        },
        "containsAny" => Some(Guard::HasAny(place(left)?, literals(right)?)),
        "<=" => Some(Guard::Within(place(left)?, i64::MIN, number(right)?)),
        ">=" => Some(Guard::Within(place(left)?, number(right)?, i64::MAX)),
        "<" => Some(Guard::Within(
            place(left)?,
            i64::MIN,
            number(right)?.checked_sub(1)?,
        )),
        ">" => Some(Guard::Within(
            place(left)?,
            number(right)?.checked_add(1)?,
            i64::MAX,
        )),
        "is" if left["Var"] == "principal" && operands.get("in").is_none() => {
            Some(Guard::PrincipalIs(text(&operands["entity_type"])?))
        }
        _ => None,
    }
}

fn equals(attribute: &Value, literal: &Value) -> Option<Guard> {
    let fact = match &literal["Value"] {
        Value::String(text) => Fact::Text(text.clone()),
        Value::Bool(truth) => Fact::Truth(*truth),
        Value::Number(number) => Fact::Number(number.as_i64()?),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(Guard::Is(place(attribute)?, fact))
}

/// The place of `context.effect` and its like.
fn place(node: &Value) -> Option<Place> {
    let access = &node["."];
    let (of, attribute) = (access.pointer("/left/Var")?, access["attr"].as_str()?);
    let part = match of.as_str()? {
        "principal" => Part::Principal,
        "resource" => Part::Resource,
        "context" => Part::Context,
        _ => return None,
    };
    let at = part.names().iter().position(|name| *name == attribute)?;
    Some((part, at))
}

fn number(node: &Value) -> Option<i64> {
    node["Value"].as_i64()
}

fn text(node: &Value) -> Option<String> {
    node.as_str().map(str::to_owned)
}

/// The texts of a set of literals.
fn literals(node: &Value) -> Option<Vec<String>> {
    let items = node["Set"].as_array()?;
    items.iter().map(|item| text(&item["Value"])).collect()
}

fn entity(node: &Value) -> Option<(String, String)> {
    Some((text(&node["type"])?, text(&node["id"])?))
}
