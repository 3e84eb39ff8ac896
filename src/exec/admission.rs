//! What every engine asks before it runs anything: is it within the token, and is there a value for each
//! placeholder?

use crate::core::engine::Engine;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::{Effect, Statement};
use crate::core::token::VerifiedToken;

/// The effect of a statement, which is refused if the token does not allow it.
pub(super) fn within(token: &VerifiedToken, statement: &Statement) -> Result<Effect, Refusal> {
    let (effect, allowed) = (statement.effect, token.claims().effect);
    if effect <= allowed {
        return Ok(effect);
    }
    let because = statement.because();
    Err(Refusal::new(
        Code::ClassificationMismatch,
        format!("the statement was allowed as `{allowed}`, and it {because} (effect `{effect}`)"),
    ))
}

/// Refuses a number of values that is not the number wanted.
pub(super) fn counted(engine: Engine, wanted: usize, given: usize) -> Result<(), Refusal> {
    if wanted == given {
        return Ok(());
    }
    let placeholders = if wanted == 1 { "" } else { "s" };
    let (values, were) = if given == 1 {
        ("value", "was")
    } else {
        ("values", "were")
    };
    let mark = match engine {
        Engine::MySql => "?",
        Engine::Postgres | Engine::Sqlite => "$1, $2, ...",
    };
    Err(Refusal::new(
        Code::ParameterCount,
        format!(
            "the statement has {wanted} placeholder{placeholders} and {given} {values} {were} given"
        ),
    )
    .hint(if wanted > given {
        format!("give one value in `params` for each placeholder ({mark})")
    } else {
        format!("leave out the extra values, or write a placeholder ({mark}) for each")
    }))
}
