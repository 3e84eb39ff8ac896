//! What is signed about a request: the document to look at, and verdicts that were made elsewhere.

use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::broker::{requests, votes};
use crate::core::approval::SignedVerdict;
use crate::relay::rest::answer::Done;
use crate::relay::rest::body::{Json, NoBody, NoQuery};
use crate::relay::rest::operation::{Call, May, Operation, blocking};
use crate::relay::rest::problem::Problem;
use crate::relay::rest::requests::{Shown, shown, visible};

/// What a person signs about: everything that they have to see.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "Document")]
struct Laid {
    /// The document's canonical JSON, which is what the digest is of.
    document: String,
    /// SHA-256 of it, which a verdict names.
    digest: String,
    /// The values of the placeholders, checked against the document; gone once the request is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Value>")]
    params: Option<Vec<Value>>,
    /// The salt of the document's commitment to them, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    salt: Option<String>,
}

/// A verdict and its signature.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Verdict")]
struct Signed {
    /// The verdict's canonical JSON.
    verdict: String,
    /// An armored SSHSIG over exactly that text.
    signature: String,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, "/v1/requests/{id}/document"),
            ("requestDocument", "What is signed about a request"),
            May::Come,
            document,
        ),
        Operation::new(
            (Method::POST, "/v1/requests/{id}/verdicts"),
            (
                "requestVerdict",
                "Hand in a signed verdict. Anybody may carry it",
            ),
            May::Come,
            verdict,
        ),
    ]
}

async fn document(call: Call, _: NoQuery, _: NoBody) -> Result<Done<Laid>, Problem> {
    let request = visible(&call, &call.request()?).await?;
    let state = call.broker().state.clone();
    let id = request.id().clone();
    let found = blocking(move || requests::show(&state, &id)).await?;
    let document = &found.request.asked().document;
    let (params, salt) = found.values.map_or((None, None), |values| {
        (Some(values.params), Some(hex::encode(values.salt)))
    });
    Ok(Done(Laid {
        document: document.text().to_owned(),
        digest: document.digest().to_string(),
        params,
        salt,
    }))
}

async fn verdict(
    call: Call,
    _: NoQuery,
    Json(signed): Json<Signed>,
) -> Result<Done<Shown>, Problem> {
    let id = call.request()?;
    let signed = SignedVerdict {
        verdict: signed.verdict,
        signature: signed.signature,
    };
    let request = votes::cast(&call.broker().state, &id, signed).await?;
    Ok(Done(shown(&request)))
}
