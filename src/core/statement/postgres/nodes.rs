//! Which nodes of the parse tree are known, and what each statement node means.

use crate::core::statement::Effect;

/// Nodes that are parts of statements and do nothing by themselves; a part that is not here
/// counts as the worst effect. Sorted.
const PARTS: &[&str] = &[
    "AArrayExpr",
    "AConst",
    "AExpr",
    "AIndices",
    "AIndirection",
    "AStar",
    "AccessPriv",
    "Alias",
    "AlterTableCmd",
    "BitString",
    "BoolExpr",
    "Boolean",
    "BooleanTest",
    "CTECycleClause",
    "CTESearchClause",
    "CaseExpr",
    "CaseWhen",
    "CoalesceExpr",
    "CollateClause",
    "ColumnDef",
    "ColumnRef",
    "CommonTableExpr",
    "Constraint",
    "CteCycleClause",
    "CteSearchClause",
    "CurrentOfExpr",
    "DefElem",
    "Float",
    "FuncCall",
    "FunctionParameter",
    "GroupingFunc",
    "GroupingSet",
    "IndexElem",
    "InferClause",
    "Integer",
    "IntoClause",
    "JoinExpr",
    "JsonAggConstructor",
    "JsonArgument",
    "JsonArrayAgg",
    "JsonArrayConstructor",
    "JsonArrayQueryConstructor",
    "JsonBehavior",
    "JsonExpr",
    "JsonFormat",
    "JsonFuncExpr",
    "JsonIsPredicate",
    "JsonKeyValue",
    "JsonObjectAgg",
    "JsonObjectConstructor",
    "JsonOutput",
    "JsonParseExpr",
    "JsonReturning",
    "JsonScalarExpr",
    "JsonSerializeExpr",
    "JsonTable",
    "JsonTableColumn",
    "JsonTablePathSpec",
    "JsonValueExpr",
    "List",
    "LockingClause",
    "MergeSupportFunc",
    "MergeWhenClause",
    "MinMaxExpr",
    "MultiAssignRef",
    "NamedArgExpr",
    "NullTest",
    "ObjectWithArgs",
    "OnConflictClause",
    "ParamRef",
    "PartitionBoundSpec",
    "PartitionCmd",
    "PartitionElem",
    "PartitionRangeDatum",
    "PartitionSpec",
    "RangeFunction",
    "RangeSubselect",
    "RangeTableFunc",
    "RangeTableFuncCol",
    "RangeTableSample",
    "RangeVar",
    "RawStmt",
    "ReplicaIdentityStmt",
    "ResTarget",
    "ReturnStmt",
    "ReturningClause",
    "ReturningOption",
    "RoleSpec",
    "RowExpr",
    "SetToDefault",
    "SortBy",
    "SqlValueFunction",
    "StatsElem",
    "String",
    "SubLink",
    "TableLikeClause",
    "TriggerTransition",
    "TypeCast",
    "TypeName",
    "VacuumRelation",
    "WindowDef",
    "WithClause",
    "XmlExpr",
    "XmlSerialize",
];

