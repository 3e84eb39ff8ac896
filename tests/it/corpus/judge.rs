//! Sends cases and compares what the world looks like before and after.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Setting;
use super::case::{Case, Mode, Must};
use crate::support::program::Program;
use crate::support::raw::{Era, Raw, is_refusal};

/// Everything a statement could have changed, by name.
pub(crate) type State = BTreeMap<String, String>;

/// A database to run cases against, seen from a connection of its own.
pub(crate) trait World {
    /// Loads the fixture again.
    async fn reset(&mut self, setting: &Setting);
    /// Reads the state.
    async fn state(&mut self) -> State;
    /// Statements with an effect that [`World::state`] has to show.
    fn harm(&self) -> Vec<String>;
    /// Runs one on the connection of the judge.
    async fn run(&mut self, sql: &str);
    /// `secondkey mcp` for this setting.
    fn program(&self, setting: &Setting) -> Program;
    /// Names in the cases, and what they stand for in this world: `{EFFECTS}` is a folder that the
    /// database can write to.
    fn own(&self) -> Vec<(&'static str, String)>;
}

/// Does harm of each kind, and expects to see it: a judge that sees nothing finds everybody innocent.
pub(crate) async fn sees_harm<W: World>(world: &mut W, setting: &Setting) {
    for sql in world.harm() {
        world.reset(setting).await;
        let before = world.state().await;
        assert_eq!(before, world.state().await, "a state at rest");
        world.run(&sql).await;
        let mut after = world.state().await;
        // A session that is ended takes a moment to notice.
        for _ in 0..50 {
            if after != before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            after = world.state().await;
        }
        assert_ne!(before, after, "the judge does not see {sql}");
    }
}

/// What went wrong, one line a case.
#[derive(Default)]
pub(crate) struct Faults(Vec<String>, usize);

impl Faults {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {} cases went wrong:", self.0.len(), self.1)?;
        f.write_str(&self.0.join("\n"))
    }
}

/// Longer than this, and a case hung although its statement has three seconds.
const SLOW: Duration = Duration::from_secs(10);

/// Runs the cases of one setting against one server process.
pub(crate) async fn judge<W: World>(
    world: &mut W,
    setting: &Setting,
    cases: &[&Case],
    faults: &mut Faults,
) {
    world.reset(setting).await;
    let program = world.program(setting);
    let mut server = Raw::start(&program, Era::Legacy).await;
    let mut before = world.state().await;
    for case in cases {
        faults.1 += 1;
        let started = Instant::now();
        let arguments = case.arguments(&world.own());
        let answer = server.call_text("sql_execute", &arguments).await;
        let took = started.elapsed();
        let after = settled(world, &before, case).await;
        for fault in faults_of(case, &answer, &before, &after, took) {
            let why = &case.why;
            faults
                .0
                .push(format!("[{}] {}: {fault} ({why})", setting.name, case.id));
        }
        if after != before {
            world.reset(setting).await;
            before = world.state().await;
        }
    }
    let end = server.finish().await;
    assert!(
        end.success(),
        "the server ended with {end}: {}",
        program.log()
    );
}

/// The state after a case. What a connection still gives back, a lock for example, gets a moment.
async fn settled<W: World>(world: &mut W, before: &State, case: &Case) -> State {
    let mut after = world.state().await;
    for _ in 0..5 {
        if after == *before || may_change(case) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        after = world.state().await;
    }
    after
}

fn may_change(case: &Case) -> bool {
    case.must == Must::Allow && case.mode != Mode::ReadOnly
}

fn faults_of(
    case: &Case,
    answer: &Value,
    before: &State,
    after: &State,
    took: Duration,
) -> Vec<String> {
    let mut faults = Vec::new();
    let refused = is_refusal(answer);
    // What only takes long or much is blocked when a limit of ours or of the engine ended it.
    let limited = case.category == "dos" && took < SLOW;
    if case.must == Must::Block && !refused && !limited {
        faults.push(format!("not refused: {}", short(answer)));
    }
    // A case of MySQL alone gets MariaDB's own word that it does not know it.
    let foreign = case.why.contains("not MariaDB") && answer.to_string().contains("42000");
    if case.must == Must::Allow && refused && !foreign {
        faults.push(format!("refused: {}", short(answer)));
    }
    if !may_change(case) && before != after {
        faults.push(format!("had an effect: {}", difference(before, after)));
    }
    if took > SLOW {
        faults.push(format!("took {took:?}"));
    }
    faults
}

fn short(answer: &Value) -> String {
    let error = answer["error"].to_string();
    let result = &answer["result"];
    let structured = &result["structuredContent"];
    let text = match (answer.get("error"), structured) {
        (Some(_), _) => error,
        (None, Value::Null) => result["content"].to_string(),
        (None, structured) => structured.to_string(),
    };
    text.chars().take(300).collect()
}

fn difference(before: &State, after: &State) -> String {
    let keys = before.keys().chain(after.keys());
    let mut changed: Vec<&String> = keys.filter(|k| before.get(*k) != after.get(*k)).collect();
    changed.sort();
    changed.dedup();
    format!("{changed:?}")
}

/// The names and sizes of the files in a folder, as part of a state.
pub(crate) fn files(folder: &std::path::Path, state: &mut State) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let size = entry.metadata().map(|facts| facts.len());
        let name = format!("file {}", entry.file_name().display());
        state.insert(name, format!("{size:?}"));
    }
}

/// A folder that any OS user can write to.
pub(crate) fn open_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::TempDir::new().unwrap();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).unwrap();
    folder
}

/// `secondkey.toml` with one target.
pub(crate) fn config(url: &str, password: bool, setting: &Setting) -> String {
    let password = if password {
        "password = \"env:TEST_PASSWORD\"\n"
    } else {
        ""
    };
    format!(
        "[targets.corpus]\nurl = \"{url}\"\n{password}allow = {}\nallow_privileged_login = {}\n",
        setting.allow,
        setting.login == super::Login::All,
    )
}
