use std::collections::BTreeMap;
use std::fs;

use insta::assert_snapshot;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::*;
use crate::core::engine::Engine;
use crate::core::notice::{Event, Format};
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

    fn toml(mut self, text: &str) -> Self {
        self.flags.config = Some("secondkey.toml".into());
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
sync_reads = true
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
    assert!(orders.allow_privileged_login && orders.target.sync_reads);
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

#[test]
fn people_are_told_as_the_file_says() {
    let world = World::new()
        .toml(
            r#"[targets.a]
url = "sqlite:a.db"
[notify]
page_url = "https://key.example.com/page/"
[notify.webhook]
url = "file:hook"
secret = "env:HOOK_SECRET"
allow_private = ["10.1.2.0/24", "::1"]
events = ["request.pending", "request.expired"]
"#,
        )
        .file("hook", "https://hooks.example.com/a?b=c\n")
        .variable("DISPLAY", ":0")
        .variable("HOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let notify = world.load().unwrap().notify;
    assert!(notify.desktop);
    assert_eq!(notify.page_url, "https://key.example.com/page");
    let webhook = notify.webhook.unwrap();
    let url = webhook.url.expose_secret();
    assert_eq!(url, "https://hooks.example.com/a?b=c");
    assert_eq!(webhook.events, [Event::Pending, Event::Expired].into());
    assert_eq!(webhook.allow_private.len(), 2);
    assert!(webhook.secret.is_some() && webhook.format == Format::Standard);
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_is_told_unless_there_is_somebody_to_tell() {
    let file = "[targets.a]\nurl = \"sqlite:a.db\"\n";
    let notify = World::new().toml(file).load().unwrap().notify;
    assert!(!notify.desktop && notify.webhook.is_none());
    assert_eq!(notify.page_url, "http://localhost:7321");
    let off = format!("{file}[notify]\ndesktop = false\n");
    let world = World::new().toml(&off).variable("WAYLAND_DISPLAY", "w");
    assert!(!world.load().unwrap().notify.desktop);
}

#[test]
fn all_problems_of_how_people_are_told_are_reported_at_once() {
    let target = "[targets.a]\nurl = \"sqlite:a.db\"\n";
    let wrong = r#"[notify]
desktop = "no"
pager = true
page_url = "ftp://x"
[notify.webhook]
url = "https://user:hunter2@hooks.example.com/"
secret = "whsec_hunter2"
format = "irc"
allow_private = ["10.1.2.3/24"]
events = ["request.begun"]
"#;
    let problems = World::new().toml(&format!("{wrong}{target}")).problems();
    assert!(!problems.contains("hunter2"));
    assert_snapshot!(problems);
    for (webhook, problem) in [
        ("", "this webhook has no `url`"),
        ("url = \"https://hooks.example.com/\"", "has no `secret`"),
        ("url = \"http://10.1.2.3/\"", "a webhook needs `https`"),
        ("url = \"env:NOT_SET\"", "`NOT_SET` is not set"),
        (
            "url = \"https://x/#fragment\"",
            "not the address of a webhook",
        ),
        (
            "url = \"https://x/\"\nsecret = \"env:SHORT\"",
            "`whsec_` and the base64 form",
        ),
    ] {
        let file = format!("{target}[notify.webhook]\n{webhook}\n");
        let world = World::new().toml(&file).variable("SHORT", "whsec_AAAA");
        let problems = world.problems();
        assert!(problems.contains(problem), "{webhook}: {problems}");
        // A process that serves no target finds the same.
        let mut flags = world.flags.clone();
        flags.config = Some(world.folder.path().join("secondkey.toml"));
        let around = Surroundings {
            environment: Environment::Fixed(world.variables.clone()),
            folder: world.folder.path().to_owned(),
            config_dir: None,
            state_dir: None,
        };
        let problems = load_notify(&flags, &around).unwrap_err().to_string();
        assert!(problems.contains(problem), "{webhook}: {problems}");
    }
}

#[test]
fn a_chat_is_told_without_a_secret_but_its_address_is_one() {
    let file = "[targets.a]\nurl = \"sqlite:a.db\"\n[notify.webhook]\nurl = \"https://hooks.slack.com/services/x\"\nformat = \"slack\"\n";
    let config = World::new().toml(file).load().unwrap();
    assert!(config.notify.webhook.unwrap().secret.is_none());
    let warning = config.warnings[0].to_string();
    assert!(warning.contains("can write to the channel"), "{warning}");
}

/// At least one of each problem that a file can have.
const MANY_PROBLEMS: &str = r#"verbose = true
[limits]
rows = 20000
byte = 5
time = 30

[targets.a]
url = "postgres://u:hunter2@db/a"
environmnt = "production"
allow = ["read", "wriet", 3]

[targets.b]
password = "hunter2"
allow_privileged_login = "yes"
labels = { team = 7 }
trusted = ["a.b.c"]

[targets.c]
url = "postgres://u@db/c"
password = "env:NOT_SET"
environment = ""
limits = { bytes = "9MiB", time = "0s", rows = 1.5 }

[targets.d]
url = "file:missing"
"#;

const LOGINS: &str = r#"
[targets.a]
url = "sqlite:a.db"
logins.write.user = "w"

[targets.b]
url = "postgres://u@db/b"
logins.drop.user = "d"
logins.read.user = "r"
logins.write.password = "hunter2"
logins.schema = { user = "s", pass = "x" }
"#;

#[test]
fn what_is_wrong_with_logins_is_said() {
    let problems = World::new().toml(LOGINS).problems();
    assert!(!problems.contains("hunter2"));
    assert_snapshot!(problems, @r#"
    secondkey.toml:4:21: a SQLite database has no logins
      hint: remove `logins`
    secondkey.toml:8:8: there is no login for `drop`
      hint: the effects are `write`, `schema` and `admin`; reads use the login of the `url`
    secondkey.toml:9:8: there is no login for `read`
      hint: the effects are `write`, `schema` and `admin`; reads use the login of the `url`
    secondkey.toml:10:8: this login has no `user`
      hint: name the user that the database knows it by
    secondkey.toml:10:25: `password` must be a reference, not the password itself
      hint: write `env:NAME`, `file:PATH` or `keyring:SERVICE/NAME`
    secondkey.toml:11:31: unknown key `targets.b.logins.schema.pass`
      hint: the keys here are `user`, `password`
    "#);
}

#[test]
fn all_problems_of_a_file_are_reported_at_once() {
    let problems = World::new().toml(MANY_PROBLEMS).problems();
    assert!(!problems.contains("hunter2"));
    assert_snapshot!(problems, @r#"
    secondkey.toml:1:1: unknown key `verbose`
      hint: the keys here are `agent`, `agent_policy`, `approval_wait`, `capability_tools`, `limits`, `notify`, `oidc`, `policy`, `principals`, `relay`, `review`, `targets`
    secondkey.toml:3:8: `20000` is not a number of rows from 1 to 10000, such as `500`
    secondkey.toml:4:1: unknown key `limits.byte`
      hint: the keys here are `rows`, `bytes`, `time`
    secondkey.toml:5:8: `30` is not a time from `1ms` to `10m` with its unit, such as `30s`
    secondkey.toml:8:7: a password stands in the url
      hint: take it out and add `password = "env:NAME"`; a reference is `env:NAME`, `file:PATH` or `keyring:SERVICE/NAME`
    secondkey.toml:9:1: unknown key `targets.a.environmnt`
      hint: the keys here are `url`, `password`, `logins`, `environment`, `labels`, `allow`, `trusted`, `allow_privileged_login`, `sync_reads`, `capabilities`, `changed_capabilities`, `only_capabilities`, `ledger`, `limits`
    secondkey.toml:10:18: `wriet` is not an effect
      hint: the effects are `read`, `write`, `schema` and `admin`
    secondkey.toml:10:27: `targets.a.allow` must be a list of texts, but this is of the type integer
    secondkey.toml:12:10: this target has no `url`
      hint: add `url = "..."`: `postgres://USER@HOST/DATABASE`, `mysql://USER@HOST/DATABASE` or `sqlite:PATH`
    secondkey.toml:13:12: `password` must be a reference, not the password itself
      hint: write `env:NAME`, `file:PATH` or `keyring:SERVICE/NAME`
    secondkey.toml:14:26: `targets.b.allow_privileged_login` must be true or false, but this is of the type string
    secondkey.toml:15:19: `targets.b.labels.team` must be a text in quotes, but this is of the type integer
    secondkey.toml:16:12: this is not the name of a function or relation
      hint: write `name` or `schema.name`
    secondkey.toml:20:12: the environment variable `NOT_SET` is not set
      hint: set it for this program, in the MCP client's `env` for example, or refer to `file:PATH`
    secondkey.toml:21:15: an environment must be 1 to 64 characters without control characters
    secondkey.toml:22:20: `9MiB` is not a size from `1` to `8MiB`, such as `256KiB`
    secondkey.toml:22:35: `0s` is not a time from `1ms` to `10m` with its unit, such as `30s`
    secondkey.toml:22:48: `targets.c.limits.rows` must be a whole number or a text, but this is of the type float
    secondkey.toml:25:7: the secret file `DIR/missing` cannot be read: there is no such file
      hint: it must be a small text file that this program can read
    "#);
}

#[test]
fn all_problems_of_all_sources_are_reported_at_once() {
    let problems = World::new()
        .variable("SECONDKEY_LOG", "=nonsense=")
        .variable("SECONDKEY_LOG_FORMAT", "xml")
        .url("orders=sqlite:a.db")
        .url("orders=sqlite:b.db")
        .url("bad name=sqlite:b.db")
        .url("oracle://u:hunter2@db/x")
        .toml("[target.orders]")
        .problems();
    assert!(!problems.contains("hunter2"));
    assert_snapshot!(problems, @r"
    secondkey.toml:1:2: unknown key `target`
      hint: the keys here are `agent`, `agent_policy`, `approval_wait`, `capability_tools`, `limits`, `notify`, `oidc`, `policy`, `principals`, `relay`, `review`, `targets`
    SECONDKEY_LOG: this is not a log filter
      hint: write a level (`error`, `warn`, `info`, `debug`, `trace`) or `secondkey=debug,warn`
    SECONDKEY_LOG_FORMAT: this is not a log format
      hint: write `text` or `json`
    --database-url (number 2): there is another target `orders` already
      hint: give one of them another name
    --database-url (number 3): not a target name; use 1 to 64 of a-z A-Z 0-9 _ - and start with a letter or digit
    --database-url (number 4): this is not the URL of a database that SecondKey knows
      hint: write `postgres://USER@HOST/DATABASE`, `mysql://USER@HOST/DATABASE` or `sqlite:PATH`
    ");
}

#[test]
fn syntax_errors_are_all_reported_with_their_place() {
    let problems = World::new()
        .toml("[targets.a\nurl = sqlite:a.db\n[targets.a]\n[targets.a]\n")
        .problems();
    assert_snapshot!(problems, @r"
    secondkey.toml:1:11: not TOML: unclosed table, expected `]`
    secondkey.toml:4:10: not TOML: duplicate key
    ");
}

#[test]
fn nothing_configured_is_said_with_a_remedy() {
    assert_snapshot!(World::new().problems(), @r"
    configuration: no target is configured
      hint: add `--database-url URL`, or write a `secondkey.toml` with a `[targets.NAME]`
    ");
    let mut world = World::new();
    world.flags.config = Some("absent.toml".into());
    assert_snapshot!(world.problems(), @"absent.toml: the configuration file cannot be read: there is no such file");
}

#[test]
fn the_file_that_is_named_wins_over_those_that_are_found() {
    let one = |name: &str| format!("[targets.{name}]\nurl = \"sqlite:x.db\"\n");
    let name = |world: &World| world.load().unwrap().targets[0].target.name.to_string();
    let world = World::new().file("user/secondkey.toml", &one("user"));
    assert_eq!(name(&world), "user");
    // A checkout must not be able to redirect anybody's secrets.
    let world = world.file("secondkey.toml", &one("here"));
    assert_eq!(name(&world), "user");
    let world = world
        .file("v/variable.toml", &one("variable"))
        .variable("SECONDKEY_CONFIG", "v/variable.toml");
    assert_eq!(name(&world), "variable");
    // A path in a file starts at the file's folder.
    let url = world.load().unwrap().targets[0]
        .url
        .expose_secret()
        .to_owned();
    assert!(url.ends_with("/v/x.db"), "{url}");
    let mut world = world.file("flag.toml", &one("flag"));
    world.flags.config = Some("flag.toml".into());
    assert_eq!(name(&world), "flag");
}

#[test]
fn flags_win_over_the_environment_and_both_over_defaults() {
    let world = World::new().url("sqlite:a.db");
    let home = world.load().unwrap().home;
    assert_eq!(home.state_dir, world.folder.path().join("state"));
    assert_eq!(
        (home.log.filter.as_str(), home.log.format),
        ("warn", LogFormat::Text)
    );
    let mut world = world
        .variable("SECONDKEY_STATE", "/from/variable")
        .variable("SECONDKEY_LOG", "info")
        .variable("SECONDKEY_LOG_FORMAT", "json")
        .variable("SECONDKEY_DATABASE_URL", "other=sqlite:other.db");
    let config = world.load().unwrap();
    assert_eq!(config.home.state_dir, PathBuf::from("/from/variable"));
    assert_eq!(
        (config.home.log.filter.as_str(), config.home.log.format),
        ("info", LogFormat::Json)
    );
    assert_eq!(config.targets[0].target.name.as_str(), "main");
    world.flags.state = Some("relative".into());
    world.flags.log = Some("debug".to_owned());
    let home = world.load().unwrap().home;
    assert_eq!(home.state_dir, world.folder.path().join("relative"));
    assert_eq!(home.log.filter, "debug");
    world.flags.database_urls.clear();
    assert_eq!(
        world.load().unwrap().targets[0].target.name.as_str(),
        "other"
    );
}

#[test]
fn targets_without_a_name_are_numbered_around_the_names_taken() {
    let world = World::new()
        .toml("[targets.main2]\nurl = \"sqlite:/srv/file.db\"\n")
        .url("sqlite:/srv/a.db")
        .url("sqlite:/srv/b.db")
        .url("shop=postgres://u@h/d?application_name=x")
        .url("postgres://u@h/d?application_name=x");
    assert_eq!(
        urls(&world.load().unwrap()),
        [
            ("main2", "sqlite:/srv/file.db"),
            ("main", "sqlite:/srv/a.db"),
            ("main3", "sqlite:/srv/b.db"),
            ("shop", "postgres://u@h/d?application_name=x"),
            ("main4", "postgres://u@h/d?application_name=x"),
        ]
    );
}

#[test]
fn references_work_in_files_flags_and_variables() {
    let world = World::new()
        .variable("URL", "postgres://u:pw1@h/d")
        .file("secrets/pw", "pw2\r\n")
        .file("secrets/url", "mysql://u:pw3@h/d\n")
        .toml("[targets.file]\nurl = \"postgres://u@h/d\"\npassword = \"file:secrets/pw\"\n")
        .url("env=env:URL")
        .url("url=file:secrets/url");
    assert_eq!(
        urls(&world.load().unwrap()),
        [
            ("file", "postgres://u:pw2@h/d"),
            ("env", "postgres://u:pw1@h/d"),
            ("url", "mysql://u:pw3@h/d"),
        ]
    );
}

#[test]
fn a_keyring_that_is_not_there_is_an_error_and_no_hang() {
    let started = std::time::Instant::now();
    let problems = World::new()
        .url("keyring:secondkey/no-such-entry")
        .problems();
    assert!(problems.contains("keyring"), "{problems}");
    assert!(problems.contains("`env:NAME` or `file:PATH`"), "{problems}");
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[test]
fn secrets_show_in_no_debug_output() {
    let world = World::new()
        .variable("PW", "hunter2")
        .toml("[targets.a]\nurl = \"postgres://u@h/d\"\npassword = \"env:PW\"\n")
        .url("postgres://u:hunter2@h/d");
    let config = world.load().unwrap();
    assert!(
        config
            .targets
            .iter()
            .all(|t| t.url.expose_secret().contains("hunter2"))
    );
    let around = Environment::Fixed(world.variables.clone());
    assert!(!format!("{config:?} {:?} {around:?}", world.flags).contains("hunter2"));
}

#[test]
fn a_password_on_the_command_line_and_open_files_are_warned_of() {
    let world = World::new()
        .file("url", "postgres://u:pw@h/d")
        .toml("[targets.a]\nurl = \"file:url\"\n")
        .url("postgres://u:pw@h/d");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |name: &str, mode| {
            let path = world.folder.path().join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode("url", 0o644);
        mode("secondkey.toml", 0o666);
    }
    let config = world.load().unwrap();
    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    let folder = world.folder.path().display().to_string();
    assert_snapshot!(warnings.join("\n").replace(&folder, "DIR"), @r"
    secondkey.toml: other users can change this file, and with it what runs without approval
      hint: make it yours alone: chmod go-w
    secondkey.toml:2:7: the secret file `DIR/url` can be read by other users
      hint: make it yours alone: chmod 600
    --database-url: a password stands on the command line, where every user of this machine can see it
      hint: write a reference instead of the url: `env:NAME`, `file:PATH` or `keyring:SERVICE/NAME`
    ");
}

proptest::proptest! {
    /// Whatever a file says, the answer is a configuration or a list of problems in that file.
    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}=\"'.,#\\\\ \na-zé0-9:/@-]{0,120}", cut in 0..MANY_PROBLEMS.len()) {
        let broken = MANY_PROBLEMS.get(..cut).unwrap_or_default().to_owned() + &text;
        for file in [&text, &broken] {
            if let Err(problems) = World::new().toml(file).load() {
                proptest::prop_assert!(problems.iter().count() > 0);
            }
        }
    }
}

#[test]
fn principals_have_the_roles_and_groups_that_are_written() {
    let config = World::new()
        .toml(
            "[targets.shop]\nurl = \"sqlite:shop.db\"\n\
             [principals.\"ai:*\"]\nroles = [\"readonly\"]\n\
             [principals.\"ai:ada/*\"]\nroles = [\"developer\"]\ngroups = [\"payments\"]\n",
        )
        .load()
        .unwrap();
    let of = |name: &str| {
        let standing = config.principals.of(&name.to_owned().try_into().unwrap());
        (
            standing.roles.into_iter().collect(),
            standing.groups.into_iter().collect(),
        )
    };
    let all = |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.into()).collect() };
    assert_eq!(
        of("ai:ada/x"),
        (all(&["developer", "readonly"]), all(&["payments"]))
    );
    assert_eq!(of("ai:bob/x"), (all(&["readonly"]), all(&[])));
    assert_eq!(of("human:ada"), (all(&[]), all(&[])));
}

#[test]
fn everything_that_is_wrong_with_principals_is_said_at_once() {
    let world = World::new().toml(
        "[targets.shop]\nurl = \"sqlite:shop.db\"\n\
         [principals.ada]\nroles = [\"de veloper\", \"\"]\n\
         [principals.\"ai:*/x\"]\ngroups = \"payments\"\n\
         [principals.\"human:bo\"]\nrole = [\"dba\"]\n",
    );
    let problems = world.problems();
    for problem in [
        "secondkey.toml:3:13: `ada` is not a principal; expected",
        "secondkey.toml:4:10: `de veloper` is not the name of a role",
        "secondkey.toml:4:24: `` is not the name of a role",
        "secondkey.toml:5:13: `ai:*/x` is not a pattern: a `*` can only stand at the end",
        "secondkey.toml:6:10: `principals.ai:*/x.groups` must be a list of texts",
        "secondkey.toml:8:1: unknown key `principals.human:bo.role`",
    ] {
        assert!(
            problems.contains(problem),
            "{problem} is not in:\n{problems}"
        );
    }
}
