//! YAML as a tree that remembers where everything stands.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;
use serde_saphyr::options::{DuplicateKeyPolicy, Options};

/// Line and column, both from 1; 0 where it is not known.
pub(super) type Spot = (usize, usize);

/// One value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it begins.
    pub spot: Spot,
    /// What it is.
    pub what: What,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`, and no other word.
    Truth(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file; a key can stand in it twice.
    Map(Vec<(String, Spot, Node)>),
}

impl Node {
    /// Its type, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self.what {
            What::Null => "nothing",
            What::Truth(_) => "true or false",
            What::Number(_) => "a number",
            What::Text(_) => "a text",
            What::List(_) => "a list",
            What::Map(_) => "a mapping",
        }
    }

    /// The value as JSON.
    pub(super) fn json(&self) -> Value {
        match &self.what {
            What::Null => Value::Null,
            What::Truth(truth) => Value::Bool(*truth),
            What::Number(number) => Value::Number(number.clone()),
            What::Text(text) => Value::String(text.clone()),
            What::List(items) => Value::Array(items.iter().map(Self::json).collect()),
            What::Map(entries) => {
                let entry = |(key, _, node): &(String, Spot, Self)| (key.clone(), node.json());
                Value::Object(entries.iter().map(entry).collect::<Map<_, _>>())
            }
        }
    }
}

/// Parses one document. What is not YAML, and what would be too much, is refused with its place.
pub(super) fn parse(text: &str) -> Result<Node, (Spot, String)> {
    serde_saphyr::from_str_with_options(text, limits()).map_err(|error| {
        let error = error.without_snippet();
        let spot = error.location().map(spot).unwrap_or_default();
        (
            spot,
            format!(
                "not the YAML that is wanted: {}",
                sentence(&error.to_string())
            ),
        )
    })
}

/// The parser's first sentence, without the place, which is said already.
fn sentence(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let line = line.split(" at line ").next().unwrap_or(line);
    line.trim_end_matches([':', ' ']).to_owned()
}

fn limits() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_nodes: 100_000,
            max_events: 250_000,
            max_documents: 1,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn spot(location: serde_saphyr::Location) -> Spot {
    let number = |n: u64| usize::try_from(n).unwrap_or(0);
    (number(location.line()), number(location.column()))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<What>::deserialize(deserializer)?;
        Ok(Self {
            spot: spot(spanned.referenced),
            what: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for What {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = What;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<What, E> {
        Ok(What::Null)
    }

    fn visit_none<E>(self) -> Result<What, E> {
        Ok(What::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<What, E> {
        Ok(What::Truth(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<What, E> {
        Ok(What::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<What, E> {
        Ok(What::Number(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<What, E> {
        let number = Number::from_f64(number);
        number
            .map(What::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<What, E> {
        Ok(What::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<What, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(What::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<What, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Node>()? {
            let name = match key.what {
                What::Text(name) => name,
                What::Truth(truth) => truth.to_string(),
                What::Number(number) => number.to_string(),
                What::Null | What::List(_) | What::Map(_) => {
                    return Err(A::Error::custom("a key that is not a text"));
                }
            };
            entries.push((name, key.spot, access.next_value()?));
        }
        Ok(What::Map(entries))
    }
}
