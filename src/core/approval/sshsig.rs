//! SSHSIG: detached signatures as `ssh-keygen -Y sign` makes them, the one format of approvals.
//!
//! The formats are OpenSSH's: PROTOCOL.sshsig for the envelope, RFC 4253, 5656 and 8709 for keys and
//! signatures of software, PROTOCOL.u2f for `sk-` keys and for passkeys. Only the hash `sha512` is
//! taken, every length is bounded, and no byte may be left over anywhere. This module says whether
//! the mathematics holds; what the flags and the client data of a key must say is checked by
//! [`super::signature`].

mod armor;
mod key;
mod wire;

use ed25519_dalek::{Signature as Ed25519Signature, Signer as _, SigningKey};
use p256::ecdsa::Signature as P256Signature;
use p256::ecdsa::signature::Verifier as _;
use sha2::{Digest as _, Sha512};

use self::key::Material;
pub use self::key::{Algorithm, PublicKey};
use self::wire::{Reader, put, put_scalar};
use crate::core::work::Digest;

/// The longest blob that is looked at, in bytes.
pub const LONGEST_BLOB: usize = 8 * 1024;
/// The signature type of passkeys (PROTOCOL.u2f).
const WEBAUTHN: &str = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";
const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: u32 = 1;
const HASH: &str = "sha512";

/// Why bytes were not taken for a signature or a key.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum SshSigError {
    /// A kind of key or signature that is not taken here.
    #[error("the key or signature is of a kind that is not accepted here")]
    Algorithm,
    /// Not between the two lines that surround a signature.
    #[error("it is not an armored SSH signature")]
    Armor,
    /// The base64 is broken.
    #[error("its base64 is broken")]
    Base64,
    /// Another hash than SHA-512.
    #[error("it was made with another hash than sha512")]
    Hash,
    /// The signature is of another kind than its key makes.
    #[error("the signature is of another kind than its key makes")]
    Kind,
    /// The bytes break the format.
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    /// The key is not a safe point on its curve.
    #[error("the key is not a point on its curve")]
    Point,
    /// Longer than any signature or key of ours.
    #[error("it is too long")]
    TooLong,
    /// Another version of the format.
    #[error("it is of another version of the format")]
    Version,
}

/// What an authenticator says about itself in each signature: flags and a counter (WebAuthn §6.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Authenticator {
    /// The flags; see [`super::webauthn`].
    pub flags: u8,
    /// How often the key signed, where the authenticator counts.
    pub counter: u32,
}

/// What a browser adds to a passkey's signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientPart {
    /// The origin of the page, as the envelope repeats it.
    pub origin: String,
    /// The client data, JSON (WebAuthn §5.8.1).
    pub client_data: Vec<u8>,
    /// The authenticator's extensions, CBOR; mostly empty.
    pub extensions: Vec<u8>,
}

/// The signature in the envelope, one variant for each kind of signature.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Proof {
    Ed25519(Ed25519Signature),
    Ecdsa(P256Signature),
    SkEd25519(Ed25519Signature, Authenticator),
    SkEcdsa(P256Signature, Authenticator),
    WebAuthn(P256Signature, Authenticator, ClientPart),
}

/// One parsed signature, with the key that it says made it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SshSig {
    key: PublicKey,
    namespace: String,
    proof: Proof,
}

impl SshSig {
    /// Signs with a software key.
    pub fn sign_ed25519(
        key: &SigningKey,
        namespace: &str,
        message: &[u8],
    ) -> Result<Self, SshSigError> {
        Ok(Self {
            key: PublicKey::ed25519(key.verifying_key())?,
            namespace: namespace.to_owned(),
            proof: Proof::Ed25519(key.sign(&signed_data(namespace, message))),
        })
    }

    /// Packs a passkey's signature: 70 to 72 bytes of DER (RFC 3279 §2.2.3).
    pub(super) fn from_passkey(
        key: PublicKey,
        namespace: &str,
        der: &[u8],
        authenticator: Authenticator,
        client: ClientPart,
    ) -> Result<Self, SshSigError> {
        if key.algorithm() != Algorithm::SkEcdsaP256 {
            return Err(SshSigError::Kind);
        }
        let signature = P256Signature::from_der(der)
            .map_err(|_| SshSigError::Malformed("the signature is not DER"))?;
        let sig = Self {
            key,
            namespace: namespace.to_owned(),
            proof: Proof::WebAuthn(signature, authenticator, client),
        };
        // Whatever is packed can be read again.
        Self::from_blob(&sig.to_blob())
    }

