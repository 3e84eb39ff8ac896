//! What things are called on the page.

use crate::core::approval::Purpose;
use crate::core::request::{ApprovedBy, State};
use crate::core::signer::{Presence, Surface};
use crate::core::statement::Effect;
use crate::core::time::Timestamp;

/// An effect in words.
pub(super) fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "Reads data",
        Effect::Write => "Changes rows",
        Effect::Schema => "Changes the structure of the database",
        Effect::Admin => "Changes who may do what, or the server itself",
    }
}

/// The colour of an environment. Whatever could be production is red.
pub(super) fn tone(environment: &str) -> &'static str {
    let name = environment.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if has(&["prod", "prd", "live"]) {
        "red"
    } else if has(&["stag", "uat", "accept"]) {
        "amber"
    } else if has(&["dev", "test", "local", "sandbox", "demo", "ci"]) {
        "green"
    } else {
        "plain"
    }
}

/// What an approval is for.
pub(super) fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Run => "to be run once people have agreed",
        Purpose::BreakGlass => "BREAK GLASS: to be run at once and reviewed afterwards",
    }
}

/// What a key proves.
pub(super) fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Hardware => "touched, proven by the key",
        Presence::Passphrase => "by passphrase, not proven",
        Presence::Unattended => "can sign with nobody there",
    }
}

/// Where somebody saw the document.
pub(super) fn surface(surface: Surface) -> &'static str {
    match surface {
        Surface::Terminal => "in a terminal of their own",
        Surface::OwnPage => "on their own page",
        Surface::RelayPage => "on a relay's page",
    }
}

/// Where a request stands, and what happens next.
pub(super) fn standing(state: &State) -> String {
    match state {
        State::Submitted => "It was just asked; nothing is decided yet.".to_owned(),
        State::Denied { refusal, .. } => format!("The policy refused it: {}.", refusal.message),
        State::Measuring { .. } => "Its effect is being measured.".to_owned(),
        State::Pending { .. } => "It waits for people, and nothing has run.".to_owned(),
        State::Approved(approval) => match approval.by {
            ApprovedBy::Policy => "The policy allows it; the requester has to collect it.",
            ApprovedBy::BreakGlass => "It was signed to run at once, ahead of its review.",
            ApprovedBy::Quorum => "It is approved and runs when the requester collects it.",
        }
        .to_owned(),
        State::Dispatched { .. } => "It is on its way to the database.".to_owned(),
        State::Running { .. } => "It is running.".to_owned(),
        State::Succeeded(_) => "It has run, and what it did stands.".to_owned(),
        State::Failed { code, sqlstate, .. } => {
            let class = sqlstate.as_deref().map(|class| format!(", {class}"));
            let class = class.unwrap_or_default();
            format!("It ended in an error ({code}{class}), and nothing of it stands.")
        }
        State::Cancelled { by, .. } => match by {
            Some(by) => format!("{by} stopped it, and nothing of it stands."),
            None => "It was stopped, and nothing of it stands.".to_owned(),
        },
        State::Rejected { .. } => "People said no. It does not run.".to_owned(),
        State::Expired { .. } => "Its time ran out. It does not run.".to_owned(),
        State::Unknown(_) => {
            "It was begun, and whether it was committed is not known. It is looked up, never run again."
                .to_owned()
        }
    }
}

/// How much time there is left.
pub(super) fn left(now: Timestamp, until: Timestamp) -> String {
    let seconds = until.unix_ms().saturating_sub(now.unix_ms()).max(0) / 1_000;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// A duration in words.
pub(super) fn duration(ms: u32) -> String {
    if ms.is_multiple_of(1_000) {
        format!("{} s", ms / 1_000)
    } else {
        format!("{ms} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_could_be_production_is_red() {
        for name in [
            "production",
            "PROD",
            "prod-eu",
            "preprod",
            "live",
            "shop-prd-2",
        ] {
            assert_eq!(tone(name), "red", "{name}");
        }
        assert_eq!(tone("staging"), "amber");
        assert_eq!(tone("development"), "green");
        assert_eq!(tone("eu-west"), "plain");
    }

    #[test]
    fn time_that_is_left_is_rounded_down_and_never_negative() {
        let left = |ms| left(Timestamp::from_unix_ms(0), Timestamp::from_unix_ms(ms));
        assert_eq!(left(-5), "0 s");
        assert_eq!(left(59_999), "59 s");
        assert_eq!(left(3_599_999), "59 min");
        assert_eq!(left(86_400_000), "24 h 0 min");
    }
}
