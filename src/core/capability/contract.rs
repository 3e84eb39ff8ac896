//! The public contract: all that a relay and a client know of a capability.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::core::capability::bundle::Reviewed;
use crate::core::capability::vouched::{NotVouched, Said, Vouched};
use crate::core::capability::{
    CapabilityName, Parameter, ResultColumn, Unfit, parameter, tool_name,
};
use crate::core::statement::Effect;
use crate::core::work::Digest;

/// What clients are told of a capability's manners. Nothing where its author said nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: Option<bool>,
    /// It can destroy something.
    pub destructive: Option<bool>,
    /// Calling it twice is like calling it once.
    pub idempotent: Option<bool>,
    /// It reaches beyond the database.
    pub open_world: Option<bool>,
}

/// A capability without its statement, its claims and its secrets.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Its name.
    pub name: CapabilityName,
    /// What it does.
    pub description: String,
    /// The worst that it may do.
    pub effect: Effect,
    /// What callers send.
    pub params: Vec<Parameter>,
    /// The columns of its answer; nothing where none leave.
    pub columns: Option<Vec<ResultColumn>>,
    /// Whether its answer says how many rows were changed.
    pub counts: bool,
    /// What clients are told of its manners.
    pub hints: Hints,
    /// Whether people have to agree to each call.
    pub approval: bool,
    /// Whether it is listed.
    pub visible: bool,
    /// Who looked at it, by its file's own words.
    pub reviewed: Option<Reviewed>,
    /// The digest of the whole capability, its statement included.
    pub digest: Digest,
}

impl Contract {
    /// The name of its tool.
    pub fn tool(&self) -> String {
        tool_name(self.name.as_str())
    }

    /// Whether its answer has rows, if only empty ones; else it only counts.
    pub fn lists_rows(&self) -> bool {
        !self.counts || self.columns.iter().flatten().next().is_some()
    }

    /// The values of a call with the defaults filled in, or everything that is wrong with them.
    pub fn called(&self, given: Map<String, Value>) -> Result<BTreeMap<String, Value>, Vec<Unfit>> {
        parameter::called(&self.params, given)
    }
}

/// A capability as an agent offers it, in words that the agent has signed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "Sent", into = "Sent")]
pub struct Offer {
    /// What the agent says of it.
    pub said: Said,
    /// The same as the agent has signed it.
    pub vouched: Vouched,
    /// Why it cannot be called now.
    pub withdrawn: Option<String>,
    /// Whether it is another than the one that was accepted at its agent.
    pub changed: bool,
}

/// The same as it travels.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    vouched: Vouched,
    withdrawn: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    changed: bool,
}

impl TryFrom<Sent> for Offer {
    type Error = NotVouched;

    fn try_from(sent: Sent) -> Result<Self, NotVouched> {
        Ok(Self {
            said: sent.vouched.said()?,
            vouched: sent.vouched,
            withdrawn: sent.withdrawn,
            changed: sent.changed,
        })
    }
}

impl From<Offer> for Sent {
    fn from(offer: Offer) -> Self {
        Self {
            vouched: offer.vouched,
            withdrawn: offer.withdrawn,
            changed: offer.changed,
        }
    }
}