    /// Reads the armored form.
    pub fn parse(armored: &str) -> Result<Self, SshSigError> {
        Self::from_blob(&armor::unwrap(armored)?)
    }

    /// Reads the blob without its armor.
    pub fn from_blob(blob: &[u8]) -> Result<Self, SshSigError> {
        if blob.len() > LONGEST_BLOB {
            return Err(SshSigError::TooLong);
        }
        let mut reader = Reader::new(blob);
        if reader.array()? != *MAGIC {
            return Err(SshSigError::Malformed("it does not begin with SSHSIG"));
        }
        if reader.u32()? != VERSION {
            return Err(SshSigError::Version);
        }
        let key = PublicKey::from_blob(reader.string()?)?;
        let namespace = reader.text()?.to_owned();
        if !reader.string()?.is_empty() {
            return Err(SshSigError::Malformed("its reserved field is not empty"));
        }
        if reader.text()? != HASH {
            return Err(SshSigError::Hash);
        }
        let proof = proof(&key, reader.string()?)?;
        reader.end()?;
        Ok(Self {
            key,
            namespace,
            proof,
        })
    }

    /// The blob without its armor.
    pub fn to_blob(&self) -> Vec<u8> {
        let mut blob = MAGIC.to_vec();
        blob.extend_from_slice(&VERSION.to_be_bytes());
        put(&mut blob, &self.key.to_blob());
        put(&mut blob, self.namespace.as_bytes());
        put(&mut blob, b"");
        put(&mut blob, HASH.as_bytes());
        put(&mut blob, &self.proof.to_bytes());
        blob
    }

    /// The armored form, as ssh-keygen writes it.
    pub fn armored(&self) -> String {
        armor::wrap(&self.to_blob())
    }

    /// The key that it says made it. Nothing is proven before [`SshSig::is_over`] holds.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What it says it was made for.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What the authenticator says, for `sk-` keys and passkeys.
    pub fn authenticator(&self) -> Option<Authenticator> {
        match &self.proof {
            Proof::Ed25519(_) | Proof::Ecdsa(_) => None,
            Proof::SkEd25519(_, authenticator)
            | Proof::SkEcdsa(_, authenticator)
            | Proof::WebAuthn(_, authenticator, _) => Some(*authenticator),
        }
    }

    /// What the browser says, for passkeys.
    pub fn client(&self) -> Option<&ClientPart> {
        match &self.proof {
            Proof::WebAuthn(_, _, client) => Some(client),
            Proof::Ed25519(_) | Proof::Ecdsa(_) | Proof::SkEd25519(..) | Proof::SkEcdsa(..) => None,
        }
    }

    /// Whether its key made it over `data`, which is what [`signed_data`] gives.
    ///
    /// For a passkey this says only that the key signed the client data; that the client data holds
    /// `data` as its challenge is for [`super::signature`] to check.
    pub fn is_over(&self, data: &[u8]) -> bool {
        let application = self.key.application().unwrap_or_default().as_bytes();
        let attested = |authenticator: &Authenticator, extensions: &[u8], signed: &[u8]| {
            let mut bytes = Digest::of(&[application]).as_bytes().to_vec();
            bytes.push(authenticator.flags);
            bytes.extend_from_slice(&authenticator.counter.to_be_bytes());
            bytes.extend_from_slice(extensions);
            bytes.extend_from_slice(Digest::of(&[signed]).as_bytes());
            bytes
        };
        match (&self.proof, &self.key.material) {
            (Proof::Ed25519(signature), Material::Ed25519(key)) => {
                key.verify_strict(data, signature).is_ok()
            }
            (Proof::Ecdsa(signature), Material::P256(key)) => key.verify(data, signature).is_ok(),
            (Proof::SkEd25519(signature, authenticator), Material::Ed25519(key)) => key
                .verify_strict(&attested(authenticator, b"", data), signature)
                .is_ok(),
            (Proof::SkEcdsa(signature, authenticator), Material::P256(key)) => key
                .verify(&attested(authenticator, b"", data), signature)
                .is_ok(),
            (Proof::WebAuthn(signature, authenticator, client), Material::P256(key)) => {
                let bytes = attested(authenticator, &client.extensions, &client.client_data);
                key.verify(&bytes, signature).is_ok()
            }
            (
                Proof::Ed25519(_)
                | Proof::Ecdsa(_)
                | Proof::SkEd25519(..)
                | Proof::SkEcdsa(..)
                | Proof::WebAuthn(..),
                Material::Ed25519(_) | Material::P256(_),
            ) => false,
        }
    }
}

