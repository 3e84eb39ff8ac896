//! The request document: all that a person is shown, and all that their signature covers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::capability::{Offer, Parameter, Reviewed, Said, Vouched};
use crate::core::checks::Checks;
use crate::core::engine::Engine;
use crate::core::exact::{ExactError, GREATEST, read_canonical};
use crate::core::ids::{AgentId, RequestId};
use crate::core::limits::{Limits, PARAMETERS, STATEMENT_BYTES};
use crate::core::policy::{Facts, Standing};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::review::Finding;
use crate::core::statement::batch::united;
use crate::core::statement::{Effect, Statement};
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::core::visible::shown_in;
use crate::core::work::{Digest, Salt, Work, canonical_json};

/// The longest document, in bytes.
pub const LONGEST: usize = 1024 * 1024;
/// The fewest characters that show something in the reason for breaking the glass.
pub const SHORTEST_REASON: usize = 10;
/// The only version there is.
pub const VERSION: u32 = 1;

/// What an approval of the document is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The work runs once the policy's signatures are there.
    Run,
    /// The work runs at once, on one signature by somebody who may, and is reviewed afterwards.
    BreakGlass,
}

/// What stands for the values of the placeholders, which travel beside the document.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ParamsSeal {
    /// How many.
    pub count: u32,
    /// The salted commitment to them ([`crate::core::work::commitment`]).
    pub commitment: Digest,
}

/// One statement of a batch, as its approvers are shown it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its full text.
    pub statement: String,
    /// How many values it has.
    pub params: u32,
    /// The worst that it can do.
    pub effect: Effect,
    /// Its kind, such as `update`.
    pub kind: String,
    /// What makes it so, a verb phrase.
    pub because: String,
}

impl Part {
    /// What a document says of each statement of work, which was found to be this; nothing where the
    /// work is one statement alone.
    pub fn all(work: &Work, found: &Statement) -> Vec<Self> {
        let part = |(work, found): (Work, &Statement)| Self {
            statement: work.text().to_owned(),
            params: u32::try_from(work.count()).unwrap_or(u32::MAX),
            effect: found.effect,
            kind: found.kind.clone(),
            because: found.because(),
        };
        let statements = work.statements().into_iter();
        statements.zip(&found.parts).map(part).collect()
    }
}

/// The policies that asked for the approval.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDigests {
    /// The workspace's.
    pub workspace: Digest,
    /// The executor's own.
    pub agent: Digest,
}

/// What a document says of a capability: what its agent says, too, or the agent refuses.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Called {
    /// Its name.
    pub name: String,
    /// The bundle that says what the name means.
    pub bundle: Digest,
    /// The version that the bundle's owner gave it.
    pub version: String,
    /// What it does, in its owner's words.
    pub description: String,
    /// Who reviewed it and when, in its owner's words.
    pub reviewed: Option<Reviewed>,
    /// All of this and its typed parameters, as the agent has signed it.
    pub contract: Vouched,
}

impl Called {
    /// What a document says of an offer.
    pub fn of(offer: &Offer) -> Self {
        Self::in_words_of(&offer.said, &offer.vouched)
    }

    fn in_words_of(said: &Said, vouched: &Vouched) -> Self {
        Self {
            name: said.contract.name.as_str().to_owned(),
            bundle: said.bundle,
            version: said.version.clone(),
            description: said.contract.description.clone(),
            reviewed: said.contract.reviewed.clone(),
            contract: vouched.clone(),
        }
    }

    /// Its parameters with their types, a line each, as its agent has signed them.
    fn parameters(&self) -> String {
        let said = self.contract.said();
        let params = said.map(|said| said.contract.params).unwrap_or_default();
        let line = |one: &Parameter| format!("  {}: {}\n", one.name, one.schema());
        params.iter().map(line).collect()
    }

    /// What its agent has signed, if that is this and the agent is the one that is meant.
    fn said_by(&self, executor: &AgentId, target: &str) -> Option<Said> {
        let said = self.contract.said().ok()?;
        let same = Self::in_words_of(&said, &self.contract) == *self;
        (same && said.agent == *executor && said.target == target).then_some(said)
    }
}

