//! What stands behind a token whose work people approved, and the executor's check that it does.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::core::approval::document::{Called, Document, DocumentError, Purpose};
use crate::core::approval::verdict::SignedVerdict;
use crate::core::approval::verify::{VerdictError, VerifiedVerdict, verify_with};
use crate::core::checks::Checks;
use crate::core::ids::AgentId;
use crate::core::limits::Limits;
use crate::core::policy::Uncounted;
use crate::core::principal::PrincipalKind;
use crate::core::refusal::{Code, Refusal};
use crate::core::signer::{Decision, Vote};
use crate::core::statement::{Name, Statement};
use crate::core::time::Timestamp;
use crate::core::token::{Claims, TokenError};
use crate::core::trust::TrustFile;
use crate::core::work::{Digest, Work};

/// The most verdicts that one order can stand on.
pub const MOST_VERDICTS: usize = 64;

/// What travels beside a token: the document that people signed, and what they signed about it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Backing {
    /// The document's canonical JSON.
    pub document: String,
    /// The verdicts, in the order in which they were given.
    pub verdicts: Vec<SignedVerdict>,
}

impl Backing {
    /// The digest of the document's text.
    pub fn document_digest(&self) -> Digest {
        Digest::of(&[self.document.as_bytes()])
    }

    /// The digests of the verdicts, as a token names them.
    pub fn verdict_digests(&self) -> Vec<Digest> {
        let digest = |signed: &SignedVerdict| Digest::of(&[signed.verdict.as_bytes()]);
        self.verdicts.iter().map(digest).collect()
    }
}

/// What the executor knows by itself, which the document has to agree with.
#[derive(Clone, Copy, Debug)]
pub struct Executing<'a> {
    /// The executor.
    pub agent: &'a AgentId,
    /// Its tenant.
    pub workspace: &'a str,
    /// The environment of the target.
    pub environment: &'a str,
    /// The work that came with the token.
    pub work: &'a Work,
    /// What it says of the capability that is called, where it is one.
    pub called: Option<&'a Called>,
    /// What the executor found that it can do.
    pub statement: &'a Statement,
}

