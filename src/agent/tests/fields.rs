//! Attacks that change one field of a signed document.

use super::*;
use ed25519_dalek::SigningKey;
use serde_json::json;

use crate::core::approval::Called;
use crate::core::capability::{Offer, Said};

/// A field, what becomes of it, and what stands against that besides the digest in the verdict.
type Field = (&'static str, fn(&mut Document), Vec<Check>);

fn other() -> String {
    "other".to_owned()
}

/// A capability that nobody has, signed by somebody for the executor that the document names.
fn called(document: &Document) -> Called {
    let contract = json!({
        "name": "other", "description": "other", "effect": "write", "params": [], "columns": null, "counts": true,
        "hints": {"read_only": null, "destructive": null, "idempotent": null, "open_world": null},
        "approval": false, "visible": true, "reviewed": null, "digest": Digest::of(&[b"other"]),
    });
    let said = Said {
        agent: document.executor.clone(),
        target: document.target.clone(),
        bundle: Digest::of(&[b"other"]),
        version: other(),
        contract: serde_json::from_value(contract).unwrap(),
    };
    Called::of(&Offer {
        vouched: said.vouch(&SigningKey::from_bytes(&[9; 32])),
        said,
        withdrawn: None,
        changed: false,
    })
}

fn fields() -> Vec<Field> {
    let backing = |error| vec![Check::Backing(error)];
    let mut all: Vec<Field> = who_and_where();
    all.extend([
        (
            "work",
            (|d: &mut Document| d.work = Digest::of(&[b"other"])) as fn(&mut Document),
            backing(BackingError::Work),
        ),
        (
            "statement",
            |d| d.statement = other(),
            backing(BackingError::Work),
        ),
        (
            "capability",
            |d| d.capability = Some(called(d)),
            backing(BackingError::Capability),
        ),
        ("params", |d| d.params = None, backing(BackingError::Work)),
        (
            "effect",
            |d| d.effect = Effect::Read,
            backing(BackingError::Effect),
        ),
        ("effect", |d| d.effect = Effect::Admin, vec![]),
        ("kind", |d| d.kind = other(), vec![]),
        (
            "because",
            |d| d.because = other(),
            backing(BackingError::Reasons),
        ),
        (
            "reads",
            |d| d.reads.clear(),
            backing(BackingError::Relations),
        ),
        ("reads", |d| d.reads.push(other()), vec![]),
        (
            "writes",
            |d| d.writes.clear(),
            backing(BackingError::Relations),
        ),
        ("writes", |d| d.writes.push(other()), vec![]),
        (
            "limits",
            |d| d.limits.rows -= 1,
            backing(BackingError::Limits),
        ),
        ("limits", |d| d.limits.rows += 1, vec![]),
    ]);
    all.extend(made_and_measured());
    all
}

fn made_and_measured() -> Vec<Field> {
    vec![
        (
            "policy",
            |d| d.policy.workspace = Digest::of(&[b"other"]),
            vec![],
        ),
        (
            "policy",
            |d| d.policy.agent = Digest::of(&[b"other"]),
            vec![],
        ),
        ("preview", |d| d.preview = Some(Digest::of(&[])), vec![]),
        ("nonce", |d| d.nonce = "1".repeat(32), vec![]),
        ("created_ms", |d| d.created_ms -= 1, vec![]),
        ("expires_ms", |d| d.expires_ms += 1, vec![]),
    ]
}

fn who_and_where() -> Vec<Field> {
    let backing = |error| vec![Check::Backing(error)];
    vec![
        (
            "purpose",
            |d| d.purpose = Purpose::BreakGlass,
            vec![
                Check::Document(DocumentError::BreakGlassRequester),
                Check::Backing(BackingError::Purpose),
                Check::Verdict(VerdictError::Purpose),
            ],
        ),
        (
            "workspace",
            |d| d.workspace = other(),
            backing(BackingError::Workspace),
        ),
        (
            "request",
            |d| d.request = RequestId::new(5, [5; 10]),
            vec![
                Check::Backing(BackingError::Request),
                Check::Verdict(VerdictError::Request),
            ],
        ),
        (
            "executor",
            |d| d.executor = AgentId::new(5, [5; 10]),
            backing(BackingError::Executor),
        ),
        (
            "target",
            |d| d.target = other(),
            backing(BackingError::Target),
        ),
        ("engine", |d| d.engine = Engine::Postgres, vec![]),
        (
            "environment",
            |d| d.environment = other(),
            backing(BackingError::Environment),
        ),
        (
            "requester",
            |d| d.requester = Principal::new(PrincipalKind::Ai, "other"),
            backing(BackingError::Requester),
        ),
        ("reason", |d| d.reason = Some(other()), vec![]),
        ("reason", |d| d.reason = None, vec![]),
    ]
}

#[tokio::test]
async fn no_changed_field_of_the_document_passes() {
    for (_, change, mut checks) in fields() {
        checks.push(Check::Verdict(VerdictError::Document));
        let attack = |_: &Rig, order: &mut Order| order.forge(change);
        held_by(PolicySet::agent_default(), attack, &checks).await;
    }
}

#[tokio::test]
async fn a_document_of_another_version_cannot_be_read() {
    let rig = Rig::new(Defences::all()).await;
    let mut order = rig.order();
    order.forge(|document| document.version += 1);
    refused(&rig, &order, &DocumentError::Version.to_string()).await;
}

#[tokio::test]
async fn no_field_is_left_out_of_these_attacks() {
    let rig = Rig::new(Defences::all()).await;
    let document = serde_json::to_value(rig.order().document()).unwrap();
    let there = document.as_object().unwrap().keys().map(String::as_str);
    let tried: BTreeSet<&str> = fields().iter().map(|(name, ..)| *name).collect();
    let mut there: BTreeSet<&str> = there.filter(|name| *name != "version").collect();
    // That of a statement does not have it.
    there.insert("capability");
    assert_eq!(tried, there);
}