/// One request, as its approvers sign it. Canonical JSON (RFC 8785); times are unix milliseconds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// [`VERSION`].
    pub version: u32,
    /// What an approval of it is for.
    pub purpose: Purpose,
    /// The tenant.
    pub workspace: String,
    /// The request.
    pub request: RequestId,
    /// The one executor that may run it.
    pub executor: AgentId,
    /// The one target that it may run on.
    pub target: String,
    /// The target's engine.
    pub engine: Engine,
    /// The target's environment, such as `production`.
    pub environment: String,
    /// Who asks.
    pub requester: Principal,
    /// Why, in the requester's own words.
    pub reason: Option<String>,
    /// [`Work::digest`].
    pub work: Digest,
    /// The statement's full text; of a batch all of them, as [`crate::core::work::together`] writes them.
    pub statement: String,
    /// The capability that is called, where it is one: then its statement stays at the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<Called>,
    /// Of a batch its statements, in order. Absent for one statement alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// The seal over the values, where there are any.
    pub params: Option<ParamsSeal>,
    /// The worst that the statement can do.
    pub effect: Effect,
    /// The kind of statement, such as `update`.
    pub kind: String,
    /// What makes it so, a verb phrase.
    pub because: String,
    /// The relations it reads.
    pub reads: Vec<String>,
    /// The relations it writes.
    pub writes: Vec<String>,
    /// The limits on the run.
    pub limits: Limits,
    /// The policies that asked for the approval.
    pub policy: PolicyDigests,
    /// The digest of the measured effect, where it was measured.
    pub preview: Option<Digest>,
    /// 32 hex digits that nobody could guess.
    pub nonce: String,
    /// When it was made.
    pub created_ms: i64,
    /// Not to be approved from this on.
    pub expires_ms: i64,
}

/// Why bytes are not a document.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum DocumentError {
    /// Work that goes ahead of its review is explained to whoever reviews it.
    #[error("breaking the glass needs a reason, in {SHORTEST_REASON} characters or more")]
    BreakGlassReason,
    /// Work that goes ahead of its review is never open to a program.
    #[error("only a person can break the glass")]
    BreakGlassRequester,
    /// What stands there of the capability is not what its agent has signed.
    #[error("the request document says of the capability what its agent has not signed")]
    Contract,
    /// The bytes are not this JSON.
    #[error("the request document is refused: {0}")]
    Exact(#[from] ExactError),
    /// The nonce is not 32 hex digits.
    #[error("the request document's nonce is not 32 hex digits")]
    Nonce,
    /// More than can run.
    #[error("the request document's statement or parameters are beyond the limits")]
    Size,
    /// It ends before it begins, or lies outside all time.
    #[error("the request document's times make no sense")]
    Times,
    /// A version that is not known here.
    #[error("the request document is of another version")]
    Version,
}

impl From<DocumentError> for Refusal {
    fn from(error: DocumentError) -> Self {
        let hint = match error {
            DocumentError::BreakGlassReason => "say what is on fire, for whoever reviews it",
            DocumentError::BreakGlassRequester => {
                "ask a person; they run `secondkey break-glass` themselves"
            }
            DocumentError::Contract
            | DocumentError::Exact(_)
            | DocumentError::Nonce
            | DocumentError::Size
            | DocumentError::Times
            | DocumentError::Version => {
                "file the request again, and bring both programs to the same version"
            }
        };
        Self::new(Code::ApprovalRefused, error.to_string()).hint(hint)
    }
}

impl Document {
    /// The bytes whose digest is signed.
    pub fn canonical(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// SHA-256 over [`Document::canonical`].
    pub fn digest(&self) -> Digest {
        Digest::of(&[&self.canonical()])
    }

    /// Reads a document from exactly the bytes of [`Document::canonical`], and checks it.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        Self::parse_with(&Checks::all(), bytes)
    }

    /// [`Document::parse`] with these checks; outside of tests there is no other value than all of
    /// them.
    pub fn parse_with(checks: &Checks<DocumentError>, bytes: &[u8]) -> Result<Self, DocumentError> {
        let document: Self = read_canonical(bytes, LONGEST)?;
        document.check_with(checks)?;
        Ok(document)
    }

    /// Checks what the types cannot say. Whoever makes a document calls this before showing it.
    pub fn check(&self) -> Result<(), DocumentError> {
        self.check_with(&Checks::all())
    }

    fn check_with(&self, checks: &Checks<DocumentError>) -> Result<(), DocumentError> {
        if self.version != VERSION {
            return Err(DocumentError::Version);
        }
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if self.nonce.len() != 32 || !self.nonce.bytes().all(hex) {
            return Err(DocumentError::Nonce);
        }
        let life = self.created_ms..self.expires_ms;
        if self.created_ms < 0 || life.is_empty() || self.expires_ms > GREATEST {
            return Err(DocumentError::Times);
        }
        let values = self.params.as_ref().map_or(0, |params| params.count);
        let too_many = usize::try_from(values).is_ok_and(|count| count > PARAMETERS);
        if self.statement.len() > STATEMENT_BYTES || too_many {
            return Err(DocumentError::Size);
        }
        if let Some(called) = &self.capability {
            let said = called.said_by(&self.executor, &self.target);
            checks.demand(said.is_some(), DocumentError::Contract)?;
        }
        match self.purpose {
            Purpose::BreakGlass => {
                check_break_glass(checks, &self.requester, self.reason.as_deref())
            }
            Purpose::Run => Ok(()),
        }
    }

