//! What a person reads before they sign.

use insta::assert_snapshot;
use serde_json::json;

use super::*;
use crate::core::approval::{ParamsSeal, PolicyDigests};
use crate::core::engine::Engine;
use crate::core::ids::{AgentId, RequestId};
use crate::core::limits::Limits;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::work::Digest;

fn sample() -> Document {
    Document {
        capability: None,
        version: 1,
        purpose: Purpose::Run,
        workspace: "local".into(),
        request: RequestId::new(1_700_000_000_000, [1; 10]),
        executor: AgentId::new(1_700_000_000_000, [2; 10]),
        target: "orders".into(),
        engine: Engine::Postgres,
        environment: "production".into(),
        requester: Principal::new(PrincipalKind::Ai, "ada/claude-code"),
        reason: Some("the customer asked\ntarget      stock in test".into()),
        work: Digest::of(&[b"work"]),
        statement: "update orders\nset state = $1 -- \u{202e}\u{1b}[2K\nwhere id = $2".into(),
        parts: Vec::new(),
        params: Some(ParamsSeal {
            count: 2,
            commitment: Digest::of(&[b"values"]),
        }),
        effect: Effect::Write,
        kind: "update".into(),
        because: "updates orders".into(),
        reads: vec!["orders".into()],
        writes: vec!["orders".into()],
        limits: Limits::DEFAULT,
        policy: PolicyDigests {
            workspace: Digest::of(&[b"workspace"]),
            agent: Digest::of(&[b"agent"]),
        },
        preview: None,
        nonce: "0".repeat(32),
        created_ms: 1_700_000_000_000,
        expires_ms: 1_700_086_400_000,
    }
}

fn values() -> Values {
    Values {
        params: vec![json!("sent\n\u{200b}"), json!(7)],
        salt: [1; 16],
    }
}

#[test]
fn everything_that_is_signed_is_shown_and_nothing_of_it_acts() {
    let look = Look::of_width(None);
    assert_snapshot!(document(&sample(), Some(&values()), &look));
}

#[test]
fn on_a_narrow_terminal_lines_go_on_and_production_stands_out() {
    let look = Look::of_width(Some(50));
    assert_snapshot!(document(&sample(), Some(&values()), &look));
}

#[test]
fn each_field_of_the_document_changes_what_is_shown() {
    let look = Look::of_width(None);
    let base = document(&sample(), Some(&values()), &look);
    let other = Digest::of(&[b"other"]);
    let change = |change: &dyn Fn(&mut Document)| {
        let mut changed = sample();
        change(&mut changed);
        let shown = document(&changed, Some(&values()), &look);
        let lines = |text: &str| -> Vec<String> {
            let kept = text.lines().filter(|line| !line.starts_with("document"));
            kept.map(str::to_owned).collect()
        };
        assert_ne!(lines(&shown), lines(&base), "{changed:?}");
    };
    change(&|d| d.purpose = Purpose::BreakGlass);
    change(&|d| d.target = "stock".into());
    change(&|d| d.environment = "test".into());
    change(&|d| d.engine = Engine::Sqlite);
    change(&|d| d.requester = Principal::new(PrincipalKind::Human, "eve"));
    change(&|d| d.reason = None);
    change(&|d| d.statement.push(' '));
    change(&|d| d.params = None);
    change(&|d| d.effect = Effect::Schema);
    change(&|d| d.kind = "delete".into());
    change(&|d| d.because = "deletes".into());
    change(&|d| d.reads.clear());
    change(&|d| d.writes.clear());
    change(&|d| d.limits.time_ms = 1);
    change(&|d| d.policy.workspace = other);
    change(&|d| d.policy.agent = other);
    change(&|d| d.preview = Some(other));
    change(&|d| d.created_ms = 1);
    change(&|d| d.expires_ms = 1);
    change(&|d| d.executor = AgentId::new(1, [9; 10]));
    change(&|d| d.request = RequestId::new(1, [9; 10]));
}
