//! What the engine itself knows of a statement: it is compiled with every access recorded, views
//! and triggers included, and thrown away without having run.

use std::collections::BTreeSet;

use crate::core::refusal::{Code, Refusal};
use crate::core::schema::Described;
use crate::core::statement::sqlite::functions::{Standing, standing};
use crate::core::statement::{Effect, Name, Statement};
use crate::exec::sqlite::errors;
use crate::exec::sqlite::gate::{Gate, Record};
use crate::exec::sqlite::hints;
use crate::exec::sqlite::open::Opened;
use crate::exec::sqlite::read;
use crate::exec::sqlite::stop::Stop;
use crate::exec::sqlite::values::Columns;

/// Adds to `statement` what SQLite finds in `sql`.
pub(super) fn judge(
    opened: &Opened,
    mut statement: Statement,
    sql: &str,
    stop: &Stop,
) -> Result<Statement, Refusal> {
    if statement.effect == Effect::Admin {
        // Nothing is worse, and a pragma may not even be compiled.
        return Ok(statement);
    }
    let record = compile(opened, sql, stop)
        .map_err(|refusal| hints::add(&opened.connection, &statement, refusal))?;
    if statement.kind == "explain" {
        statement.reads.extend(without_shadows(&record.reads));
        return Ok(statement);
    }
    if statement.effect < Effect::Schema {
        statement.reads.extend(without_shadows(&record.reads));
        statement
            .names
            .functions
            .retain(|name| record.functions.contains(&name.name));
    }
    statement.writes.extend(record.writes);
    for (effect, because) in record.findings {
        // A definition also writes to the schema table and the like; its verb has said it all.
        if effect > statement.effect || statement.effect == Effect::Write {
            statement.worsen(effect, because);
        }
    }
    let named = statement
        .names
        .functions
        .iter()
        .map(|name| name.name.clone());
    let functions: BTreeSet<String> = named.chain(record.functions).collect();
    for function in functions {
        judge_function(&mut statement, &function, &opened.gate);
    }
    Ok(statement)
}

fn compile(opened: &Opened, sql: &str, stop: &Stop) -> Result<Record, Refusal> {
    stop.watch(&opened.connection)
        .map_err(|error| errors::refusal(&error))?;
    stop.patiently(&opened.connection, || read_schema(opened))?;
    let mut record = Record::default();
    let compiled = stop.patiently(&opened.connection, || {
        opened.gate.record();
        let compiled = opened.connection.prepare(sql).map(drop);
        record = opened.gate.recorded();
        compiled
    });
    match compiled {
        Ok(()) => Ok(record),
        // The statement wants something that is not even compiled to be judged.
        Err(refusal) if refusal.code == Code::Forbidden => {
            record.findings.push((
                Effect::Admin,
                "needs more than the database's tables".into(),
            ));
            Ok(record)
        }
        Err(refusal) => Err(refusal),
    }
}

/// What SQLite says of a statement that is compiled and not run. It gives parameters no types.
pub(super) fn describe(opened: &Opened, sql: &str, stop: &Stop) -> Result<Described, Refusal> {
    stop.watch(&opened.connection)
        .map_err(|error| errors::refusal(&error))?;
    stop.patiently(&opened.connection, || read_schema(opened))?;
    stop.patiently(&opened.connection, || {
        opened.gate.record();
        let compiled = opened.connection.prepare(sql);
        let columns = compiled.map(|statement| Columns::new(read::declared(&statement), None));
        drop(opened.gate.recorded());
        columns.map(|columns| Described {
            params: Vec::new(),
            columns: columns.shown,
            nullable: Vec::new(),
        })
    })
}

/// Has SQLite look whether its idea of the schema is still right. It looks when a statement runs,
/// and not when one is compiled: a trigger made by another process would go unseen.
pub(super) fn read_schema(opened: &Opened) -> rusqlite::Result<()> {
    let any = "SELECT 1 FROM sqlite_schema LIMIT 1";
    opened.connection.prepare_cached(any)?.exists([]).map(drop)
}

fn judge_function(statement: &mut Statement, function: &str, gate: &Gate) {
    // ALTER TABLE calls functions of its own, which nothing else can call.
    if gate.trusts(function) || function.starts_with("sqlite_") {
        return;
    }
    let because = match standing(function) {
        Standing::Harmless => return,
        Standing::Harmful(because) => format!("calls {function}, which {because}"),
        Standing::Unknown => format!("calls {function}(), which is not a known function"),
    };
    statement.worsen(Effect::Admin, because);
}

/// Leaves out the tables in which full-text and R*Tree tables keep their content. SQLite reads
/// them on its own account, and only when it meets the table for the first time.
fn without_shadows(reads: &BTreeSet<Name>) -> BTreeSet<Name> {
    const SUFFIXES: &[&str] = &[
        "_config",
        "_content",
        "_data",
        "_docsize",
        "_idx",
        "_node",
        "_parent",
        "_rowid",
        "_segdir",
        "_segments",
        "_stat",
    ];
    let is_shadow = |name: &Name| {
        SUFFIXES
            .iter()
            .filter_map(|suffix| name.name.strip_suffix(suffix))
            .any(|owner| {
                reads.contains(&Name {
                    schema: name.schema.clone(),
                    name: owner.into(),
                })
            })
    };
    let kept = reads
        .iter()
        .filter(|name| !is_shadow(name) && !name.name.is_empty());
    kept.cloned().collect()
}
