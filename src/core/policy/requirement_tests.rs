use proptest::prelude::*;

use super::*;
use crate::core::policy::ask::ask;

fn human(name: &str) -> Principal {
    Principal::new(PrincipalKind::Human, name)
}

fn requester() -> Principal {
    Principal::new(PrincipalKind::Ai, "ada/claude")
}

/// A vote by a human with a key of their own.
fn vote(name: &str, groups: &[&str]) -> Vote {
    Vote {
        signer: human(name),
        key: format!("key of {name}"),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        surface: Surface::Terminal,
        presence: Presence::Hardware,
    }
}

fn asks(text: &str) -> Requirement {
    ask("rule", text, None).unwrap()
}

fn met(text: &str, votes: &[Vote]) -> bool {
    asks(text).met_by(votes, &requester()).is_met()
}

#[test]
fn one_person_counts_once_whatever_keys_they_hold() {
    let mut second = vote("ada", &["dba"]);
    second.key = "another key".into();
    assert!(!met("2 of dba", &[vote("ada", &["dba"]), second]));
    assert!(met(
        "2 of dba",
        &[vote("ada", &["dba"]), vote("bob", &["dba"])]
    ));
}

#[test]
fn two_persons_with_one_key_count_once() {
    let mut shared = vote("bob", &["dba"]);
    shared.key = "key of ada".into();
    assert!(!met("2 of dba", &[vote("ada", &["dba"]), shared]));
}

#[test]
fn nobody_stands_in_two_steps() {
    let both = vote("ada", &["dba", "owner"]);
    let quorum = "1 of dba, then 1 of owner";
    assert!(!met(quorum, std::slice::from_ref(&both)));
    assert!(met(quorum, &[both.clone(), vote("bob", &["dba"])]));
    assert!(met(quorum, &[vote("bob", &["owner"]), both]));
}

#[test]
fn the_order_of_votes_never_costs_an_approval() {
    // Whoever takes the first that fits would put ada into `anyone` and find nobody for `dba`.
    let votes = [vote("ada", &["dba"]), vote("bob", &[])];
    assert!(met("1 of anyone, then 1 of dba", &votes));
    let progress = asks("1 of anyone, then 1 of dba").met_by(&votes, &requester());
    assert_eq!(progress.steps[0].by, [human("bob")]);
    assert_eq!(progress.steps[1].by, [human("ada")]);
}

#[test]
fn progress_names_the_step_that_waits() {
    let requirement = asks("2 of dba, then 1 of owner");
    let progress = requirement.met_by(&[vote("ada", &["dba"])], &requester());
    let next = progress.next().unwrap();
    assert_eq!((next.step.group.as_str(), next.missing()), ("dba", 1));
    assert_eq!(next.by, [human("ada")]);
}

#[test]
fn only_humans_count_and_not_on_their_own_requests() {
    let mut machine = vote("ada", &["dba"]);
    machine.signer = requester();
    assert!(!met("1 of anyone", &[machine.clone()]));
    machine.signer = Principal::new(PrincipalKind::Service, "ci");
    assert!(!met("1 of anyone", &[machine]));

    let own = [vote("ada", &[])];
    assert!(
        met("1 of anyone", &own),
        "ada may approve what her AI asked"
    );
    let asked_by_ada = |text: &str| asks(text).met_by(&own, &human("ada")).is_met();
    assert!(!asked_by_ada("1 of anyone"));
    assert!(asked_by_ada("1 of anyone; self"));
}

#[test]
fn presence_and_surface_are_demanded() {
    let mut weak = vote("ada", &[]);
    weak.presence = Presence::Passphrase;
    weak.surface = Surface::RelayPage;
    assert!(met("1 of anyone", &[weak.clone()]));
    assert!(met("1 of anyone; presence=passphrase", &[weak.clone()]));
    assert!(!met("1 of anyone; presence=hardware", &[weak.clone()]));
    assert!(!met("1 of anyone; surface=own", &[weak.clone()]));
    weak.surface = Surface::OwnPage;
    assert!(met("1 of anyone; surface=own", &[weak.clone()]));
    assert!(!met("1 of anyone; surface=terminal", &[weak]));
}

