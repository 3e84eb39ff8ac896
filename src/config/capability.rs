//! Reads a `capability.yaml`: strictly, and with every mistake at once, each with its line and column.
//!
//! A file that was written for Onprest is read as it is; the sections of it that have no meaning here are
//! named in a warning. `docs/capabilities.md` has every key, and [`schema()`] the same for editors.

mod fields;
mod keys;
mod node;
mod params;
mod policy;
mod read;
mod schema;

use std::path::Path;

pub use schema::schema;

use crate::config::document::Source;
use crate::config::problem::{Place, Problem, Problems};
use crate::core::capability::Bundle;
use crate::core::engine::Engine;
use crate::core::statement::STACK_BYTES;

/// A file of capabilities that is in order.
#[derive(Debug)]
pub struct Loaded {
    /// What it declares.
    pub bundle: Bundle,
    /// What is allowed but should be known.
    pub warnings: Vec<Problem>,
}

/// Reads and checks a file for a target of this engine, on a thread with a stack for its statements.
pub fn load(path: &Path, engine: Engine) -> Result<Loaded, Problems> {
    let fail = |problem| {
        let mut problems = Problems::default();
        problems.add(problem);
        Err(problems)
    };
    let source = match Source::read(path, path.to_owned()) {
        Ok(source) => source,
        Err(problem) => return fail(problem),
    };
    let reading = std::thread::scope(|scope| {
        let read = || read(&source.text, path, engine);
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, read).ok()?;
        thread.join().ok()
    });
    reading.unwrap_or_else(|| {
        let place = Place::File(path.to_owned());
        fail(Problem::new(place, "the file cannot be read here", ""))
    })
}

/// Reads and checks the text of a file for a target of this engine. `shown` is the file's name in problems.
///
/// Needs a big stack, as [`crate::core::statement::parse`] does.
pub fn read(text: &str, shown: &Path, engine: Engine) -> Result<Loaded, Problems> {
    let mut report = fields::Report::new(shown);
    let bundle = match node::parse(text) {
        Ok(node) => read::bundle(&node, engine, &mut report),
        Err((place, message)) => {
            report.problem(place, message, "");
            None
        }
    };
    let warnings = report.warnings;
    let bundle = report.problems.unless_any(bundle)?;
    Ok(Loaded { bundle, warnings })
}

#[cfg(test)]
mod tests;
