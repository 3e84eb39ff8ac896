//! For the tests of this layer: the same tests with the tables at a server. They run so where
//! `SECONDKEY_TEST_STORE` has the URL of one, at which each has a database of its own.

use std::path::Path;

use secrecy::SecretString;

use crate::core::workspace::WorkspaceName;
use crate::store::folder::Folder;
use crate::store::keys::random;
use crate::store::sql::Server;

#[expect(
    clippy::disallowed_methods,
    reason = "no configuration is read in these tests"
)]
fn meant() -> Option<String> {
    std::env::var("SECONDKEY_TEST_STORE").ok()
}

/// Whether the tables are at a server.
pub(in crate::store) fn is_meant() -> bool {
    meant().is_some()
}

/// Has the tables of a state folder, which is not there yet, be at the server if they are meant to.
pub(in crate::store) fn share(root: &Path) {
    let Some(url) = meant() else {
        return;
    };
    let name = format!("store_{}", hex::encode(random::<8>().unwrap()));
    let server = Server::at(&SecretString::from(url.as_str()), &WorkspaceName::first()).unwrap();
    let made = format!("create database {name}");
    server.connect().unwrap().execute_batch(&made).unwrap();
    let (before, query) = url.split_once('?').unwrap_or((&url, ""));
    let (server, _) = before.rsplit_once('/').unwrap();
    let url = format!("{server}/{name}?{query}");
    Folder::open(root)
        .unwrap()
        .share(&SecretString::from(url))
        .unwrap();
}
