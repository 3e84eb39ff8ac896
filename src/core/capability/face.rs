//! What those see of a capability's statement who are not to see it.

use std::collections::BTreeSet;

use crate::core::engine::Engine;
use crate::core::statement::{Effect, Reason, Shape, Statement};

/// What stands for a capability's statement outside of its agent: its effect and nothing of its text.
pub fn masked(engine: Engine, line: &str, effect: Effect) -> Statement {
    let mut statement = Statement {
        engine,
        effect: Effect::Read,
        kind: "capability".to_owned(),
        shape: Shape::Query,
        reasons: Vec::new(),
        reads: BTreeSet::new(),
        writes: BTreeSet::new(),
        columns_written: BTreeSet::new(),
        functions: BTreeSet::new(),
        has_where: None,
        findings: BTreeSet::new(),
        parts: Vec::new(),
        names: crate::core::statement::Names::default(),
        placeholders: 0,
        redacted: line.to_owned(),
    };
    if effect > Effect::Read {
        statement.effect = effect;
        statement.shape = Shape::Change;
        statement.reasons.push(Reason {
            effect,
            because: "calls a capability that changes data".to_owned(),
        });
    }
    statement
}
