//! A batch: several statements as one, which stands for the worst that any of them can do.

use std::collections::BTreeSet;

use crate::core::limits::STATEMENT_BYTES;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::{Effect, Name, Names, Reason, Shape, Statement};
use crate::core::work::BATCH;

/// The kind of a batch, where a statement has its verb.
pub const KIND: &str = "batch";

/// Whether so many statements with so much text in all can be a batch.
pub fn fits(statements: usize, bytes: usize) -> Result<(), Refusal> {
    if statements == 0 || statements > BATCH {
        let message = format!("a batch has 1 to {BATCH} statements, and this one has {statements}");
        return Err(Refusal::new(Code::InvalidArgument, message));
    }
    if bytes > STATEMENT_BYTES {
        let message = format!(
            "the statements have {bytes} bytes together and the limit is {STATEMENT_BYTES}"
        );
        return Err(Refusal::new(Code::StatementTooLarge, message)
            .hint("send long values as parameters, or several batches"));
    }
    Ok(())
}

/// One statement out of several, each of which may read and change rows. A definition is no part of a
/// batch: some engines commit at once with it, and what comes after it was judged without it.
pub fn compose(parts: Vec<Statement>) -> Result<Statement, Refusal> {
    fits(parts.len(), 0)?;
    let beyond = (1..)
        .zip(&parts)
        .find(|(_, part)| part.effect > Effect::Write);
    if let Some((number, part)) = beyond {
        let message = format!(
            "statement {number} of the batch {} (effect `{}`), and a batch reads and changes rows only",
            part.because(),
            part.effect
        );
        return Err(Refusal::new(Code::Forbidden, message)
            .hint("send definitions and administration one at a time, with sql_execute"));
    }
    Ok(united(parts))
}

/// One statement that stands for all parts: the worst effect, and everything that any of them names.
pub fn united(parts: Vec<Statement>) -> Statement {
    let names = |of: fn(&Statement) -> &BTreeSet<Name>| -> BTreeSet<Name> {
        parts.iter().flat_map(of).cloned().collect()
    };
    let effect = parts
        .iter()
        .map(|part| part.effect)
        .max()
        .unwrap_or(Effect::Read);
    let mut reasons: Vec<Reason> = (1..)
        .zip(&parts)
        .flat_map(|(number, part)| {
            part.reasons
                .iter()
                .map(move |reason| numbered(number, reason))
        })
        .collect();
    // Stable: those of the same effect stay in the order of the statements.
    reasons.sort_by_key(|reason: &Reason| std::cmp::Reverse(reason.effect));
    let redacted: Vec<&str> = parts.iter().map(|part| part.redacted.as_str()).collect();
    Statement {
        engine: parts
            .first()
            .map_or(crate::core::engine::Engine::Sqlite, |part| part.engine),
        effect,
        kind: KIND.to_owned(),
        shape: Shape::Change,
        reasons,
        reads: names(|part| &part.reads),
        writes: names(|part| &part.writes),
        columns_written: names(|part| &part.columns_written),
        functions: names(|part| &part.functions),
        has_where: None,
        findings: parts
            .iter()
            .flat_map(|part| part.findings.iter().copied())
            .collect(),
        names: Names::default(),
        placeholders: parts.iter().map(|part| part.placeholders).sum(),
        redacted: redacted.join(";\n"),
        parts,
    }
}

fn numbered(number: usize, reason: &Reason) -> Reason {
    Reason {
        effect: reason.effect,
        because: format!("{} (statement {number})", reason.because),
    }
}

/// The same refusal, told of one statement of a batch, counted from 0.
#[must_use]
pub fn in_statement(at: usize, mut refusal: Refusal) -> Refusal {
    refusal.message = format!(
        "statement {} of the batch: {}",
        at.saturating_add(1),
        refusal.message
    );
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::engine::Engine;
    use crate::core::statement::parse;

    fn parts(texts: &[&str]) -> Vec<Statement> {
        texts
            .iter()
            .map(|text| parse(Engine::Sqlite, text).unwrap())
            .collect()
    }

    #[test]
    fn a_batch_stands_for_the_worst_and_for_all_names_of_its_statements() {
        let batch = compose(parts(&[
            "select name from users where id = ?",
            "update accounts set balance = 1 where id = 2",
            "delete from carts where id = 3",
        ]))
        .unwrap();
        assert_eq!(
            (batch.effect, batch.kind.as_str()),
            (Effect::Write, "batch")
        );
        assert_eq!(batch.placeholders, 1);
        let names = |set: &BTreeSet<Name>| set.iter().map(|n| n.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&batch.writes), ["accounts", "carts"]);
        assert!(names(&batch.reads).contains(&"users".to_owned()));
        let because = batch.because();
        assert!(
            because.contains("(statement 2)") && because.contains("(statement 3)"),
            "{because}"
        );
        assert!(!because.contains("(statement 1)"), "{because}");
        assert_eq!(batch.parts.len(), 3);
    }

    #[test]
    fn definitions_administration_and_other_numbers_of_statements_are_no_batch() {
        for (texts, code) in [
            (vec!["select 1", "create table t (a)"], Code::Forbidden),
            (vec!["vacuum"], Code::Forbidden),
            (vec!["begin"], Code::Forbidden),
            (vec![], Code::InvalidArgument),
            (vec!["select 1"; 51], Code::InvalidArgument),
        ] {
            let refusal = compose(parts(&texts)).unwrap_err();
            assert_eq!(refusal.code, code, "{refusal:?}");
        }
        assert!(compose(parts(&["select 1"; 50])).is_ok());
        assert_eq!(
            fits(1, STATEMENT_BYTES + 1).unwrap_err().code,
            Code::StatementTooLarge
        );
    }
}
