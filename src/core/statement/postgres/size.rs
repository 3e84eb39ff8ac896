//! How large a value a call asks the server to build, where the text alone says so.

use super::tree::Tree;

/// The most bytes that a call may ask for by constants.
pub(super) const LARGEST: u64 = 64 * 1024 * 1024;

/// The bytes that a call of a padding or repeating function builds, when its arguments are
/// constants, also nested.
pub(super) fn of_call(name: &str, args: &[Tree]) -> Option<u64> {
    let count = |at: usize| args.get(at).and_then(integer);
    match name {
        "repeat" => {
            let unit = args.first().map_or(1, |arg| of_value(arg).max(1));
            Some(unit.saturating_mul(count(1)?))
        }
        "lpad" | "rpad" => count(1),
        "array_fill" => {
            let sizes = args.get(1)?.field("elements").items();
            Some(
                sizes
                    .iter()
                    .filter_map(integer)
                    .fold(8, u64::saturating_mul),
            )
        }
        _ => None,
    }
}

/// The bytes of a value, as far as constants say.
fn of_value(tree: &Tree) -> u64 {
    match tree.name() {
        "AConst" => u64::try_from(constant(tree).field("sval").text().len()).unwrap_or(u64::MAX),
        "TypeCast" => of_value(tree.field("arg")),
        "FuncCall" => {
            let path = tree.field("funcname").path();
            let name = path.last().copied().unwrap_or_default();
            of_call(name, tree.field("args").items()).unwrap_or(1)
        }
        _ => 1,
    }
}

/// The whole number that an expression is, when it is a constant.
fn integer(tree: &Tree) -> Option<u64> {
    match tree.name() {
        "TypeCast" => integer(tree.field("arg")),
        "AConst" => {
            let value = constant(tree);
            match value.name() {
                "Integer" => u64::try_from(value.field("ival").int()).ok(),
                "Float" => large(value.field("fval").text()),
                "String" => large(value.field("sval").text()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A number written as text. What is larger than any length counts as the largest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which is what is wanted"
)]
fn large(text: &str) -> Option<u64> {
    let number: f64 = text.trim().parse().ok()?;
    Some(number as u64)
}

fn constant(tree: &Tree) -> &Tree {
    tree.field("val")
}
