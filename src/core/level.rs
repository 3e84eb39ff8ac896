//! The two levels of `docs/security.md`, and which of them a set-up has, from who owns what.
//!
//! Pure: whoever asks brings the facts. The bits of files are judged, not access lists; `doctor` over
//! the socket also tries each file as the client's own user.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything a process of this user id may do, file bits or not.
const SUPERUSER: u32 = 0;
/// In a folder with this bit only the owner of a file can rename or remove it.
const STICKY: u32 = 0o1000;

/// How much a set-up holds against.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Client and agent share one account of the operating system.
    Guarded,
    /// The agent has an account of its own, and what counts is that account's alone.
    Separated,
}

impl Level {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guarded => "Guarded",
            Self::Separated => "Separated",
        }
    }

    /// The name in answers for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guarded => "guarded",
            Self::Separated => "separated",
        }
    }

    /// What that means, in the words of the documentation.
    pub fn means(self) -> &'static str {
        match self {
            Self::Guarded => "stops mistakes and injected text, not a hostile shell",
            Self::Separated => {
                "the agent runs as its own OS user and owns credentials, policy, trust file, journal and audit"
            }
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a file is to the agent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The configuration: what runs unasked, and where secrets are.
    Configuration,
    /// The database itself, where it is a file.
    Database,
    /// A policy.
    Policy,
    /// The program that the agent runs.
    Program,
    /// A file with a secret in it.
    Secret,
    /// The folder that the socket lies in.
    Socket,
    /// The state folder: keys, trust file, journal, requests, audit log.
    State,
}

impl What {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Database => "database",
            Self::Policy => "policy",
            Self::Program => "program",
            Self::Secret => "secret file",
            Self::Socket => "folder of the socket",
            Self::State => "state folder",
        }
    }

    /// Whether even reading it goes past the agent.
    pub fn is_private(self) -> bool {
        match self {
            Self::Database | Self::Secret | Self::State => true,
            Self::Configuration | Self::Policy | Self::Program | Self::Socket => false,
        }
    }
}

/// A file or folder as the system describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// Its path.
    pub path: String,
    /// Its owner's id.
    pub uid: u32,
    /// Its group's id.
    pub gid: u32,
    /// Its permission bits, those above the lowest nine included.
    pub mode: u32,
}

/// A file that counts, with every folder on the way to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// What it is.
    pub what: What,
    /// Its path, as it was named.
    pub path: String,
    /// From the root to the file itself; twice from the root where links are on the way. Empty where it could not be looked at.
    pub chain: Vec<Node>,
}

/// One user of the socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// The user's id.
    pub uid: u32,
    /// Those of the files' groups that the user is in.
    pub groups: BTreeSet<u32>,
    /// The user's name.
    pub name: String,
}

/// What a level is computed from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// Whom the agent runs as.
    pub agent: u32,
    /// The group that may use the socket.
    pub socket_group: Option<u32>,
    /// The user who asks, if one does.
    pub client: Option<Client>,
    /// The files that count.
    pub files: Vec<File>,
}

/// The level, and why it is no better.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The level.
    pub level: Level,
    /// What spoils *separated*, one sentence each; none where nothing does.
    pub spoilt: Vec<String>,
}

/// Says which level a set-up has whose agent serves a socket. Against everybody but the agent's own
/// user and the superuser, and against the user who asks in particular.
pub fn judge(facts: &Facts) -> Found {
    let mut spoilt = Vec::new();
    if let Some(client) = &facts.client {
        if client.uid == SUPERUSER {
            spoilt.push(format!(
                "`{}` is the superuser, against whom nothing holds",
                client.name
            ));
        } else if client.uid == facts.agent {
            spoilt.push(format!("the agent runs as `{}`, like you", client.name));
        }
    }
    for file in &facts.files {
        spoilt.extend(fault(file, facts));
    }
    let level = if spoilt.is_empty() {
        Level::Separated
    } else {
        Level::Guarded
    };
    Found { level, spoilt }
}

/// What is wrong with the owners and permissions of one file, if something is.
fn fault(file: &File, facts: &Facts) -> Option<String> {
    let named = format!("the {} `{}`", file.what.as_str(), file.path);
    if file.chain.is_empty() {
        return Some(format!("{named} cannot be looked at"));
    }
    let ours = |node: &&Node| node.uid != SUPERUSER && node.uid != facts.agent;
    if let Some(node) = file.chain.iter().find(ours) {
        return Some(format!(
            "{named} is in the hands of the user with the id {}, who owns `{}`",
            node.uid, node.path
        ));
    }
    let others = Eyes::Others(facts.socket_group);
    let own = facts.client.as_ref().map(Eyes::Client);
    [Some(others), own].into_iter().flatten().find_map(|eyes| {
        let who = eyes.name();
        if let Some(node) = changeable(&file.chain, &eyes) {
            return Some(format!(
                "{named} can be changed by {who}: see `{}`",
                node.path
            ));
        }
        (file.what.is_private() && readable(&file.chain, &eyes))
            .then(|| format!("{named} can be read by {who}"))
    })
}

/// Through whose eyes a file is looked at.
enum Eyes<'a> {
    /// Any user, in the group of the socket if it has one.
    Others(Option<u32>),
    /// This one.
    Client(&'a Client),
}

impl Eyes<'_> {
    fn name(&self) -> String {
        match self {
            Self::Others(_) => "other users".to_owned(),
            Self::Client(client) => format!("`{}`", client.name),
        }
    }

    /// The three bits that apply: read 4, write 2, enter or run 1.
    fn bits(&self, node: &Node) -> u32 {
        let (group, other) = (node.mode >> 3 & 7, node.mode & 7);
        match self {
            Self::Others(socket) if *socket == Some(node.gid) => group | other,
            Self::Client(client) if client.uid == SUPERUSER => 7,
            Self::Client(client) if client.uid == node.uid => node.mode >> 6 & 7,
            Self::Client(client) if client.groups.contains(&node.gid) => group,
            Self::Others(_) | Self::Client(_) => other,
        }
    }
}

