//! What stands against an attack, and what becomes of it when exactly that is left out.

use super::*;

/// One check of the agent's, by what it says.
#[derive(Clone, Debug)]
pub(super) enum Check {
    Token(TokenError),
    Document(DocumentError),
    Backing(BackingError),
    Verdict(VerdictError),
    Count(Uncounted),
}

impl Check {
    /// What the refusal says.
    fn said(&self) -> String {
        match self {
            Self::Token(error) => error.to_string(),
            Self::Document(error) => error.to_string(),
            Self::Backing(error) => error.to_string(),
            Self::Verdict(error) => error.to_string(),
            Self::Count(Uncounted::Forbidden) => "the policy forbids".to_owned(),
            Self::Count(_) => "needs a human's approval".to_owned(),
        }
    }

    pub(super) fn left_out_of(&self, mut defences: Defences) -> Defences {
        match self.clone() {
            Self::Token(error) => defences.token = defences.token.without(error),
            Self::Document(error) => defences.document = defences.document.without(error),
            Self::Backing(error) => defences.backing = defences.backing.without(error),
            Self::Verdict(error) => defences.verdict = defences.verdict.without(error),
            Self::Count(error) => defences.counting = defences.counting.without(error),
        }
        defences
    }
}

/// Refused with all defences; works without the one.
pub(super) async fn stopped_by(attack: impl Fn(&Rig, &mut Order), check: BackingError) {
    let check = if let BackingError::Verdict(error) = check {
        Check::Verdict(error)
    } else if let BackingError::Malformed(error) = check {
        Check::Document(error)
    } else {
        Check::Backing(check)
    };
    held_by(PolicySet::agent_default(), attack, &[check]).await;
}

/// Each of these checks is enough alone, and without all of them the attack works.
pub(super) async fn held_by(
    policy: Arc<PolicySet>,
    attack: impl Fn(&Rig, &mut Order),
    checks: &[Check],
) {
    let attacked = async |defences: Defences| {
        let rig = Rig::with_policy(defences, Arc::clone(&policy)).await;
        let mut order = rig.order();
        attack(&rig, &mut order);
        (rig, order)
    };
    let (rig, order) = attacked(Defences::all()).await;
    refused(&rig, &order, "").await;
    for (number, alone) in checks.iter().enumerate() {
        let others = checks.iter().enumerate().filter(|(at, _)| *at != number);
        let defences = others.fold(Defences::all(), |left, (_, one)| one.left_out_of(left));
        let (rig, order) = attacked(defences).await;
        refused(&rig, &order, &alone.said()).await;
    }
    let none = checks
        .iter()
        .fold(Defences::all(), |left, one| one.left_out_of(left));
    let (rig, order) = attacked(none).await;
    rig.run(&order).await.unwrap();
    assert_ne!(rig.orders(), BEFORE, "without {checks:?}");
}
