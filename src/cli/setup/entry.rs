//! One server in a client's list: this program, or a relay. It never holds a secret.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use url::{Host, Url};

use crate::cli::setup::client::Client;
use crate::cli::setup::words::{Fault, Words};
use crate::reach::is_near;

/// The variable with the key that a relay wants to see.
const KEY_VARIABLE: &str = "SECONDKEY_API_KEY";

/// A server, with its members in the order in which they are written.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Entry {
    /// A program that the client starts.
    Program {
        #[serde(rename = "type")]
        kind: &'static str,
        command: String,
        args: Vec<String>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        env: BTreeMap<String, String>,
    },
    /// A server that the client reaches over streamable HTTP.
    Remote {
        #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
        kind: Option<&'static str>,
        url: String,
        headers: BTreeMap<&'static str, String>,
    },
}

impl Entry {
    /// This program, with the arguments after its name and the variables that it is to see.
    pub(super) fn program(client: Client, command: String, words: Words) -> Self {
        let variable = |name: String| {
            let value = client.variable(&name);
            (name, value)
        };
        Self::Program {
            kind: "stdio",
            command,
            args: words.args,
            env: words.variables.into_iter().map(variable).collect(),
        }
    }

    /// The variables that the client has to be started with.
    pub(super) fn variables(&self) -> Vec<&str> {
        match self {
            Self::Program { env, .. } => env.keys().map(String::as_str).collect(),
            Self::Remote { .. } => vec![KEY_VARIABLE],
        }
    }

    /// A relay.
    pub(super) fn relay(client: Client, url: &Url) -> Self {
        let base = url.as_str().trim_end_matches('/');
        let base = base.strip_suffix("/mcp").unwrap_or(base);
        let key = client.needed_variable(KEY_VARIABLE);
        Self::Remote {
            kind: client.names_http().then_some("http"),
            url: format!("{base}/mcp"),
            headers: BTreeMap::from([("Authorization", format!("Bearer {key}"))]),
        }
    }
}

/// Whether `setup` may have written this entry, by what it starts or which key it shows.
pub(super) fn is_ours(entry: &Value) -> bool {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let command = text(entry.get("command")).unwrap_or_default();
    let first = text(entry.get("args").and_then(|args| args.get(0)));
    let program = Path::new(&command).file_name() == Some(env!("CARGO_PKG_NAME").as_ref());
    let header = entry
        .get("headers")
        .and_then(|headers| headers.get("Authorization"));
    let key = text(header).is_some_and(|header| header.contains(KEY_VARIABLE));
    key || program && first.as_deref() == Some("mcp")
}

/// A relay's address. Plain HTTP leads to this machine or its own network only, as with an agent.
pub(super) fn relay_address(text: &str) -> Result<Url, Fault> {
    let wrong = |what: &str| Err((what.to_owned(), "write it like `https://relay.example`"));
    let Ok(url) = Url::parse(text) else {
        return wrong("a relay's address is a URL");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("a relay's address holds no user and no password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("a relay's address has no `?` and no `#`");
    }
    let near = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => is_near(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => is_near(IpAddr::V6(address)),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if near => Ok(url),
        "http" => wrong("on its way to that relay, the key could be read by others"),
        _ => wrong("a relay is reached by `https:`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_relay_is_reached_where_nobody_can_listen_and_shown_a_key_that_is_not_in_the_file() {
        let written = |client, text| {
            serde_json::to_value(Entry::relay(client, &relay_address(text).unwrap())).unwrap()
        };
        let header = json!({"Authorization": "Bearer ${SECONDKEY_API_KEY}"});
        for text in ["https://relay.example", "https://relay.example/mcp/"] {
            let url = "https://relay.example/mcp";
            assert_eq!(
                written(Client::ClaudeCode, text),
                json!({"type": "http", "url": url, "headers": header})
            );
        }
        let header = json!({"Authorization": "Bearer ${env:SECONDKEY_API_KEY}"});
        assert_eq!(
            written(Client::Cursor, "http://127.0.0.1:8/team/"),
            json!({"url": "http://127.0.0.1:8/team/mcp", "headers": header})
        );
        for text in ["http://localhost:1", "http://10.0.0.1", "http://[::1]:1"] {
            assert!(relay_address(text).is_ok(), "{text}");
        }
        for text in [
            "relay.example",
            "http://relay.example",
            "http://192.0.2.1",
            "ftp://localhost",
            "https://u:p@relay.example",
            "https://relay.example?key=1",
            "https://relay.example/#a",
        ] {
            assert!(relay_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_entry_of_another_server_is_not_ours() {
        for ours in [
            json!({"command": "secondkey", "args": ["mcp", "--config", "x"], "env": {}}),
            json!({"command": "/usr/bin/secondkey", "args": ["mcp"]}),
            json!({"url": "x", "headers": {"Authorization": "Bearer ${SECONDKEY_API_KEY}"}}),
        ] {
            assert!(is_ours(&ours), "{ours}");
        }
        for other in [
            json!({"command": "npx", "args": ["secondkey"]}),
            json!({"command": "secondkey", "args": ["doctor"]}),
            json!({"command": "secondkey"}),
            json!({"url": "https://relay.example/mcp"}),
            json!(7),
        ] {
            assert!(!is_ours(&other), "{other}");
        }
    }
}
