//! What a value has to be beyond its type.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::core::capability::Scalar;
use crate::core::capability::kind::{is_date, is_date_time, is_uuid};

/// Formats of text.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One `@` with something on both sides and no blank.
    Email,
    /// A UUID with its hyphens.
    Uuid,
    /// `2026-01-31`.
    Date,
    /// RFC 3339.
    DateTime,
    /// An absolute URI.
    Uri,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Email,
        Self::Uuid,
        Self::Date,
        Self::DateTime,
        Self::Uri,
    ];

    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::DateTime => "date-time",
            Self::Uri => "uri",
        }
    }

    /// The format of this written form.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == text)
    }

    fn fits(self, text: &str) -> bool {
        match self {
            Self::Email => {
                let sides = text.split_once('@');
                sides.is_some_and(|(name, host)| {
                    let good = |part: &str| {
                        !part.is_empty()
                            && !part.contains(['@', ' '])
                            && !part.contains(char::is_control)
                    };
                    good(name) && good(host)
                })
            }
            Self::Uuid => is_uuid(text),
            Self::Date => is_date(text),
            Self::DateTime => is_date_time(text),
            Self::Uri => url::Url::parse(text).is_ok(),
        }
    }
}

/// A regular expression that a text has to contain a match of. It takes linear time whatever the text.
#[derive(Clone, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(regex::Regex);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let built = regex::RegexBuilder::new(&text)
            .size_limit(1024 * 1024)
            .build();
        built.map(Self).map_err(|error| {
            if matches!(error, regex::Error::CompiledTooBig(_)) {
                "is too large".to_owned()
            } else {
                "is not a regular expression that can be used here".to_owned()
            }
        })
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// Rules on one value, or on each of an array.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// The only values there are.
    #[serde(default, rename = "enum", skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Value>>,
    /// The least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// The greatest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
    /// The fewest characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u64>,
    /// The most characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// What the text has to match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// What the text has to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
}

impl Rules {
    /// The value in the one form that stands for it, or the rule that it breaks. The rule never holds the
    /// value.
    pub fn fit(&self, scalar: Scalar, value: Value) -> Result<Value, String> {
        let value = scalar.fit(value)?;
        if let Some(one_of) = &self.one_of
            && !one_of.contains(&value)
        {
            let list: Vec<String> = one_of.iter().map(ToString::to_string).collect();
            return Err(format!("must be one of {}", list.join(", ")));
        }
        if let Some(minimum) = self.minimum.filter(|least| below(&value, *least)) {
            return Err(format!("must be at least {minimum}"));
        }
        if let Some(maximum) = self.maximum.filter(|most| above(&value, *most)) {
            return Err(format!("must be at most {maximum}"));
        }
        if let Some(text) = value.as_str() {
            self.fit_text(text)?;
        }
        Ok(value)
    }

    fn fit_text(&self, text: &str) -> Result<(), String> {
        let length = text.chars().count() as u64;
        if let Some(least) = self.min_length.filter(|least| length < *least) {
            return Err(format!("must have at least {least} characters"));
        }
        if let Some(most) = self.max_length.filter(|most| length > *most) {
            return Err(format!("must have at most {most} characters"));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|it| !it.0.is_match(text)) {
            return Err(format!("must match `{pattern:?}`"));
        }
        if let Some(format) = self.format.filter(|format| !format.fits(text)) {
            return Err(format!("must be of the format {}", format.as_str()));
        }
        Ok(())
    }

    /// Adds the rules to a value's JSON Schema.
    pub fn describe(&self, schema: &mut Map<String, Value>) {
        let Ok(Value::Object(own)) = serde_json::to_value(self) else {
            return;
        };
        schema.extend(own);
    }
}

fn below(value: &Value, least: i64) -> bool {
    match value.as_i64() {
        Some(whole) => whole < least,
        None => float(value).is_some_and(|value| value < as_float(least)),
    }
}

fn above(value: &Value, most: i64) -> bool {
    match value.as_i64() {
        Some(whole) => whole > most,
        None => float(value).is_some_and(|value| value > as_float(most)),
    }
}

fn float(value: &Value) -> Option<f64> {
    value.as_f64()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a limit on a fraction need not be exact"
)]
fn as_float(limit: i64) -> f64 {
    limit as f64
}

/// The JSON Schema of one value under its rules.
pub(super) fn described(scalar: Scalar, rules: &Rules) -> Value {
    let mut schema = scalar.schema();
    if let Value::Object(words) = &mut schema {
        rules.describe(words);
    }
    schema
}
