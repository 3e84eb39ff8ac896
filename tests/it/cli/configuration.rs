//! The configuration as a user meets it.

use std::path::Path;

use secondkey::config::{self, Config, Environment, Flags, Surroundings};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use crate::cli::{code, secondkey, text};

/// What a file means, with one environment variable set.
fn load(file: &str, variable: (&str, &str)) -> Config {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("secondkey.toml"), file).unwrap();
    let around = Surroundings {
        environment: Environment::Fixed([(variable.0.to_owned(), variable.1.to_owned())].into()),
        folder: folder.path().to_owned(),
        config_dir: None,
        state_dir: Some(folder.path().join("state")),
    };
    let flags = Flags {
        config: Some("secondkey.toml".into()),
        ..Flags::default()
    };
    config::load(&flags, &around).unwrap()
}

#[test]
fn the_example_in_the_documentation_works_and_is_understood() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let example = docs
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let config = load(example, ("ORDERS_PASSWORD", "pw"));
    let names: Vec<_> = config
        .targets
        .iter()
        .map(|t| t.target.name.as_str())
        .collect();
    assert_eq!(names, ["orders", "archive"]);
    // What the example writes as general limits are the defaults, as the page says.
    let archive = config.targets.last().unwrap();
    assert_eq!(
        archive.target.limits,
        secondkey::core::limits::Limits::DEFAULT
    );
}

#[test]
fn a_password_of_special_characters_reaches_the_drivers_unchanged() {
    let password = "p@ss/w%41rd:#?&+ é\"'\\";
    let file = |scheme: &str| {
        format!("[targets.a]\nurl = \"{scheme}://ada@db/orders\"\npassword = \"env:PW\"\n")
    };
    let url = |scheme| {
        let config = load(&file(scheme), ("PW", password));
        config
            .targets
            .first()
            .unwrap()
            .url
            .expose_secret()
            .to_owned()
    };
    let postgres: tokio_postgres::Config = url("postgres").parse().unwrap();
    assert_eq!(postgres.get_password(), Some(password.as_bytes()));
    assert_eq!(postgres.get_user(), Some("ada"));
    let mysql: sqlx::mysql::MySqlConnectOptions = url("mysql").parse().unwrap();
    let seen = format!("{mysql:?}");
    assert!(
        seen.contains(&format!("password: Some({password:?})")),
        "{seen}"
    );
}

#[test]
fn a_wrong_configuration_stops_the_server_with_2_before_it_says_anything() {
    let folder = TempDir::new().unwrap();
    std::fs::write(
        folder.path().join("secondkey.toml"),
        "[targets.a]\nurl = 7\nalow = []\n",
    )
    .unwrap();
    let output = secondkey(folder.path()).arg("mcp").output().unwrap();
    assert_eq!(code(&output), 2);
    assert_eq!(text(&output.stdout), "");
    insta::assert_snapshot!(text(&output.stderr), @r"
    secondkey.toml:2:7: `targets.a.url` must be a text in quotes, but this is of the type integer
    secondkey.toml:3:1: unknown key `targets.a.alow`
      hint: the keys here are `url`, `password`, `logins`, `environment`, `labels`, `allow`, `trusted`, `allow_privileged_login`, `sync_reads`, `capabilities`, `changed_capabilities`, `only_capabilities`, `ledger`, `limits`
    ");
}

#[test]
fn a_password_is_in_no_output_whatever_goes_wrong() {
    let folder = TempDir::new().unwrap();
    std::fs::write(
        folder.path().join("secondkey.toml"),
        "[targets.a]\nurl = \"postgres://u:hunter2@h/d\"\n[targets.b]\npassword = \"hunter2\"\n",
    )
    .unwrap();
    for command in [&["mcp"][..], &["doctor"], &["doctor", "--json"]] {
        let output = secondkey(folder.path())
            .args(command)
            .args([
                "--database-url",
                "postgres://u:hunter2@h:x/d",
                "--log",
                "trace",
            ])
            .env("SECONDKEY_DATABASE_URL", "hunter2")
            .output()
            .unwrap();
        assert_eq!(code(&output), 2);
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(!all.contains("hunter2"), "{all}");
    }
}
