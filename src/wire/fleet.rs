//! What a relay and an agent that dialed it say to each other: one JSON object in each WebSocket message.
//!
//! ```text
//! agent -> {"hello":{"secondkey":1,"agent":"agt_...","key":"...","nonce":"...","program":"0.1.0","relay":"..."}}
//! relay -> {"challenge":{"key":"...","nonce":"...","signature":"..."}}      the agent knows this key, or leaves
//! agent -> {"proof":{"signature":"...","join":null}}                        that it has a join token, the first time
//! relay -> {"welcome":{"workspace":"local"}}
//! agent -> {"ready":{"targets":[...],"slots":32}}
//! relay -> {"ask":{"call":1,"question":{"order":{...}}}}                    any number at a time
//! agent -> {"begun":{"call":1}}, {"ended":{...}}, {"answer":{"call":1,"answer":{"ok":{"ran":{...}}}}}
//! ```
//!
//! The agent takes nothing of it on trust but its own pinned key: an order is a signed token, with
//! what people signed beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::approval::{Backing, Purpose};
use crate::core::capability::Offer;
use crate::core::engine::Engine;
use crate::core::handshake::Hex32;
use crate::core::ids::{AgentId, HandleId, RequestId, TokenId};
use crate::core::limits::Limits;
use crate::core::policy::Judgement;
use crate::core::principal::Principal;
use crate::core::refusal::Refusal;
use crate::core::report::{PageOfRows, Report};
use crate::core::request::Ending;
use crate::core::schema::{TableDescription, TableSummary};
use crate::core::statement::{Effect, Statement};
use crate::core::succession::Succession;
use crate::core::target::{Target, TargetName};
use crate::core::work::{Digest, Salt, Work};
use crate::wire::{Answer, VERSION};

/// The longest message of an agent, in bytes: the largest page there is, and what stands around it.
pub const LONGEST_OF_AGENT: usize = 24 * 1024 * 1024;
/// The longest message of a relay, in bytes: the largest call, its document and its verdicts.
pub const LONGEST_OF_RELAY: usize = 8 * 1024 * 1024;
/// The longest message before both sides know each other, in bytes.
pub const LONGEST_STRANGER: usize = 4 * 1024;
/// The longest [`FromAgent::Ready`], in bytes.
pub const LONGEST_READY: usize = 256 * 1024;
/// The most capabilities of one target.
pub const MOST_OFFERS: usize = 1_000;
/// The most targets that one agent serves.
pub const MOST_TARGETS: usize = 256;

/// What an agent says.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FromAgent {
    /// Who dials; the first message.
    Hello(Hello),
    /// That it holds its key.
    Proof(Proof),
    /// What it serves, from now on.
    Ready(Ready),
    /// A sign of life, with the agent's clock in unix milliseconds.
    Beat {
        /// When it was sent.
        sent_ms: i64,
    },
    /// The order of a call was accepted: its request is consumed and its intent on record.
    Begun {
        /// The call.
        call: u64,
    },
    /// How a run of approved work ended. Said again after a reconnect until it is recorded.
    Ended(Ended),
    /// What a call has brought.
    Answer {
        /// The call.
        call: u64,
        /// The answer.
        answer: Box<Answer<Reply>>,
    },
    /// What a target of its offers by name, from now on: what everybody may know of it, and no statement.
    Offers {
        /// The target.
        target: TargetName,
        /// All that is offered there; at most [`MOST_OFFERS`].
        offers: Vec<Offer>,
        /// Whether it has columns for vectors.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        vectors: bool,
    },
    /// It takes no more orders, finishes what it has, and leaves.
    Draining,
}

