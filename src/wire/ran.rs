//! What crosses when a person breaks the glass or asks after a policy: values and rows, which show in no
//! log, and what policies say.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::answer::{Column, Row};
use crate::core::ids::RequestId;
use crate::core::policy::Judgement;
use crate::core::request::Status;
use crate::core::statement::Effect;

/// The values of a statement's placeholders, on their way to the agent.
#[derive(Clone, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Given(pub Vec<Value>);

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Given({} of them)", self.0.len())
    }
}

/// What work has answered that broke the glass.
#[derive(Clone, Deserialize, PartialEq, Serialize)]
pub struct Ran {
    /// The request.
    pub request: RequestId,
    /// How it stands.
    pub status: Status,
    /// The effect that the agent found.
    pub effect: Effect,
    /// The columns; none for work that answers no rows.
    pub columns: Vec<Column>,
    /// The first page.
    pub rows: Vec<Row>,
    /// Rows inserted, changed or deleted.
    pub affected: Option<u64>,
    /// What is not on the first page.
    pub truncated: Option<Rest>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ran")
            .field("request", &self.request)
            .field("status", &self.status)
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

/// What a page leaves out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rest {
    /// Which limit cut it.
    pub by: String,
    /// Rows on the page.
    pub shown: u64,
    /// The result has at least so many.
    pub at_least: u64,
    /// Whether that is the exact number.
    pub exact: bool,
}

/// What one policy says of a request.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Explained {
    /// The policy's file, or that it is built in.
    pub policy: String,
    /// What it says.
    pub judgement: Judgement,
    /// Plain permits that match too and change nothing, because others ask.
    pub overshadowed: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_values_nor_rows_show_in_a_log() {
        let given = Given(vec!["secret".into()]);
        assert_eq!(format!("{given:?}"), "Given(1 of them)");
        assert_eq!(serde_json::to_string(&given).unwrap(), r#"["secret"]"#);
        let ran = Ran {
            request: RequestId::new(1, [7; 10]),
            status: Status::Succeeded,
            effect: Effect::Read,
            columns: Vec::new(),
            rows: vec![vec!["secret".into()]],
            affected: None,
            truncated: None,
            elapsed_ms: 1,
        };
        let text = serde_json::to_string(&ran).unwrap();
        assert_eq!(serde_json::from_str::<Ran>(&text).unwrap(), ran);
        assert!(!format!("{ran:?}").contains("secret"));
    }
}