/// The first node by which somebody can change what is found at the end of the chain.
fn changeable<'a>(chain: &'a [Node], eyes: &Eyes<'_>) -> Option<&'a Node> {
    let mut reached = true;
    for (place, node) in chain.iter().enumerate() {
        // Where links are on the way the chain begins anew at the root.
        reached |= node.path == "/";
        if !reached {
            continue;
        }
        let bits = eyes.bits(node);
        let last = place + 1 == chain.len();
        let replace = bits & 3 == 3 && node.mode & STICKY == 0;
        if (last && bits & 2 != 0) || (!last && replace) {
            return Some(node);
        }
        reached = bits & 1 != 0;
    }
    None
}

/// Whether somebody can read what is at the end of the chain, or enter it if it is a folder.
fn readable(chain: &[Node], eyes: &Eyes<'_>) -> bool {
    let Some((last, before)) = chain.split_last() else {
        return false;
    };
    let root = before.iter().rposition(|node| node.path == "/");
    let mut way = before.iter().skip(root.unwrap_or(0));
    way.all(|node| eyes.bits(node) & 1 != 0) && eyes.bits(last) & 5 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: u32 = 900;
    const CLIENTS: u32 = 950;
    const ADA: u32 = 1000;

    fn node(path: &str, uid: u32, gid: u32, mode: u32) -> Node {
        Node {
            path: path.into(),
            uid,
            gid,
            mode,
        }
    }

    fn root() -> Node {
        node("/", 0, 0, 0o755)
    }

    fn file(what: What, chain: Vec<Node>) -> File {
        let path = chain.last().unwrap().path.clone();
        File { what, path, chain }
    }

    fn good() -> Facts {
        let state = node("/s", AGENT, CLIENTS, 0o700);
        let etc = node("/etc", 0, AGENT, 0o750);
        let config = node("/etc/c.toml", 0, AGENT, 0o640);
        let run = node("/run", AGENT, CLIENTS, 0o750);
        Facts {
            agent: AGENT,
            socket_group: Some(CLIENTS),
            client: Some(Client {
                uid: ADA,
                groups: [CLIENTS].into(),
                name: "ada".into(),
            }),
            files: vec![
                file(What::State, vec![root(), state]),
                file(What::Configuration, vec![root(), etc, config]),
                file(What::Socket, vec![root(), run]),
            ],
        }
    }

    #[test]
    fn what_the_agent_alone_holds_is_separated() {
        let found = judge(&good());
        assert_eq!((found.level, found.spoilt), (Level::Separated, vec![]));
        let mut nobody = good();
        nobody.client = None;
        assert_eq!(judge(&nobody).level, Level::Separated);
    }

    /// Each of these alone spoils it, and is named.
    #[test]
    fn each_thing_that_spoils_it_is_named() {
        type Spoil = fn(&mut Facts);
        let cases: &[(&str, Spoil)] = &[
            ("superuser", |f| f.client.as_mut().unwrap().uid = 0),
            ("like you", |f| f.client.as_mut().unwrap().uid = AGENT),
            ("`/s` can be read by other users", |f| {
                f.files[0].chain[1].mode = 0o701;
            }),
            ("`/s` can be read by other users", |f| {
                f.files[0].chain[1].mode = 0o710;
            }),
            ("`/s` can be changed by other users", |f| {
                f.files[0].chain[1].mode = 0o702;
            }),
            ("the id 1000, who owns `/s`", |f| {
                f.files[0].chain[1].uid = ADA;
            }),
            ("changed by other users: see `/`", |f| {
                f.files[0].chain[0].mode = 0o777;
            }),
            ("`/etc/c.toml` can be changed by `ada`", |f| {
                f.files[1].chain[2].mode = 0o660;
                f.client.as_mut().unwrap().groups.insert(AGENT);
            }),
            ("`/run` can be changed by other users", |f| {
                f.files[2].chain[1].mode = 0o770;
            }),
            ("cannot be looked at", |f| f.files[1].chain.clear()),
        ];
        for (words, spoil) in cases {
            let mut facts = good();
            spoil(&mut facts);
            let found = judge(&facts);
            assert_eq!(found.level, Level::Guarded, "{words}");
            assert!(
                found.spoilt[0].contains(words),
                "{words}: {:?}",
                found.spoilt
            );
        }
    }

    #[test]
    fn what_is_no_secret_may_be_read_and_a_sticky_folder_on_the_way_is_no_fault() {
        let mut facts = good();
        facts.files[1].chain[1].mode = 0o755;
        facts.files[1].chain[2].mode = 0o644;
        let tmp = node("/tmp", 0, 0, 0o1777);
        let socket = vec![root(), tmp, node("/tmp/run", AGENT, CLIENTS, 0o755)];
        facts.files[2] = file(What::Socket, socket);
        assert_eq!(judge(&facts).spoilt, Vec::<String>::new());
        // The same folder as the last of the chain would let anybody put something into it.
        facts.files[2].chain.pop();
        assert_eq!(judge(&facts).level, Level::Guarded);
    }

    #[test]
    fn behind_a_closed_folder_open_bits_do_no_harm() {
        let mut facts = good();
        let inside = node("/s/shop.db", AGENT, CLIENTS, 0o666);
        let chain = [facts.files[0].chain.clone(), vec![inside]].concat();
        facts.files.push(file(What::Database, chain));
        assert_eq!(judge(&facts).level, Level::Separated);
    }
}