/// Why what came with a token does not stand behind it. Each names the check that failed.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum BackingError {
    /// The token names other approvals than those that came with it.
    #[error("the token names other approvals than those that came with it")]
    Approvals,
    /// The token names another document.
    #[error("the token names another request document than the one that came with it")]
    Document,
    /// The document says of a capability what its agent does not say.
    #[error("the approved document says otherwise of the capability than its agent")]
    Capability,
    /// The document does not admit what the statement can do.
    #[error("the statement can do more than the approved document says")]
    Effect,
    /// Another environment.
    #[error("the approval is for another environment")]
    Environment,
    /// Another executor.
    #[error("the approval is for another executor")]
    Executor,
    /// The token's limits are wider than those that were shown.
    #[error("the token's limits are wider than those that were approved")]
    Limits,
    /// The document cannot be read.
    #[error(transparent)]
    Malformed(#[from] DocumentError),
    /// The token names approvals, and none came with it.
    #[error("the token names approvals, and none came with it")]
    Missing,
    /// Breaking the glass is never open to a program.
    #[error("only a person can break the glass, and this token is not a person's")]
    NotAPerson,
    /// Nobody is trusted yet.
    #[error("nobody is trusted here to approve anything")]
    NoTrust,
    /// Work that goes ahead of its review, or does not, against what was signed.
    #[error("the token is for another purpose than the approved document")]
    Purpose,
    /// The statement does something else than the document says.
    #[error("the statement would now do something else than the approved document says")]
    Reasons,
    /// The statement touches relations that the document does not name.
    #[error("the statement touches relations that the approved document does not name")]
    Relations,
    /// Another request.
    #[error("the approval is for another request")]
    Request,
    /// Another requester.
    #[error("the approval is for somebody else's request")]
    Requester,
    /// Another target.
    #[error("the approval is for another target")]
    Target,
    /// More verdicts than anybody needs.
    #[error("more approvals came with the token than the {MOST_VERDICTS} that can")]
    TooMany,
    /// One of the verdicts does not count.
    #[error(transparent)]
    Verdict(#[from] VerdictError),
    /// Other work: another text, other values.
    #[error("the approval is for other work")]
    Work,
    /// Another tenant.
    #[error("the approval is for another workspace")]
    Workspace,
}

impl From<BackingError> for Refusal {
    fn from(error: BackingError) -> Self {
        match error {
            BackingError::Malformed(error) => error.into(),
            BackingError::Verdict(error) => error.into(),
            BackingError::NoTrust => Self::new(Code::ApprovalRefused, error.to_string())
                .hint("a person runs `secondkey trust init` first"),
            BackingError::Approvals
            | BackingError::Capability
            | BackingError::Document
            | BackingError::Effect
            | BackingError::Environment
            | BackingError::Executor
            | BackingError::Limits
            | BackingError::Missing
            | BackingError::NotAPerson
            | BackingError::Purpose
            | BackingError::Reasons
            | BackingError::Relations
            | BackingError::Request
            | BackingError::Requester
            | BackingError::Target
            | BackingError::TooMany
            | BackingError::Work
            | BackingError::Workspace => Self::new(Code::ApprovalRefused, error.to_string())
                .hint("make the call again, and have what is shown then approved"),
        }
    }
}

/// The checks of an executor; outside of tests there is no other value than all of them.
#[derive(Clone, Debug)]
pub struct Defences {
    /// Those of the token.
    pub token: Checks<TokenError>,
    /// Those of the document by itself.
    pub document: Checks<DocumentError>,
    /// Those of the document and the token.
    pub backing: Checks<BackingError>,
    /// Those of each verdict.
    pub verdict: Checks<VerdictError>,
    /// What is counted, and how much of it is enough.
    pub counting: Checks<Uncounted>,
}

impl Defences {
    /// Every check.
    pub fn all() -> Self {
        Self {
            token: Checks::all(),
            document: Checks::all(),
            backing: Checks::all(),
            verdict: Checks::all(),
            counting: Checks::all(),
        }
    }
}

/// Holds what came with a token against the token, the work and the trust file. What comes back are
/// the verdicts that count; whether they are enough is the policy's to say.
///
/// A token that names no approvals stands on none, whatever came with it.
pub fn check_backing(
    defences: &Defences,
    (claims, backing): (&Claims, Option<&Backing>),
    here: &Executing<'_>,
    trust: Option<&TrustFile>,
    now: Timestamp,
) -> Result<Vec<VerifiedVerdict>, BackingError> {
    let checks = &defences.backing;
    let Some(backing) = backing else {
        let none = claims.approvals.is_empty() && claims.document.is_none();
        let alone = none && claims.purpose == Purpose::Run;
        checks.demand(alone, BackingError::Missing)?;
        return Ok(Vec::new());
    };
    let few = backing.verdicts.len() <= MOST_VERDICTS;
    checks.demand(few, BackingError::TooMany)?;
    let named: BTreeSet<Digest> = claims.approvals.iter().copied().collect();
    let came: BTreeSet<Digest> = backing.verdict_digests().into_iter().collect();
    checks.demand(named == came, BackingError::Approvals)?;
    let this = claims.document == Some(backing.document_digest());
    checks.demand(this, BackingError::Document)?;
    let document = Document::parse_with(&defences.document, backing.document.as_bytes())?;
    check_document(checks, &document, claims, here)?;
    let trust = trust.ok_or(BackingError::NoTrust)?;
    let verify =
        |signed: &SignedVerdict| verify_with(&defences.verdict, signed, &document, trust, now);
    let verdicts: Result<Vec<_>, _> = backing.verdicts.iter().map(verify).collect();
    Ok(verdicts?)
}

/// The votes of those who approve; whoever rejects is not counted.
pub fn approvals(checks: &Checks<Uncounted>, verdicts: &[VerifiedVerdict]) -> Vec<Vote> {
    let approves = |verdict: &&VerifiedVerdict| {
        let yes = verdict.decision() == Decision::Approve;
        checks.demand(yes, Uncounted::Decision).is_ok()
    };
    let approving = verdicts.iter().filter(approves);
    approving.map(VerifiedVerdict::vote).collect()
}

/// The document is about exactly this order, here.
fn check_document(
    checks: &Checks<BackingError>,
    document: &Document,
    claims: &Claims,
    here: &Executing<'_>,
) -> Result<(), BackingError> {
    let request = document.request == claims.request;
    checks.demand(request, BackingError::Request)?;
    checks.demand(document.executor == *here.agent, BackingError::Executor)?;
    checks.demand(
        document.workspace == here.workspace,
        BackingError::Workspace,
    )?;
    checks.demand(document.target == claims.target, BackingError::Target)?;
    let environment = document.environment == here.environment;
    checks.demand(environment, BackingError::Environment)?;
    checks.demand(document.requester == claims.sub, BackingError::Requester)?;
    checks.demand(document.purpose == claims.purpose, BackingError::Purpose)?;
    // The document says so too; this holds whatever it says.
    let person = claims.sub.kind() == PrincipalKind::Human;
    checks.demand(
        person || claims.purpose == Purpose::Run,
        BackingError::NotAPerson,
    )?;
    checks.demand(document.is_about(here.work), BackingError::Work)?;
    let called = document.capability.as_ref() == here.called;
    checks.demand(called, BackingError::Capability)?;
    let effect = document.effect >= here.statement.effect;
    let parts = &here.statement.parts;
    let effects = document.parts.len() == parts.len()
        && document
            .parts
            .iter()
            .zip(parts)
            .all(|(shown, found)| shown.effect >= found.effect);
    checks.demand(effect && effects, BackingError::Effect)?;
    let named = |set: &BTreeSet<Name>, shown: &[String]| {
        set.iter().all(|name| shown.contains(&name.to_string()))
    };
    let relations = named(&here.statement.writes, &document.writes)
        && named(&here.statement.reads, &document.reads);
    checks.demand(relations, BackingError::Relations)?;
    // A trigger or rule that came after the document was made shows here.
    let reasons = here.statement.because() == document.because;
    checks.demand(reasons, BackingError::Reasons)?;
    let limits = is_within(claims.limits, document.limits);
    checks.demand(limits, BackingError::Limits)
}

fn is_within(inner: Limits, outer: Limits) -> bool {
    inner.intersect(outer) == inner
}
