//! The ledger as a row and as something that `secondkey doctor` looks at.

use crate::core::engine::Engine;
use crate::core::ledger::{Entry, KEPT_DAYS, LedgerName};
use crate::core::refusal::{Code, Refusal};
use crate::exec::Check;

/// A row as its engine gives it, in the order of [`crate::core::ledger::Note::query`].
pub(super) type Row = Vec<Option<String>>;

/// What a row says.
pub(super) fn entry(row: &[Option<String>]) -> Result<Entry, Refusal> {
    let [Some(work), Some(state), Some(statements), changed] = row else {
        return Err(broken());
    };
    let number = |text: &String| text.parse::<u64>().map_err(|_| broken());
    Ok(Entry {
        work: work.clone(),
        is_done: state == "done",
        statements: number(statements)?,
        changed: changed.as_ref().map(number).transpose()?,
    })
}

pub(super) fn broken() -> Refusal {
    Refusal::new(
        Code::DatabaseError,
        "the target's ledger holds what was not written here",
    )
    .hint("tell the person who looks after the target")
}

/// The refusal of a change that cannot be noted.
pub(super) fn unwritten(why: &Refusal) -> Refusal {
    let message = format!(
        "the ledger takes no note of it, so nothing was changed: {}",
        why.message
    );
    Refusal::new(Code::DatabaseError, message)
        .hint("`secondkey doctor` says whether the ledger is as it has to be")
}

/// What there is to say of a ledger that was asked for its columns.
pub(super) fn checked(
    (name, engine): (&LedgerName, Engine),
    asked: Result<Option<Row>, Refusal>,
) -> Check {
    match asked {
        Ok(_) => Check::good(format!(
            "the ledger `{name}` is there; its rows may be deleted after {KEPT_DAYS} days"
        )),
        Err(refusal) => Check::bad(
            format!("the ledger `{name}` cannot be used: {}", refusal.message),
            format!(
                "let its owner run: {}; then grant SELECT and INSERT on it to the login for changes",
                name.definition(engine)
            ),
        ),
    }
}
