//! Heads: signed statements of how far a log had come, written as C2SP signed notes.
//!
//! ```text
//! secondkey/audit/local
//! 1234
//! base64 of the link of entry 1234
//! 2026-01-31T12:00:00.000Z
//!
//! — secondkey/audit/local base64(key hash || signature)
//! ```
//!
//! The signature is Ed25519 over the text, its last newline included; the key hash is the first four
//! bytes of SHA-256(name || 0x0A || 0x01 || public key) (<https://c2sp.org/signed-note>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::DateTime;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::core::audit::origin;
use crate::core::time::Timestamp;
use crate::core::work::Digest;

/// How far a log had come at some time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// Whose log.
    pub workspace: String,
    /// How many entries it had.
    pub count: u64,
    /// The link of the last of them.
    pub link: Digest,
    /// When.
    pub at: Timestamp,
}

/// Why a note was not taken for a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeadError {
    /// Not a note of ours.
    #[error("this is not a signed head of an audit log")]
    Malformed,
    /// The signature does not match.
    #[error("the head's signature does not match its text")]
    Signature,
    /// No signature by a key that is known here.
    #[error("the head is not signed by a key of this audit log")]
    UnknownKey,
}

impl Head {
    /// The signed note.
    pub fn sign(&self, key: &SigningKey) -> String {
        let text = self.text();
        let name = origin(&self.workspace);
        let mut signature = key_hash(&name, &key.verifying_key()).to_vec();
        signature.extend_from_slice(&key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n\u{2014} {name} {}\n", BASE64.encode(signature))
    }

    /// Reads a note that one of `keys` signed. Signatures by other keys are passed over.
    pub fn open(note: &str, keys: &[VerifyingKey]) -> Result<Self, HeadError> {
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(HeadError::Malformed)?;
        let signatures = signatures.strip_suffix('\n').ok_or(HeadError::Malformed)?;
        let head = Self::parse(text)?;
        let text = head.text();
        let name = origin(&head.workspace);
        let mut known = false;
        for line in signatures.split('\n') {
            let (signer, bytes) = signature_line(line)?;
            let (hash, signature) = bytes.split_first_chunk::<4>().ok_or(HeadError::Malformed)?;
            let by = |key: &&VerifyingKey| signer == name && key_hash(&name, key) == *hash;
            let Some(key) = keys.iter().find(by) else {
                continue;
            };
            let signature = Signature::from_slice(signature).map_err(|_| HeadError::Malformed)?;
            key.verify_strict(text.as_bytes(), &signature)
                .map_err(|_| HeadError::Signature)?;
            known = true;
        }
        if known {
            Ok(head)
        } else {
            Err(HeadError::UnknownKey)
        }
    }

    fn text(&self) -> String {
        let link = BASE64.encode(self.link.as_bytes());
        format!(
            "{}\n{}\n{link}\n{}\n",
            origin(&self.workspace),
            self.count,
            self.at
        )
    }

    /// Reads the text and insists that writing it again gives the same bytes.
    fn parse(text: &str) -> Result<Self, HeadError> {
        let mut lines = text.split('\n');
        let mut next = || lines.next().ok_or(HeadError::Malformed);
        let workspace = next()?
            .strip_prefix(&origin(""))
            .ok_or(HeadError::Malformed)?;
        let count = next()?.parse().map_err(|_| HeadError::Malformed)?;
        let link = BASE64.decode(next()?).map_err(|_| HeadError::Malformed)?;
        let link = <[u8; 32]>::try_from(link).map_err(|_| HeadError::Malformed)?;
        let at = DateTime::parse_from_rfc3339(next()?).map_err(|_| HeadError::Malformed)?;
        let head = Self {
            workspace: workspace.to_owned(),
            count,
            link: Digest::from_bytes(link),
            at: Timestamp::from_unix_ms(at.timestamp_millis()),
        };
        if head.text().strip_suffix('\n') == Some(text) {
            Ok(head)
        } else {
            Err(HeadError::Malformed)
        }
    }
}

/// The public key in the form that other note verifiers take: `name+hash+base64(0x01 || key)`.
pub fn verifier_key(workspace: &str, key: &VerifyingKey) -> String {
    let name = origin(workspace);
    let mut typed = vec![ED25519];
    typed.extend_from_slice(key.as_bytes());
    let hash = hex::encode(key_hash(&name, key));
    format!("{name}+{hash}+{}", BASE64.encode(typed))
}

fn signature_line(line: &str) -> Result<(&str, Vec<u8>), HeadError> {
    let rest = line.strip_prefix("\u{2014} ").ok_or(HeadError::Malformed)?;
    let (name, signature) = rest.split_once(' ').ok_or(HeadError::Malformed)?;
    let signature = BASE64.decode(signature).map_err(|_| HeadError::Malformed)?;
    Ok((name, signature))
}

fn key_hash(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash = Digest::of(&[name.as_bytes(), b"\n", &[ED25519], key.as_bytes()]);
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

/// The signature type of C2SP signed notes.
const ED25519: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            workspace: "local".into(),
            count: 1234,
            link: Digest::of(&[b"link"]),
            at: Timestamp::from_unix_ms(1_700_000_000_123),
        }
    }

    #[test]
    fn a_head_survives_being_written_and_read() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let other = SigningKey::from_bytes(&[2; 32]).verifying_key();
        let note = head().sign(&key);
        assert!(note.starts_with("secondkey/audit/local\n1234\n"), "{note}");
        assert!(note.contains("\n2023-11-14T22:13:20.123Z\n\n\u{2014} secondkey/audit/local "));
        assert_eq!(Head::open(&note, &[other, key.verifying_key()]), Ok(head()));
        assert_eq!(Head::open(&note, &[other]), Err(HeadError::UnknownKey));
        assert_eq!(Head::open(&note, &[]), Err(HeadError::UnknownKey));
    }

    #[test]
    fn a_head_with_any_bit_flipped_is_refused() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let note = head().sign(&key).into_bytes();
        for bit in 0..note.len() * 8 {
            let mut flipped = note.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let opened = std::str::from_utf8(&flipped)
                .map(|note| Head::open(note, &[key.verifying_key()]).is_ok());
            assert_ne!(opened, Ok(true), "bit {bit}");
        }
    }

    #[test]
    fn the_key_hash_is_that_of_the_specification() {
        // The example key of https://pkg.go.dev/golang.org/x/mod/sumdb/note.
        let key = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let bytes = BASE64.decode(key).unwrap();
        let key = VerifyingKey::try_from(&bytes[1..]).unwrap();
        assert_eq!(hex::encode(key_hash("PeterNeumann", &key)), "c74f20a3");
    }
}
