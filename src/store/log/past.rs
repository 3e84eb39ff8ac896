//! What the log knows of a request that was begun before.

use serde_json::Value;

use crate::core::audit::{Body, Content, EventKind};
use crate::core::ids::RequestId;
use crate::core::time::Timestamp;
use crate::store::StoreError;
use crate::store::log::{Log, Select};

/// A run, as its entries tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Whose it was.
    pub principal: Option<String>,
    /// Where.
    pub target: Option<String>,
    /// The work digest.
    pub work: Option<String>,
    /// When its intent was written.
    pub begun: Timestamp,
    /// Its end, once there is one.
    pub end: Option<PastEnd>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct PastEnd {
    /// The kind of its entry.
    pub kind: EventKind,
    /// Rows changed, or answered.
    pub rows: Option<u64>,
    /// Statements of a batch; none of one statement alone.
    pub statements: u64,
    /// Why it failed.
    pub code: Option<String>,
}

const ENDS: [EventKind; 4] = [
    EventKind::ExecutionSucceeded,
    EventKind::ExecutionFailed,
    EventKind::ExecutionCancelled,
    EventKind::ExecutionUnknown,
];

impl Log {
    /// The run of a request, if it was begun. Blocks.
    pub fn past(&self, id: &RequestId) -> Result<Option<Past>, StoreError> {
        let mut past: Option<Past> = None;
        for record in self.show(&Select::Request(id.clone()))? {
            let Content::Present(body) = record.content else {
                continue;
            };
            if body.kind == EventKind::ExecutionStarted.as_str() {
                past = Some(Past {
                    work: text(&body, "work"),
                    begun: body.at,
                    principal: body.principal,
                    target: body.target,
                    end: None,
                });
            } else if let Some(kind) = ENDS.into_iter().find(|kind| body.kind == kind.as_str())
                && let Some(past) = &mut past
            {
                let number = |name| body.facts.get(name).and_then(Value::as_u64);
                past.end = Some(PastEnd {
                    kind,
                    rows: number("rows"),
                    statements: number("statements").unwrap_or(0),
                    code: text(&body, "code"),
                });
            }
        }
        Ok(past)
    }
}

fn text(body: &Body, name: &str) -> Option<String> {
    body.facts.get(name)?.as_str().map(str::to_owned)
}
