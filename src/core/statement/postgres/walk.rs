//! The walk over a whole parse tree: what it does, what it touches and what it names.

use crate::core::statement::{Call, Effect, Name, Shape, Statement};

use super::tree::Tree;
use super::{dangerous, functions, nodes, size};

/// Options of EXPLAIN that only change what is shown.
const EXPLAIN_SHOWS: &[&str] = &[
    "buffers",
    "costs",
    "format",
    "generic_plan",
    "memory",
    "settings",
    "summary",
    "timing",
    "verbose",
    "wal",
];
/// Built-in functions that turn JSON or text into rows of a type given by an argument.
const POPULATE: &str = "populate_record";

/// What the text around a node says about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// It runs.
    Runs,
    /// It is planned but not run (EXPLAIN).
    Planned,
    /// It is stored, to run later (the body of a view, rule or function).
    Stored,
}

/// Walks one statement and fills in a [`Statement`].
#[derive(Debug)]
pub(super) struct Walk<'s> {
    found: &'s mut Statement,
    /// The CTE names visible here, innermost last.
    visible: Vec<String>,
    mode: Mode,
}

impl<'s> Walk<'s> {
    pub(super) fn new(found: &'s mut Statement) -> Self {
        Self {
            found,
            visible: Vec::new(),
            mode: Mode::Runs,
        }
    }

    /// The statement itself: its kind and shape, then everything in it.
    pub(super) fn top(&mut self, tree: &Tree) {
        let (kind, effect) =
            nodes::statement(tree.name()).unwrap_or(("unknown".into(), Effect::Admin));
        self.found.kind = match tree.name() {
            "DropStmt" => match nodes::droppable(tree.field("remove_type").int()) {
                Some(what) => format!("drop {what}"),
                None => "drop".into(),
            },
            "GrantStmt" if !tree.field("is_grant").is_set() => "revoke".into(),
            "VacuumStmt" if !tree.field("is_vacuumcmd").is_set() => "analyze".into(),
            _ => kind,
        };
        self.found.shape = match (tree.name(), effect) {
            ("SelectStmt", _) => Shape::Query,
            (_, Effect::Read) => Shape::Inspect,
            _ => Shape::Change,
        };
        self.node(tree);
    }

    /// A statement inside a body.
    pub(super) fn inner(&mut self, tree: &Tree) {
        self.node(tree);
    }

    /// What a rule does when it is set off.
    pub(super) fn rule(&mut self, tree: &Tree) {
        self.visible.extend(["new".to_owned(), "old".to_owned()]);
        self.node(tree.field("where_clause"));
        self.node(tree.field("actions"));
    }

