//! Where a relay's tables are, as somebody says it.

use std::path::Path;

use secrecy::SecretString;
use url::Url;

use crate::config::{self, Surroundings};
use crate::core::refusal::{Code, Refusal};
use crate::store::State;

/// Has the tables of a state folder be where this says.
pub(super) fn place(root: &Path, text: &str, around: &Surroundings) -> Result<(), Refusal> {
    let url = url(text, around)?;
    Ok(State::share(root, &url)?)
}

/// The URL of a PostgreSQL server, as such or by reference. A password is in no command line.
fn url(text: &str, around: &Surroundings) -> Result<SecretString, Refusal> {
    let is_postgres = |text: &str| {
        ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
    };
    if !is_postgres(text) {
        return config::secret_of(text, around);
    }
    let has_password = Url::parse(text).is_ok_and(|url| {
        let named = url.query_pairs().any(|(name, _)| name == "password");
        url.password().is_some() || named
    });
    if has_password {
        let sentence = "the store's URL has a password in it, which others can read here";
        return Err(Refusal::new(Code::InvalidArgument, sentence).hint(
            "write the URL into a file or a variable, and refer to it: `file:PATH`, `env:NAME`",
        ));
    }
    Ok(SecretString::from(text))
}
