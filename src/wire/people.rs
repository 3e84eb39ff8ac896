//! What people's commands ask an agent, and what it answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::approval::{Purpose, SignedAcceptance, SignedReview, SignedVerdict};
use crate::core::capability::Remembered;
use crate::core::engine::Engine;
use crate::core::ids::{AgentId, RequestId};
use crate::core::level::What;
use crate::core::principal::Principal;
use crate::core::request::{Asked, Document, Request, Review, Settlement, State, Status, Values};
use crate::core::statement::Effect;
use crate::core::time::Timestamp;
use crate::core::trust::SignedTrust;
use crate::core::work::{Digest, Salt};
use crate::wire::ran::{Explained, Given, Ran};

/// The longest call, in bytes: a trust file of the greatest length fits, escaped as it travels.
pub const LONGEST_CALL: usize = 4 * 1024 * 1024;
/// The longest answer that is read, in bytes.
pub const LONGEST_ANSWER: usize = 64 * 1024 * 1024;
/// The most requests on one page of a list.
pub const LONGEST_LIST: usize = 1_000;
/// How long one [`Call::Wait`] waits at most, in milliseconds. Whoever wants to wait longer asks again,
/// so that one who is gone holds nothing for long.
pub const LONGEST_WAIT_MS: u64 = 20_000;

/// One call.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// Requests, the newest first: all of them for those who approve, else one's own.
    List {
        /// Only those in these states; all if there are none.
        statuses: Vec<Status>,
        /// Only those for this target.
        target: Option<String>,
        /// Only those whose review is open.
        #[serde(default)]
        reviews: bool,
        /// Only those older than this one.
        before: Option<RequestId>,
        /// At most so many, and at most [`LONGEST_LIST`].
        limit: usize,
    },
    /// One request with everything that is signed.
    Show {
        /// The request.
        request: RequestId,
    },
    /// One request, once it is decided or the time is over.
    Wait {
        /// The request.
        request: RequestId,
        /// How long, in milliseconds; at most [`LONGEST_WAIT_MS`].
        at_most_ms: u64,
    },
    /// A signed verdict. Anybody may carry it.
    Vote {
        /// The request.
        request: RequestId,
        /// The verdict.
        signed: SignedVerdict,
    },
    /// A signed review of what was run ahead of it. Anybody may carry it.
    Review {
        /// The request.
        request: RequestId,
        /// The review.
        signed: SignedReview,
    },
    /// Takes a request of one's own back.
    Cancel {
        /// The request.
        request: RequestId,
    },
    /// What somebody found out about a request whose end is not known; for those who approve.
    Settle {
        /// The request.
        request: RequestId,
        /// What they found.
        found: Settlement,
        /// How they know, in their own words.
        comment: String,
    },
    /// The statement of the capability that a request calls; for those who approve.
    Statement {
        /// The request.
        request: RequestId,
    },
    /// The capabilities that are not what was accepted, with their statements; for those who approve.
    Changes {},
    /// A signed acceptance of one of them. Anybody may carry it.
    Accept {
        /// It.
        signed: SignedAcceptance,
    },
    /// The pinned trust files.
    Trust {},
    /// The next trust file. Anybody may carry it; never the first.
    InstallTrust {
        /// It.
        signed: SignedTrust,
    },
    /// A link that lets a browser in, for those who approve.
    PageLink {
        /// The request that it opens.
        request: Option<RequestId>,
    },
    /// What the agent's set-up holds against.
    Level {},
    /// What the policies say of a request now.
    Explain {
        /// The request.
        request: RequestId,
    },
    /// Files a statement that breaks the glass, for those who approve. It waits for a signature, which
    /// [`Call::Vote`] hands in.
    BreakGlass {
        /// The statement.
        sql: String,
        /// The values of its placeholders.
        #[serde(default)]
        params: Given,
        /// The target's name, where there are several.
        target: Option<String>,
        /// Why it cannot wait.
        reason: String,
    },
    /// Runs what one has filed with [`Call::BreakGlass`] and somebody has signed.
    Run {
        /// The request.
        request: RequestId,
    },
}

/// What comes back where it goes well.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// To [`Call::List`].
    Listed(Listed),
    /// To [`Call::Show`].
    Shown {
        /// The request.
        request: Box<Kept>,
        /// The values of its parameters, while they are kept.
        values: Option<Sent>,
    },
    /// To [`Call::Wait`], [`Call::Vote`], [`Call::Review`], [`Call::Cancel`], [`Call::Settle`] and [`Call::BreakGlass`].
    Request(Box<Kept>),
    /// To [`Call::Trust`]: every version, from the first.
    Trust(Vec<SignedTrust>),
    /// To [`Call::InstallTrust`].
    Installed {},
    /// To [`Call::Statement`].
    Statement(String),
    /// To [`Call::Changes`].
    Changed(Vec<Remembered>),
    /// To [`Call::Accept`].
    Accepted(Box<Remembered>),
    /// To [`Call::PageLink`].
    Link(String),
    /// To [`Call::Level`].
    Level(Standing),
    /// To [`Call::Explain`]: the workspace's policy and the agent's.
    Explained(Vec<Explained>),
    /// To [`Call::Run`].
    Ran(Box<Ran>),
}

