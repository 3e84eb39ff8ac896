//! Every way to change a log that was written, and what each is called.

use super::*;
use crate::core::audit::{Draft, Entry, EventKind};
use crate::core::time::Timestamp;

const ENTRIES: u64 = 200;

fn draft(number: u64) -> Draft {
    let at = Timestamp::from_unix_ms(1_700_000_000_000);
    Draft::new(at, EventKind::ExecutionSucceeded)
        .target("shop")
        .rows(number)
}

/// The entries `1..=count`, whose drafts begin to differ from the usual ones at `differ`.
fn log(count: u64, differ: u64) -> Vec<Stored> {
    let mut previous = first_link("local");
    let mut entries = Vec::new();
    for sequence in 1..=count {
        let number = if sequence < differ {
            sequence
        } else {
            sequence + 1_000
        };
        let entry = Entry::seal("local", sequence, &previous, &draft(number));
        previous = entry.link;
        entries.push(entry.into());
    }
    entries
}

fn head(entries: &[Stored], count: u64) -> Head {
    let index = usize::try_from(count).unwrap() - 1;
    Head {
        workspace: "local".into(),
        count,
        link: entries[index].link,
        at: Timestamp::from_unix_ms(1_700_000_000_000),
    }
}

fn check(entries: Vec<Stored>, heads: &[Head]) -> Result<Verified, Break> {
    verify("local", entries, heads.iter().cloned())
}

#[test]
fn a_whole_log_is_verified_against_its_newest_head() {
    let entries = log(ENTRIES, u64::MAX);
    let heads = [
        head(&entries, 1),
        head(&entries, ENTRIES),
        head(&entries, 100),
    ];
    let verified = check(entries.clone(), &heads).unwrap();
    assert_eq!(verified.entries, ENTRIES);
    assert_eq!(verified.against, Some(heads[1].clone()));
    assert_eq!(check(entries, &[]).unwrap().against, None);
    assert_eq!(check(Vec::new(), &[]).unwrap().entries, 0);
}

#[test]
fn every_flipped_bit_is_found_in_its_place() {
    let entries = log(ENTRIES, u64::MAX);
    let mut checker = Checker::new("local", []);
    let mut flips = 0_u32;
    for entry in &entries {
        for (what, flipped) in flips_of(entry) {
            let found = checker.clone().push(&flipped).unwrap_err();
            let place = match found {
                Break::Edited { sequence }
                | Break::Unlinked { sequence }
                | Break::Missing { sequence, .. } => sequence,
                Break::Rewritten { .. } | Break::Cut { .. } => 0,
            };
            assert_eq!(place, entry.sequence, "{what}");
            flips += 1;
        }
        checker.push(entry).unwrap();
    }
    assert!(flips > 300_000, "{flips}");
}

/// The entry with each of its bits flipped, one at a time.
fn flips_of(entry: &Stored) -> impl Iterator<Item = (&'static str, Stored)> {
    let bits = |bytes: usize| (0..bytes * 8).map(|bit| (bit / 8, 1_u8 << (bit % 8)));
    let digest = |digest: &Digest, (byte, mask): (usize, u8)| {
        let mut bytes = *digest.as_bytes();
        bytes[byte] ^= mask;
        Digest::from_bytes(bytes)
    };
    let body = entry.body.clone().unwrap();
    let bodies = bits(body.len()).map(move |(byte, mask)| {
        let mut body = body.clone();
        body[byte] ^= mask;
        (
            "body",
            Stored {
                body: Some(body),
                ..entry.clone()
            },
        )
    });
    let leaves = bits(32).map(move |bit| {
        (
            "leaf",
            Stored {
                leaf: digest(&entry.leaf, bit),
                ..entry.clone()
            },
        )
    });
    let links = bits(32).map(move |bit| {
        (
            "link",
            Stored {
                link: digest(&entry.link, bit),
                ..entry.clone()
            },
        )
    });
    let sequences = (0..64).map(move |bit| {
        (
            "sequence",
            Stored {
                sequence: entry.sequence ^ (1 << bit),
                ..entry.clone()
            },
        )
    });
    bodies.chain(leaves).chain(links).chain(sequences)
}

#[test]
fn every_removed_entry_is_missed_in_its_place() {
    let entries = log(ENTRIES, u64::MAX);
    for sequence in 1..ENTRIES {
        let mut fewer = entries.clone();
        fewer.retain(|entry| entry.sequence != sequence);
        let found = sequence + 1;
        assert_eq!(check(fewer, &[]), Err(Break::Missing { sequence, found }));
    }
}