    fn node(&mut self, tree: &Tree) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| self.node(item)),
            Tree::Node(..) => self.named(tree),
            Tree::None | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => {}
        }
    }

    fn named(&mut self, tree: &Tree) {
        let outer = self.visible.len();
        if let Some((verb, effect)) = nodes::statement(tree.name()) {
            self.statement(tree, &verb, effect);
        } else {
            self.part(tree);
        }
        self.visible.truncate(outer);
    }

    fn statement(&mut self, tree: &Tree, verb: &str, effect: Effect) {
        self.with(tree.field("with_clause"));
        match tree.name() {
            "SelectStmt" => self.children(tree, &["with_clause"]),
            "InsertStmt" => self.change(tree, "inserts into"),
            "UpdateStmt" => self.change(tree, "updates"),
            "DeleteStmt" => self.change(tree, "deletes from"),
            "MergeStmt" => self.change(tree, "merges into"),
            "ExplainStmt" => self.explain(tree),
            "VariableShowStmt" | "ReturnStmt" => self.children(tree, &[]),
            "CreateTableAsStmt" => {
                self.worsen(effect, "creates a table");
                self.children(tree, &[]);
            }
            "ViewStmt" | "RuleStmt" => self.stored(tree, verb),
            "CreateFunctionStmt" => self.create_function(tree),
            "DropStmt" => self.drop(tree),
            "AlterTableStmt" => self.alter_table(tree),
            "TruncateStmt" => {
                self.worsen(effect, "truncates a table");
                for table in tree.field("relations").items() {
                    self.target(table);
                }
            }
            _ if effect == Effect::Schema => self.schema(tree, verb),
            _ => {
                self.worsen(effect, format!("runs a `{verb}` command"));
                self.children(tree, &[]);
            }
        }
    }

    fn part(&mut self, tree: &Tree) {
        match tree.name() {
            "RangeVar" => self.reads(tree),
            "FuncCall" => self.call(tree),
            "AExpr" => self.operator(tree),
            "ColumnRef" => self.column(tree),
            "AIndirection" => self.fields(tree.field("indirection")),
            "TypeName" => self.type_name(tree),
            "ParamRef" => {
                let number = usize::try_from(tree.field("number").int()).unwrap_or_default();
                self.found.placeholders = self.found.placeholders.max(number);
            }
            "LockingClause" => {
                self.worsen(Effect::Write, "locks rows");
                return;
            }
            "IntoClause" => {
                self.worsen(Effect::Schema, "creates a table");
                self.target(tree.field("rel"));
                return self.children(tree, &["rel"]);
            }
            "JsonFuncExpr" => self.syntax(&["json_exists", "json_query", "json_value"]),
            "JsonParseExpr" => self.syntax(&["json"]),
            "JsonScalarExpr" => self.syntax(&["json_scalar"]),
            "JsonSerializeExpr" => self.syntax(&["json_serialize"]),
            "JsonArrayConstructor" | "JsonArrayQueryConstructor" => self.syntax(&["json_array"]),
            "JsonObjectConstructor" => self.syntax(&["json_object"]),
            "JsonArrayAgg" => self.syntax(&["json_arrayagg"]),
            "JsonObjectAgg" => self.syntax(&["json_objectagg"]),
            "JsonTable" => self.syntax(&["json_table"]),
            "MergeSupportFunc" => self.syntax(&["merge_action"]),
            "SubLink" => self.operators(&tree.field("oper_name").path(), "="),
            "SortBy" => self.operators(&tree.field("use_op").path(), "<"),
            "CaseExpr" | "JoinExpr" => self.operators(&[], "="),
            "RangeTableSample" => {
                self.sampling(tree);
                return self.children(tree, &["method"]);
            }
            name if nodes::is_part(name) => {}
            name => self.worsen(
                Effect::Admin,
                format!("uses {name}, which is not known here"),
            ),
        }
        self.children(tree, &[]);
    }

    fn children(&mut self, tree: &Tree, but: &[&str]) {
        for (name, value) in tree.fields() {
            if !but.contains(name) {
                self.node(value);
            }
        }
    }

    /// The CTEs of a statement: walked, and visible from here to the end of the statement.
    fn with(&mut self, clause: &Tree) {
        let ctes = clause.field("ctes").items();
        if clause.field("recursive").is_set() {
            self.visible.extend(ctes.iter().map(cte_name));
        }
        for cte in ctes {
            self.children(cte, &[]);
            self.visible.push(cte_name(cte));
        }
    }

    /// INSERT, UPDATE, DELETE and MERGE.
    fn change(&mut self, tree: &Tree, verb: &str) {
        let table = tree.field("relation");
        self.worsen(Effect::Write, format!("{verb} {}", relation(table)));
        self.target(table);
        self.children(tree, &["with_clause", "relation"]);
    }

    /// A schema change: the relations that it names itself are changed, what it contains is read.
    fn schema(&mut self, tree: &Tree, verb: &str) {
        let table = tree.field("relation");
        let what = match table.name() {
            "RangeVar" => format!("{verb} {}", relation(table)),
            _ => verb.to_owned(),
        };
        self.worsen(Effect::Schema, format!("does `{what}`"));
        for name in ["relation", "view", "sequence", "typevar", "rel"] {
            self.target(tree.field(name));
        }
        self.children(tree, &["relation", "view", "sequence", "typevar", "rel"]);
    }

    fn stored(&mut self, tree: &Tree, verb: &str) {
        let outer = std::mem::replace(&mut self.mode, Mode::Stored);
        self.schema(tree, verb);
        self.mode = outer;
    }

    fn create_function(&mut self, tree: &Tree) {
        for option in tree.field("options").items() {
            if option.field("defname").text() == "language"
                && !matches!(option.field("arg").text(), "sql" | "plpgsql")
            {
                self.worsen(Effect::Admin, "creates a function in an untrusted language");
            }
        }
        self.stored(tree, "create function");
    }

    fn drop(&mut self, tree: &Tree) {
        let Some(what) = nodes::droppable(tree.field("remove_type").int()) else {
            self.worsen(Effect::Admin, "drops what is no part of the schema");
            return;
        };
        self.worsen(Effect::Schema, format!("drops a {what}"));
        for object in tree.field("objects").items() {
            let path = object.field("items").path();
            if let Some(name) = name_of(&path) {
                self.writes(name);
            }
        }
    }

    fn alter_table(&mut self, tree: &Tree) {
        /// `AlterTableType`: owner, row security and its force.
        const GUARDED: &[&str] = &[
            "AtChangeOwner",
            "AtEnableRowSecurity",
            "AtDisableRowSecurity",
            "AtForceRowSecurity",
            "AtNoForceRowSecurity",
        ];
        for command in tree.field("cmds").items() {
            let number = i32::try_from(command.field("subtype").int()).unwrap_or_default();
            let kind = pg_query::protobuf::AlterTableType::try_from(number);
            let kind = kind.map(|k| format!("{k:?}")).unwrap_or_default();
            if GUARDED.contains(&kind.as_str()) {
                self.worsen(Effect::Admin, "changes an owner or row security");
            }
        }
        self.schema(tree, "alter table");
    }

    fn explain(&mut self, tree: &Tree) {
        let analyze = tree.field("options").items().iter().any(runs);
        let outer = self.mode;
        if !analyze {
            self.mode = Mode::Planned;
        }
        self.node(tree.field("query"));
        self.mode = outer;
    }

    /// A relation that is changed.
    fn target(&mut self, table: &Tree) {
        if table.name() == "RangeVar" {
            self.writes(relation(table));
        } else {
            self.node(table);
        }
    }

    fn writes(&mut self, name: Name) {
        if is_catalogue(&name) {
            self.worsen(Effect::Admin, format!("changes the catalogue ({name})"));
        }
        if self.mode == Mode::Planned {
            self.found.reads.insert(name);
        } else {
            self.found.writes.insert(name);
        }
    }

    fn reads(&mut self, table: &Tree) {
        let name = relation(table);
        if name.schema.is_none() && self.visible.contains(&name.name) {
            return;
        }
        if is_catalogue(&name) && nodes::is_secret(&name.name) {
            self.worsen(Effect::Admin, format!("reads {name}, which holds secrets"));
        }
        self.found.reads.insert(name);
    }

    fn call(&mut self, tree: &Tree) {
        let path = tree.field("funcname").path();
        let Some(name) = name_of(&path) else {
            return self.worsen(Effect::Admin, "calls a function without a name");
        };
        self.found.functions.insert(name.clone());
        let args = tree.field("args").items();
        if let Some(bytes) = size::of_call(&name.name, args)
            && bytes > size::LARGEST
        {
            self.worsen(Effect::Admin, format!("allocates {bytes} bytes"));
        }
        if name.schema.as_deref().is_some_and(|s| s != "pg_catalog") {
            return self.names_function(name);
        }
        if name.schema.is_none() || name.name.contains(POPULATE) {
            // An ordered-set aggregate takes what it orders as arguments, too.
            let ordered = tree.field("agg_within_group").is_set();
            self.found.names.overloads.insert(Call {
                name: name.name.clone(),
                arguments: (!ordered).then_some(args.len()),
            });
        }
        // Three arguments are values; two hold SQL as text.
        if name.name == "ts_rewrite" && args.len() == 3
            || functions::is_harmless(&name.name)
            || functions::is_built_in_type(&name.name)
        {
            return;
        }
        match dangerous::of(&name.name) {
            Some((effect, what)) => {
                self.worsen(effect, format!("calls {}, which {what}", name.name));
            }
            None => self.names_function(name),
        }
    }

    fn names_function(&mut self, name: Name) {
        if self.mode != Mode::Stored {
            self.found.names.functions.insert(name);
        }
    }

    fn sampling(&mut self, tree: &Tree) {
        let path = tree.field("method").path();
        if matches!(path.last(), Some(&("bernoulli" | "system"))) {
            return;
        }
        if let Some(name) = name_of(&path) {
            self.names_function(name);
        }
    }

    fn operator(&mut self, tree: &Tree) {
        let path = tree.field("name").path();
        if path.last().is_some_and(|name| name.contains("BETWEEN")) {
            for name in ["<", "<=", ">", ">="] {
                self.operators(&[], name);
            }
        } else {
            self.operators(&path, "=");
        }
    }

    /// Records an operator; `usual` stands where none is written.
    fn operators(&mut self, path: &[&str], usual: &str) {
        let name = name_of(path).unwrap_or_else(|| Name::bare(usual));
        if self.mode != Mode::Stored {
            self.found.names.operators.insert(name);
        }
    }

    fn column(&mut self, tree: &Tree) {
        let path = tree.field("fields").path();
        for name in path.iter().skip(1) {
            self.selection(name);
        }
    }

    fn fields(&mut self, indirection: &Tree) {
        for name in indirection.path() {
            self.selection(name);
        }
    }

    /// `value.name` calls the function `name` where the value has no such column. A column that
    /// is named like a dangerous function has to go without its table's name.
    fn selection(&mut self, name: &str) {
        if self.mode == Mode::Stored {
            return;
        }
        if let Some((effect, what)) = dangerous::of(name) {
            self.worsen(effect, format!("selects {name}, as if to call what {what}"));
        }
        self.found.names.selections.insert(name.to_owned());
    }

    /// Syntax of a newer server that is a plain call on an older one.
    fn syntax(&mut self, names: &[&str]) {
        let calls = names.iter().map(|name| Call {
            name: (*name).to_owned(),
            arguments: None,
        });
        self.found.names.overloads.extend(calls);
    }

    fn type_name(&mut self, tree: &Tree) {
        let path = tree.field("names").path();
        let Some(name) = name_of(&path) else { return };
        let built_in = match name.schema.as_deref() {
            Some(schema) => schema == "pg_catalog",
            None => functions::is_built_in_type(&name.name),
        };
        if !built_in && self.mode != Mode::Stored {
            self.found.names.types.insert(name);
        }
    }

    /// Records a finding, unless the text around it says that it does not happen.
    fn worsen(&mut self, effect: Effect, because: impl Into<String>) {
        let happens = match self.mode {
            Mode::Runs => true,
            Mode::Planned => effect == Effect::Admin,
            Mode::Stored => effect >= Effect::Schema,
        };
        if happens {
            self.found.worsen(effect, because);
        }
    }
}

