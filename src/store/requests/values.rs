//! Sealed values: what the parameters of a waiting request hold, for nobody who has only the file.
//!
//! `nonce (12 bytes) || ciphertext || tag (16 bytes)` of ChaCha20-Poly1305 (RFC 8439) under the
//! key in `keys/values.key`, with the request id as associated data: values that were put beside
//! another request do not open. The nonce is random; one key makes far fewer than the 2^32 seals
//! that a random 96-bit nonce is good for.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::ids::RequestId;
use crate::core::request::Values;
use crate::store::error::StoreError;
use crate::store::keys::random;
use crate::store::requests::error::Damaged;

/// What values are sealed with.
pub(in crate::store) struct ValuesKey(LessSafeKey);

impl fmt::Debug for ValuesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValuesKey")
    }
}

#[derive(Deserialize, Serialize)]
struct Plain {
    params: Vec<Value>,
    salt: [u8; 16],
}

impl ValuesKey {
    pub(in crate::store) fn new(secret: &[u8; 32]) -> Result<Self, StoreError> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, secret).map_err(|_| broken())?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals the values of a request.
    pub(super) fn seal(&self, request: &RequestId, values: &Values) -> Result<Vec<u8>, StoreError> {
        let plain = Plain {
            params: values.params.clone(),
            salt: values.salt,
        };
        let mut sealed = serde_json::to_vec(&plain).map_err(|_| broken())?;
        let nonce: [u8; NONCE_LEN] = random()?;
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(request.as_str()),
                &mut sealed,
            )
            .map_err(|_| broken())?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for this request.
    pub(super) fn open(&self, request: &RequestId, sealed: &[u8]) -> Result<Values, Damaged> {
        let damaged = || Damaged {
            request: request.to_string(),
            what: "its values were not sealed here for it",
        };
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut rest = rest.to_vec();
        let plain = self
            .0
            .open_in_place(nonce, Aad::from(request.as_str()), &mut rest)
            .map_err(|_| damaged())?;
        let plain: Plain = serde_json::from_slice(plain).map_err(|_| damaged())?;
        Ok(Values {
            params: plain.params,
            salt: plain.salt,
        })
    }
}

/// `ring` says of no failure what it was.
fn broken() -> StoreError {
    StoreError::Io {
        doing: "seal the values of a request".to_owned(),
        why: "the cipher has failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn key(byte: u8) -> ValuesKey {
        ValuesKey::new(&[byte; 32]).unwrap()
    }

    fn id(byte: u8) -> RequestId {
        RequestId::new(1, [byte; 10])
    }

    fn values() -> Values {
        Values {
            params: vec![json!("secret"), json!(-0.0), json!({"b": 1, "a": [null]})],
            salt: [9; 16],
        }
    }

    #[test]
    fn values_open_for_their_request_and_key_and_no_other() {
        let sealed = key(1).seal(&id(1), &values()).unwrap();
        assert_eq!(key(1).open(&id(1), &sealed).unwrap(), values());
        assert!(key(1).open(&id(2), &sealed).is_err());
        assert!(key(2).open(&id(1), &sealed).is_err());
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key(1).open(&id(1), &changed).is_err(), "byte {at}");
            assert!(key(1).open(&id(1), &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn no_two_seals_are_alike_and_nothing_shows_in_a_log() {
        let seal = || key(1).seal(&id(1), &values()).unwrap();
        assert_ne!(seal(), seal());
        assert_eq!(format!("{:?}", values()), "Values(3 of them)");
    }

    proptest! {
        /// The digest of the work is made from the values, so a last bit that is lost is fatal.
        #[test]
        fn every_number_survives_to_the_bit(float in any::<f64>().prop_filter("JSON", |f| f.is_finite()), whole: i64, large: u64) {
            let values = Values { params: vec![json!(float), json!(whole), json!(large)], salt: [0; 16] };
            let sealed = key(1).seal(&id(1), &values).unwrap();
            let opened = key(1).open(&id(1), &sealed).unwrap();
            prop_assert_eq!(opened.params[0].as_f64().unwrap().to_bits(), float.to_bits());
            prop_assert_eq!(opened, values);
        }
    }
}