    /// The work that it is about, with these values.
    pub fn work_with(&self, params: Vec<Value>, salt: Salt) -> Work {
        if let Some(called) = &self.capability {
            return Work::capability(&called.name, called.bundle, params, salt);
        }
        if self.parts.is_empty() {
            return Work::Sql {
                text: self.statement.clone(),
                params,
                salt,
            };
        }
        let mut values = params.into_iter().map(|value| {
            if let Value::Array(values) = value {
                values
            } else {
                vec![value]
            }
        });
        let statements = self.parts.iter().map(|part| {
            let values = values.next().unwrap_or_default();
            (part.statement.clone(), values)
        });
        Work::batch(statements.collect(), salt)
    }

    /// The text of each statement, in order.
    pub fn texts(&self) -> Vec<&str> {
        if self.parts.is_empty() {
            return vec![&self.statement];
        }
        self.parts
            .iter()
            .map(|part| part.statement.as_str())
            .collect()
    }

    /// What stands for the statement where people look: itself, or what is known of a capability whose statement
    /// stays at its agent.
    pub fn shown_statement(&self) -> Cow<'_, str> {
        let Some(called) = &self.capability else {
            return Cow::Borrowed(&self.statement);
        };
        let reviewed = match &called.reviewed {
            Some(it) => format!("reviewed by {} on {}, as its file says", it.by, it.on),
            None => "nobody is said to have reviewed it".to_owned(),
        };
        Cow::Owned(format!(
            "{}\n{}\nversion {}; {reviewed}\n{}The statement stays at the agent, where `secondkey requests show {} --statement` prints it.",
            self.statement,
            called.description,
            called.version,
            called.parameters(),
            self.request
        ))
    }

    /// Whether this is a document about exactly this work: text, values and salt.
    pub fn is_about(&self, work: &Work) -> bool {
        let seal = work.commitment().map(|commitment| ParamsSeal {
            count: u32::try_from(work.count()).unwrap_or(u32::MAX),
            commitment,
        });
        self.work == work.digest()
            && self.statement == work.text()
            && self.params == seal
            && self.has_parts_of(work)
    }

    /// Whether each statement that is shown is that of the work, with as many values.
    fn has_parts_of(&self, work: &Work) -> bool {
        if !work.is_batch() {
            return self.parts.is_empty();
        }
        let same = |(part, work): (&Part, &Work)| {
            part.statement == work.text() && usize::try_from(part.params) == Ok(work.count())
        };
        let statements = work.statements();
        self.parts.len() == statements.len() && self.parts.iter().zip(&statements).all(same)
    }

    /// Its statement as parsed, with what the agent had found in it beyond the text.
    pub fn as_found(&self, parsed: &Statement) -> Statement {
        let mut found = parsed.clone();
        if found.parts.len() == self.parts.len() && !self.parts.is_empty() {
            for (found, part) in found.parts.iter_mut().zip(&self.parts) {
                if part.effect > found.effect {
                    found.worsen(part.effect, part.because.clone());
                }
            }
            found = united(found.parts);
        }
        if self.effect > found.effect {
            found.worsen(self.effect, self.because.clone());
        }
        found
    }

    /// What a policy is asked about it; `statement` is that of [`Document::as_found`].
    pub fn facts<'a>(
        &'a self,
        (target, standing): (&'a Target, &'a Standing),
        (statement, findings): (&'a Statement, &'a [Finding]),
        at: Timestamp,
    ) -> Facts<'a> {
        Facts {
            principal: &self.requester,
            standing,
            target,
            effect: self.effect,
            statement,
            capability: self
                .capability
                .as_ref()
                .map(|called| (called.name.as_str(), called.bundle)),
            findings,
            rows: None,
            break_glass: self.purpose == Purpose::BreakGlass,
            at,
        }
    }
}

/// Whether this requester may break the glass for this reason, as far as can be said without a
/// policy: a person, and one who says why.
pub fn check_break_glass(
    checks: &Checks<DocumentError>,
    requester: &Principal,
    reason: Option<&str>,
) -> Result<(), DocumentError> {
    let human = requester.kind() == PrincipalKind::Human;
    checks.demand(human, DocumentError::BreakGlassRequester)?;
    let said = shown_in(reason.unwrap_or_default()) >= SHORTEST_REASON;
    checks.demand(said, DocumentError::BreakGlassReason)
}

impl Purpose {
    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::BreakGlass => "break_glass",
        }
    }
}

#[cfg(test)]
pub(in crate::core) mod tests;
