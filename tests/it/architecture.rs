//! The shape of the code, as `docs/architecture.md` describes it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{checkout, rust_files};

/// The layers, and what of ours each may import. A layer that is missing here may import nothing.
const LAYERS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("clock", &["core"]),
    ("ids", &["core"]),
    ("policies", &["core"]),
    ("config", &["core"]),
    ("telemetry", &["config"]),
    ("system", &["core"]),
    ("wire", &["core"]),
    ("pg", &["core"]),
    ("store", &["core", "pg"]),
    ("exec", &["core", "pg"]),
    ("capabilities", &["core", "config", "policies"]),
    (
        "agent",
        &["core", "wire", "capabilities", "policies", "store", "exec"],
    ),
    (
        "broker",
        &[
            "core",
            "ids",
            "wire",
            "capabilities",
            "policies",
            "store",
            "exec",
            "agent",
        ],
    ),
    ("reach", &["core"]),
    ("mcp", &["core", "wire", "reach", "broker", "agent"]),
    ("http", &["core", "wire", "broker", "agent"]),
    // An agent's own way out. It is the agent: what it answers, it takes from its executors.
    (
        "dial",
        &["core", "ids", "wire", "reach", "store", "exec", "agent"],
    ),
    (
        "relay",
        &[
            "core", "ids", "wire", "reach", "store", "broker", "mcp", "web",
        ],
    ),
    ("notify", &["core", "ids", "store"]),
    // The page of local mode stands on the state folder itself, and serves without any target.
    ("web", &["core", "ids", "wire", "store", "broker"]),
    // It hands out links to the page, and one connection of it is served by the MCP server.
    (
        "socket",
        &["core", "system", "wire", "store", "broker", "mcp", "web"],
    ),
    // A client of the built program. It reaches down to make the database that it shows, and to
    // look at and edit files past all guards.
    ("demo", &["core", "exec"]),
];

/// The layers at the top, which may see every other.
const TOP: &[&str] = &["boot", "cli", "main", "lib"];

/// What only some layers may touch, wherever it is named.
const RESERVED: &[(&str, &[&str])] = &[
    ("rusqlite", &["store", "exec"]),
    ("sqlx", &["exec"]),
    ("tokio_postgres", &["pg", "store", "exec"]),
    ("deadpool_postgres", &["exec"]),
    ("exec::postgres", &["exec"]),
    ("exec::mysql", &["exec"]),
    ("exec::sqlite", &["exec", "demo"]),
    ("rmcp", &["mcp", "http", "demo"]),
    ("clap", &["cli", "main"]),
    ("nix", &["system", "cli"]),
];

