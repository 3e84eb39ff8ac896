//! What the tokens alone say. It needs no grammar: in MySQL every call is a name before a
//! parenthesis, and every clause that reaches beyond a query starts with a reserved word.
//!
//! This is the whole judgement of a query that the parser cannot read, and a second opinion on
//! every other statement.

use std::collections::{BTreeMap, BTreeSet};

use super::functions;
use super::lexer::{Kind, Token};
use crate::core::statement::{Call, Effect, Name, Statement};

/// Records what must be known of every statement, whatever it is.
pub(super) fn dangers(tokens: &[Token], out: &mut Statement) {
    let mut previous: Option<&Token> = None;
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        danger(previous, token, after, out);
        previous = Some(token);
        rest = after;
    }
}

fn danger(previous: Option<&Token>, token: &Token, after: &[Token], out: &mut Statement) {
    let next_is = |symbol: &str| after.first().is_some_and(|t| t.is_symbol(symbol));
    let after_dot = previous.is_some_and(|p| p.is_symbol("."));
    if token.is_symbol(":=") {
        out.worsen(Effect::Admin, "sets a variable");
    }
    let Some(name) = token.name() else { return };
    let lower = name.to_ascii_lowercase();
    if next_is("(") {
        if let Some((effect, because)) = functions::danger(&lower) {
            out.worsen(effect, because);
        }
        if lower == "last_insert_id" && !after.get(1).is_some_and(|t| t.is_symbol(")")) {
            out.worsen(Effect::Admin, "sets the session's last insert id");
        }
    }
    if lower == "mysql" && next_is(".") && !after_dot {
        out.worsen(Effect::Admin, "touches the system schema mysql");
    }
    if after_dot && matches!(lower.as_str(), "nextval") {
        out.worsen(Effect::Write, "advances a sequence");
    }
    if token.kind == Kind::Word && !after_dot {
        clause(&lower, previous, after, out);
    }
}

/// The clauses that no query of ours may have.
fn clause(word: &str, previous: Option<&Token>, after: &[Token], out: &mut Statement) {
    let next_is = |word: &str| after.first().is_some_and(|t| t.is(word));
    let then_is = |word: &str| after.get(1).is_some_and(|t| t.is(word));
    match word {
        "outfile" | "dumpfile" if previous.is_some_and(|p| p.is("into")) => {
            out.worsen(Effect::Admin, "writes a file on the server");
        }
        "for" if next_is("update") || next_is("share") => {
            out.worsen(Effect::Write, "locks the rows it reads");
        }
        "lock" if next_is("in") && then_is("share") => {
            out.worsen(Effect::Write, "locks the rows it reads");
        }
        "next" if next_is("value") && then_is("for") => {
            out.worsen(Effect::Write, "advances a sequence");
        }
        _ => {}
    }
}

/// Records every function that is called and is not known to be harmless. `skip` holds the places
/// of names that a parenthesis follows without a call.
pub(super) fn functions(tokens: &[Token], skip: &BTreeSet<usize>, out: &mut Statement) {
    let closings = closings(tokens);
    for (at, pair) in tokens.windows(2).enumerate() {
        let [token, next] = pair else { continue };
        let Some(name) = token.name() else { continue };
        if !next.is_symbol("(") || skip.contains(&at) {
            continue;
        }
        let previous = at.checked_sub(1).and_then(|i| tokens.get(i));
        let close = closings.get(&(at + 1)).copied();
        if previous.is_some_and(|p| p.is_symbol(".")) {
            let schema = at.checked_sub(2).and_then(|i| tokens.get(i)?.name());
            call(schema, name, out);
        } else if !is_no_call(tokens, at, previous, close) {
            call(None, name, out);
        }
    }
}

/// Whether a name before a parenthesis is a keyword or names columns: `x (a) AS (`, `AS t (a)`.
fn is_no_call(tokens: &[Token], at: usize, previous: Option<&Token>, close: Option<usize>) -> bool {
    let is = |place: usize, test: &dyn Fn(&Token) -> bool| tokens.get(place).is_some_and(test);
    let keyword = is(at, &|t| {
        t.kind == Kind::Word && functions::is_before_parenthesis(&t.word)
    });
    let any = is(at, &|t| t.is_any(&["any", "some"]))
        && is(at + 2, &|t| {
            t.is_any(&["select", "with", "values", "table"])
        });
    let table_expression = close.is_some_and(|close| {
        is(close + 1, &|t| t.is("as")) && is(close + 2, &|t| t.is_symbol("("))
    });
    keyword || any || table_expression || previous.is_some_and(|p| p.is("as"))
}

/// The place of the closing parenthesis for each opening one.
fn closings(tokens: &[Token]) -> BTreeMap<usize, usize> {
    let mut open = Vec::new();
    let mut found = BTreeMap::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.is_symbol("(") {
            open.push(at);
        } else if token.is_symbol(")")
            && let Some(start) = open.pop()
        {
            found.insert(start, at);
        }
    }
    found
}

/// Records one call.
pub(super) fn call(schema: Option<&str>, name: &str, out: &mut Statement) {
    let lower = name.to_ascii_lowercase();
    out.functions.insert(match schema {
        Some(schema) => Name::qualified(schema, lower.as_str()),
        None => Name::bare(lower.as_str()),
    });
    if schema.is_none() {
        if let Some((effect, because)) = functions::danger(&lower) {
            return out.worsen(effect, because);
        }
        if functions::is_harmless(&lower) {
            out.names.overloads.insert(Call {
                name: lower,
                arguments: None,
            });
            return;
        }
    }
    let name = match schema {
        Some(schema) => Name::qualified(schema, lower),
        None => Name::bare(lower),
    };
    out.names.functions.insert(name);
}

