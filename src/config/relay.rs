//! `[relay]`: how a relay serves. The flags of `secondkey relay` say the same, and win.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::document::{At, Source, Table};
use crate::config::problem::{Problem, Problems};
use crate::core::notice::Network;

/// The configuration that `secondkey relay init` puts into a relay's state folder: everything that there is, as
/// comments.
pub const TEMPLATE: &str = include_str!("relay.toml");

/// How a relay serves, as far as a file says it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RelayConfig {
    /// Where it listens.
    pub listen: Option<SocketAddr>,
    /// Names under which clients reach it.
    pub hosts: Vec<String>,
    /// The page's address, as browsers see it.
    pub page: Option<String>,
    /// Its certificate and the key of that, in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether it may do without where others can listen.
    pub plain_http_on_the_network: bool,
    /// Proxies that are believed about where a client is.
    pub trusted_proxies: Vec<Network>,
    /// Connections from one address at the same time.
    pub connections_per_address: Option<u32>,
    /// The server that has its tables: a URL, or a reference to one.
    pub store: Option<String>,
    /// Where the relays that share the store reach this one.
    pub advertise: Option<String>,
    /// Where its numbers are.
    pub metrics: Option<SocketAddr>,
    /// Whether others may read them.
    pub metrics_on_the_network: bool,
}

const KNOWN: &[&str] = &[
    "advertise",
    "connections_per_address",
    "hosts",
    "listen",
    "metrics",
    "metrics_on_the_network",
    "page",
    "plain_http_on_the_network",
    "store",
    "tls_certificate",
    "tls_key",
    "trusted_proxies",
];
/// The most connections of one address.
const MOST_CONNECTIONS: u32 = 4_096;

/// Reads it, where there is one. What is wrong with the rest of the file is not looked for.
pub(super) fn from_file(source: &Source, problems: &mut Problems) -> Option<RelayConfig> {
    let entries = source.parse(problems)?;
    let table = source.top(&entries).table("relay", problems)?;
    table.only(KNOWN, problems);
    let address = "an address and a port, such as `127.0.0.1:7330`";
    let proxies = table.texts("trusted_proxies", problems).unwrap_or_default();
    let network = "a network, such as `10.0.0.0/8`";
    let proxies = proxies
        .into_iter()
        .filter_map(|at| read(at, network, problems));
    let trusted_proxies = proxies.collect();
    let hosts = table.texts("hosts", problems).unwrap_or_default();
    Some(RelayConfig {
        listen: parsed(&table, "listen", address, problems),
        hosts: hosts.into_iter().map(|at| at.value).collect(),
        page: table.text("page", problems).map(|at| at.value),
        tls: tls(&table, problems),
        plain_http_on_the_network: truth(&table, "plain_http_on_the_network", problems),
        trusted_proxies,
        store: table.text("store", problems).map(|at| at.value),
        advertise: table.text("advertise", problems).map(|at| at.value),
        connections_per_address: connections(&table, problems),
        metrics: parsed(&table, "metrics", address, problems),
        metrics_on_the_network: truth(&table, "metrics_on_the_network", problems),
    })
}

fn truth(table: &Table<'_>, key: &str, problems: &mut Problems) -> bool {
    table.truth(key, problems).is_some_and(|at| at.value)
}

fn parsed<T: FromStr>(
    table: &Table<'_>,
    key: &str,
    what: &str,
    problems: &mut Problems,
) -> Option<T> {
    let at = table.text(key, problems)?;
    read(at, what, problems)
}

fn read<T: FromStr>(at: At<String>, what: &str, problems: &mut Problems) -> Option<T> {
    let found = at.value.parse().ok();
    if found.is_none() {
        let sentence = format!("`{}` cannot be read", at.value.escape_debug());
        problems.add(Problem::new(at.place, sentence, format!("write {what}")));
    }
    found
}

fn connections(table: &Table<'_>, problems: &mut Problems) -> Option<u32> {
    let at = table.amount("connections_per_address", problems)?;
    let number = at.value.replace('_', "").parse().ok();
    let number = number.filter(|number| (1..=MOST_CONNECTIONS).contains(number));
    if number.is_none() {
        let sentence = "`relay.connections_per_address` is no number of connections";
        let hint = format!("write a number from 1 to {MOST_CONNECTIONS}");
        problems.add(Problem::new(at.place, sentence, hint));
    }
    number
}

/// A certificate without its key is of no use, nor the reverse.
fn tls(table: &Table<'_>, problems: &mut Problems) -> Option<(PathBuf, PathBuf)> {
    let certificate = table.text("tls_certificate", problems);
    let key = table.text("tls_key", problems);
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate.value.into(), key.value.into())),
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            let sentence = "`relay` has one of `tls_certificate` and `tls_key` and not the other";
            problems.add(Problem::new(one.place, sentence, "name both files"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (Option<RelayConfig>, Vec<String>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let source = Source::read(file.path(), "secondkey.toml".into()).unwrap();
        let mut problems = Problems::default();
        let found = from_file(&source, &mut problems);
        let said = problems
            .iter()
            .map(|one| format!("{}: {}", one.place, one.message));
        (found, said.collect())
    }

    #[test]
    fn what_init_writes_says_nothing_until_its_comments_are_taken_off() {
        assert_eq!(read_text(TEMPLATE), (None, Vec::new()));
        // A line of the template that begins so is a setting.
        let setting = |line: &str| {
            let rest = line.strip_prefix("# ")?;
            let is_key = |key: &&str| rest.starts_with(&format!("{key} = "));
            (rest == "[relay]" || KNOWN.iter().any(is_key)).then(|| rest.to_owned())
        };
        let lines: Vec<String> = TEMPLATE.lines().filter_map(setting).collect();
        assert_eq!(lines.len(), 1 + KNOWN.len(), "each key is shown: {lines:?}");
        let (found, problems) = read_text(&lines.join("\n"));
        assert_eq!(problems, Vec::<String>::new());
        let found = found.unwrap();
        assert_eq!(found.hosts, ["relay.example.com:7330"]);
        assert_eq!(found.connections_per_address, Some(2_048));
        assert!(found.tls.is_some() && found.listen.is_some() && found.metrics.is_some());
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let (_, problems) = read_text(
            "[relay]\nlisten = \"everywhere\"\nhost = \"a\"\ntls_key = \"k\"\n\
             trusted_proxies = [\"ten\"]\nconnections_per_address = 0\nmetrics = 1\n",
        );
        let expected = [
            "secondkey.toml:3:1: unknown key `relay.host`",
            "secondkey.toml:5:20: `ten` cannot be read",
            "secondkey.toml:2:10: `everywhere` cannot be read",
            "secondkey.toml:4:11: `relay` has one of `tls_certificate` and `tls_key` and not the other",
            "secondkey.toml:6:27: `relay.connections_per_address` is no number of connections",
            "secondkey.toml:7:11: `relay.metrics` must be a text in quotes, but this is of the type integer",
        ];
        assert_eq!(problems, expected);
    }
}
