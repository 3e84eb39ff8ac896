//! The executor's side of an approval: a signed verdict goes in, and a counted vote comes out or
//! nothing.

use std::collections::BTreeSet;

use crate::core::approval::APPROVAL;
use crate::core::approval::document::{Document, Purpose};
use crate::core::approval::signature::{SignatureError, check_signature};
use crate::core::approval::sshsig::{SshSig, SshSigError};
use crate::core::approval::verdict::{MalformedVerdict, SignedVerdict, Verdict};
use crate::core::checks::Checks;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::signer::{Decision, Presence, Surface, Vote};
use crate::core::time::Timestamp;
use crate::core::trust::{self, Signer, SignerKey, TrustFile};
use crate::core::work::Digest;

/// How far a signer's clock may be from ours, in milliseconds.
pub const CLOCK_SKEW_MS: i64 = 60_000;

/// Why a signed verdict does not count. Each names the check that failed.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum VerdictError {
    /// It was signed before the document was made.
    #[error("the approval was signed before its request was made")]
    BeforeDocument,
    /// It names another document than the one at hand.
    #[error("the approval is for another document than this one")]
    Document,
    /// The document's time is over.
    #[error("the request's time to be approved is over")]
    DocumentExpired,
    /// It was signed when the document's time was over.
    #[error("the approval was signed after the request's time was over")]
    AfterDocument,
    /// The signer's clock is ahead of ours by more than a minute.
    #[error("the approval is dated in the future")]
    Future,
    /// Not the text of a verdict.
    #[error("the approval is malformed: {0}")]
    Malformed(#[from] MalformedVerdict),
    /// The signer is a program.
    #[error("only a human can approve")]
    NotHuman,
    /// The signer's time has not come.
    #[error("the signer is not yet trusted")]
    NotYetTrusted,
    /// The signer's time is over.
    #[error("the signer is no longer trusted")]
    NoLongerTrusted,
    /// The signer may not do this.
    #[error("the signer is not trusted for this purpose")]
    Purpose,
    /// It names another request than the document.
    #[error("the approval is for another request")]
    Request,
    /// The signature does not count.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It was given in another place than it says.
    #[error("the approval was given in another place than it says")]
    Surface,
    /// The key is in nobody's name.
    #[error("the approval is signed with a key that the trust file does not hold")]
    UnknownKey,
    /// Not a signature at all.
    #[error("the approval's signature cannot be read: {0}")]
    Unreadable(#[from] SshSigError),
    /// The key is another person's.
    #[error("the approval names another person than the key's owner")]
    WrongSigner,
}

impl VerdictError {
    /// What the signer can do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::BeforeDocument | Self::Future => "set the clock of the signer's machine",
            Self::DocumentExpired | Self::AfterDocument => "file the request again",
            Self::NotHuman => "have a person sign with a key of their own",
            Self::NotYetTrusted | Self::NoLongerTrusted | Self::Purpose => {
                "a trust admin can change the trust file; see `secondkey trust`"
            }
            Self::UnknownKey => "enrol the key, or sign with one that is enrolled",
            Self::Signature(SignatureError::Presence) => "touch the key when it blinks",
            Self::Signature(SignatureError::Verification) => "give the key its PIN",
            Self::Document
            | Self::Malformed(_)
            | Self::Request
            | Self::Signature(_)
            | Self::Surface
            | Self::Unreadable(_)
            | Self::WrongSigner => "look at the request again and sign what is shown now",
        }
    }
}

impl From<VerdictError> for Refusal {
    fn from(error: VerdictError) -> Self {
        Self::new(Code::ApprovalRefused, error.to_string()).hint(error.hint())
    }
}

/// A verdict that counts: only [`verify`] makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedVerdict {
    verdict: Verdict,
    digest: Digest,
    key: String,
    groups: BTreeSet<String>,
    presence: Presence,
}

impl VerifiedVerdict {
    /// What was signed.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// SHA-256 over the signed text: what an execution token names it by.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Who signed.
    pub fn signer(&self) -> &Principal {
        &self.verdict.signer
    }

    /// The fingerprint of the key, as OpenSSH writes it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The groups that the signer is in.
    pub fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }

    /// Yes or no.
    pub fn decision(&self) -> Decision {
        self.verdict.decision
    }

    /// Where the signer saw the document.
    pub fn surface(&self) -> Surface {
        self.verdict.surface
    }

    /// What the key proves about the signer's presence.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// What the signer had to say.
    pub fn comment(&self) -> Option<&str> {
        self.verdict.comment.as_deref()
    }

    /// What a policy counts.
    pub fn vote(&self) -> Vote {
        Vote {
            signer: self.verdict.signer.clone(),
            key: self.key.clone(),
            groups: self.groups.clone(),
            surface: self.verdict.surface,
            presence: self.presence,
        }
    }
}

/// Checks a signed verdict on `document` by the trust file and the time now.
///
/// Both approvals and rejections pass; whether they are enough, and by whom, is the policy's to say.
pub fn verify(
    signed: &SignedVerdict,
    document: &Document,
    trust: &TrustFile,
    now: Timestamp,
) -> Result<VerifiedVerdict, VerdictError> {
    verify_with(&Checks::all(), signed, document, trust, now)
}

