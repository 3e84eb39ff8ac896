//! Names of capabilities, and the tool names that MCP clients accept for them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::work::Digest;

/// The longest tool name, in bytes. Claude Code puts `mcp__<server>__` in front and drops silently what is
/// longer than 128; Cursor drops a tool whose server's name and own are longer than 60 together.
pub const TOOL_NAME: usize = 40;

/// The names of SecondKey's own tools, which no capability can have.
pub const BUILT_IN_TOOLS: [&str; 14] = [
    "approval_decide",
    "capability_call",
    "capability_list",
    "describe_table",
    "explore",
    "health",
    "list_tables",
    "request",
    "result_page",
    "sql_batch",
    "sql_execute",
    "vector_search",
    "vector_upsert",
    "whoami",
];

/// The name of a capability: a letter, then up to 127 of `a-z A-Z 0-9 _ . -`.
#[derive(
    Clone, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct CapabilityName(String);

/// Text that cannot name a capability.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a capability's name; use 1 to 128 of a-z A-Z 0-9 _ . - and start with a letter")]
pub struct MalformedName;

impl CapabilityName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CapabilityName {
    type Error = MalformedName;

    fn try_from(text: String) -> Result<Self, MalformedName> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if starts && text.len() <= 128 && text.bytes().all(good) {
            Ok(Self(text))
        } else {
            Err(MalformedName)
        }
    }
}

impl From<CapabilityName> for String {
    fn from(name: CapabilityName) -> Self {
        name.0
    }
}

impl fmt::Display for CapabilityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tool name for a capability's name: `[a-z0-9_]`, at most [`TOOL_NAME`] long. Two names can share one;
/// whoever lists them has to look for that.
pub fn tool_name(name: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | '0'..='9' => c,
        'A'..='Z' => c.to_ascii_lowercase(),
        _ => '_',
    };
    let whole: String = name.chars().map(plain).collect();
    if whole.len() <= TOOL_NAME {
        return whole;
    }
    let digest = Digest::of(&[name.as_bytes()]).to_string();
    let (head, tail) = (whole.get(..TOOL_NAME - 9), digest.get(..8));
    format!("{}_{}", head.unwrap_or_default(), tail.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_the_issue_says() {
        for good in ["a", "Z9", "get.customer-1_x", &"a".repeat(128)] {
            assert!(CapabilityName::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "1a", "_a", "a b", "é", "a/b", &"a".repeat(129)] {
            assert!(CapabilityName::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_name_has_a_tool_name_that_clients_take() {
        assert_eq!(tool_name("Get.Customer-1"), "get_customer_1");
        let long = tool_name(&"a".repeat(128));
        assert_eq!(long.len(), TOOL_NAME);
        assert_ne!(long, tool_name(&"a".repeat(127)));
    }
}
