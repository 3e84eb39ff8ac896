//! What the review rules and a policy want to know of a PostgreSQL statement, from its tree.

use std::collections::BTreeSet;

use super::functions::is_built_in_type;
use super::tree::Tree;
use crate::core::review::{LONGEST_LIST, Rule};
use crate::core::statement::{Effect, Name, Statement};

/// `AExprKind::AexprOp`, `AExprKind::AexprIn`.
const OPERATOR: i64 = 1;
const IN: i64 = 7;
/// `BoolExprType`.
const AND: i64 = 1;
const OR: i64 = 2;
/// `CmdType::CmdInsert`.
const INSERTS: i64 = 4;

/// Fills in columns, `WHERE` and findings.
pub(super) fn inspect(tree: &Tree, found: &mut Statement) {
    // EXPLAIN without ANALYZE changes nothing.
    if tree.name() != "ExplainStmt" || found.effect > Effect::Read {
        Inspector { found }.node(tree);
    }
}

struct Inspector<'s> {
    found: &'s mut Statement,
}

impl Inspector<'_> {
    fn node(&mut self, tree: &Tree) {
        tree.items().iter().for_each(|item| self.node(item));
        match tree.name() {
            "UpdateStmt" => {
                self.columns(tree.field("relation"), tree.field("target_list"));
                self.condition(tree.field("where_clause"));
            }
            "DeleteStmt" => self.condition(tree.field("where_clause")),
            "InsertStmt" => self.insert(tree),
            "MergeStmt" => self.merge(tree),
            "AExpr" if is_long_list(tree) => self.finds(Rule::LongInList),
            "DropStmt" => self.finds(Rule::Drop),
            "TruncateStmt" => self.finds(Rule::Truncate),
            "IndexStmt" if !tree.field("concurrent").is_set() => self.finds(Rule::IndexLocksTable),
            "AlterTableStmt" => self.alter(tree),
            // SELECT INTO and CREATE TABLE AS, unless WITH NO DATA.
            "IntoClause" if !tree.field("skip_data").is_set() => self.finds(Rule::MixedDdlDml),
            // What is only stored does not happen now.
            "ViewStmt" | "RuleStmt" | "CreateFunctionStmt" => return,
            _ => {}
        }
        for (_, value) in tree.fields() {
            self.node(value);
        }
    }

    fn finds(&mut self, rule: Rule) {
        self.found.findings.insert(rule);
    }

    fn condition(&mut self, condition: &Tree) {
        let has = condition.is_some();
        let so_far = self.found.has_where.unwrap_or(true);
        self.found.has_where = Some(has && so_far);
        if !has {
            self.finds(Rule::NoWhere);
        } else if always_true(condition) {
            self.finds(Rule::WhereAlwaysTrue);
        }
    }

    /// The columns that a list of targets sets.
    fn columns(&mut self, table: &Tree, targets: &Tree) {
        let table = table.field("relname").text();
        for target in targets.items() {
            let name = match target.field("name").text() {
                "" => Name::bare("*"),
                column => Name::qualified(table, column),
            };
            self.found.columns_written.insert(name);
        }
    }

    fn insert(&mut self, tree: &Tree) {
        let table = tree.field("relation");
        let columns = tree.field("cols");
        if columns.is_some() {
            self.columns(table, columns);
        } else if tree.field("select_stmt").is_some() {
            self.found.columns_written.insert(Name::bare("*"));
        }
        let conflict = tree.field("on_conflict_clause");
        self.columns(table, conflict.field("target_list"));
    }

    fn merge(&mut self, tree: &Tree) {
        let table = tree.field("relation");
        for clause in tree.field("merge_when_clauses").items() {
            let targets = clause.field("target_list");
            if clause.field("command_type").int() == INSERTS && !targets.is_some() {
                self.found.columns_written.insert(Name::bare("*"));
            }
            self.columns(table, targets);
        }
    }

    fn alter(&mut self, tree: &Tree) {
        for command in tree.field("cmds").items() {
            let number = i32::try_from(command.field("subtype").int()).unwrap_or_default();
            let kind = pg_query::protobuf::AlterTableType::try_from(number);
            match kind.map(|kind| format!("{kind:?}")).as_deref() {
                Ok("AtAlterColumnType") => self.finds(Rule::ColumnTypeChange),
                Ok("AtDropColumn") => self.finds(Rule::Drop),
                Ok("AtAddColumn") if is_unfilled(command.field("def")) => {
                    self.finds(Rule::NotNullWithoutDefault);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Whether a column's definition says NOT NULL and nothing that fills it. A type that is not
/// built in can bring a default of its own, as `serial` does.
fn is_unfilled(column: &Tree) -> bool {
    let types = column.field("type_name").field("names").path();
    let plain = match types.as_slice() {
        ["pg_catalog", _] => true,
        [name] => is_built_in_type(name) && !name.ends_with("serial"),
        _ => false,
    };
    let kinds: BTreeSet<String> = column
        .field("constraints")
        .items()
        .iter()
        .map(|constraint| {
            let number = i32::try_from(constraint.field("contype").int()).unwrap_or_default();
            let kind = pg_query::protobuf::ConstrType::try_from(number);
            kind.map(|kind| format!("{kind:?}")).unwrap_or_default()
        })
        .collect();
    let fills = ["ConstrDefault", "ConstrIdentity", "ConstrGenerated"];
    let has = |name: &str| kinds.contains(name);
    plain && has("ConstrNotnull") && !fills.iter().any(|name| has(name))
}

/// Whether an expression is an `IN` with more than [`LONGEST_LIST`] members.
fn is_long_list(expression: &Tree) -> bool {
    expression.field("kind").int() == IN && list_of(expression.field("rexpr")).len() > LONGEST_LIST
}

/// The members of a list node, or of a bare list.
fn list_of(tree: &Tree) -> &[Tree] {
    if tree.name() == "List" {
        tree.field("items").items()
    } else {
        tree.items()
    }
}

/// Whether a condition is true whatever the row: `true`, `2 = 2`, and such a one among several
/// with `OR`.
fn always_true(condition: &Tree) -> bool {
    match condition.name() {
        "AConst" => condition.field("val").field("boolval").is_set(),
        "BoolExpr" => {
            let args = condition.field("args").items();
            match condition.field("boolop").int() {
                AND => args.iter().all(always_true),
                OR => args.iter().any(always_true),
                _ => false,
            }
        }
        "AExpr" if condition.field("kind").int() == OPERATOR => {
            let (left, right) = (condition.field("lexpr"), condition.field("rexpr"));
            let both = left.name() == "AConst" && right.name() == "AConst";
            let value = left.field("val");
            both && condition.field("name").path() == ["="]
                && value.is_some()
                && value == right.field("val")
        }
        _ => false,
    }
}
