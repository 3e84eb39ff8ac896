//! Database URLs: what engine they name, where a credential hides in them, how a password gets
//! in. No error of this file repeats any part of a URL, because it could be the secret part.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::core::engine::Engine;

/// How a URL is written, for hints.
pub(super) const FORMS: &str =
    "`postgres://USER@HOST/DATABASE`, `mysql://USER@HOST/DATABASE` or `sqlite:PATH`";

/// A database URL that was taken apart far enough to be trusted with a connection.
#[derive(Clone, Debug)]
pub(super) struct DatabaseUrl {
    /// Which engine it names.
    pub engine: Engine,
    kind: Kind,
}

/// `Debug` is safe: a server's URL is shown without its password, and a file has none.
#[derive(Clone)]
enum Kind {
    Server(Box<Url>),
    File(PathBuf),
}

/// Why a text is not a database URL, in a sentence and a hint.
pub(super) type Fault = (String, String);

impl DatabaseUrl {
    /// Takes a URL apart. A relative SQLite path starts from `folder`.
    pub(super) fn parse(text: &str, folder: &Path) -> Result<Self, Fault> {
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        let Some(engine) = Engine::from_scheme(scheme) else {
            return Err((
                "this is not the URL of a database that SecondKey knows".to_owned(),
                format!("write {FORMS}"),
            ));
        };
        let kind = match engine {
            Engine::Sqlite => Kind::File(sqlite_path(text, folder)?),
            Engine::MySql | Engine::Postgres => Kind::Server(Box::new(server(text)?)),
        };
        Ok(Self { engine, kind })
    }

    /// Whether a password stands in it.
    pub(super) fn has_password(&self) -> bool {
        match &self.kind {
            Kind::Server(url) => {
                url.password().is_some()
                    || url
                        .query_pairs()
                        .any(|(key, _)| key.to_ascii_lowercase().contains("password"))
            }
            Kind::File(_) => false,
        }
    }

