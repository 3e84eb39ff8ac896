//! SAYS: the words that processes of this program exchange. One JSON object on each line.
//!
//! ```text
//! -> {"secondkey":1,"for":"people"}                       the hello, see [`hello`]
//! <- {"ok":{"version":"0.1.0","you":"ada","agent":"secondkey"}}
//! -> {"call":"show","request":"req_..."}                  one call after the other, see [`people`]
//! <- {"ok":{"shown":{...}}}                               or {"refused":{"code":...,"message":...}}
//! ```
//!
//! After a hello `for` `mcp` nothing more of this is spoken: what follows is MCP.

pub mod audit;
pub mod fleet;
pub mod hello;
pub mod people;
pub mod polls;
pub mod ran;

use serde::{Deserialize, Serialize};

use crate::core::refusal::Refusal;

/// The only version there is. A hello of another one is refused.
pub const VERSION: u32 = 1;

/// What comes back.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// As asked.
    Ok(T),
    /// No, and why.
    Refused(Refusal),
}

impl<T> From<Result<T, Refusal>> for Answer<T> {
    fn from(result: Result<T, Refusal>) -> Self {
        match result {
            Ok(value) => Self::Ok(value),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

impl<T> From<Answer<T>> for Result<T, Refusal> {
    fn from(answer: Answer<T>) -> Self {
        match answer {
            Answer::Ok(value) => Ok(value),
            Answer::Refused(refusal) => Err(refusal),
        }
    }
}
