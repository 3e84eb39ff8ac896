//! Registration: what `navigator.credentials.create` hands over becomes a public key.
//!
//! With attestation `none`, which is all that is asked for, a registration is not signed by anything
//! that could be trusted: it carries a key, and the first assertion of that key proves it.

use std::collections::BTreeSet;

use super::authenticator_data::AuthenticatorData;
use super::client_data::{Ceremony, ClientData};
use super::{USER_PRESENT, USER_VERIFIED, WebAuthnError};
use crate::core::approval::sshsig::PublicKey;

/// What `navigator.credentials.create` hands over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registration {
    /// `response.getAuthenticatorData()`.
    pub authenticator_data: Vec<u8>,
    /// `response.clientDataJSON`.
    pub client_data: Vec<u8>,
}

/// What a registration has to answer.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The challenge that the page was given.
    pub challenge: &'a [u8],
    /// The relying party.
    pub rp_id: &'a str,
    /// The origins, exactly, on which the page may have been.
    pub origins: &'a BTreeSet<String>,
    /// Whether the key has to find out who touches it.
    pub user_verification: bool,
}

/// A new passkey.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registered {
    /// The public key, as OpenSSH writes it.
    pub key: PublicKey,
    /// The credential's id, by which browsers find the key again.
    pub credential: Vec<u8>,
    /// The origin of the page that it was made on.
    pub origin: String,
}

/// Reads a registration and checks it (WebAuthn §7.1, as far as attestation `none` goes).
pub fn register(
    registration: &Registration,
    expected: &Expected<'_>,
) -> Result<Registered, WebAuthnError> {
    let client = ClientData::read(&registration.client_data)?;
    let data = AuthenticatorData::read(&registration.authenticator_data)?;
    if client.ceremony != Some(Ceremony::Create) {
        return Err(WebAuthnError::Type);
    }
    if client.challenge != expected.challenge {
        return Err(WebAuthnError::Challenge);
    }
    if !expected.origins.contains(&client.origin) {
        return Err(WebAuthnError::Origin);
    }
    if client.cross_origin {
        return Err(WebAuthnError::CrossOrigin);
    }
    if !data.is_for(expected.rp_id) {
        return Err(WebAuthnError::RelyingParty);
    }
    if !data.has(USER_PRESENT) {
        return Err(WebAuthnError::Presence);
    }
    if expected.user_verification && !data.has(USER_VERIFIED) {
        return Err(WebAuthnError::Verification);
    }
    let attested = data
        .attested
        .ok_or(WebAuthnError::AuthenticatorData("no key is attached"))?;
    Ok(Registered {
        key: PublicKey::passkey(expected.rp_id, &attested.point)?,
        credential: attested.credential.to_vec(),
        origin: client.origin,
    })
}