    /// Takes another user, without the password of the one before.
    pub(super) fn set_user(&mut self, user: &str) -> Result<(), Fault> {
        let Kind::Server(url) = &mut self.kind else {
            return Err((
                "a SQLite database has no logins".to_owned(),
                "remove `logins`".to_owned(),
            ));
        };
        // The user and password that are written as parameters go, too.
        let mut kept: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(key, _)| !matches!(&*key.to_ascii_lowercase(), "user" | "password"))
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        let encoded = percent_encode(user);
        let named = url
            .set_password(None)
            .and_then(|()| url.set_username(&encoded));
        if named.is_err() {
            // A socket: there is no host before which a user could stand.
            kept.push(("user".to_owned(), user.to_owned()));
        }
        if kept.is_empty() {
            url.set_query(None);
        } else {
            url.query_pairs_mut().clear().extend_pairs(kept);
        }
        Ok(())
    }

    /// Puts a password in.
    pub(super) fn set_password(&mut self, password: &SecretString) -> Result<(), Fault> {
        let Kind::Server(url) = &mut self.kind else {
            return Err((
                "a SQLite database has no password".to_owned(),
                "remove `password`".to_owned(),
            ));
        };
        if url.username().is_empty() {
            return Err((
                "there is a password, but the url names no user".to_owned(),
                format!("write {FORMS}"),
            ));
        }
        // The url crate leaves `%` alone, so a password `50%41` would arrive as `50A`.
        let encoded = percent_encode(password.expose_secret());
        url.set_password(Some(&encoded)).map_err(|()| {
            (
                "there is a password, but the url names no host".to_owned(),
                format!("write {FORMS}"),
            )
        })
    }

    /// The whole URL, credentials included; a SQLite path is absolute.
    pub(super) fn into_secret(self) -> SecretString {
        match self.kind {
            Kind::Server(url) => SecretString::from(String::from(*url)),
            Kind::File(path) => SecretString::from(format!("sqlite:{}", path.display())),
        }
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(url) => write!(f, "Server({})", url.host_str().unwrap_or_default()),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

fn server(text: &str) -> Result<Url, Fault> {
    let url = Url::parse(text).map_err(|error| {
        (
            format!("the database url is malformed: {error}"),
            format!("write {FORMS}; `%`-encode special characters"),
        )
    })?;
    if url.cannot_be_a_base() {
        return Err((
            "the database url is malformed: `//` is missing".to_owned(),
            format!("write {FORMS}"),
        ));
    }
    Ok(url)
}

/// The path after `sqlite:`, absolute. `sqlite://shop.db` is relative as well, as elsewhere.
fn sqlite_path(text: &str, folder: &Path) -> Result<PathBuf, Fault> {
    let rest = text.strip_prefix("sqlite:").unwrap_or(text);
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let form = || "write `sqlite:shop.db` or `sqlite:///srv/shop.db`".to_owned();
    if path.is_empty() {
        return Err(("the SQLite url names no file".to_owned(), form()));
    }
    if path.starts_with(":memory:") || path.contains("mode=memory") {
        return Err((
            "a SQLite database in memory is empty and lives only as long as its connection"
                .to_owned(),
            form(),
        ));
    }
    if path.contains('?') {
        return Err((
            "a SQLite url takes no parameters".to_owned(),
            "remove the `?` and what follows; whether writes run is said by `allow`".to_owned(),
        ));
    }
    Ok(folder.join(path))
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DatabaseUrl, Fault> {
        DatabaseUrl::parse(text, Path::new("/home/ada"))
    }

    #[test]
    fn a_password_goes_in_with_everything_special_encoded() {
        let mut url = parse("postgres://ada@db/orders").unwrap();
        url.set_password(&SecretString::from("p@ss/w%41rd:é"))
            .unwrap();
        assert_eq!(
            url.into_secret().expose_secret(),
            "postgres://ada:p%40ss%2Fw%2541rd%3A%C3%A9@db/orders"
        );
    }

    #[test]
    fn another_user_comes_without_the_first_ones_password() {
        for (given, expected) in [
            (
                "postgres://u:p@h:1/d?sslmode=require",
                "postgres://it%27s%20me@h:1/d?sslmode=require",
            ),
            ("mysql://u@h/d", "mysql://it%27s%20me@h/d"),
            (
                "postgres://h/d?user=u&password=p&host=%2Frun",
                "postgres://it%27s%20me@h/d?host=%2Frun",
            ),
            (
                "postgres:///d?host=%2Frun&user=u",
                "postgres:///d?host=%2Frun&user=it%27s+me",
            ),
        ] {
            let mut url = parse(given).unwrap();
            url.set_user("it's me").unwrap();
            assert_eq!(url.into_secret().expose_secret(), expected);
        }
        assert!(parse("sqlite:x.db").unwrap().set_user("u").is_err());
    }

    #[test]
    fn passwords_are_found_wherever_they_hide() {
        assert!(parse("postgres://u:p@h/d").unwrap().has_password());
        assert!(parse("postgres://u@h/d?password=p").unwrap().has_password());
        assert!(
            parse("mysql://u@h/d?ssl-key-Password=p")
                .unwrap()
                .has_password()
        );
        assert!(
            !parse("postgres://u@h/d?sslmode=require")
                .unwrap()
                .has_password()
        );
    }

    #[test]
    fn sqlite_paths_become_absolute() {
        let path = |text| {
            parse(text)
                .unwrap()
                .into_secret()
                .expose_secret()
                .to_owned()
        };
        assert_eq!(path("sqlite:shop.db"), "sqlite:/home/ada/shop.db");
        assert_eq!(path("sqlite://shop.db"), "sqlite:/home/ada/shop.db");
        assert_eq!(path("sqlite:///srv/shop.db"), "sqlite:/srv/shop.db");
        assert_eq!(path("sqlite:/srv/shop.db"), "sqlite:/srv/shop.db");
    }

    #[test]
    fn errors_and_debug_do_not_repeat_the_url() {
        for text in [
            "hunter2",
            "postgres://u:hunter2@h:x/d",
            "oracle://u:hunter2@h",
            "postgres:hunter2",
        ] {
            assert!(
                !format!("{:?}", parse(text).unwrap_err()).contains("hunter2"),
                "{text}"
            );
        }
        assert!(!format!("{:?}", parse("postgres://u:hunter2@h/d").unwrap()).contains("hunter2"));
    }
}