#[test]
fn imports_point_down_only() {
    let mut faults = Vec::new();
    for (file, layer, code) in sources() {
        if TOP.contains(&layer.as_str()) {
            continue;
        }
        let allowed = LAYERS.iter().find(|(name, _)| *name == layer);
        let allowed = allowed.map_or(&[][..], |(_, allowed)| *allowed);
        for import in imports(&code) {
            if import != layer && !allowed.contains(&import.as_str()) {
                faults.push(format!("{file}: `{layer}` must not import `{import}`"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn drivers_are_named_only_where_they_belong() {
    let mut faults = Vec::new();
    for (file, layer, code) in sources() {
        for (name, layers) in RESERVED {
            let named = mentions(&code, name);
            if named && !layers.contains(&layer.as_str()) {
                faults.push(format!("{file}: `{name}` belongs to {layers:?} alone"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_core_is_pure() {
    let impure = [
        "async fn",
        ".await",
        "tokio",
        "std::env",
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "getrandom",
    ];
    let core = sources()
        .into_iter()
        .filter(|(_, layer, _)| layer == "core");
    let faults: Vec<String> = core
        .flat_map(|(file, _, code)| {
            let found = impure.iter().filter(|word| code.contains(*word));
            let found: Vec<String> = found.map(|word| format!("{file}: {word}")).collect();
            found
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_module_hides_in_a_mod_rs() {
    let all = ["src", "tests"].map(|folder| rust_files(&checkout().join(folder)));
    let hidden = all.iter().flatten().find(|file| file.ends_with("mod.rs"));
    assert_eq!(hidden, None);
}

/// Long files that are one table, read line by line and never as a whole.
const TABLES: &[&str] = &["src/core/statement/mysql/functions.rs"];

#[test]
fn files_stay_readable() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(file, _, code)| code.lines().count() > 600 && !TABLES.contains(&file.as_str()))
        .map(|(file, _, code)| format!("{file}: {} lines", code.lines().count()))
        .collect();
    assert!(long.is_empty(), "over 600 lines: {}", long.join(", "));
}

#[test]
fn the_map_in_the_docs_names_what_exists() {
    let Ok(doc) = std::fs::read_to_string(checkout().join("docs/architecture.md")) else {
        crate::support::skip("architecture::map", "docs/architecture.md is not written");
        return;
    };
    let named = named_in(&doc);
    let exist: BTreeSet<String> = sources().into_iter().map(|(_, layer, _)| layer).collect();
    let missing: Vec<_> = exist.difference(&named).collect();
    let gone: Vec<_> = named.difference(&exist).collect();
    assert!(
        missing.is_empty(),
        "docs/architecture.md does not name {missing:?}"
    );
    assert!(
        gone.is_empty(),
        "docs/architecture.md names {gone:?}, which is not there"
    );
}

/// The first word of each line of the code block that begins with `src/`.
fn named_in(doc: &str) -> BTreeSet<String> {
    let block = doc
        .split("\nsrc/\n")
        .nth(1)
        .expect("a map that begins with `src/`");
    let block = block.split("```").next().unwrap_or_default();
    let top = block
        .lines()
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "));
    top.flat_map(|line| {
        let words = line.split_whitespace();
        words.take_while(|w| w.ends_with('/') || Path::new(w).extension().is_some())
    })
    .map(|word| {
        word.trim_end_matches('/')
            .trim_end_matches(".rs")
            .to_owned()
    })
    .collect()
}

/// Every source file: its path in the checkout, its layer, and its code without tests' own files
/// and comments.
fn sources() -> Vec<(String, String, String)> {
    let root = checkout().join("src");
    rust_files(&root)
        .into_iter()
        .filter(|file| !is_test(file))
        .map(|file| {
            let inside = file.strip_prefix(&root).unwrap();
            let first = inside.components().next().unwrap().as_os_str();
            let layer = Path::new(first).file_stem().unwrap().to_str().unwrap();
            let code = std::fs::read_to_string(&file).unwrap();
            let name = format!("src/{}", inside.display());
            (name, layer.to_owned(), production(&code))
        })
        .collect()
}

fn is_test(file: &Path) -> bool {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    name == "tests" || name.ends_with("_tests") || file.iter().any(|part| part == "tests")
}

/// The code before its tests, comments left out.
fn production(code: &str) -> String {
    let end = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
    let lines = code.get(..end).unwrap_or(code).lines();
    let kept = lines.filter(|line| !line.trim_start().starts_with("//"));
    kept.collect::<Vec<_>>().join("\n")
}

/// The first name after each `crate::`, also within `use crate::{a, b}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let grouped = rest
            .strip_prefix('{')
            .map(|r| r.split('}').next().unwrap_or(r));
        match grouped {
            Some(group) => found.extend(group.split(',').map(first_name)),
            None => {
                found.insert(first_name(rest));
            }
        }
    }
    found.remove("");
    found
}

fn first_name(text: &str) -> String {
    let name = text.trim_start().chars();
    name.take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// Whether the code names a crate or path, as a whole word followed by `::` or in a `use`.
fn mentions(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        let after = code.get(at + name.len()..).unwrap_or_default();
        let starts = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        starts && (after.starts_with("::") || after.starts_with(';'))
    })
}

#[test]
fn the_checks_can_fail() {
    assert_eq!(
        imports("use crate::{exec, store::db};\nuse crate::core::ids;"),
        ["core", "exec", "store"].map(str::to_owned).into()
    );
    assert!(mentions("use sqlx::query;", "sqlx"));
    assert!(!mentions("let my_sqlx = 1; // sqlx", "sqlx"));
}
