//! A store and a policy that somebody has changed on disk: whatever the broker then believes, the agent
//! verifies the signatures itself and asks its own policy.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::broker::submit::submit;
use crate::broker::tests::rig::{Rig, change};
use crate::core::approval::sshsig::SshSig;
use crate::core::approval::{
    APPROVAL, Decision, Defences, SignedVerdict, Verdict, VerdictError, verdict,
};
use crate::core::audit::EventKind;
use crate::core::policy::{PolicySet, Uncounted};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::signer::Surface;
use crate::core::work::Digest;
use crate::store::Filter;

fn caller() -> Caller {
    Caller::of(Principal::new(PrincipalKind::Ai, "zoe/claude"))
}

impl Rig {
    async fn asks(&self) -> Result<Submitted, Refusal> {
        let ask = change(Some("spring sale"));
        submit(&self.broker, &caller(), ask, CancellationToken::new()).await
    }

    async fn files(&self) -> RequestId {
        match self.asks().await.unwrap() {
            Submitted::Filed(id) => id,
            Submitted::Ran(answer) => panic!("it has run: {answer:?}"),
        }
    }

    async fn collects(&self, id: &RequestId) -> Result<Answer, Refusal> {
        settle(&self.broker, &caller(), id, CancellationToken::new()).await
    }

    /// Marks a request as approved, with this vote on it.
    fn forces(&self, id: &RequestId, vote: &SignedVerdict) {
        let database = self.folder.path().join("state/state.db");
        let database = Connection::open(database).unwrap();
        let now = self.broker.clock.now().unix_ms();
        let until = now + 3_000_000;
        let state = json!({"is": "approved", "by": "quorum", "at": now, "until": until, "votes": [{
            "signer": "human:ada", "key": "SHA256:x", "decision": "approve", "comment": null,
            "surface": "terminal", "presence": "passphrase", "groups": ["owner"], "at": now,
            "verdict": Digest::of(&[vote.verdict.as_bytes()]),
            "signed": serde_json::to_string(vote).unwrap()}]});
        let forced = "update requests set status = 'approved', state = ?1, due_at = ?2, votes = 1 where id = ?3";
        let changed = database.execute(forced, (state.to_string(), until, id.as_str()));
        assert_eq!(changed.unwrap(), 1);
    }

    /// How often the agent has refused, by the log that another handle reads.
    fn refusals(&self) -> usize {
        let filter = Filter {
            kind: Some(EventKind::ExecutionRefused),
            limit: 100,
            ..Filter::default()
        };
        self.broker.state.log().list(&filter).unwrap().len()
    }
}

/// An approval in Ada's name, by whoever holds this key, about this document.
fn vote(rig: &Rig, (document, id): (Digest, &RequestId), key: u8) -> SignedVerdict {
    let verdict = Verdict {
        version: verdict::VERSION,
        decision: Decision::Approve,
        document,
        request: id.clone(),
        signer: Principal::new(PrincipalKind::Human, "ada"),
        surface: Surface::Terminal,
        comment: None,
        at_ms: rig.broker.clock.now().unix_ms(),
    };
    let text = verdict.to_text();
    let key = SigningKey::from_bytes(&[key; 32]);
    let signature = SshSig::sign_ed25519(&key, APPROVAL, text.as_bytes()).unwrap();
    SignedVerdict {
        verdict: text,
        signature: signature.armored(),
    }
}

/// Edits the store, collects, and finds the order as it was; without the check it is closed.
async fn stopped_by(edit: impl Fn(&Rig, &RequestId), check: VerdictError) {
    let rig = Rig::new(false).await;
    let id = rig.files().await;
    edit(&rig, &id);
    let refusal = rig.collects(&id).await.unwrap_err();
    assert_eq!(refusal.message, check.to_string());
    assert_eq!((rig.order().as_str(), rig.refusals()), ("open", 1));

    let mut defences = Defences::all();
    defences.verdict = defences.verdict.without(check);
    let rig = Rig::with(false, defences, PolicySet::starter()).await;
    let id = rig.files().await;
    edit(&rig, &id);
    rig.collects(&id).await.unwrap();
    assert_eq!((rig.order().as_str(), rig.refusals()), ("closed", 0));
}

fn document_of(rig: &Rig, id: &RequestId) -> Digest {
    let request = rig.broker.state.requests().get(id).unwrap();
    *request.asked().document.digest()
}

#[tokio::test]
async fn a_state_that_was_forced_with_a_vote_of_somebodys_own_runs_nothing() {
    let forged = |rig: &Rig, id: &RequestId| {
        rig.forces(id, &vote(rig, (document_of(rig, id), id), 66));
    };
    stopped_by(forged, VerdictError::UnknownKey).await;
}

#[tokio::test]
async fn what_was_signed_about_another_document_than_the_one_in_the_store_runs_nothing() {
    // Ada was shown another document than the one that is kept, and signed that.
    let shown = Digest::of(&[b"another document"]);
    let forged = |rig: &Rig, id: &RequestId| rig.forces(id, &vote(rig, (shown, id), 1));
    stopped_by(forged, VerdictError::Document).await;
}

#[tokio::test]
async fn a_workspaces_policy_that_was_swapped_for_permit_all_runs_nothing() {
    let permit_all = "permit (principal, action, resource);";
    let permit_all = || Arc::new(PolicySet::load(permit_all, "policy.cedar", None).unwrap());
    let rig = Rig::with(false, Defences::all(), permit_all()).await;
    // The agent asks for people all the same: so it is filed, for Ada.
    let id = rig.files().await;
    assert_eq!((rig.order().as_str(), rig.refusals()), ("open", 1));
    let pending = rig.broker.state.requests().get(&id).unwrap();
    assert_eq!(pending.status(), Status::Pending);

    let mut defences = Defences::all();
    defences.counting = defences.counting.without(Uncounted::Quorum);
    let rig = Rig::with(false, defences, permit_all()).await;
    let Submitted::Ran(_) = rig.asks().await.unwrap() else {
        panic!("it has not run");
    };
    assert_eq!(rig.order(), "closed");
}
