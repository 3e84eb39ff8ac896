//! The user at the other end of a socket, by the system's own records.

use nix::unistd::{Gid, Group, Uid, User};

use crate::core::account::Account;

/// The longest name that is used, in bytes: a principal has room for it and a client's name beside it.
const LONGEST_NAME: usize = 64;

/// The user of a process at the other end of a socket, as the kernel vouches for them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// The user's id.
    pub uid: u32,
    /// The group that the process runs in.
    pub gid: u32,
    /// The user's name; `uid-NUMBER` where the system has none, or one that would not be told from
    /// what stands beside it.
    pub name: String,
    /// Whether the name is of the system's own records.
    known: bool,
}

impl Peer {
    /// Looks the user up. Blocks: the records may be on another machine.
    pub fn look_up(uid: u32, gid: u32) -> Self {
        let found = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let usable = |name: &String| {
            let plain = |c: char| !c.is_control() && !c.is_whitespace() && c != '/' && c != ':';
            (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(plain)
        };
        let name = found.map(|user| user.name).filter(usable);
        Self {
            uid,
            gid,
            known: name.is_some(),
            name: name.unwrap_or_else(|| format!("uid-{uid}")),
        }
    }

    /// Whether the user is in a group. Blocks, like [`Peer::look_up`].
    pub fn is_in(&self, gid: u32) -> bool {
        if self.gid == gid {
            return true;
        }
        let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
        self.known && group.is_some_and(|group| self.belongs(&group))
    }

    /// Whether one of these accounts is this user. Blocks, like [`Peer::look_up`].
    pub fn is_one_of(&self, accounts: &[Account]) -> bool {
        accounts.iter().any(|account| match account {
            Account::Id(uid) => *uid == self.uid,
            Account::User(name) => self.known && *name == self.name,
            Account::Group(name) => {
                let group = Group::from_name(name).ok().flatten();
                group.is_some_and(|group| {
                    group.gid.as_raw() == self.gid || (self.known && self.belongs(&group))
                })
            }
        })
    }

    /// By the records: a member, or one whose first group this is.
    fn belongs(&self, group: &Group) -> bool {
        let first = || User::from_uid(Uid::from_raw(self.uid)).ok().flatten();
        group.mem.contains(&self.name) || first().is_some_and(|user| user.gid == group.gid)
    }
}

impl Peer {
    /// Whom this process runs as. Blocks, like [`Peer::look_up`].
    pub fn own() -> Self {
        Self::look_up(own_uid(), Gid::effective().as_raw())
    }

    /// Whether nothing holds against this user.
    pub fn is_superuser(&self) -> bool {
        self.uid == 0
    }
}

/// The id of the user whom this process runs as.
pub fn own_uid() -> u32 {
    Uid::effective().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_matched_by_the_systems_records() {
        let root = Peer::look_up(0, 4_000_000);
        assert_eq!(root.name, "root");
        let is = |peer: &Peer, text: &str| peer.is_one_of(&[text.parse().unwrap()]);
        assert!(is(&root, "root") && is(&root, "uid:0") && is(&root, "group:root"));
        assert!(!is(&root, "ada") && !is(&root, "uid:1") && !is(&root, "group:no-such-group"));
        assert!(!root.is_one_of(&[]) && root.is_in(0) && root.is_in(4_000_000));

        let made_up = Peer::look_up(3_999_999, 3_999_998);
        assert_eq!(made_up.name, "uid-3999999");
        // A name that we made is nobody's.
        assert!(!is(&made_up, "uid-3999999") && is(&made_up, "uid:3999999"));
        assert!(!made_up.is_in(0));
    }
}
