//! Sessions: a signed cookie that says until when a browser may read, and at a relay who sits in front of it.
//!
//! `expiry.nonce.visitor.mac`, where the mac is HMAC-SHA256 under a secret of the state folder. Nothing is
//! kept, so a session goes on when another process takes the page over. A cookie knows no ports: any
//! server on this machine that the same browser visits at `localhost` is sent it. That is why a
//! session can only read, and why every change needs a token that is not in the cookie.

use ring::hmac;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::core::level::Level;
use crate::core::principal::Principal;
use crate::core::time::Timestamp;

/// How long a session lasts, in milliseconds: 12 hours.
pub(super) const SESSION_MS: i64 = 12 * 60 * 60 * 1_000;

/// Makes and checks sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    key: hmac::Key,
    cookie: String,
    level: Option<Level>,
}

/// Who sits in front of a browser, where that is known: at a relay.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Visitor {
    /// The workspace that they are of.
    pub workspace: String,
    /// Who they are.
    pub principal: Principal,
    /// The id of the API key by which they came. Where it does not count any more, neither do they.
    pub key: String,
}

impl Visitor {
    /// As text that fits into a cookie and a file.
    pub(super) fn written(&self) -> String {
        // A structure of ours with string keys has no way to fail.
        hex::encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_slice(&hex::decode(text).ok()?).ok()
    }
}

/// A session that was checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Session {
    /// What a request that changes something has to carry.
    pub(super) token: String,
    /// What the set-up holds against, for the foot of each page; at a relay that is for each agent to say.
    pub(super) level: Option<Level>,
    /// Who it is, at a relay.
    pub(super) visitor: Option<Visitor>,
}

impl Sessions {
    pub(super) fn new(secret: &[u8; 32], cookie: String, level: Option<Level>) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            cookie,
            level,
        }
    }

    /// The name of the cookie.
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// A new session's cookie value.
    pub(super) fn open(
        &self,
        now: Timestamp,
        nonce: [u8; 16],
        visitor: Option<&Visitor>,
    ) -> String {
        let plain = format!(
            "{}.{}.{}",
            now.plus_ms(SESSION_MS).unix_ms(),
            hex::encode(nonce),
            visitor.map(Visitor::written).unwrap_or_default()
        );
        let mac = self.mac("session", &plain);
        format!("{plain}.{mac}")
    }

    /// The session of a `Cookie` header, if one in it is good.
    pub(super) fn find(&self, cookies: &str, now: Timestamp) -> Option<Session> {
        let mut ours = self.values(cookies);
        ours.find_map(|value| self.check(value, now))
    }

    /// The workspace that a `Cookie` header is about. Nothing about it is proven.
    pub(super) fn claimed(&self, cookies: &str) -> Option<String> {
        let visitor = |value: &str| Visitor::read(value.split('.').nth(2)?);
        self.values(cookies)
            .find_map(|value| Some(visitor(value)?.workspace))
    }

    fn values<'c>(&'c self, cookies: &'c str) -> impl Iterator<Item = &'c str> {
        let named = cookies
            .split(';')
            .filter_map(|one| one.trim().split_once('='));
        named.filter_map(|(name, value)| (name == self.cookie).then_some(value))
    }

    fn check(&self, value: &str, now: Timestamp) -> Option<Session> {
        let (plain, mac) = value.rsplit_once('.')?;
        let good = same(mac, &self.mac("session", plain));
        let mut parts = plain.split('.');
        let (expiry, _, visitor) = (parts.next()?, parts.next()?, parts.next()?);
        let expiry = Timestamp::from_unix_ms(expiry.parse().ok()?);
        (good && now < expiry).then(|| Session {
            token: self.mac("token", value),
            level: self.level,
            visitor: Visitor::read(visitor),
        })
    }

    /// A code over text of ours, for one use, by which it is known again.
    pub(super) fn mac(&self, usage: &str, text: &str) -> String {
        let mac = hmac::sign(&self.key, format!("{usage}\n{text}").as_bytes());
        hex::encode(mac)
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

    fn sessions(secret: u8, port: u16) -> Sessions {
        Sessions::new(
            &[secret; 32],
            format!("secondkey_{port}"),
            Some(Level::Guarded),
        )
    }

    #[test]
    fn a_session_is_found_until_it_ends() {
        let ours = sessions(1, 7321);
        let cookies = format!(
            "theme=dark; secondkey_7321={}",
            ours.open(NOW, [7; 16], None)
        );
        assert!(ours.find(&cookies, NOW).is_some());
        let end = NOW.plus_ms(SESSION_MS);
        assert!(ours.find(&cookies, end.plus_ms(-1)).is_some());
        assert_eq!(ours.find(&cookies, end), None);
    }

    #[test]
    fn nothing_else_opens_a_session() {
        let ours = sessions(1, 7321);
        let good = ours.open(NOW, [7; 16], None);
        let found = |value: &str| ours.find(&format!("secondkey_7321={value}"), NOW);
        assert!(found(&good).is_some());
        for at in 0..good.len() {
            let mut changed = good.clone().into_bytes();
            changed[at] ^= 1;
            assert_eq!(
                found(&String::from_utf8(changed).unwrap()),
                None,
                "byte {at}"
            );
            assert_eq!(found(good.get(..at).unwrap()), None, "cut at {at}");
        }
        assert_eq!(found(&sessions(2, 7321).open(NOW, [7; 16], None)), None);
        assert_eq!(ours.find(&format!("secondkey_80={good}"), NOW), None);
        let token = ours.mac("token", &good);
        assert_eq!(found(&format!("9999999999999.00.{token}")), None);
    }

    #[test]
    fn a_session_says_who_it_is_and_nobody_else_can_say_it() {
        let ours = sessions(1, 7321);
        let ada = Visitor {
            workspace: "local".into(),
            principal: Principal::try_from("human:ada".to_owned()).unwrap(),
            key: "0123456789ab".into(),
        };
        let cookie = format!("secondkey_7321={}", ours.open(NOW, [7; 16], Some(&ada)));
        assert_eq!(ours.claimed(&cookie).as_deref(), Some("local"));
        assert_eq!(ours.find(&cookie, NOW).unwrap().visitor, Some(ada.clone()));
        let eve = Visitor {
            principal: Principal::try_from("human:eve".to_owned()).unwrap(),
            ..ada.clone()
        };
        let forged = cookie.replace(&ada.written(), &eve.written());
        assert_ne!(forged, cookie);
        assert_eq!(ours.find(&forged, NOW), None);
    }

    #[test]
    fn a_token_belongs_to_one_session() {
        let ours = sessions(1, 7321);
        let token = |nonce| {
            let cookie = format!("secondkey_7321={}", ours.open(NOW, [nonce; 16], None));
            ours.find(&cookie, NOW).unwrap().token
        };
        assert_eq!(token(1), token(1));
        assert_ne!(token(1), token(2));
    }
}