fn cte_name(cte: &Tree) -> String {
    cte.field("ctename").text().to_owned()
}

/// Whether an option of EXPLAIN makes it run the statement, or could.
fn runs(option: &Tree) -> bool {
    let name = option.field("defname").text();
    if matches!(name, "analyze" | "analyse") {
        let arg = option.field("arg");
        let off = match arg.name() {
            "Boolean" => !arg.field("boolval").is_set(),
            "Integer" => arg.field("ival").int() == 0,
            "String" => ["off", "false", "0"].contains(&arg.text().to_lowercase().as_str()),
            _ => false,
        };
        return !off;
    }
    !EXPLAIN_SHOWS.contains(&name)
}

fn relation(table: &Tree) -> Name {
    let name = table.field("relname").text();
    match table.field("schemaname").text() {
        "" => Name::bare(name),
        schema => Name::qualified(schema, name),
    }
}

/// A dotted name; a database in front of it is left out.
fn name_of(path: &[&str]) -> Option<Name> {
    match path {
        [] => None,
        [name] => Some(Name::bare(*name)),
        [.., schema, name] => Some(Name::qualified(*schema, *name)),
    }
}

fn is_catalogue(name: &Name) -> bool {
    match name.schema.as_deref() {
        Some(schema) => matches!(schema, "pg_catalog" | "information_schema" | "pg_toast"),
        None => name.name.starts_with("pg_") || name.name == "user_mapping_options",
    }
}