/// Statement nodes with their verb and effect. Every other statement is `admin`.
const STATEMENTS: &[(&str, &str, Effect)] = &[
    ("SelectStmt", "select", Effect::Read),
    ("VariableShowStmt", "show", Effect::Read),
    ("ExplainStmt", "explain", Effect::Read),
    ("InsertStmt", "insert", Effect::Write),
    ("UpdateStmt", "update", Effect::Write),
    ("DeleteStmt", "delete", Effect::Write),
    ("MergeStmt", "merge", Effect::Write),
    ("AlterDomainStmt", "alter domain", Effect::Schema),
    ("AlterEnumStmt", "alter type", Effect::Schema),
    ("AlterFunctionStmt", "alter function", Effect::Schema),
    ("AlterObjectDependsStmt", "alter", Effect::Schema),
    ("AlterObjectSchemaStmt", "alter", Effect::Schema),
    ("AlterSeqStmt", "alter sequence", Effect::Schema),
    ("AlterStatsStmt", "alter statistics", Effect::Schema),
    ("AlterTableStmt", "alter table", Effect::Schema),
    ("AlterTypeStmt", "alter type", Effect::Schema),
    ("CommentStmt", "comment", Effect::Schema),
    ("CompositeTypeStmt", "create type", Effect::Schema),
    ("CreateDomainStmt", "create domain", Effect::Schema),
    ("CreateEnumStmt", "create type", Effect::Schema),
    ("CreateFunctionStmt", "create function", Effect::Schema),
    ("CreateRangeStmt", "create type", Effect::Schema),
    ("CreateSchemaStmt", "create schema", Effect::Schema),
    ("CreateSeqStmt", "create sequence", Effect::Schema),
    ("CreateStatsStmt", "create statistics", Effect::Schema),
    ("CreateStmt", "create table", Effect::Schema),
    ("CreateTableAsStmt", "create table as", Effect::Schema),
    ("CreateTrigStmt", "create trigger", Effect::Schema),
    ("DefineStmt", "create", Effect::Schema),
    ("DropStmt", "drop", Effect::Schema),
    ("IndexStmt", "create index", Effect::Schema),
    (
        "RefreshMatViewStmt",
        "refresh materialized view",
        Effect::Schema,
    ),
    ("ReindexStmt", "reindex", Effect::Schema),
    ("RenameStmt", "rename", Effect::Schema),
    ("RuleStmt", "create rule", Effect::Schema),
    ("TruncateStmt", "truncate", Effect::Schema),
    ("ViewStmt", "create view", Effect::Schema),
    ("AlterRoleStmt", "alter role", Effect::Admin),
    ("AlterRoleSetStmt", "alter role", Effect::Admin),
    ("AlterSystemStmt", "alter system", Effect::Admin),
    ("CallStmt", "call", Effect::Admin),
    ("CheckPointStmt", "checkpoint", Effect::Admin),
    ("ClosePortalStmt", "close", Effect::Admin),
    ("CopyStmt", "copy", Effect::Admin),
    ("CreateExtensionStmt", "create extension", Effect::Admin),
    ("CreateRoleStmt", "create role", Effect::Admin),
    ("DeallocateStmt", "deallocate", Effect::Admin),
    ("DeclareCursorStmt", "declare", Effect::Admin),
    ("DiscardStmt", "discard", Effect::Admin),
    ("DoStmt", "do", Effect::Admin),
    ("DropOwnedStmt", "drop owned", Effect::Admin),
    ("DropRoleStmt", "drop role", Effect::Admin),
    ("ExecuteStmt", "execute", Effect::Admin),
    ("FetchStmt", "fetch", Effect::Admin),
    ("GrantRoleStmt", "grant", Effect::Admin),
    ("GrantStmt", "grant", Effect::Admin),
    ("ListenStmt", "listen", Effect::Admin),
    ("LoadStmt", "load", Effect::Admin),
    ("LockStmt", "lock", Effect::Admin),
    ("NotifyStmt", "notify", Effect::Admin),
    ("PrepareStmt", "prepare", Effect::Admin),
    ("ReassignOwnedStmt", "reassign owned", Effect::Admin),
    ("TransactionStmt", "transaction", Effect::Admin),
    ("UnlistenStmt", "unlisten", Effect::Admin),
    ("VacuumStmt", "vacuum", Effect::Admin),
    ("VariableSetStmt", "set", Effect::Admin),
];

/// Catalogues that hold secrets or show the server's files.
const SECRET: &[&str] = &[
    "_pg_foreign_data_wrappers",
    "_pg_foreign_servers",
    "_pg_user_mappings",
    "pg_authid",
    "pg_config",
    "pg_file_settings",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_largeobject",
    "pg_shadow",
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_subscription",
    "pg_user_mapping",
    "pg_user_mappings",
    "user_mapping_options",
];

/// Kinds of object (`ObjectType`) whose dropping is a schema change; dropping others is `admin`.
const DROPPABLE: &[(i64, &str)] = &[
    (2, "aggregate"),
    (7, "column"),
    (13, "domain"),
    (18, "foreign table"),
    (20, "function"),
    (21, "index"),
    (24, "materialized view"),
    (25, "operator"),
    (30, "procedure"),
    (35, "routine"),
    (36, "rule"),
    (37, "schema"),
    (38, "sequence"),
    (40, "statistics"),
    (42, "table"),
    (45, "trigger"),
    (50, "type"),
    (52, "view"),
];

/// Whether a node is a known part that does nothing by itself.
pub(super) fn is_part(name: &str) -> bool {
    PARTS.binary_search(&name).is_ok()
}

/// The verb and effect of a statement node; none when the node is no statement.
pub(super) fn statement(name: &str) -> Option<(String, Effect)> {
    if let Some((_, verb, effect)) = STATEMENTS.iter().find(|(node, ..)| *node == name) {
        return Some(((*verb).to_owned(), *effect));
    }
    let words = name.strip_suffix("Stmt")?;
    let mut verb = String::new();
    for letter in words.chars() {
        if letter.is_uppercase() && !verb.is_empty() {
            verb.push(' ');
        }
        verb.extend(letter.to_lowercase());
    }
    Some((verb, Effect::Admin))
}

/// Whether a relation of `pg_catalog` or `information_schema` holds secrets.
pub(super) fn is_secret(name: &str) -> bool {
    SECRET.contains(&name)
}

/// The word for a kind of object whose dropping is a schema change.
pub(super) fn droppable(kind: i64) -> Option<&'static str> {
    DROPPABLE
        .iter()
        .find(|(number, _)| *number == kind)
        .map(|(_, word)| *word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_sorted() {
        assert!(PARTS.is_sorted());
        assert!(is_part("XmlSerialize") && !is_part("DoStmt"));
    }

    #[test]
    fn an_unknown_statement_is_admin() {
        assert_eq!(
            statement("AlterTsDictionaryStmt"),
            Some(("alter ts dictionary".into(), Effect::Admin))
        );
        assert_eq!(statement("AExpr"), None);
    }
}
