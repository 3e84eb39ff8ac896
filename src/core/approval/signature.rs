//! Whether a signature counts: made by this key, for this use, over these bytes, with somebody there.
//!
//! The mathematics is [`super::sshsig`]'s; here is everything that stock `ssh-keygen -Y verify` does not
//! look at. Verdicts, trust files and proposals are all checked by [`check_signature`].

use crate::core::approval::sshsig::{SshSig, signed_data};
use crate::core::approval::webauthn::{Ceremony, ClientData, USER_PRESENT, USER_VERIFIED};
use crate::core::checks::Checks;
use crate::core::signer::Presence;
use crate::core::trust::{KeyKind, SignerKey};

/// Why a signature does not count. Each names the check that failed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum SignatureError {
    /// The passkey answered another challenge.
    #[error("the passkey signed something else")]
    Challenge,
    /// The client data of the passkey cannot be read.
    #[error("the passkey's client data are malformed")]
    ClientData,
    /// The passkey was used inside a page of another site.
    #[error("the passkey was used inside a page of another site")]
    CrossOrigin,
    /// The passkey was used to register, not to sign.
    #[error("the passkey was not asked to sign")]
    Ceremony,
    /// A passkey's key without a browser, or an SSH key with one.
    #[error("the key is used in another way than the trust file says")]
    Kind,
    /// Made for another use.
    #[error("the signature was made for another use")]
    Namespace,
    /// The passkey was used on a page that is not in its list.
    #[error("the passkey was used on a page that is not in its list")]
    Origin,
    /// The key says that nobody touched it.
    #[error("the key says that nobody touched it")]
    Presence,
    /// Another key, or other bytes.
    #[error("the signature does not match")]
    Signature,
    /// The key says that it did not find out who touched it.
    #[error("the key did not verify who touched it")]
    Verification,
}

/// Checks one signature by `key` over `message`. That `key` is the key which the signature names is
/// for the caller to see to: it looked `key` up by that name.
pub fn check_signature<E>(
    checks: &Checks<E>,
    sig: &SshSig,
    key: &SignerKey,
    namespace: &str,
    message: &[u8],
) -> Result<(), E>
where
    E: Clone + Ord + From<SignatureError>,
{
    checks.demand(sig.namespace() == namespace, SignatureError::Namespace)?;
    let by_passkey = matches!(key.kind, KeyKind::Passkey { .. });
    checks.demand(sig.client().is_some() == by_passkey, SignatureError::Kind)?;
    let data = signed_data(sig.namespace(), message);
    checks.demand(sig.is_over(&data), SignatureError::Signature)?;
    check_flags(checks, sig, key)?;
    check_client(checks, sig, key, &data)
}

/// What the authenticator says: somebody touched it, and where asked, it knows who.
fn check_flags<E>(checks: &Checks<E>, sig: &SshSig, key: &SignerKey) -> Result<(), E>
where
    E: Clone + Ord + From<SignatureError>,
{
    let flags = sig.authenticator().map(|authenticator| authenticator.flags);
    let set = |flag: u8| flags.is_some_and(|flags| flags & flag == flag);
    let silent = flags.is_none() && key.presence != Presence::Hardware;
    checks.demand(silent || set(USER_PRESENT), SignatureError::Presence)?;
    let verified = !key.user_verification || set(USER_VERIFIED);
    checks.demand(verified, SignatureError::Verification)
}

/// What the browser says, for passkeys: asked to sign exactly `data`, on a page of the key's list.
fn check_client<E>(checks: &Checks<E>, sig: &SshSig, key: &SignerKey, data: &[u8]) -> Result<(), E>
where
    E: Clone + Ord + From<SignatureError>,
{
    let Some(part) = sig.client() else {
        return Ok(());
    };
    let client = ClientData::read(&part.client_data).map_err(|_| SignatureError::ClientData)?;
    let signing = client.ceremony == Some(Ceremony::Get);
    checks.demand(signing, SignatureError::Ceremony)?;
    checks.demand(client.challenge == data, SignatureError::Challenge)?;
    // The envelope repeats the origin outside the signature.
    let same = client.origin == part.origin;
    checks.demand(
        same && key.allows_origin(&part.origin),
        SignatureError::Origin,
    )?;
    checks.demand(!client.cross_origin, SignatureError::CrossOrigin)
}
