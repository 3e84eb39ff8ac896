//! Passkeys: what a browser hands over (WebAuthn Level 3), read strictly, packed as an SSHSIG.
//!
//! The challenge of an assertion is what the SSHSIG signs ([`signed_data`]), so the assertion itself
//! becomes the signature (PROTOCOL.u2f of OpenSSH) and stock `ssh-keygen -Y verify` can check it.

mod authenticator_data;
mod cbor;
mod client_data;
mod registration;

use url::Url;

pub use self::client_data::{Ceremony, ClientData};
pub use self::registration::{Expected, Registered, Registration, register};

use self::authenticator_data::AuthenticatorData;
use crate::core::approval::sshsig::{
    Authenticator, ClientPart, PublicKey, SshSig, SshSigError, signed_data,
};

/// Flag: somebody touched the authenticator (WebAuthn §6.1, bit 0).
pub const USER_PRESENT: u8 = 0x01;
/// Flag: the authenticator knows who it was, by PIN or body (bit 2).
pub const USER_VERIFIED: u8 = 0x04;
/// Flag: a new key is attached (bit 6). Never in an assertion.
pub const ATTESTED: u8 = 0x40;
/// Flag: extensions are attached (bit 7).
pub const EXTENSIONS: u8 = 0x80;

/// Why what a browser handed over was not taken.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum WebAuthnError {
    /// The authenticator data break their format.
    #[error("the authenticator data are malformed: {0}")]
    AuthenticatorData(&'static str),
    /// The client data break their format.
    #[error("the client data are malformed: {0}")]
    ClientData(&'static str),
    /// Made for another challenge.
    #[error("it answers another challenge")]
    Challenge,
    /// Made within a frame of another site.
    #[error("it was made inside a page of another site")]
    CrossOrigin,
    /// Made on a page that the key may not be used on.
    #[error("it was made on a page that this key may not be used on")]
    Origin,
    /// Nobody touched the key.
    #[error("nobody touched the key")]
    Presence,
    /// Made for another relying party.
    #[error("it was made for another relying party")]
    RelyingParty,
    /// The signature or key breaks its format.
    #[error("the passkey's signature or key: {0}")]
    Signature(#[from] SshSigError),
    /// A registration where an assertion was asked for, or the other way round.
    #[error("it is the answer of another ceremony")]
    Type,
    /// The key did not find out who touched it.
    #[error("the key did not verify who touched it")]
    Verification,
}

/// What `navigator.credentials.get` hands over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assertion {
    /// `response.authenticatorData`.
    pub authenticator_data: Vec<u8>,
    /// `response.clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `response.signature`, DER.
    pub signature: Vec<u8>,
}

impl Assertion {
    /// Packs it as a signature by `key` in `namespace`. This reads the parts and holds the relying
    /// party against the key; whether the signature is good is for the verifier to say.
    pub fn pack(&self, key: &PublicKey, namespace: &str) -> Result<SshSig, WebAuthnError> {
        let data = AuthenticatorData::read(&self.authenticator_data)?;
        if !data.is_for(key.application().unwrap_or_default()) {
            return Err(WebAuthnError::RelyingParty);
        }
        if data.attested.is_some() {
            return Err(WebAuthnError::AuthenticatorData("a key is attached"));
        }
        let client = ClientPart {
            origin: ClientData::read(&self.client_data)?.origin,
            client_data: self.client_data.clone(),
            extensions: data.extensions.to_vec(),
        };
        let authenticator = Authenticator {
            flags: data.flags,
            counter: data.counter,
        };
        Ok(SshSig::from_passkey(
            key.clone(),
            namespace,
            &self.signature,
            authenticator,
            client,
        )?)
    }
}

/// The challenge that a page asks a passkey to sign, so that the answer can be packed.
pub fn challenge(namespace: &str, message: &[u8]) -> Vec<u8> {
    signed_data(namespace, message)
}

/// Whether text is an origin that passkeys work on: `https://host[:port]`, or `http://localhost[:port]`,
/// written as browsers write it.
pub fn is_origin(text: &str) -> bool {
    // `Url` lets quotes through, which end the origin in client data.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":/.-[]".contains(&b);
    text.bytes().all(plain)
        && Url::parse(text).is_ok_and(|url| {
            let secure = url.scheme() == "https"
                || (url.scheme() == "http" && url.host_str() == Some("localhost"));
            secure && url.origin().ascii_serialization() == text
        })
}

/// Whether a page at `origin` may use keys of the relying party `rp_id`: its host, or a domain above
/// it (WebAuthn §5.1.3). Whether that domain is a public suffix is the browser's to know.
pub fn is_within(origin: &str, rp_id: &str) -> bool {
    let Some(host) = Url::parse(origin)
        .ok()
        .and_then(|url| url.domain().map(str::to_owned))
    else {
        return false;
    };
    let above = || {
        host.strip_suffix(rp_id)
            .is_some_and(|front| front.ends_with('.'))
    };
    !rp_id.is_empty() && (host == rp_id || above())
}

#[cfg(test)]
mod tests;
