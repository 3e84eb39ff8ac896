//! `examples/deploy`: looked at with the tools that read such files for a living. Nothing here starts a container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::{binary, checkout, client, skip};

const UNITS: [&str; 2] = ["secondkey-relay.service", "secondkey-agent.service"];
const MANIFESTS: [&str; 2] = ["relay.yaml", "agent.yaml"];
/// The highest exposure that `systemd-analyze security` may find, in tenths; 0 is none, 100 is all.
const EXPOSURE: &str = "15";

fn example(path: &str) -> PathBuf {
    checkout().join("examples/deploy").join(path)
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Runs a fetched tool; `None`, and says so, where it is not there.
fn checked(test: &str, tool: &str, arguments: &[&str], file: &Path) -> Option<Output> {
    let Some(path) = client(&format!("venv/bin/{tool}")) else {
        skip(test, &format!("{tool} was not fetched"));
        return None;
    };
    let mut command = Command::new(path);
    Some(command.args(arguments).arg(file).output().unwrap())
}

fn passes(output: &Output) {
    assert!(output.status.success(), "{}", text(output));
}

/// A copy of a unit that starts the program that was built.
fn unit(name: &str, folder: &TempDir, change: impl Fn(String) -> String) -> PathBuf {
    let unit = fs::read_to_string(example("systemd").join(name)).unwrap();
    assert!(unit.contains("ExecStart=/usr/local/bin/secondkey "));
    let path = folder.path().join(name);
    let unit = unit.replace("/usr/local/bin/secondkey", binary());
    fs::write(&path, change(unit)).unwrap();
    path
}

fn systemd(arguments: &[&str], unit: &Path) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(unit).output().unwrap()
}

#[test]
fn systemd_takes_the_units_and_finds_little_exposed() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        skip(
            "the units of examples/deploy",
            "systemd-analyze is not installed",
        );
        return;
    }
    let folder = TempDir::new().unwrap();
    let threshold = format!("--threshold={EXPOSURE}");
    let security = ["security", "--offline=yes", "--no-pager", &threshold];
    for name in UNITS {
        let path = unit(name, &folder, |unit| unit);
        let verified = systemd(&["verify", "--man=no"], &path);
        passes(&verified);
        // What it does not know it only warns of.
        assert_eq!(text(&verified), "", "{name}");
        passes(&systemd(&security, &path));
        // Both would notice.
        let wrong = unit(name, &folder, |unit| {
            unit.replace("ProtectSystem=", "ProtectSytem=")
        });
        assert!(text(&systemd(&["verify", "--man=no"], &wrong)).contains("ProtectSytem"));
        let open = unit(name, &folder, |unit| {
            let hardening = ["Protect", "Private", "Restrict", "System", "Capability"];
            let lines = unit
                .lines()
                .filter(|line| !hardening.iter().any(|word| line.starts_with(word)));
            lines.collect::<Vec<_>>().join("\n")
        });
        assert!(!systemd(&security, &open).status.success(), "{name}");
    }
}

/// Arguments of the program in a file: those of `ExecStart`, or of a list in YAML.
fn arguments(file: &str) -> Vec<String> {
    let file = fs::read_to_string(example(file)).unwrap();
    if let Some((_, start)) = file.split_once("ExecStart=/usr/local/bin/secondkey ") {
        let start = start.replace("\\\n", " ");
        let start = start.lines().next().unwrap();
        return start.split_whitespace().map(str::to_owned).collect();
    }
    let items = file
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "));
    let own = |item: &&str| item.starts_with("--") || ["relay", "agent"].contains(item);
    items.filter(own).map(str::to_owned).collect()
}