/// [`verify`] with these checks; outside of tests there is no other value than all of them.
pub fn verify_with(
    checks: &Checks<VerdictError>,
    signed: &SignedVerdict,
    document: &Document,
    trust: &TrustFile,
    now: Timestamp,
) -> Result<VerifiedVerdict, VerdictError> {
    let verdict = Verdict::parse(&signed.verdict)?;
    let sig = SshSig::parse(&signed.signature)?;
    let purpose = match document.purpose {
        Purpose::Run => trust::Purpose::Approve,
        Purpose::BreakGlass => trust::Purpose::BreakGlass,
    };
    let said = (&verdict.signer, purpose);
    let message = (APPROVAL, signed.verdict.as_bytes());
    let (owner, key) = who_signed(checks, &sig, said, message, (trust, now))?;
    check_document(checks, &verdict, document, now)?;
    let place = is_given_at(verdict.surface, &sig, trust);
    checks.demand(place, VerdictError::Surface)?;
    Ok(VerifiedVerdict {
        digest: Digest::of(&[signed.verdict.as_bytes()]),
        key: sig.key().fingerprint(),
        groups: owner.groups.clone(),
        presence: key.presence,
        verdict,
    })
}

/// Who has signed a message in a namespace: the person whom it names, with a key of their own that the trust
/// file holds, trusted for this and today.
pub(super) fn who_signed<'t, E>(
    checks: &Checks<E>,
    sig: &SshSig,
    (named, purpose): (&Principal, trust::Purpose),
    (namespace, message): (&str, &[u8]),
    (trust, now): (&'t TrustFile, Timestamp),
) -> Result<(&'t Signer, &'t SignerKey), E>
where
    E: Clone + Ord + From<VerdictError> + From<SignatureError>,
{
    let (owner, key) = owner_of(checks, trust, sig, named)?;
    check_signature(checks, sig, key, namespace, message)?;
    check_signer(checks, owner, (named, purpose), now)?;
    Ok((owner, key))
}

/// Whose key it is. Without this check, anybody's key counts as that of whoever the message names.
fn owner_of<'t, E>(
    checks: &Checks<E>,
    trust: &'t TrustFile,
    sig: &SshSig,
    named: &Principal,
) -> Result<(&'t Signer, &'t SignerKey), E>
where
    E: Clone + Ord + From<VerdictError>,
{
    if let Some(found) = trust.owner_of(sig.key()) {
        return Ok(found);
    }
    let claimed = trust
        .signer(named)
        .filter(|_| checks.is_off(&VerdictError::UnknownKey.into()));
    claimed
        .and_then(|signer| Some((signer, signer.keys.first()?)))
        .ok_or_else(|| VerdictError::UnknownKey.into())
}

/// The signer is who the message says, a human, trusted for this and today.
fn check_signer<E>(
    checks: &Checks<E>,
    signer: &Signer,
    (named, purpose): (&Principal, trust::Purpose),
    now: Timestamp,
) -> Result<(), E>
where
    E: Clone + Ord + From<VerdictError>,
{
    checks.demand(*named == signer.name, VerdictError::WrongSigner)?;
    let human = signer.name.kind() == PrincipalKind::Human;
    checks.demand(human, VerdictError::NotHuman)?;
    let may = signer.purposes.contains(&purpose);
    checks.demand(may, VerdictError::Purpose)?;
    let begun = signer.has_begun(now);
    checks.demand(begun, VerdictError::NotYetTrusted)?;
    checks.demand(!signer.has_ended(now), VerdictError::NoLongerTrusted)
}

/// The verdict is about this document, within its time.
fn check_document(
    checks: &Checks<VerdictError>,
    verdict: &Verdict,
    document: &Document,
    now: Timestamp,
) -> Result<(), VerdictError> {
    let this = verdict.document == document.digest();
    checks.demand(this, VerdictError::Document)?;
    let request = verdict.request == document.request;
    checks.demand(request, VerdictError::Request)?;
    let (at, now) = (verdict.at_ms, now.unix_ms());
    let begun = at >= document.created_ms.saturating_sub(CLOCK_SKEW_MS);
    checks.demand(begun, VerdictError::BeforeDocument)?;
    checks.demand(at < document.expires_ms, VerdictError::AfterDocument)?;
    let passed = at <= now.saturating_add(CLOCK_SKEW_MS);
    checks.demand(passed, VerdictError::Future)?;
    checks.demand(now < document.expires_ms, VerdictError::DocumentExpired)
}

/// Whether a verdict can have been given where it says. An SSH key signs in a binary of the approver's
/// own; a passkey's page is told by its origin, and a page of a relay is never anybody's own.
pub(super) fn is_given_at(surface: Surface, sig: &SshSig, trust: &TrustFile) -> bool {
    match sig.client() {
        None => surface != Surface::RelayPage,
        Some(client) if trust.origins.own.contains(&client.origin) => surface == Surface::OwnPage,
        Some(_) => surface == Surface::RelayPage,
    }
}

#[cfg(test)]
mod tests;