/// What an SSHSIG signs (PROTOCOL.sshsig): the namespace and SHA-512 of the message. For a passkey
/// these bytes are the challenge.
pub fn signed_data(namespace: &str, message: &[u8]) -> Vec<u8> {
    let mut data = MAGIC.to_vec();
    put(&mut data, namespace.as_bytes());
    put(&mut data, b"");
    put(&mut data, HASH.as_bytes());
    put(&mut data, &Sha512::digest(message));
    data
}

/// Reads the signature itself, which must be of a kind that `key` makes.
fn proof(key: &PublicKey, bytes: &[u8]) -> Result<Proof, SshSigError> {
    let mut reader = Reader::new(bytes);
    let kind = reader.text()?;
    let proof = match (key.algorithm(), kind) {
        (Algorithm::Ed25519, "ssh-ed25519") => Proof::Ed25519(ed25519(&mut reader)?),
        (Algorithm::EcdsaP256, "ecdsa-sha2-nistp256") => Proof::Ecdsa(ecdsa(&mut reader)?),
        (Algorithm::SkEd25519, "sk-ssh-ed25519@openssh.com") => {
            Proof::SkEd25519(ed25519(&mut reader)?, authenticator(&mut reader)?)
        }
        (Algorithm::SkEcdsaP256, "sk-ecdsa-sha2-nistp256@openssh.com") => {
            Proof::SkEcdsa(ecdsa(&mut reader)?, authenticator(&mut reader)?)
        }
        (Algorithm::SkEcdsaP256, WEBAUTHN) => Proof::WebAuthn(
            ecdsa(&mut reader)?,
            authenticator(&mut reader)?,
            ClientPart {
                origin: reader.text()?.to_owned(),
                client_data: reader.string()?.to_vec(),
                extensions: reader.string()?.to_vec(),
            },
        ),
        _ => return Err(SshSigError::Kind),
    };
    reader.end()?;
    Ok(proof)
}

fn ed25519(reader: &mut Reader<'_>) -> Result<Ed25519Signature, SshSigError> {
    Ed25519Signature::from_slice(reader.string()?)
        .map_err(|_| SshSigError::Malformed("an Ed25519 signature has 64 bytes"))
}

fn ecdsa(reader: &mut Reader<'_>) -> Result<P256Signature, SshSigError> {
    let mut inner = Reader::new(reader.string()?);
    let (r, s) = (inner.scalar()?, inner.scalar()?);
    inner.end()?;
    P256Signature::from_scalars(r, s)
        .map_err(|_| SshSigError::Malformed("a number in the signature is zero or too large"))
}

fn authenticator(reader: &mut Reader<'_>) -> Result<Authenticator, SshSigError> {
    Ok(Authenticator {
        flags: reader.byte()?,
        counter: reader.u32()?,
    })
}

impl Proof {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Ed25519(signature) => {
                put(&mut out, Algorithm::Ed25519.as_str().as_bytes());
                put(&mut out, &signature.to_bytes());
            }
            Self::Ecdsa(signature) => {
                put(&mut out, Algorithm::EcdsaP256.as_str().as_bytes());
                put_ecdsa(&mut out, signature);
            }
            Self::SkEd25519(signature, authenticator) => {
                put(&mut out, Algorithm::SkEd25519.as_str().as_bytes());
                put(&mut out, &signature.to_bytes());
                put_authenticator(&mut out, *authenticator);
            }
            Self::SkEcdsa(signature, authenticator) => {
                put(&mut out, Algorithm::SkEcdsaP256.as_str().as_bytes());
                put_ecdsa(&mut out, signature);
                put_authenticator(&mut out, *authenticator);
            }
            Self::WebAuthn(signature, authenticator, client) => {
                put(&mut out, WEBAUTHN.as_bytes());
                put_ecdsa(&mut out, signature);
                put_authenticator(&mut out, *authenticator);
                put(&mut out, client.origin.as_bytes());
                put(&mut out, &client.client_data);
                put(&mut out, &client.extensions);
            }
        }
        out
    }
}

fn put_ecdsa(out: &mut Vec<u8>, signature: &P256Signature) {
    let (r, s) = signature.split_bytes();
    let mut numbers = Vec::new();
    put_scalar(&mut numbers, &r);
    put_scalar(&mut numbers, &s);
    put(out, &numbers);
}

fn put_authenticator(out: &mut Vec<u8>, authenticator: Authenticator) {
    out.push(authenticator.flags);
    out.extend_from_slice(&authenticator.counter.to_be_bytes());
}

#[cfg(test)]
mod tests;