/// One page of a list.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Listed {
    /// The requests.
    pub requests: Vec<Line>,
    /// Records that cannot be read, in words.
    pub damaged: Vec<String>,
    /// Where the next page starts, if there is one.
    pub next: Option<RequestId>,
}

/// One request of a list.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Line {
    /// The request.
    pub id: RequestId,
    /// Who asks.
    pub requester: Principal,
    /// Where it is to run.
    pub target: String,
    /// The target's environment.
    pub environment: String,
    /// The target's engine.
    pub engine: Engine,
    /// The worst that it can do.
    pub effect: Effect,
    /// The statement's verb.
    pub kind: String,
    /// The statement without its literals and comments.
    pub statement: String,
    /// When it was asked, unix milliseconds.
    pub created: Timestamp,
    /// When its last change was recorded, unix milliseconds.
    pub updated: Timestamp,
    /// The version of the record.
    pub version: u64,
    /// Where it stands now.
    pub state: State,
    /// Whether it waits for people or goes ahead of its review.
    pub purpose: Purpose,
    /// The review of what was run ahead of it.
    pub review: Option<Review>,
}

/// One request as it is kept. The fields are those of [`Asked`] and [`Request`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(missing_docs, reason = "documented where they come from")]
pub struct Kept {
    pub purpose: Purpose,
    pub id: RequestId,
    pub workspace: String,
    pub requester: Principal,
    pub target: String,
    pub environment: String,
    pub engine: Engine,
    pub agent: AgentId,
    pub effect: Effect,
    pub kind: String,
    pub statement: String,
    pub reason: Option<String>,
    pub work: Digest,
    pub document: String,
    pub expires: Timestamp,
    pub requirements: String,
    pub workspace_policy: Digest,
    pub agent_policy: Digest,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub version: u64,
    pub state: State,
    pub review: Option<Review>,
}

impl From<&Request> for Kept {
    fn from(request: &Request) -> Self {
        let asked = request.asked().clone();
        Self {
            purpose: asked.purpose,
            id: asked.id,
            workspace: asked.workspace,
            requester: asked.requester,
            target: asked.target,
            environment: asked.environment,
            engine: asked.engine,
            agent: asked.agent,
            effect: asked.effect,
            kind: asked.kind,
            statement: asked.statement,
            reason: asked.reason,
            work: asked.work,
            document: asked.document.text().to_owned(),
            expires: asked.document.expires(),
            requirements: asked.requirements,
            workspace_policy: asked.workspace_policy,
            agent_policy: asked.agent_policy,
            created: request.created(),
            updated: request.updated(),
            version: request.version(),
            state: request.state().clone(),
            review: request.review().cloned(),
        }
    }
}

impl From<Kept> for Request {
    /// The digest of the document is made anew, from the text that came.
    fn from(kept: Kept) -> Self {
        let asked = Asked {
            purpose: kept.purpose,
            id: kept.id,
            workspace: kept.workspace,
            requester: kept.requester,
            target: kept.target,
            environment: kept.environment,
            engine: kept.engine,
            agent: kept.agent,
            effect: kept.effect,
            kind: kept.kind,
            statement: kept.statement,
            reason: kept.reason,
            work: kept.work,
            document: Document::new(kept.document, kept.expires),
            requirements: kept.requirements,
            workspace_policy: kept.workspace_policy,
            agent_policy: kept.agent_policy,
        };
        let times = (kept.created, kept.updated);
        Self::restored(asked, times, kept.version, (kept.state, kept.review))
    }
}

/// The values of a request's parameters, on their way to whoever may see them.
#[derive(Clone, Deserialize, PartialEq, Serialize)]
pub struct Sent {
    params: Vec<Value>,
    salt: Salt,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sent({} of them)", self.params.len())
    }
}

impl From<Values> for Sent {
    fn from(values: Values) -> Self {
        Self {
            params: values.params,
            salt: values.salt,
        }
    }
}

impl From<Sent> for Values {
    fn from(sent: Sent) -> Self {
        Self {
            params: sent.params,
            salt: sent.salt,
        }
    }
}

/// What the agent's set-up holds against, as the agent sees it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Standing {
    /// What spoils *separated*; nothing where it is.
    pub spoilt: Vec<String>,
    /// The files that it stands on.
    pub files: Vec<Standby>,
}

/// A file that the set-up stands on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Standby {
    /// What it is.
    pub what: What,
    /// Where.
    pub path: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_written_like_this() {
        let call: Call = serde_json::from_str(
            r#"{"call":"wait","request":"req_018bcfe5680077078707070707070707","at_most_ms":5}"#,
        )
        .unwrap();
        assert!(matches!(call, Call::Wait { at_most_ms: 5, .. }));
        assert!(serde_json::from_str::<Call>(r#"{"call":"trust"}"#).is_ok());
        for text in [
            r#"{"call":"level","more":1}"#,
            r#"{"call":"approve"}"#,
            r#"{"call":"list","limit":-1}"#,
            "[]",
        ] {
            assert!(serde_json::from_str::<Call>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_do_not_show_in_a_log() {
        let sent = Sent {
            params: vec!["secret".into()],
            salt: [7; 16],
        };
        assert_eq!(format!("{sent:?}"), "Sent(1 of them)");
    }
}
