//! Signatures of the Standard Webhooks specification, version 1: HMAC-SHA256 over
//! `id.timestamp.body`
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;

/// How a secret begins.
const PREFIX: &str = "whsec_";
/// How many bytes a secret has: the specification's own bounds.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that sender and receiver share.
#[derive(Clone)]
pub struct SigningSecret(hmac::Key);

/// Text that is not a secret. Holds none of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the secret is not `whsec_` and the base64 form of 24 to 64 bytes")]
pub struct NotASecret;

impl SigningSecret {
    /// Reads `whsec_` and base64.
    pub fn parse(text: &str) -> Result<Self, NotASecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(NotASecret)?;
        let bytes = BASE64.decode(encoded).map_err(|_| NotASecret)?;
        if !BYTES.contains(&bytes.len()) {
            return Err(NotASecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The `webhook-signature` of a message; `seconds` is its `webhook-timestamp`.
    pub fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        let signed = format!("{id}.{seconds}.{body}");
        let tag = hmac::sign(&self.0, signed.as_bytes());
        format!("v1,{}", BASE64.encode(tag))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the reference libraries test themselves with.
    #[test]
    fn the_signature_is_that_of_the_reference_libraries() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_read_strictly_and_never_shown() {
        let short = format!("whsec_{}", BASE64.encode([1; 23]));
        let long = format!("whsec_{}", BASE64.encode([1; 65]));
        for bad in [
            "",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_???",
            &short,
            &long,
        ] {
            assert!(SigningSecret::parse(bad).is_err(), "{bad}");
        }
        let good = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert_eq!(format!("{good:?}"), "Ok(SigningSecret)");
    }
}
