//! The cases as they are written. Statement and values stay JSON text: some are not what a JSON
//! reader takes for a string, a lone surrogate for example, and have to arrive as they are.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::generated;
use crate::support::checkout;

/// What a target allows, or what a case is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Reads only.
    ReadOnly,
    /// Reads and row changes, no schema change.
    WriteAllowedNoDdl,
    /// More than one statement is the offence.
    SingleStatement,
    /// The value arrives as a bound parameter.
    CapabilityParam,
}

/// What has to happen.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Must {
    /// It runs.
    Allow,
    /// It has no effect and is refused, by us or by the engine.
    Block,
}

#[derive(Deserialize)]
struct Written<'a> {
    id: String,
    dialect: String,
    mode: Mode,
    category: String,
    #[serde(borrow)]
    sql: &'a RawValue,
    #[serde(borrow)]
    params: &'a RawValue,
    must: Must,
    why: String,
}

/// One case, ready to be sent.
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) dialect: String,
    pub(crate) mode: Mode,
    pub(crate) category: String,
    pub(crate) must: Must,
    pub(crate) why: String,
    /// The statement as a JSON string, quotes included; not always valid UTF-8.
    pub(crate) sql: Vec<u8>,
    /// The values as a JSON array.
    pub(crate) params: String,
}

/// The cases of all files.
pub(crate) fn all() -> Vec<Case> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(checkout().join("tests/corpus").join(name)).unwrap();
        text.lines().map(read_case).collect::<Vec<_>>()
    };
    let mut cases = read("statements.jsonl");
    cases.extend(read("own.jsonl"));
    cases
}

fn read_case(line: &str) -> Case {
    let written: Written<'_> =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let sql = match written.sql.get() {
        "null" => generated::statement(&written.why),
        text => text.as_bytes().to_vec(),
    };
    Case {
        id: written.id,
        dialect: written.dialect,
        mode: written.mode,
        category: written.category,
        must: written.must,
        why: written.why,
        sql,
        params: written.params.get().to_owned(),
    }
}

impl Case {
    /// The arguments of `sql_execute`, with what belongs to this test put in.
    pub(crate) fn arguments(&self, own: &[(&str, String)]) -> Vec<u8> {
        let head = b"{\"timeout_ms\":3000,\"sql\":".to_vec();
        let put_in = |sql: Vec<u8>, (name, own): &(&str, String)| {
            replace(&sql, name.as_bytes(), own.as_bytes())
        };
        let sql = own.iter().fold(self.sql.clone(), put_in);
        let params = format!(",\"params\":{}}}", self.params);
        [head, sql, params.into_bytes()].concat()
    }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut done = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        done.extend_from_slice(&rest[..at]);
        done.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    done.extend_from_slice(rest);
    done
}
