//! The verdict: the sentence that a person signs about a document.

use serde::{Deserialize, Serialize};

use crate::core::exact::{ExactError, GREATEST, read_canonical};
use crate::core::ids::RequestId;
use crate::core::principal::Principal;
use crate::core::signer::{Decision, Surface};
use crate::core::work::{Digest, canonical_json};

/// The longest verdict, in bytes.
pub const LONGEST: usize = 16 * 1024;
/// The longest comment, in characters.
pub const LONGEST_COMMENT: usize = 2_000;
/// The only version there is.
pub const VERSION: u32 = 1;

/// What a person says about one document. The signed message is exactly its canonical JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// [`VERSION`].
    pub version: u32,
    /// Yes or no.
    pub decision: Decision,
    /// The digest of the document.
    pub document: Digest,
    /// The request that the document is about.
    pub request: RequestId,
    /// Who says so.
    pub signer: Principal,
    /// Where they saw the document.
    pub surface: Surface,
    /// What they had to say about it.
    pub comment: Option<String>,
    /// When, unix milliseconds by the signer's own clock.
    pub at_ms: i64,
}

/// A verdict and its signature, as they travel and are kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignedVerdict {
    /// The verdict's canonical JSON.
    pub verdict: String,
    /// An armored SSHSIG over exactly that text.
    pub signature: String,
}

/// Why text is not a verdict.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum MalformedVerdict {
    /// The comment is too long.
    #[error("its comment is longer than {LONGEST_COMMENT} characters")]
    Comment,
    /// The text is not this JSON.
    #[error(transparent)]
    Exact(#[from] ExactError),
    /// Its time lies outside all time.
    #[error("its time makes no sense")]
    Time,
    /// A version that is not known here.
    #[error("it is of another version")]
    Version,
}

impl Verdict {
    /// The bytes that are signed.
    pub fn canonical(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// The bytes that are signed, as text.
    pub fn to_text(&self) -> String {
        // JSON is UTF-8.
        String::from_utf8(self.canonical()).unwrap_or_default()
    }

    /// Reads a verdict from exactly its canonical text.
    pub fn parse(text: &str) -> Result<Self, MalformedVerdict> {
        let verdict: Self = read_canonical(text.as_bytes(), LONGEST)?;
        if verdict.version != VERSION {
            return Err(MalformedVerdict::Version);
        }
        if !(0..=GREATEST).contains(&verdict.at_ms) {
            return Err(MalformedVerdict::Time);
        }
        let comment = verdict.comment.as_deref().unwrap_or_default();
        if comment.chars().count() > LONGEST_COMMENT {
            return Err(MalformedVerdict::Comment);
        }
        Ok(verdict)
    }
}
