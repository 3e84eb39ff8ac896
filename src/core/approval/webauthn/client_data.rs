//! Client data: the JSON in which a browser says what it asked an authenticator to sign, and where.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::Value;

use super::WebAuthnError;
use crate::core::exact::read_value;

/// The longest client data that are looked at, in bytes.
const LONGEST: usize = 4096;

/// What the authenticator was asked to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ceremony {
    /// `webauthn.create`: make a key.
    Create,
    /// `webauthn.get`: sign.
    Get,
}

/// Client data (WebAuthn §5.8.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientData {
    /// What was asked; `None` for a type that WebAuthn does not know.
    pub ceremony: Option<Ceremony>,
    /// The challenge, decoded.
    pub challenge: Vec<u8>,
    /// The origin of the page.
    pub origin: String,
    /// Whether the page was inside a page of another site.
    pub cross_origin: bool,
}

impl ClientData {
    /// Reads client data. The first three fields stand in their one order and spelling (§5.8.1.1),
    /// on which `ssh-keygen` insists; more fields may follow, but none twice.
    pub fn read(bytes: &[u8]) -> Result<Self, WebAuthnError> {
        let Ok(Value::Object(fields)) = read_value(bytes, LONGEST) else {
            return Err(WebAuthnError::ClientData(
                "not a JSON object, or a field twice",
            ));
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let (Some(kind), Some(challenge), Some(origin)) =
            (text("type"), text("challenge"), text("origin"))
        else {
            return Err(WebAuthnError::ClientData("a field is missing"));
        };
        let start = format!(
            r#"{{"type":{},"challenge":{},"origin":{}"#,
            quoted(kind),
            quoted(challenge),
            quoted(origin)
        );
        if !bytes.starts_with(start.as_bytes()) {
            return Err(WebAuthnError::ClientData(
                "not in the order of WebAuthn §5.8.1.1",
            ));
        }
        let decoded = BASE64URL
            .decode(challenge)
            .map_err(|_| WebAuthnError::ClientData("the challenge is not base64url"))?;
        let cross_origin = match fields.get("crossOrigin") {
            None | Some(Value::Bool(false)) => fields.contains_key("topOrigin"),
            Some(_) => true,
        };
        Ok(Self {
            ceremony: match kind {
                "webauthn.create" => Some(Ceremony::Create),
                "webauthn.get" => Some(Ceremony::Get),
                _ => None,
            },
            challenge: decoded,
            origin: origin.to_owned(),
            cross_origin,
        })
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