/// What a relay says.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FromRelay {
    /// Who answers.
    Challenge(Challenge),
    /// The agent is known, or is from now on.
    Welcome {
        /// Whose requests it will get.
        workspace: String,
    },
    /// Orders are signed by another key from now on: how that one follows the one before.
    Follows {
        /// At most [`MOST_STEPS`](crate::core::succession::MOST_STEPS).
        chain: Vec<Succession>,
    },
    /// It is not, and why. The connection ends.
    Refused(Refusal),
    /// Something to do.
    Ask {
        /// What its answer will name.
        call: u64,
        /// What.
        question: Box<Question>,
    },
    /// Nobody waits for this call any more: a read ends.
    Cancel {
        /// The call.
        call: u64,
        /// Whoever asked is suspended: what is above a read ends, too, if nothing is committed yet.
        #[serde(default)]
        stop: bool,
    },
    /// The answer to a sign of life.
    Beaten {
        /// The agent's clock, as it was sent.
        sent_ms: i64,
        /// The relay's clock, unix milliseconds.
        now_ms: i64,
    },
    /// An [`FromAgent::Ended`] is on record and need not be said again.
    Recorded {
        /// The request.
        request: RequestId,
    },
}

/// The first message. What a later version adds to it is no reason to refuse this one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hello {
    /// [`VERSION`].
    pub secondkey: u32,
    /// The agent.
    pub agent: AgentId,
    /// Its public key.
    pub key: Hex32,
    /// Made for this connection.
    pub nonce: Hex32,
    /// The version of its program.
    pub program: String,
    /// The key of the relay that it wants to meet: each workspace of a relay has one. Nothing is decided by
    /// it, since both sides sign that key. One that does not say it wants the relay's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Hex32>,
}

impl Hello {
    /// A hello of this version.
    pub fn new(agent: AgentId, key: Hex32, nonce: Hex32, relay: Hex32) -> Self {
        Self {
            secondkey: VERSION,
            agent,
            key,
            nonce,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            relay: Some(relay),
        }
    }
}

/// Who answers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Challenge {
    /// The public half of the key that signs this relay's tokens.
    pub key: Hex32,
    /// Made for this connection.
    pub nonce: Hex32,
    /// Over the handshake.
    pub signature: String,
    /// How this key follows the one that the agent wants to meet, where it is another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows: Vec<Succession>,
}

/// Who dials, proven.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Proof {
    /// Over the handshake.
    pub signature: String,
    /// That it has a join token, the first time.
    pub join: Option<Join>,
}

/// That an agent has a join token. Its secret is not said: whoever passes this on has nothing to join by.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Join {
    /// The token's id.
    pub token: String,
    /// Over the handshake, by the key that the token's secret is.
    pub signature: String,
}

/// What an agent serves.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ready {
    /// At most [`MOST_TARGETS`].
    pub targets: Vec<Served>,
    /// Orders that it runs at the same time.
    pub slots: u32,
}

/// A target as a relay knows it: nothing that it takes to reach it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Served {
    /// Its name.
    pub name: TargetName,
    /// Its engine.
    pub engine: Engine,
    /// Its environment.
    pub environment: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The effects that run there without anybody's approval.
    pub allow: BTreeSet<Effect>,
    /// The largest limits there.
    pub limits: Limits,
    /// Whether nothing but capabilities runs there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_capabilities: bool,
}

impl Served {
    /// Whether what everybody is shown of it is short and plain.
    pub fn is_presentable(&self) -> bool {
        let plain = |text: &String| text.len() <= 128 && !text.chars().any(char::is_control);
        plain(&self.environment)
            && self.labels.len() <= 32
            && self
                .labels
                .iter()
                .all(|(name, value)| plain(name) && plain(value))
    }
}

impl From<&Target> for Served {
    fn from(target: &Target) -> Self {
        Self {
            name: target.name.clone(),
            engine: target.engine,
            environment: target.environment.clone(),
            labels: target.labels.clone(),
            allow: target.allow.clone(),
            limits: target.limits,
            only_capabilities: target.only_capabilities,
        }
    }
}

impl From<Served> for Target {
    fn from(served: Served) -> Self {
        Self {
            name: served.name,
            engine: served.engine,
            environment: served.environment,
            labels: served.labels,
            allow: served.allow,
            limits: served.limits.intersect(Limits::MAX),
            trusted: BTreeSet::new(),
            sync_reads: false,
            only_capabilities: served.only_capabilities,
        }
    }
}

