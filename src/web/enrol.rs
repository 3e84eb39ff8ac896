//! Enrolling a passkey: the browser makes a key, the key proves that it is held, and what comes out is
//! a proposal. It counts for nothing until a trust admin signs it into the trust file.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Serialize};

use crate::core::approval::ENROL;
use crate::core::approval::webauthn::{Expected, Registration, challenge, register};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::signer::Presence;
use crate::core::time::Timestamp;
use crate::core::trust::fault::is_person;
use crate::core::trust::proposal::VERSION;
use crate::core::trust::{KeyKind, Proposal, SignedProposal, SignerKey};
use crate::core::work::Digest;
use crate::ids::random;
use crate::web::answer::{json, malformed};
use crate::web::session::same;
use crate::web::site::Site;
use crate::web::vote::{Handed, binary, read, unusable};

/// How long making a key may take, in milliseconds.
const TICKET_MS: i64 = 10 * 60 * 1_000;
/// The longest label, in characters.
const LONGEST_LABEL: usize = 60;

/// Whose key it is to be, and what they call it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    name: String,
    label: String,
}

#[derive(Serialize)]
struct ToMake {
    ticket: String,
    challenge: String,
    rp_id: String,
    user_id: String,
    name: String,
    label: String,
}

/// A key that the browser has made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    ticket: String,
    name: String,
    label: String,
    authenticator_data: String,
    client_data: String,
}

#[derive(Serialize)]
struct ToProve {
    proposal: String,
    challenge: String,
    rp_id: String,
    credential: String,
}

/// The proof that the key is held.
#[derive(Deserialize)]
struct Proof {
    proposal: String,
    #[serde(flatten)]
    assertion: Handed,
}

#[derive(Serialize)]
struct Proposed {
    name: String,
    code: String,
    path: String,
    command: String,
    file: String,
}

/// `POST /enrol/begin`
pub(super) async fn begin(State(site): State<Site>, body: Bytes) -> Response {
    json(ticket(&site, &body))
}

fn ticket(site: &Site, body: &Bytes) -> Result<ToMake, Refusal> {
    let wish: Wish = read(body)?;
    let (name, label) = checked(&wish.name, &wish.label)?;
    let until = site.now().plus_ms(TICKET_MS).unix_ms();
    let ticket = format!("{until}.{}", hex::encode(nonce()?));
    Ok(ToMake {
        challenge: BASE64URL.encode(challenge_of(site, &ticket)),
        ticket,
        rp_id: site.address().name().to_owned(),
        // Says to the browser which keys are one person's; nothing else is made of it.
        user_id: BASE64URL.encode(Digest::of(&[name.to_string().as_bytes()]).as_bytes()),
        name: name.name().to_owned(),
        label,
    })
}

/// The challenge of a ticket: nobody else can make one, and nothing has to be kept.
fn challenge_of(site: &Site, ticket: &str) -> Vec<u8> {
    site.sessions().mac("enrol", ticket).into_bytes()
}

fn checked(name: &str, label: &str) -> Result<(Principal, String), Refusal> {
    let name = name.trim();
    let name = name.strip_prefix("human:").unwrap_or(name);
    let principal = Principal::new(PrincipalKind::Human, name);
    if !is_person(&principal) || principal.name() != name {
        let sentence = "a name is 1 to 128 of a-z A-Z 0-9 . _ @ + -";
        return Err(Refusal::new(Code::InvalidArgument, sentence).hint("use your login name"));
    }
    let label: String = label.trim().chars().take(LONGEST_LABEL).collect();
    if label.chars().any(char::is_control) {
        return Err(malformed("the label"));
    }
    Ok((principal, label))
}

/// `POST /enrol/registered`
pub(super) async fn registered(State(site): State<Site>, body: Bytes) -> Response {
    json(propose(&site, &body))
}

fn propose(site: &Site, body: &Bytes) -> Result<ToProve, Refusal> {
    let made: Made = read(body)?;
    let (name, label) = checked(&made.name, &made.label)?;
    let until = made.ticket.split('.').next().and_then(|ms| ms.parse().ok());
    let until = Timestamp::from_unix_ms(until.unwrap_or(0));
    if site.now() >= until {
        let sentence = "making the key took too long";
        return Err(Refusal::new(Code::TrustRefused, sentence).hint("begin again"));
    }
    let origins = BTreeSet::from([site.origin()]);
    let registration = Registration {
        authenticator_data: binary(&made.authenticator_data)?,
        client_data: binary(&made.client_data)?,
    };
    let expected = Expected {
        challenge: &challenge_of(site, &made.ticket),
        rp_id: site.address().name(),
        origins: &origins,
        user_verification: true,
    };
    let key = register(&registration, &expected).map_err(|error| unusable(&error.to_string()))?;
    let credential = BASE64URL.encode(&key.credential);
    let proposal = Proposal {
        version: VERSION,
        name,
        key: SignerKey {
            kind: KeyKind::Passkey {
                rp_id: site.address().name().to_owned(),
                origins,
                credential: credential.clone(),
            },
            public: key.key,
            presence: Presence::Hardware,
            user_verification: true,
            label,
        },
        nonce: hex::encode(nonce()?),
        created_ms: site.now().unix_ms(),
    };
    Ok(ToProve {
        challenge: BASE64URL.encode(challenge(ENROL, &proposal.canonical())),
        proposal: proposal.to_text(),
        rp_id: site.address().name().to_owned(),
        credential,
    })
}

/// `POST /enrol/prove`
pub(super) async fn prove(State(site): State<Site>, body: Bytes) -> Response {
    json(site.blocking(move |site| keep(site, &body)).await)
}

fn keep(site: &Site, body: &Bytes) -> Result<Proposed, Refusal> {
    let proof: Proof = read(body)?;
    let proposal: Proposal =
        serde_json::from_str(&proof.proposal).map_err(|_| malformed("the proposal"))?;
    let packed = proof.assertion.read()?.pack(&proposal.key.public, ENROL);
    let signature = packed.map_err(|error| unusable(&error.to_string()))?;
    let signed = SignedProposal {
        proposal: proof.proposal,
        proof: signature.armored(),
    };
    let proposal = signed.verify()?;
    let KeyKind::Passkey { origins, .. } = &proposal.key.kind else {
        return Err(malformed("the proposal"));
    };
    if !origins.iter().all(|origin| same(origin, &site.origin())) {
        return Err(malformed("the proposal"));
    }
    let code = proposal.short_code();
    // Two strings have no way to fail.
    let file = serde_json::to_string_pretty(&signed).unwrap_or_default() + "\n";
    let path = site.state().keep_proposal(&code, &file)?;
    let path = path.display().to_string();
    Ok(Proposed {
        name: proposal.name.to_string(),
        command: format!("secondkey trust add {path}{}", of_relay(site)),
        path,
        code,
        file,
    })
}

/// What a trust admin says besides where the page is a relay's.
fn of_relay(site: &Site) -> String {
    let origin = site.address().origin();
    if origin.starts_with("http://localhost") {
        return String::new();
    }
    format!(" --relay-page {origin}")
}

fn nonce() -> Result<[u8; 16], Refusal> {
    random().map_err(|error| {
        let sentence = format!("no randomness from the operating system: {error}");
        Refusal::new(Code::Internal, sentence)
    })
}
