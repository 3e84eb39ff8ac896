//! Parameters, and what callers send for them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::core::capability::{Kind, Rules};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};

/// The most values in one array.
const ITEMS: usize = 1_000;

/// What is known of whoever calls, which a parameter can take its value from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// The whole principal: `ai:ada/claude-code`.
    Principal,
    /// The principal's name without its kind: `ada/claude-code`.
    Name,
    /// The user of the name: `ada`.
    User,
    /// What kind of principal it is: `ai`, `human` or `service`.
    Kind,
}

impl Claim {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Principal, Self::Name, Self::User, Self::Kind];

    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Name => "name",
            Self::User => "user",
            Self::Kind => "kind",
        }
    }

    /// The claim of this written form.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|claim| claim.as_str() == text)
    }

    /// What it is for this principal.
    pub fn of(self, principal: &Principal) -> String {
        match self {
            Self::Principal => principal.to_string(),
            Self::Name => principal.name().to_owned(),
            Self::User => principal.os_user().to_owned(),
            Self::Kind => principal.kind().as_str().to_owned(),
        }
    }
}

/// Where a parameter's value comes from.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// From the caller.
    Caller {
        /// Whether there is no call without it.
        required: bool,
        /// What it is where the caller says nothing.
        default: Option<Value>,
    },
    /// From whoever the caller is proven to be. The agent fills it in from the verified order.
    Claim(Claim),
    /// From a secret that the agent keeps, by its reference.
    Secret(String),
}

/// One parameter.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Parameter {
    /// Its name, as after the colon in the statement.
    pub name: String,
    /// Its type.
    #[serde(flatten)]
    pub kind: Kind,
    /// Where its value comes from.
    pub source: Source,
    /// Whether null is a value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nullable: bool,
    /// The rules on its value, or on each of an array's.
    #[serde(default)]
    pub rules: Rules,
    /// What it is, for callers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// A parameter and the rule that its value breaks. Never holds the value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unfit {
    /// The parameter.
    pub parameter: String,
    /// The rule.
    pub rule: String,
}

impl Parameter {
    /// Whether a caller sends it.
    pub fn is_callers(&self) -> bool {
        matches!(self.source, Source::Caller { .. })
    }

    /// The value in the one form that stands for it, or the rule that it breaks.
    pub fn fit(&self, value: Value) -> Result<Value, String> {
        if value.is_null() && self.nullable {
            return Ok(value);
        }
        if !self.kind.array {
            return self.rules.fit(self.kind.scalar, value);
        }
        let Value::Array(items) = value else {
            return Err("must be an array".to_owned());
        };
        if items.len() > ITEMS {
            return Err(format!("must have at most {ITEMS} values"));
        }
        let fit = |item| self.rules.fit(self.kind.scalar, item);
        let items: Result<Vec<Value>, String> = items.into_iter().map(fit).collect();
        Ok(Value::Array(
            items.map_err(|rule| format!("holds a value that {rule}"))?,
        ))
    }

    /// What a call holds for it.
    fn called(&self, given: Option<Value>) -> Result<Option<Value>, String> {
        let Source::Caller { required, default } = &self.source else {
            return match given {
                None => Ok(None),
                Some(_) => Err("is filled in by the agent; leave it out".to_owned()),
            };
        };
        match (given, default) {
            (Some(value), _) => self.fit(value).map(Some),
            (None, Some(default)) => Ok(Some(default.clone())),
            (None, None) if self.nullable && !required => Ok(Some(Value::Null)),
            (None, None) => Err("is required".to_owned()),
        }
    }
}

/// The values of a call with the defaults filled in, or everything that is wrong with them.
pub(super) fn called(
    parameters: &[Parameter],
    mut given: Map<String, Value>,
) -> Result<BTreeMap<String, Value>, Vec<Unfit>> {
    let (mut values, mut unfit) = (BTreeMap::new(), Vec::new());
    for parameter in parameters {
        match parameter.called(given.remove(&parameter.name)) {
            Ok(Some(value)) => {
                values.insert(parameter.name.clone(), value);
            }
            Ok(None) => {}
            Err(rule) => unfit.push(Unfit {
                parameter: parameter.name.clone(),
                rule,
            }),
        }
    }
    if !given.is_empty() {
        // A misplaced value can stand where a name should, so what was sent is not repeated.
        unfit.push(Unfit {
            parameter: String::new(),
            rule: format!("{} unknown parameter(s) were sent", given.len()),
        });
    }
    if unfit.is_empty() {
        Ok(values)
    } else {
        Err(unfit)
    }
}

/// The refusal of a call whose values do not fit.
pub fn unfit(list: &[Unfit]) -> Refusal {
    let one = |unfit: &Unfit| match unfit.parameter.as_str() {
        "" => unfit.rule.clone(),
        name => format!("`{name}` {}", unfit.rule),
    };
    let all: Vec<String> = list.iter().map(one).collect();
    Refusal::new(
        Code::InvalidParameter,
        format!("the parameters do not fit: {}", all.join("; ")),
    )
    .hint("see the capability's input schema")
}
