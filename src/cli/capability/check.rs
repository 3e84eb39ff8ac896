//! Checking and testing capabilities on the real database.

use std::sync::Arc;

use serde_json::Value;

use super::Bench;
use crate::agent::drift::Looked;
use crate::broker::submit::Wanted;
use crate::capabilities::Capabilities;
use crate::cli::{Exit, Failure, output};
use crate::core::answer::Column;
use crate::core::capability::{Capability, Scalar};
use crate::core::engine::Engine;
use crate::core::statement::Effect;

/// Checks each without running anything of it.
pub(super) async fn check(
    bench: &Bench<'_>,
    targets: &[(String, Arc<Capabilities>)],
) -> Result<Exit, Failure> {
    let mut good = true;
    for (target, all) in targets {
        let Some(executor) = bench.agent.executor(target) else {
            continue;
        };
        let bundle = all.bundle();
        output::say(&format!(
            "{target}: {} (bundle {})",
            all.file().display(),
            bundle.digest()
        ))?;
        for capability in bundle.iter() {
            match bench.agent.look_at(executor, capability).await {
                Ok(looked) => {
                    output::say(&format!("  ok    {}: {}", capability.name, found(&looked)))?;
                    for warning in warnings(bench, target, capability, &looked).await {
                        output::say(&format!("        warning: {warning}"))?;
                    }
                }
                Err(refusal) => {
                    good = false;
                    output::say(&format!("  wrong {}: {}", capability.name, refusal.message))?;
                    if let Some(hint) = refusal.hint {
                        output::say(&format!("        hint: {hint}"))?;
                    }
                }
            }
        }
    }
    Ok(if good { Exit::Done } else { Exit::Failed })
}

/// What the database says of it, in a line.
fn found(looked: &Looked) -> String {
    let nullable = looked.described.nullable.iter().copied();
    let columns = looked.described.columns.iter();
    let columns: Vec<String> = columns
        .zip(nullable.chain(std::iter::repeat(None)))
        .map(|(column, nullable)| {
            let never = if nullable == Some(false) {
                " not null"
            } else {
                ""
            };
            format!("{} {}{never}", column.name, column.type_name)
        })
        .collect();
    let params = &looked.described.params;
    let mut said = format!("{}s", looked.statement.effect);
    if !params.is_empty() {
        said.push_str(", takes ");
        said.push_str(&params.join(", "));
    }
    if !columns.is_empty() {
        said.push_str(", answers ");
        said.push_str(&columns.join(", "));
    }
    said
}

/// What would work and is better otherwise.
async fn warnings(
    bench: &Bench<'_>,
    target: &str,
    capability: &Capability,
    looked: &Looked,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let described = &looked.described.columns;
    match &capability.result {
        None if !described.is_empty() => {
            let columns: Vec<String> = described
                .iter()
                .map(|column| {
                    format!(
                        "{}: {{ type: {} }}",
                        column.name,
                        guess(&column.type_name).as_str()
                    )
                })
                .collect();
            warnings.push(format!(
                "no column of its answer leaves; write `result: {{ {} }}`",
                columns.join(", ")
            ));
        }
        None => {}
        Some(listed) => {
            for column in listed {
                let same = described.iter().find(|other| other.name == column.name);
                // SQLite gives what is computed no type.
                let known = |real: &&Column| !column.kind.array && real.type_name != "any";
                let Some(real) = same.filter(known) else {
                    continue;
                };
                let guessed = guess(&real.type_name);
                if !alike(column.kind.scalar, guessed) {
                    warnings.push(format!(
                        "`{}` is declared as {} and is {} in the database",
                        column.name,
                        column.kind.scalar.as_str(),
                        real.type_name
                    ));
                }
            }
        }
    }
    warnings.extend(maybe_null(capability, looked));
    if looked.statement.effect == Effect::Read
        && !looked.statement.redacted.to_lowercase().contains("limit")
    {
        warnings.push(format!(
            "nothing in the statement bounds its answer; `max_rows` cuts it at {}",
            capability.policy.limits.rows
        ));
    }
    if let Some(executor) = bench.agent.executor(target) {
        let engine = executor.target().engine;
        warnings.extend(unlike_parameters(
            capability,
            engine,
            &looked.described.params,
        ));
    }
    warnings.extend(whole_tables(bench, target, capability).await);
    warnings
}

/// The columns that are declared never to be null, and can be as far as the database says.
fn maybe_null(capability: &Capability, looked: &Looked) -> Vec<String> {
    let Looked { described, .. } = looked;
    let known = described.columns.iter().zip(&described.nullable);
    let can_be = known.filter(|(_, nullable)| **nullable == Some(true));
    let can_be: Vec<&str> = can_be.map(|(column, _)| column.name.as_str()).collect();
    let listed = capability.result.iter().flatten();
    let declared = listed.filter(|it| !it.nullable && can_be.contains(&it.name.as_str()));
    declared
        .map(|column| {
            let name = &column.name;
            format!("`{name}` is declared never to be null, and in the database it can be")
        })
        .collect()
}