#[test]
fn the_program_knows_every_flag_that_the_examples_give_it() {
    let yaml = [
        "kubernetes/relay.yaml",
        "kubernetes/agent.yaml",
        "helm/secondkey/templates/relay.yaml",
        "helm/secondkey/templates/agent.yaml",
        "compose.yaml",
    ];
    let units = UNITS.map(|unit| format!("systemd/{unit}"));
    let files = units.iter().map(String::as_str).chain(yaml);
    let mut commands = 0;
    for file in files {
        let all = arguments(file);
        let begins = |item: &String| ["relay", "agent"].contains(&item.as_str());
        let mut starts: Vec<_> = (0..all.len()).filter(|at| begins(&all[*at])).collect();
        starts.push(all.len());
        for pair in starts.windows(2) {
            let command = &all[pair[0]..pair[1]];
            assert!(command.len() >= 4, "{file}: {command:?}");
            // `--help` after them: everything before it has been understood, and nothing is started.
            let run = |command: &[String]| {
                Command::new(binary())
                    .args(command)
                    .arg("--help")
                    .output()
                    .unwrap()
            };
            passes(&run(command));
            let mut wrong = command.to_vec();
            wrong.push("--no-such-flag".to_owned());
            assert!(!run(&wrong).status.success());
            commands += 1;
        }
    }
    assert_eq!(commands, 8);
}

#[test]
fn the_manifests_and_the_chart_are_what_kubernetes_takes() {
    let test = "the manifests of examples/deploy";
    let folder = TempDir::new().unwrap();
    for name in MANIFESTS {
        let plain = example("kubernetes").join(name);
        let Some(output) = checked(test, "kubernetes-validate", &["--strict"], &plain) else {
            return;
        };
        passes(&output);
        // The chart with its own values, by the two expressions that it uses.
        let chart = fs::read_to_string(example("helm/secondkey/templates").join(name)).unwrap();
        let rendered = rendered(&chart);
        let path = folder.path().join(name);
        fs::write(&path, &rendered).unwrap();
        passes(&checked(test, "kubernetes-validate", &["--strict"], &path).unwrap());
        // With these values, and for the release `secondkey`, both say the same.
        assert_eq!(rendered, fs::read_to_string(&plain).unwrap(), "{name}");
        fs::write(&path, rendered.replace("replicas: 1", "replica: 1")).unwrap();
        let wrong = checked(test, "kubernetes-validate", &["--strict"], &path).unwrap();
        assert!(!wrong.status.success(), "{name}");
    }
}

/// A template of the chart for the release `secondkey`. It may hold `.Release.Name` and values, and nothing else.
fn rendered(template: &str) -> String {
    let values = fs::read_to_string(example("helm/secondkey/values.yaml")).unwrap();
    let (mut out, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("{{ ") {
        let (expression, after) = after.split_once(" }}").unwrap();
        out.push_str(before);
        out.push_str(&match expression.strip_prefix(".Values.") {
            Some(value) => value_of(&values, value),
            None if expression == ".Release.Name" => "secondkey".to_owned(),
            None => panic!("this test does not know {expression}"),
        });
        rest = after;
    }
    out + rest
}

/// A value by its path, of one or two names, in the two levels that the file has.
fn value_of(values: &str, path: &str) -> String {
    let mut section = "";
    for line in values
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let found = match key.strip_prefix("  ") {
            Some(key) => format!("{section}.{key}"),
            None => key.to_owned(),
        };
        if !key.starts_with(' ') {
            section = key;
        }
        if found == path {
            return value.trim().to_owned();
        }
    }
    panic!("values.yaml has no {path}")
}

#[test]
fn the_compose_file_is_one_by_its_specification() {
    let test = "the Compose file of examples/deploy";
    let schema = ["--builtin-schema", "vendor.compose-spec"];
    let file = example("compose.yaml");
    let Some(output) = checked(test, "check-jsonschema", &schema, &file) else {
        return;
    };
    passes(&output);
    let folder = TempDir::new().unwrap();
    let wrong = folder.path().join("compose.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&wrong, text.replace("restart:", "restarts:")).unwrap();
    let output = checked(test, "check-jsonschema", &schema, &wrong).unwrap();
    assert!(!output.status.success());
}

#[test]
fn the_dockerfile_has_no_findings() {
    let test = "the Dockerfile of examples/deploy";
    let file = example("Dockerfile");
    let Some(output) = checked(test, "hadolint", &["--failure-threshold=style"], &file) else {
        return;
    };
    passes(&output);
    let folder = TempDir::new().unwrap();
    let wrong = folder.path().join("Dockerfile");
    fs::write(&wrong, "FROM debian\nRUN cd /tmp && sudo true\n").unwrap();
    let output = checked(test, "hadolint", &["--failure-threshold=style"], &wrong).unwrap();
    assert!(!output.status.success());
}
