//! Public keys as OpenSSH writes them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD};
use ed25519_dalek::VerifyingKey as Ed25519Key;
use p256::ecdsa::VerifyingKey as P256Key;
use serde::{Deserialize, Serialize};

use super::SshSigError;
use super::wire::{Reader, put};
use crate::core::work::Digest;

/// The longest key line that is looked at, in bytes.
const LONGEST_LINE: usize = 1024;
/// The name of the curve in ECDSA keys (RFC 5656 §10.1).
const CURVE: &str = "nistp256";

/// The four kinds of keys that can sign here.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Algorithm {
    /// `ssh-ed25519` (RFC 8709).
    Ed25519,
    /// `ecdsa-sha2-nistp256` (RFC 5656).
    EcdsaP256,
    /// `sk-ssh-ed25519@openssh.com` (PROTOCOL.u2f of OpenSSH).
    SkEd25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com` (PROTOCOL.u2f): hardware keys and passkeys.
    SkEcdsaP256,
}

impl Algorithm {
    const ALL: [Self; 4] = [
        Self::Ed25519,
        Self::EcdsaP256,
        Self::SkEd25519,
        Self::SkEcdsaP256,
    ];

    /// OpenSSH's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// Whether its signatures say if somebody touched the key.
    pub fn signs_presence(self) -> bool {
        matches!(self, Self::SkEd25519 | Self::SkEcdsaP256)
    }

    fn named(name: &str) -> Result<Self, SshSigError> {
        let of_name = |algorithm: &Self| algorithm.as_str() == name;
        Self::ALL
            .into_iter()
            .find(of_name)
            .ok_or(SshSigError::Algorithm)
    }
}

/// The mathematical key, checked to be a point on its curve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Material {
    Ed25519(Ed25519Key),
    P256(P256Key),
}

/// A public key, written as in `authorized_keys` without a comment: `<type> <base64>`.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey {
    pub(super) material: Material,
    /// For `sk-` keys: `ssh:…`, or the relying party id of a passkey.
    pub(super) application: Option<String>,
}

impl PublicKey {
    /// A software key of type `ssh-ed25519`.
    pub fn ed25519(key: Ed25519Key) -> Result<Self, SshSigError> {
        if key.is_weak() {
            return Err(SshSigError::Point);
        }
        Ok(Self {
            material: Material::Ed25519(key),
            application: None,
        })
    }

    /// A passkey of the relying party `rp_id`: a P-256 point in 65 bytes, uncompressed
    /// (SEC 1 §2.3.3).
    pub fn passkey(rp_id: &str, point: &[u8]) -> Result<Self, SshSigError> {
        Ok(Self {
            material: p256(point)?,
            application: Some(application(rp_id)?),
        })
    }

    /// Which of the four kinds it is.
    pub fn algorithm(&self) -> Algorithm {
        match (&self.material, &self.application) {
            (Material::Ed25519(_), None) => Algorithm::Ed25519,
            (Material::P256(_), None) => Algorithm::EcdsaP256,
            (Material::Ed25519(_), Some(_)) => Algorithm::SkEd25519,
            (Material::P256(_), Some(_)) => Algorithm::SkEcdsaP256,
        }
    }

    /// What an `sk-` key is for: `ssh:…`, or the relying party id of a passkey.
    pub fn application(&self) -> Option<&str> {
        self.application.as_deref()
    }

    /// The bytes of the point alone: equal for one key under two names.
    pub fn point(&self) -> Vec<u8> {
        match &self.material {
            Material::Ed25519(key) => key.as_bytes().to_vec(),
            Material::P256(key) => key.to_encoded_point(false).as_bytes().to_vec(),
        }
    }

    /// SHA-256 of the key's blob as OpenSSH writes it: `SHA256:` and 43 characters.
    pub fn fingerprint(&self) -> String {
        let hash = Digest::of(&[&self.to_blob()]);
        format!("SHA256:{}", STANDARD_NO_PAD.encode(hash.as_bytes()))
    }

    /// The key's blob (RFC 4253 §6.6).
    pub fn to_blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        put(&mut blob, self.algorithm().as_str().as_bytes());
        if matches!(self.material, Material::P256(_)) {
            put(&mut blob, CURVE.as_bytes());
        }
        put(&mut blob, &self.point());
        if let Some(application) = &self.application {
            put(&mut blob, application.as_bytes());
        }
        blob
    }

    /// Reads a blob; nothing may follow it.
    pub fn from_blob(blob: &[u8]) -> Result<Self, SshSigError> {
        let mut reader = Reader::new(blob);
        let algorithm = Algorithm::named(reader.text()?)?;
        let material = match algorithm {
            Algorithm::Ed25519 | Algorithm::SkEd25519 => ed25519(reader.string()?)?,
            Algorithm::EcdsaP256 | Algorithm::SkEcdsaP256 => {
                if reader.text()? != CURVE {
                    return Err(SshSigError::Algorithm);
                }
                p256(reader.string()?)?
            }
        };
        let application = if algorithm.signs_presence() {
            Some(application(reader.text()?)?)
        } else {
            None
        };
        reader.end()?;
        Ok(Self {
            material,
            application,
        })
    }

    /// Reads a line of a `.pub` file or of `authorized_keys` without options; a comment after the
    /// key is passed over.
    pub fn from_line(line: &str) -> Result<Self, SshSigError> {
        if line.len() > LONGEST_LINE {
            return Err(SshSigError::TooLong);
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(blob)) = (words.next(), words.next()) else {
            return Err(SshSigError::Malformed("a key is `<type> <base64>`"));
        };
        let algorithm = Algorithm::named(name)?;
        let blob = BASE64.decode(blob).map_err(|_| SshSigError::Base64)?;
        let key = Self::from_blob(&blob)?;
        if key.algorithm() == algorithm {
            Ok(key)
        } else {
            Err(SshSigError::Malformed(
                "the key is of another type than it says",
            ))
        }
    }
}

fn ed25519(point: &[u8]) -> Result<Material, SshSigError> {
    let bytes = point.try_into().map_err(|_| SshSigError::Point)?;
    let key = Ed25519Key::from_bytes(bytes).map_err(|_| SshSigError::Point)?;
    if key.is_weak() {
        return Err(SshSigError::Point);
    }
    Ok(Material::Ed25519(key))
}

fn p256(point: &[u8]) -> Result<Material, SshSigError> {
    if point.len() != 65 {
        return Err(SshSigError::Point);
    }
    let key = P256Key::from_sec1_bytes(point).map_err(|_| SshSigError::Point)?;
    Ok(Material::P256(key))
}

fn application(name: &str) -> Result<String, SshSigError> {
    let good = !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_graphic());
    if good {
        Ok(name.to_owned())
    } else {
        Err(SshSigError::Malformed(
            "an application is 1 to 253 visible ASCII characters",
        ))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = BASE64.encode(self.to_blob());
        write!(f, "{} {blob}", self.algorithm().as_str())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl std::str::FromStr for PublicKey {
    type Err = SshSigError;

    fn from_str(line: &str) -> Result<Self, SshSigError> {
        Self::from_line(line)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = SshSigError;

    fn try_from(line: String) -> Result<Self, SshSigError> {
        Self::from_line(&line)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `ssh-keygen -t ed25519` 9.2.
    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPyavKSZEHxfv1q8f6MPY3pvUoB7Sk9yWcveMfUeOYsv";

    #[test]
    fn a_key_survives_being_read_and_written() {
        let key: PublicKey = format!("{ED25519} ada@laptop\n").parse().unwrap();
        assert_eq!(key.algorithm(), Algorithm::Ed25519);
        assert_eq!(key.to_string(), ED25519);
        assert_eq!(PublicKey::from_blob(&key.to_blob()), Ok(key));
    }

    #[test]
    fn a_type_that_differs_from_the_blob_is_refused() {
        let lie = ED25519.replace("ssh-ed25519 ", "ecdsa-sha2-nistp256 ");
        assert!(lie.parse::<PublicKey>().is_err());
        let unknown = ED25519.replace("ssh-ed25519 ", "ssh-rsa ");
        assert_eq!(unknown.parse::<PublicKey>(), Err(SshSigError::Algorithm));
    }

    #[test]
    fn a_key_of_small_order_is_refused() {
        let mut blob = Vec::new();
        put(&mut blob, b"ssh-ed25519");
        put(&mut blob, &[0; 32]);
        assert_eq!(PublicKey::from_blob(&blob), Err(SshSigError::Point));
    }

    #[test]
    fn a_passkey_is_a_point_on_the_curve() {
        let good = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let mut point = good
            .verifying_key()
            .to_encoded_point(false)
            .as_bytes()
            .to_vec();
        let key = PublicKey::passkey("localhost", &point).unwrap();
        assert_eq!(key.application(), Some("localhost"));
        assert_eq!(PublicKey::from_blob(&key.to_blob()), Ok(key));
        point[64] ^= 1;
        assert_eq!(
            PublicKey::passkey("localhost", &point),
            Err(SshSigError::Point)
        );
        let compressed = good.verifying_key().to_encoded_point(true);
        assert!(PublicKey::passkey("localhost", compressed.as_bytes()).is_err());
    }
}