/// The parameters that the database takes as another type than the one declared. Only PostgreSQL says
/// what it takes.
fn unlike_parameters(capability: &Capability, engine: Engine, taken: &[String]) -> Vec<String> {
    let Ok(bound) = capability.bound(engine) else {
        return Vec::new();
    };
    let unlike = |(name, taken): (&String, &String)| {
        let parameter = capability.params.iter().find(|it| it.name == *name)?;
        let (array, one) = match taken.strip_prefix('_') {
            Some(one) => (true, one),
            None => (taken.ends_with("[]"), taken.as_str()),
        };
        let declared = parameter.kind;
        // A document holds arrays, too.
        let document = guess(one) == Scalar::Json;
        let fits = document || (declared.array == array && alike(declared.scalar, guess(one)));
        let declared = match (declared.array, declared.scalar.as_str()) {
            (true, one) => format!("an array of {one}"),
            (false, one) => one.to_owned(),
        };
        (!fits).then(|| {
            format!(
                "the parameter `{name}` is declared as {declared}, and the database takes {taken}"
            )
        })
    };
    let mut found: Vec<String> = bound.order.iter().zip(taken).filter_map(unlike).collect();
    found.dedup();
    found
}

/// The tables that an example reads from end to end.
async fn whole_tables(bench: &Bench<'_>, target: &str, capability: &Capability) -> Vec<String> {
    let Some(executor) = bench.agent.executor(target) else {
        return Vec::new();
    };
    let engine = executor.target().engine;
    let (Some(example), Ok(bound)) = (capability.examples.first(), capability.bound(engine)) else {
        return Vec::new();
    };
    let Ok(called) = capability.called(example.params.clone()) else {
        return Vec::new();
    };
    let principal = &bench.caller.principal;
    let values = capability.values(
        (&bound, engine),
        &called,
        principal,
        |_| Some(String::new()),
    );
    let Ok(params) = values else {
        return Vec::new();
    };
    let explain = match engine {
        Engine::Sqlite => "EXPLAIN QUERY PLAN",
        Engine::Postgres | Engine::MySql => "EXPLAIN",
    };
    let what = Wanted::Sql {
        text: format!("{explain} {}", bound.text),
        params,
    };
    let Ok(plan) = bench.ask(what, target, None).await else {
        return Vec::new();
    };
    let text = |cell: &Value| cell.as_str().map(str::to_owned).unwrap_or_default();
    let lines = plan.report.rows.iter().map(|row| match engine {
        // Its column `type` says how a table is reached.
        Engine::MySql if row.iter().any(|cell| cell == "ALL") => {
            format!("Seq Scan on {}", row.get(2).map(text).unwrap_or_default())
        }
        Engine::MySql => String::new(),
        Engine::Postgres | Engine::Sqlite => row.last().map(text).unwrap_or_default(),
    });
    let scanned = lines.filter_map(|line| {
        let (_, after) = line
            .split_once("Seq Scan on ")
            .or_else(|| line.split_once("SCAN "))?;
        after.split_whitespace().next().map(str::to_owned)
    });
    scanned
        .map(|table| {
            format!(
                "its first example reads the whole of `{table}`; an index would help once it grows"
            )
        })
        .collect()
}

/// The declared type that suits an engine's own.
fn guess(type_name: &str) -> Scalar {
    let name = type_name.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if has(&["bool", "tinyint(1)"]) {
        Scalar::Boolean
    } else if has(&["timestamp", "datetime"]) {
        Scalar::DateTime
    } else if has(&["date"]) {
        Scalar::Date
    } else if has(&["json"]) {
        Scalar::Json
    } else if has(&["uuid"]) {
        Scalar::Uuid
    } else if has(&["numeric", "decimal"]) {
        Scalar::Decimal
    } else if has(&["int", "serial"]) {
        Scalar::Integer
    } else if has(&["real", "floa", "doub"]) {
        Scalar::Number
    } else {
        Scalar::String
    }
}

/// Whether a declaration will do for a type. What is text in an answer can be declared as text.
fn alike(declared: Scalar, found: Scalar) -> bool {
    let text = [Scalar::String, Scalar::Date, Scalar::DateTime, Scalar::Uuid];
    let number = [
        Scalar::Integer,
        Scalar::Number,
        Scalar::Decimal,
        Scalar::Boolean,
    ];
    declared == found
        || declared == Scalar::Json
        || (text.contains(&declared) && text.contains(&found))
        || (number.contains(&declared) && number.contains(&found))
}
