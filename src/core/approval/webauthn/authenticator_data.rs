//! Authenticator data: what an authenticator puts under its signature (WebAuthn §6.1).

use super::cbor::Reader;
use super::{ATTESTED, EXTENSIONS, WebAuthnError};
use crate::core::work::Digest;

/// The longest authenticator data that are looked at, in bytes.
const LONGEST: usize = 4096;
/// The longest credential id (WebAuthn §4).
const LONGEST_ID: usize = 1023;
/// P-256 keys in COSE (RFC 9053 §7.1): `kty: EC2`, `alg: ES256`, `crv: P-256`.
const COSE: [(i64, i64); 3] = [(1, 2), (3, -7), (-1, 1)];

/// Authenticator data, split into their parts.
#[derive(Clone, Debug)]
pub(super) struct AuthenticatorData<'a> {
    rp_id_hash: [u8; 32],
    pub(super) flags: u8,
    pub(super) counter: u32,
    pub(super) attested: Option<Attested<'a>>,
    /// One CBOR map, or nothing.
    pub(super) extensions: &'a [u8],
}

/// A new key.
#[derive(Clone, Debug)]
pub(super) struct Attested<'a> {
    pub(super) credential: &'a [u8],
    /// P-256, 65 bytes, uncompressed.
    pub(super) point: Vec<u8>,
}

impl<'a> AuthenticatorData<'a> {
    /// Reads all of `bytes`; nothing may be left over.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, WebAuthnError> {
        let short = WebAuthnError::AuthenticatorData("too short");
        if bytes.len() > LONGEST {
            return Err(WebAuthnError::AuthenticatorData("too long"));
        }
        let (rp_id_hash, rest) = bytes.split_first_chunk().ok_or(short)?;
        let (&[flags], rest) = rest.split_first_chunk().ok_or(short)?;
        let (counter, rest) = rest.split_first_chunk().ok_or(short)?;
        let (attested, extensions) = if flags & ATTESTED == 0 {
            (None, rest)
        } else {
            let (attested, rest) = attested(rest)?;
            (Some(attested), rest)
        };
        if (flags & EXTENSIONS == 0) != extensions.is_empty() {
            return Err(WebAuthnError::AuthenticatorData(
                "the flags and the length differ",
            ));
        }
        if !extensions.is_empty() {
            let mut reader = Reader::new(extensions);
            Reader::new(extensions).map()?;
            reader.skip()?;
            if !reader.rest().is_empty() {
                return Err(WebAuthnError::AuthenticatorData(
                    "bytes follow the extensions",
                ));
            }
        }
        Ok(Self {
            rp_id_hash: *rp_id_hash,
            flags,
            counter: u32::from_be_bytes(*counter),
            attested,
            extensions,
        })
    }

    /// Whether it was made for this relying party.
    pub(super) fn is_for(&self, rp_id: &str) -> bool {
        Digest::of(&[rp_id.as_bytes()]).as_bytes() == &self.rp_id_hash
    }

    /// Whether all of these flags are set.
    pub(super) fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// Attested credential data (§6.5.1): 16 bytes that name the model, the credential's id, its key.
fn attested(bytes: &[u8]) -> Result<(Attested<'_>, &[u8]), WebAuthnError> {
    let short = WebAuthnError::AuthenticatorData("too short");
    let (_, rest) = bytes.split_first_chunk::<16>().ok_or(short)?;
    let (length, rest) = rest.split_first_chunk().ok_or(short)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 || length > LONGEST_ID {
        return Err(WebAuthnError::AuthenticatorData(
            "a credential id of no or too many bytes",
        ));
    }
    let (credential, rest) = rest.split_at_checked(length).ok_or(short)?;
    let mut reader = Reader::new(rest);
    let point = cose_key(&mut reader)?;
    Ok((Attested { credential, point }, reader.rest()))
}

/// A COSE key with exactly the five fields of a P-256 key, in their one order.
fn cose_key(reader: &mut Reader<'_>) -> Result<Vec<u8>, WebAuthnError> {
    let other = WebAuthnError::AuthenticatorData("not a P-256 key for ES256");
    if reader.map()? != 5 {
        return Err(other);
    }
    for field in COSE {
        if (reader.integer()?, reader.integer()?) != field {
            return Err(other);
        }
    }
    let mut point = vec![4];
    for label in [-2, -3] {
        if reader.integer()? != label {
            return Err(other);
        }
        let coordinate = reader.bytes()?;
        if coordinate.len() != 32 {
            return Err(other);
        }
        point.extend_from_slice(coordinate);
    }
    Ok(point)
}
