//! Whom this folder trusts, and where a passkey is enrolled.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use crate::core::principal::Principal;
use crate::core::time::Timestamp;
use crate::core::trust::{KeyKind, Purpose, Signer, SignerKey, TrustFile};
use crate::web::answer::{Frame, page};
use crate::web::session::Session;
use crate::web::site::Site;
use crate::web::text::{When, line};
use crate::web::words;

#[derive(Template)]
#[template(path = "trust.html", config = "src/web/askama.toml")]
struct TrustPage {
    frame: Frame,
    /// Why nobody is trusted, if the trust file does not count.
    broken: String,
    pinned: Option<Pinned>,
    person: String,
    origin: String,
}

struct Pinned {
    version: u64,
    digest: String,
    made: When,
    admins: u32,
    signers: Vec<Person>,
}

struct Person {
    name: String,
    you: bool,
    ended: bool,
    groups: Vec<String>,
    purposes: Vec<&'static str>,
    keys: Vec<Key>,
}

struct Key {
    label: String,
    kind: &'static str,
    fingerprint: String,
    presence: &'static str,
    here: bool,
}

/// `GET /trust`
pub(super) async fn show(
    State(site): State<Site>,
    Extension(session): Extension<Session>,
) -> Response {
    let read = site.blocking(Site::trust).await;
    let (pinned, broken) = match read {
        Ok(pinned) => (pinned, String::new()),
        Err(refusal) => (None, line(&refusal.message)),
    };
    let you = site.person(&session);
    page(&TrustPage {
        frame: Frame::new("trust", &session),
        broken,
        pinned: pinned.map(|trust| describe(&site, &trust, &you)),
        person: you.name().to_owned(),
        origin: site.origin(),
    })
}

fn describe(site: &Site, trust: &TrustFile, you: &Principal) -> Pinned {
    Pinned {
        version: trust.version,
        digest: trust.digest().to_string(),
        made: When::new(Timestamp::from_unix_ms(trust.created_ms)),
        admins: trust.admin_quorum,
        signers: trust
            .signers
            .iter()
            .map(|one| person(site, one, you))
            .collect(),
    }
}

fn person(site: &Site, signer: &Signer, you: &Principal) -> Person {
    let purposes = signer.purposes.iter().map(|purpose| match purpose {
        Purpose::Approve => "approves requests",
        Purpose::BreakGlass => "may break the glass",
        Purpose::Trust => "trust admin",
    });
    Person {
        name: line(&signer.name.to_string()),
        you: signer.name == *you,
        ended: signer.has_ended(site.now()) || !signer.has_begun(site.now()),
        groups: signer.groups.iter().map(|group| line(group)).collect(),
        purposes: purposes.collect(),
        keys: signer
            .keys
            .iter()
            .map(|key| describe_key(site, key))
            .collect(),
    }
}

fn describe_key(site: &Site, key: &SignerKey) -> Key {
    Key {
        label: line(&key.label),
        kind: match key.kind {
            KeyKind::Ssh if key.public.algorithm().signs_presence() => "hardware SSH key",
            KeyKind::Ssh => "SSH key",
            KeyKind::Passkey { .. } => "passkey",
        },
        fingerprint: key.public.fingerprint(),
        presence: words::presence(key.presence),
        here: key.allows_origin(&site.origin()),
    }
}