/// Something for an agent to do.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Say what work can do and what the agent's policy makes of it. Nothing runs.
    Assess {
        /// The target.
        target: TargetName,
        /// The work.
        work: Sent,
        /// Who asks.
        requester: Principal,
        /// What for.
        purpose: Purpose,
    },
    /// Run work.
    Order(Box<Order>),
    /// Further rows of a result.
    Page {
        /// Whose they are.
        owner: Principal,
        /// Which.
        handle: HandleId,
        /// The first row.
        from: u64,
        /// How many.
        max_rows: Option<u32>,
    },
    /// The tables and views of a target.
    Tables {
        /// The target.
        target: TargetName,
        /// One schema only.
        schema: Option<String>,
        /// Only what contains this.
        search: Option<String>,
    },
    /// One table or view.
    Table {
        /// The target.
        target: TargetName,
        /// Its name.
        table: String,
    },
    /// Whether the database answers and takes the login.
    Reach {
        /// The target.
        target: TargetName,
    },
}

/// An order to run work once.
#[derive(Debug, Deserialize, Serialize)]
pub struct Order {
    /// The request, as the token says too.
    pub request: RequestId,
    /// The token's id, as the token says too.
    pub token_id: TokenId,
    /// The signed execution token.
    pub token: String,
    /// The work that it names.
    pub work: Sent,
    /// What people signed, where they had to.
    pub backing: Option<Backing>,
}

/// Work on its way. Holds values: it is never logged.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub enum Sent {
    /// One statement.
    Sql {
        /// Its text.
        text: String,
        /// Its values.
        params: Vec<Value>,
        /// What hides them.
        salt: Salt,
    },
    /// A capability, by name and bundle.
    Capability {
        /// Which.
        capability: (String, Digest),
        /// Its values, in one object.
        params: Vec<Value>,
        /// What hides them.
        salt: Salt,
    },
    /// Several, each with its values.
    Batch {
        /// In order.
        statements: Vec<(String, Vec<Value>)>,
        /// What hides the values.
        salt: Salt,
    },
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sent").finish_non_exhaustive()
    }
}

impl From<&Work> for Sent {
    fn from(work: &Work) -> Self {
        match work {
            Work::Sql { text, params, salt } => Self::Sql {
                text: text.clone(),
                params: params.clone(),
                salt: *salt,
            },
            Work::Capability {
                name,
                bundle,
                params,
                salt,
                ..
            } => Self::Capability {
                capability: (name.clone(), *bundle),
                params: params.clone(),
                salt: *salt,
            },
            Work::Batch { salt, .. } => {
                let alone = |one: Work| (one.text().to_owned(), one.params().to_vec());
                Self::Batch {
                    statements: work.statements().into_iter().map(alone).collect(),
                    salt: *salt,
                }
            }
        }
    }
}

impl From<Sent> for Work {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Sql { text, params, salt } => Self::Sql { text, params, salt },
            Sent::Capability {
                capability: (name, bundle),
                params,
                salt,
            } => Self::capability(&name, bundle, params, salt),
            Sent::Batch { statements, salt } => Self::batch(statements, salt),
        }
    }
}

/// What a question has brought.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Question::Assess`].
    Assessed {
        /// What the work can do.
        statement: Box<Statement>,
        /// What the agent's own policy says.
        judgement: Judgement,
    },
    /// To [`Question::Order`]: it has run.
    Ran(Report),
    /// To [`Question::Order`]: it was not begun, or ended in an error.
    NotRun {
        /// Why.
        refusal: Refusal,
        /// What the agent found, where that is worse than the token allows.
        found: Option<Box<Statement>>,
    },
    /// To [`Question::Page`].
    Page(PageOfRows),
    /// To [`Question::Tables`].
    Tables(Vec<TableSummary>),
    /// To [`Question::Table`].
    Table(TableDescription),
    /// To [`Question::Reach`].
    Reached,
}

/// How a run of approved work ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ended {
    /// The request.
    pub request: RequestId,
    /// The token that it was run on.
    pub token: TokenId,
    /// How.
    pub ending: Ending,
    /// Rows changed or answered, where it ended well and they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}