#[test]
fn a_weak_first_vote_does_not_shadow_a_better_one_by_the_same_person() {
    let mut weak = vote("ada", &[]);
    weak.surface = Surface::RelayPage;
    let strong = vote("ada", &[]);
    assert!(met("1 of anyone; surface=own", &[weak, strong]));
}

#[test]
fn a_request_ends_with_as_many_rejections_as_the_rule_says() {
    let no = [
        vote("ada", &["dba"]),
        vote("ada", &["dba"]),
        vote("eve", &[]),
    ];
    assert!(asks("1 of dba").rejected_by(&no));
    assert!(!asks("1 of dba; deny=2").rejected_by(&no), "eve has no say");
    assert!(!asks("1 of dba").rejected_by(&[vote("eve", &[])]));
    let mut machine = vote("ada", &["dba"]);
    machine.signer = requester();
    assert!(!asks("1 of dba").rejected_by(&[machine]));
}

const GROUPS: [&str; 3] = ["dba", "owner", "audit"];

prop_compose! {
    fn any_vote()(person in 0..6_usize, key in 0..6_usize, groups in prop::collection::btree_set(0..3_usize, 0..3)) -> Vote {
        let groups: Vec<_> = groups.into_iter().map(|at| GROUPS[at]).collect();
        let mut vote = vote(&format!("p{person}"), &groups);
        vote.key = format!("k{key}");
        vote
    }
}

prop_compose! {
    fn any_requirement()(steps in prop::collection::vec((1..3_u32, 0..4_usize), 1..4)) -> Requirement {
        let step = |(count, group): (u32, usize)| Step {
            count,
            group: GROUPS.get(group).copied().unwrap_or(ANYONE).to_owned(),
        };
        Requirement { steps: steps.into_iter().map(step).collect(), ..asks("1 of anyone") }
    }
}

/// Whether some choice of voters fills every slot, found by trying them all.
fn fillable(slots: &[&str], voters: &[&Vote]) -> bool {
    let Some((slot, rest)) = slots.split_first() else {
        return true;
    };
    (0..voters.len()).any(|at| {
        let mut others = voters.to_vec();
        let voter = others.remove(at);
        is_in(slot, &voter.groups) && fillable(rest, &others)
    })
}

proptest! {
    #[test]
    fn counting_agrees_with_trying_everything(requirement in any_requirement(), votes in prop::collection::vec(any_vote(), 0..7)) {
        let requester = requester();
        let progress = requirement.met_by(&votes, &requester);
        let voters = requirement.counting(&Checks::all(), &votes, &requester);
        let slots: Vec<&str> = requirement.steps.iter()
            .flat_map(|step| (0..step.count).map(|_| step.group.as_str()))
            .collect();
        prop_assert_eq!(progress.is_met(), fillable(&slots, &voters));
        // Nobody and no key is counted twice, and each counts in a group of theirs.
        let counted: Vec<&Principal> = progress.steps.iter().flat_map(|step| &step.by).collect();
        let persons: BTreeSet<_> = counted.iter().collect();
        prop_assert_eq!(persons.len(), counted.len());
        for step in &progress.steps {
            prop_assert!(step.by.len() <= step.step.count as usize);
            for person in &step.by {
                let vote = voters.iter().find(|vote| vote.signer == *person).unwrap();
                prop_assert!(is_in(&step.step.group, &vote.groups));
            }
        }
    }

    #[test]
    fn one_more_vote_never_unmeets(requirement in any_requirement(), votes in prop::collection::vec(any_vote(), 0..7), more in any_vote()) {
        let before = requirement.met_by(&votes, &requester()).is_met();
        let mut votes = votes;
        votes.push(more);
        prop_assert!(!before || requirement.met_by(&votes, &requester()).is_met());
    }
}