#[test]
fn a_removed_entry_is_missed_after_the_rest_was_renumbered_too() {
    let mut entries = log(ENTRIES, u64::MAX);
    entries.remove(99);
    for entry in &mut entries[99..] {
        entry.sequence -= 1;
    }
    assert_eq!(
        check(entries.clone(), &[]),
        Err(Break::Edited { sequence: 100 })
    );
    // Even with the bodies gone, which name their own places.
    for entry in &mut entries {
        entry.body = None;
    }
    assert_eq!(check(entries, &[]), Err(Break::Unlinked { sequence: 100 }));
}

#[test]
fn every_two_swapped_entries_are_found_at_the_first() {
    let entries = log(40, u64::MAX);
    for first in 0..39 {
        for second in first + 1..40 {
            let mut swapped = entries.clone();
            swapped.swap(first, second);
            let sequence = entries[first].sequence;
            let found = entries[second].sequence;
            assert_eq!(
                check(swapped.clone(), &[]),
                Err(Break::Missing { sequence, found })
            );
            swapped[first].sequence = sequence;
            swapped[second].sequence = found;
            assert_eq!(check(swapped, &[]), Err(Break::Edited { sequence }));
        }
    }
}

#[test]
fn every_inserted_entry_is_found_in_its_place() {
    let entries = log(ENTRIES, u64::MAX);
    for index in 1..entries.len() {
        let sequence = entries[index].sequence;
        let previous = entries[index - 1].link;
        let forged: Stored = Entry::seal("local", sequence, &previous, &draft(7_777)).into();
        // The forged entry is sound in itself; the true one behind it has no place any more.
        let mut more = entries.clone();
        more.insert(index, forged.clone());
        let missing = Break::Missing {
            sequence: sequence + 1,
            found: sequence,
        };
        assert_eq!(check(more, &[]), Err(missing));
        // Put in another's place, it breaks the link of the next.
        let mut replaced = entries.clone();
        replaced[index] = forged;
        let expected = if sequence == ENTRIES {
            // The last entry has nothing behind it: only a head can tell.
            assert!(check(replaced.clone(), &[]).is_ok());
            let head = head(&entries, ENTRIES);
            assert_eq!(
                check(replaced, std::slice::from_ref(&head)),
                Err(Break::Rewritten { from: 1, head })
            );
            continue;
        } else {
            Break::Unlinked {
                sequence: sequence + 1,
            }
        };
        assert_eq!(check(replaced, &[]), Err(expected));
    }
}

#[test]
fn every_cut_tail_is_found_against_the_newest_head_and_named() {
    let entries = log(ENTRIES, u64::MAX);
    let heads = [head(&entries, 50), head(&entries, 150)];
    for left in 0..entries.len() {
        let cut = entries[..left].to_vec();
        let entries = cut.len() as u64;
        assert_eq!(check(cut.clone(), &[]).unwrap().entries, entries);
        let checked = check(cut, &heads);
        if entries < 150 {
            let head = heads[1].clone();
            assert_eq!(checked, Err(Break::Cut { entries, head }));
        } else {
            assert_eq!(checked.unwrap().against, Some(heads[1].clone()));
        }
    }
}

#[test]
fn a_rewrite_is_found_between_the_two_heads_around_it() {
    let entries = log(ENTRIES, u64::MAX);
    let heads = [head(&entries, 50), head(&entries, 100), head(&entries, 150)];
    let rewritten = log(ENTRIES, 77);
    assert!(check(rewritten.clone(), &[]).is_ok());
    let head = heads[1].clone();
    assert_eq!(
        check(rewritten, &heads),
        Err(Break::Rewritten { from: 51, head })
    );
}

#[test]
fn removed_bodies_are_reported_and_break_nothing() {
    let mut entries = log(ENTRIES, u64::MAX);
    let head = head(&entries, ENTRIES);
    for entry in entries.iter_mut().step_by(3) {
        entry.body = None;
    }
    let verified = check(entries, std::slice::from_ref(&head)).unwrap();
    assert_eq!((verified.removed, verified.against), (67, Some(head)));
}

#[test]
fn an_entry_of_another_workspace_does_not_fit() {
    let entries = log(1, u64::MAX);
    let foreign = Entry::seal("other", 1, &first_link("other"), &draft(1));
    assert_eq!(
        check(vec![foreign.into()], &[]),
        Err(Break::Edited { sequence: 1 })
    );
    let sealed_here = Entry::seal("other", 1, &first_link("local"), &draft(1));
    assert_eq!(
        check(vec![sealed_here.into()], &[]),
        Err(Break::Edited { sequence: 1 })
    );
    assert!(check(entries, &[]).is_ok());
}
