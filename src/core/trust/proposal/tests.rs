//! What counts as a proof of holding a key.

use std::collections::BTreeSet;

use super::*;
use crate::core::approval::APPROVAL;
use crate::core::principal::PrincipalKind;
use crate::core::trust::file::tests::{CREATED_MS, human, software, software_of};

fn proposal() -> Proposal {
    Proposal {
        version: VERSION,
        name: human("dee"),
        key: software_of(21),
        nonce: "0123456789abcdef".repeat(2),
        created_ms: CREATED_MS,
    }
}

fn signed(proposal: &Proposal, seed: u8, namespace: &str) -> SignedProposal {
    let text = proposal.to_text();
    let sig = SshSig::sign_ed25519(&software(seed), namespace, text.as_bytes()).unwrap();
    SignedProposal {
        proposal: text,
        proof: sig.armored(),
    }
}

#[test]
fn whoever_holds_the_key_can_propose_it() {
    let good = signed(&proposal(), 21, ENROL);
    assert_eq!(good.verify(), Ok(proposal()));
}

#[test]
fn nobody_else_can() {
    let other = signed(&proposal(), 22, ENROL);
    assert_eq!(other.verify(), Err(ProposalError::Key));
    let approval = signed(&proposal(), 21, APPROVAL);
    assert_eq!(approval.verify(), Err(SignatureError::Namespace.into()));
    let mut renamed = signed(&proposal(), 21, ENROL);
    renamed.proposal = renamed.proposal.replace("human:dee", "human:ada");
    assert_eq!(renamed.verify(), Err(SignatureError::Signature.into()));
    let error = |change: fn(&mut Proposal)| {
        let mut proposal = proposal();
        change(&mut proposal);
        signed(&proposal, 21, ENROL).verify().unwrap_err()
    };
    let ai = error(|p| p.name = Principal::new(PrincipalKind::Ai, "dee"));
    assert_eq!(ai, ProposalError::Name);
    assert_eq!(error(|p| p.nonce = "x".into()), ProposalError::Nonce);
    assert_eq!(error(|p| p.version = 2), ProposalError::Version);
}

#[test]
fn the_short_code_covers_everything_and_never_changes() {
    assert_eq!(proposal().short_code(), "0830-1426-7623-7209");
    let other = |change: fn(&mut Proposal)| {
        let mut proposal = proposal();
        change(&mut proposal);
        proposal.short_code()
    };
    let codes = BTreeSet::from([
        proposal().short_code(),
        other(|p| p.name = human("ada")),
        other(|p| p.key = software_of(22)),
        other(|p| p.nonce = "f".repeat(32)),
    ]);
    assert_eq!(codes.len(), 4);
}
