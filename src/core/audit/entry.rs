//! Entries: drafts with a place, sealed into the chain; and what a store gives back.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::core::audit::VERSION;
use crate::core::audit::draft::Draft;
use crate::core::ids::RequestId;
use crate::core::time::Timestamp;
use crate::core::work::{Digest, canonical_json};

/// A draft in its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its place, from 1.
    pub sequence: u64,
    /// The canonical bytes.
    pub body: String,
    /// SHA-256(0x00 || body).
    pub leaf: Digest,
    /// SHA-256(previous link || leaf).
    pub link: Digest,
}

impl Entry {
    /// Seals a draft behind the entry whose link is `previous`.
    pub fn seal(workspace: &str, sequence: u64, previous: &Digest, draft: &Draft) -> Self {
        let body = Written {
            at: draft.at,
            facts: draft.facts(),
            kind: draft.kind.as_str(),
            principal: draft.principal.as_ref().map(ToString::to_string),
            request: draft.request.as_ref().map(RequestId::as_str),
            sequence,
            target: draft.target.as_deref(),
            version: VERSION,
            workspace,
        };
        // Canonical JSON is UTF-8 by definition.
        let body = String::from_utf8(canonical_json(&body)).unwrap_or_default();
        let leaf = leaf(body.as_bytes());
        let link = link(previous, &leaf);
        Self {
            sequence,
            body,
            leaf,
            link,
        }
    }
}

/// The leaf of a body.
pub fn leaf(body: &[u8]) -> Digest {
    Digest::of(&[&[0], body])
}

/// The link that `leaf` makes behind the link `previous`.
pub fn link(previous: &Digest, leaf: &Digest) -> Digest {
    Digest::of(&[previous.as_bytes(), leaf.as_bytes()])
}

/// An entry as a store or an export gives it back: nothing about it is proven yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    /// Its place.
    pub sequence: u64,
    /// The canonical bytes, unless they were removed.
    pub body: Option<Vec<u8>>,
    /// The digest of the body.
    pub leaf: Digest,
    /// The link to all before it.
    pub link: Digest,
}

impl From<Entry> for Stored {
    fn from(entry: Entry) -> Self {
        Self {
            sequence: entry.sequence,
            body: Some(entry.body.into_bytes()),
            leaf: entry.leaf,
            link: entry.link,
        }
    }
}

impl Stored {
    /// What the body says, where there is one.
    pub fn content(&self) -> Content {
        match &self.body {
            None => Content::Removed,
            Some(body) => match serde_json::from_slice(body) {
                Ok(body) => Content::Present(body),
                Err(_) => Content::Unreadable,
            },
        }
    }
}

/// What can be read of an entry.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "almost every entry has its body")]
pub enum Content {
    /// The body.
    Present(Body),
    /// The body was removed; leaf and link are still there.
    Removed,
    /// The body is not what this program writes.
    Unreadable,
}

/// A body as it is read back. The kind is text, because a newer version may know more kinds.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Body {
    /// When it happened, unix milliseconds in the file.
    pub at: Timestamp,
    /// Everything else that is known.
    pub facts: Map<String, Value>,
    /// What happened.
    pub kind: String,
    /// Who did it.
    pub principal: Option<String>,
    /// The request it belongs to.
    pub request: Option<String>,
    /// Its place.
    pub sequence: u64,
    /// The target it is about.
    pub target: Option<String>,
    /// The version of the format.
    pub version: u8,
    /// The workspace whose log it is in.
    pub workspace: String,
}

#[derive(Serialize)]
struct Written<'a> {
    at: Timestamp,
    facts: &'a Map<String, Value>,
    kind: &'a str,
    principal: Option<String>,
    request: Option<&'a str>,
    sequence: u64,
    target: Option<&'a str>,
    version: u8,
    workspace: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::audit::first_link;
    use crate::core::audit::kind::EventKind;
    use crate::core::principal::{Principal, PrincipalKind};

    #[test]
    fn the_format_is_fixed() {
        let draft = Draft::new(
            Timestamp::from_unix_ms(1_700_000_000_123),
            EventKind::RequestRefused,
        )
        .by(&Principal::new(PrincipalKind::Ai, "ada/claude-code"))
        .request(&RequestId::new(1_700_000_000_000, [7; 10]))
        .target("shop\n")
        .rows(u64::MAX)
        .elapsed_ms(12);
        let entry = Entry::seal("local", 7, &first_link("local"), &draft);
        assert_eq!(
            entry.body,
            concat!(
                r#"{"at":1700000000123,"facts":{"elapsed_ms":12,"rows":"18446744073709551615"},"#,
                r#""kind":"request.refused","principal":"ai:ada/claude-code","#,
                r#""request":"req_018bcfe5680077078707070707070707","sequence":7,"target":"shop?","#,
                r#""version":1,"workspace":"local"}"#,
            )
        );
        assert_eq!(entry.leaf, Digest::of(&[b"\0", entry.body.as_bytes()]));
        let before = Digest::of(&[b"secondkey/audit/local"]);
        let link = Digest::of(&[before.as_bytes(), entry.leaf.as_bytes()]);
        assert_eq!(entry.link, link);
    }

    #[test]
    fn what_was_written_is_read_back() {
        let draft = Draft::new(Timestamp::from_unix_ms(5), EventKind::ServerStarted)
            .text("version", "1.2.3");
        let stored = Stored::from(Entry::seal("w", 1, &first_link("w"), &draft));
        let Content::Present(body) = stored.content() else {
            panic!("the body is there")
        };
        assert_eq!(body.at, draft.at);
        assert_eq!(body.kind, "server.started");
        assert_eq!(&body.facts, draft.facts());
        assert_eq!(
            (body.principal, body.request, body.target),
            (None, None, None)
        );
    }
}
