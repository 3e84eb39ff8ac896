use std::collections::BTreeMap;
use std::fs;

use insta::assert_snapshot;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::*;
use crate::core::engine::Engine;
use crate::core::statement::Effect;

/// A folder of its own, an environment of its own, and flags.
struct World {
    folder: TempDir,
    variables: BTreeMap<String, String>,
    flags: Flags,
}

impl World {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            variables: BTreeMap::new(),
            flags: Flags::default(),
        }
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn toml(self, text: &str) -> Self {
        self.file("secondkey.toml", text)
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn url(mut self, url: &str) -> Self {
        self.flags.database_urls.push(SecretString::from(url));
        self
    }

    fn load(&self) -> Result<Config, Problems> {
        let around = Surroundings {
            environment: Environment::Fixed(self.variables.clone()),
            folder: self.folder.path().to_owned(),
            config_dir: Some(self.folder.path().join("user")),
            state_dir: Some(self.folder.path().join("state")),
        };
        load(&self.flags, &around)
    }

    /// The problems, without the random name of the folder.
    fn problems(&self) -> String {
        let folder = self.folder.path().display().to_string();
        self.load().unwrap_err().to_string().replace(&folder, "DIR")
    }
}

fn urls(config: &Config) -> Vec<(&str, &str)> {
    let pair = |t: &'_ TargetConfig| -> (*const str, *const str) {
        (t.target.name.as_str(), t.url.expose_secret())
    };
    let _ = pair;
    config
        .targets
        .iter()
        .map(|t| (t.target.name.as_str(), t.url.expose_secret()))
        .collect()
}

#[test]
fn a_whole_file_is_understood() {
    let config = World::new()
        .variable("ORDERS_PASSWORD", "s3cret/@")
        .toml(
            r#"
[limits]
rows = 300
time = "10s"

[targets.orders]
url = "postgres://app_ro@db/orders"
password = "env:ORDERS_PASSWORD"
environment = "production"
labels = { team = "shop" }
allow = ["read", "write"]
trusted = ["app.safe_fn"]
allow_privileged_login = true
[targets.orders.limits]
rows = 500
bytes = "256KiB"

[targets.archive]
url = "sqlite:archive.db"
"#,
        )
        .load()
        .unwrap();
    let [orders, archive] = config.targets.as_slice() else {
        panic!("two targets");
    };
    assert_eq!(
        orders.url.expose_secret(),
        "postgres://app_ro:s3cret%2F%40@db/orders"
    );
    assert_eq!(orders.target.engine, Engine::Postgres);
    assert_eq!(orders.target.environment, "production");
    assert_eq!(orders.target.labels["team"], "shop");
    assert_eq!(
        orders.target.allow,
        [Effect::Read, Effect::Write].into_iter().collect()
    );
    assert!(orders.target.trusted.contains("app.safe_fn"));
    assert!(orders.allow_privileged_login);
    assert_eq!(
        orders.target.limits,
        Limits {
            rows: 500,
            bytes: 256 * 1024,
            time_ms: 10_000
        }
    );
    assert_eq!(orders.origin.to_string(), "secondkey.toml:6:10");
    assert!(archive.target.is_read_only());
    assert!(!archive.allow_privileged_login);
    assert_eq!(archive.target.limits.rows, 300);
    assert_eq!(archive.target.limits.bytes, Limits::DEFAULT.bytes);
}
