//! Approving and rejecting with a passkey: the verdict is written here, signed by the key in the
//! person's hand, and counted by the broker, which verifies it anew.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Serialize};

use crate::broker::{requests, votes};
use crate::core::approval::verdict::LONGEST_COMMENT;
use crate::core::approval::webauthn::{Assertion, challenge};
use crate::core::approval::{APPROVAL, Decision, SignedVerdict, Verdict};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Status;
use crate::core::trust::{KeyKind, SignerKey, TrustFile};
use crate::core::work::Digest;
use crate::web::answer::{json, malformed};
use crate::web::request::{no_values, parse, values_missing};
use crate::web::site::Site;
use crate::web::words;

/// What a person decides on the page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    decision: Decision,
    comment: String,
    signer: Principal,
    /// The digest of the document that the page shows.
    document: Digest,
}

/// What the browser is to have signed.
#[derive(Serialize)]
pub(super) struct ToSign {
    verdict: String,
    challenge: String,
    rp_id: String,
    credentials: Vec<String>,
    user_verification: &'static str,
}

/// What the browser hands over. All binary is base64url.
#[derive(Deserialize)]
pub(super) struct Signed {
    pub(super) verdict: String,
    pub(super) credential: String,
    #[serde(flatten)]
    pub(super) assertion: Handed,
}

/// The parts of `navigator.credentials.get`'s answer.
#[derive(Deserialize)]
pub(super) struct Handed {
    authenticator_data: String,
    client_data: String,
    signature: String,
}

impl Handed {
    pub(super) fn read(&self) -> Result<Assertion, Refusal> {
        Ok(Assertion {
            authenticator_data: binary(&self.authenticator_data)?,
            client_data: binary(&self.client_data)?,
            signature: binary(&self.signature)?,
        })
    }
}

#[derive(Serialize)]
struct Counted {
    status: Status,
    standing: String,
}

/// `POST /requests/ID/verdict`: what to sign.
pub(super) async fn verdict(
    State(site): State<Site>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let written = site.blocking(move |site| {
        let wish: Wish = read(&body)?;
        let shown = requests::show(site.state(), &parse(&id)?)?;
        if shown.request.status() != Status::Pending {
            let sentence = format!("the request is {} by now", shown.request.status());
            return Err(Refusal::new(Code::RequestState, sentence).hint("load the page again"));
        }
        if shown.document.digest() != wish.document {
            let sentence = "the request is not the one that the page shows";
            return Err(Refusal::new(Code::ApprovalRefused, sentence).hint("load the page again"));
        }
        if values_missing(&shown) {
            return Err(no_values());
        }
        let comment = wish.comment.trim();
        if comment.chars().count() > LONGEST_COMMENT {
            let sentence = format!("the comment is longer than {LONGEST_COMMENT} characters");
            return Err(Refusal::new(Code::InvalidArgument, sentence).hint("shorten it"));
        }
        let trust = votes::pinned(site.state())?;
        let verdict = Verdict {
            version: crate::core::approval::verdict::VERSION,
            decision: wish.decision,
            document: wish.document,
            request: shown.document.request,
            signer: wish.signer,
            surface: site.surface(&trust),
            comment: (!comment.is_empty()).then(|| comment.to_owned()),
            at_ms: site.now().unix_ms(),
        };
        let text = (APPROVAL, verdict.to_text());
        to_sign(site, &trust, &verdict.signer, text)
    });
    json(written.await)
}

/// What the browser is to have signed: a text in a namespace, by a passkey of this signer's.
pub(super) fn to_sign(
    site: &Site,
    trust: &TrustFile,
    signer: &Principal,
    (namespace, text): (&str, String),
) -> Result<ToSign, Refusal> {
    let keys = keys_here(trust, signer, &site.origin());
    let Some((rp_id, user_verification)) = common(&keys) else {
        return Err(no_passkey(signer));
    };
    let credentials = keys.iter().map(|(_, credential)| (*credential).to_owned());
    Ok(ToSign {
        challenge: BASE64URL.encode(challenge(namespace, text.as_bytes())),
        verdict: text,
        rp_id,
        credentials: credentials.collect(),
        user_verification,
    })
}

/// `POST /requests/ID/vote`: what was signed.
pub(super) async fn vote(
    State(site): State<Site>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    json(count(&site, &id, &body).await)
}

async fn count(site: &Site, id: &str, body: &Bytes) -> Result<Counted, Refusal> {
    let id = parse(id)?;
    let signed: Signed = read(body)?;
    let packed = site.blocking(move |site| {
        let verdict = Verdict::parse(&signed.verdict).map_err(|_| malformed("the verdict"))?;
        let trust = votes::pinned(site.state())?;
        let keys = keys_here(&trust, &verdict.signer, &site.origin());
        let mut of = keys.iter().filter(|(_, id)| **id == signed.credential);
        let (key, _) = of.next().ok_or_else(|| no_passkey(&verdict.signer))?;
        let assertion = signed.assertion.read()?;
        let packed = assertion.pack(&key.public, APPROVAL);
        let signature = packed.map_err(|error| unusable(&error.to_string()))?;
        Ok(SignedVerdict {
            verdict: signed.verdict,
            signature: signature.armored(),
        })
    });
    let request = votes::cast(site.state(), &id, packed.await?).await?;
    Ok(Counted {
        status: request.status(),
        standing: words::standing(request.state()),
    })
}

/// The passkeys of a signer that may be used on this page, with their credential ids.
pub(super) fn keys_here<'t>(
    trust: &'t TrustFile,
    signer: &Principal,
    origin: &str,
) -> Vec<(&'t SignerKey, &'t str)> {
    let keys = trust.signer(signer).into_iter().flat_map(|s| &s.keys);
    let here = keys.filter(|key| key.allows_origin(origin));
    here.filter_map(|key| match &key.kind {
        KeyKind::Passkey { credential, .. } => Some((key, credential.as_str())),
        KeyKind::Ssh => None,
    })
    .collect()
}

/// What the browser has to be asked for so that any of the keys can answer.
fn common(keys: &[(&SignerKey, &str)]) -> Option<(String, &'static str)> {
    let (first, _) = keys.first()?;
    let rp_id = first.public.application()?.to_owned();
    let verified = keys.iter().any(|(key, _)| key.user_verification);
    Some((rp_id, if verified { "required" } else { "discouraged" }))
}

pub(super) fn no_passkey(signer: &Principal) -> Refusal {
    Refusal::new(
        Code::ApprovalRefused,
        format!("`{signer}` has no passkey for this page in the trust file"),
    )
    .hint("enrol one on the trust page, or sign in a terminal with `secondkey approve`")
}

pub(super) fn unusable(why: &str) -> Refusal {
    Refusal::new(
        Code::ApprovalRefused,
        format!("the passkey's answer was not taken: {why}"),
    )
    .hint("try again")
}

/// JSON of the script.
pub(super) fn read<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| malformed("what the page sent"))
}

pub(super) fn binary(text: &str) -> Result<Vec<u8>, Refusal> {
    BASE64URL
        .decode(text)
        .map_err(|_| malformed("what the browser sent"))
}