/// Judges a query that the parser could not read: everything that is not known to be harmless
/// counts as the worst.
pub(super) fn query(tokens: &[Token], out: &mut Statement) {
    functions(tokens, &BTreeSet::new(), out);
    let mut previous: Option<&Token> = None;
    for pair in tokens.windows(2) {
        let [token, next] = pair else { continue };
        let after_dot = previous.is_some_and(|p| p.is_symbol("."));
        let locks = previous.is_some_and(|p| p.is("for")) && token.is("update")
            || token.is("lock") && next.is("in")
            || previous.is_some_and(|p| p.is("character")) && token.is("set");
        if token.is_any(&VERBS) && !after_dot && !locks && !next.is_symbol("(") {
            let because = format!("has `{}` where it is not understood", token.word);
            out.worsen(Effect::Admin, because);
        }
        previous = Some(token);
    }
    if tokens.iter().any(|t| t.is_symbol("{") || t.is_symbol("}")) {
        out.worsen(Effect::Admin, "uses braces, which are not understood");
    }
    out.reads.extend(relations(tokens));
}

/// Reserved words that begin something other than a query, or end one in a side effect.
const VERBS: [&str; 21] = [
    "alter",
    "call",
    "create",
    "delete",
    "drop",
    "dumpfile",
    "grant",
    "insert",
    "into",
    "kill",
    "load",
    "lock",
    "outfile",
    "procedure",
    "purge",
    "rename",
    "replace",
    "revoke",
    "set",
    "unlock",
    "update",
];

/// The relations in every list after `FROM`, names of table expressions included.
pub(super) fn relations(tokens: &[Token]) -> BTreeSet<Name> {
    let mut finder = Finder {
        found: BTreeSet::new(),
        frames: vec![Frame::default()],
    };
    let mut rest = tokens;
    let mut previous = None;
    while let Some((token, after)) = rest.split_first() {
        let taken = finder.step(previous, token, after);
        previous = Some(token);
        rest = after.get(taken..).unwrap_or_default();
    }
    finder.found
}

/// The relations in a list that stands without `FROM`, such as after `UPDATE`.
pub(super) fn listed(tokens: &[Token]) -> BTreeSet<Name> {
    let from = Token {
        kind: Kind::Word,
        text: "from".into(),
        word: "from".into(),
        gap: false,
        span: 0..0,
    };
    let with_from: Vec<Token> = std::iter::once(from)
        .chain(tokens.iter().cloned())
        .collect();
    relations(&with_from)
}

#[derive(Clone, Copy, Default)]
struct Frame {
    /// Within the list after `FROM`.
    listing: bool,
    /// The next name is a relation.
    expecting: bool,
    /// Inside the parenthesis of a call such as `TRIM(a FROM b)`.
    special: bool,
}

struct Finder {
    found: BTreeSet<Name>,
    frames: Vec<Frame>,
}

impl Finder {
    /// Looks at one token; returns how many tokens after it were taken too.
    fn step(&mut self, previous: Option<&Token>, token: &Token, after: &[Token]) -> usize {
        let frame = self.frames.last().copied().unwrap_or_default();
        if token.is_symbol("(") {
            let special = previous
                .is_some_and(|p| p.is_any(&["trim", "extract", "substring", "substr", "mid"]));
            let expecting = frame.expecting;
            self.frames.push(Frame {
                special,
                expecting,
                listing: expecting,
            });
            return 0;
        }
        if token.is_symbol(")") {
            self.frames.pop();
            if self.frames.is_empty() {
                self.frames.push(Frame::default());
            }
            self.set(|f| f.expecting = false);
            return 0;
        }
        if frame.expecting
            && token.name().is_some()
            && !token.is_any(&["lateral", "select", "with", "values", "table"])
        {
            self.set(|f| f.expecting = false);
            return self.relation(token, after);
        }
        self.keyword(frame, token, after);
        0
    }

    fn keyword(&mut self, frame: Frame, token: &Token, after: &[Token]) {
        if token.is_any(&["select", "values", "with"]) {
            self.set(|f| *f = Frame::default());
        } else if token.is("from") && !frame.special {
            self.set(|f| (f.listing, f.expecting) = (true, true));
        } else if token.is("table") && after.first().is_some_and(|t| t.name().is_some()) {
            self.set(|f| f.expecting = true);
        } else if frame.listing
            && (token.is_symbol(",") || token.is_any(&["join", "straight_join"]))
        {
            self.set(|f| f.expecting = true);
        } else if token.is_any(&[
            "where",
            "group",
            "having",
            "order",
            "limit",
            "union",
            "except",
            "intersect",
            "window",
        ]) {
            self.set(|f| (f.listing, f.expecting) = (false, false));
        }
    }

    fn relation(&mut self, token: &Token, after: &[Token]) -> usize {
        let first = token.text.clone();
        match after {
            [dot, name, ..] if dot.is_symbol(".") && name.name().is_some() => {
                self.found.insert(Name::qualified(first, name.text.clone()));
                2
            }
            [open, ..] if open.is_symbol("(") => 0,
            _ => {
                if !token.is("dual") {
                    self.found.insert(Name::bare(first));
                }
                0
            }
        }
    }

    fn set(&mut self, change: impl FnOnce(&mut Frame)) {
        if let Some(last) = self.frames.last_mut() {
            change(last);
        }
    }
}
