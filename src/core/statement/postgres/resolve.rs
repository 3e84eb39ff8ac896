//! What a statement's names stand for in one database: the judgement goes on into the bodies of
//! functions and views, until nothing new is named.

use std::collections::{BTreeSet, HashSet};

use super::catalogue::{Catalogue, Function, Oid, Relation, is_built_in};
use super::{blank, dangerous, functions, judge_body};
use crate::core::statement::{Effect, Name, Statement};

/// Extensions whose own functions may be called, and whether volatile ones too.
const KNOWN: &[(&str, bool)] = &[
    ("btree_gin", false),
    ("btree_gist", false),
    ("citext", false),
    ("cube", false),
    ("earthdistance", false),
    ("fuzzystrmatch", false),
    ("hstore", false),
    ("intarray", false),
    ("ltree", false),
    ("pg_trgm", false),
    ("pgcrypto", true),
    ("unaccent", false),
    ("uuid-ossp", true),
    ("vector", false),
];

/// Something that the catalogue does not have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unknown {
    /// A function of this name.
    Function(Name),
    /// A table or view of this name.
    Relation(Name),
}

/// What a resolution found.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The statement with everything that its names stand for.
    pub statement: Statement,
    /// The first name that stands for nothing.
    pub unknown: Option<Unknown>,
}

/// Follows the statement's names through the catalogue. `trusted` names, as `name` or
/// `schema.name`, are taken to be reads.
pub fn resolve(
    statement: &Statement,
    catalogue: &Catalogue,
    trusted: &BTreeSet<String>,
) -> Resolved {
    let mut walk = Resolution {
        catalogue,
        trusted,
        all: statement.clone(),
        reached: HashSet::new(),
        cast: HashSet::new(),
        judged: HashSet::new(),
        seen: HashSet::new(),
        anywhere: false,
        grew: true,
    };
    while std::mem::take(&mut walk.grew) {
        walk.relations();
        walk.functions();
        walk.types();
        walk.operators_and_casts();
    }
    let unknown = walk.unknown(statement);
    let mut found = statement.clone();
    for reason in walk.all.reasons {
        found.worsen(reason.effect, reason.because);
    }
    // What views, rules and functions touch is touched by the statement.
    found.reads.extend(walk.all.reads);
    found.writes.extend(walk.all.writes);
    found.worsen(walk.all.effect, "does more than its text says");
    found
        .reasons
        .retain(|r| r.because != "does more than its text says");
    Resolved {
        statement: found,
        unknown,
    }
}

struct Resolution<'c> {
    catalogue: &'c Catalogue,
    trusted: &'c BTreeSet<String>,
    /// The statement together with every body that it leads to.
    all: Statement,
    /// Types of values that it can hold.
    reached: HashSet<Oid>,
    /// Types that it can convert values to.
    cast: HashSet<Oid>,
    /// Functions whose judgement is in.
    judged: HashSet<Oid>,
    /// Relations and types that were looked at; a written relation is looked at again.
    seen: HashSet<(Oid, bool)>,
    /// Whether a body has a search path of its own, so that every schema counts as visible.
    anywhere: bool,
    grew: bool,
}

impl<'c> Resolution<'c> {
    fn is_trusted(&self, schema: &str, name: &str) -> bool {
        self.trusted.contains(name) || self.trusted.contains(&format!("{schema}.{name}"))
    }

    fn matches(&self, wanted: &Name, schema: &str, name: &str) -> bool {
        wanted.name == name
            && match &wanted.schema {
                Some(written) => written == schema,
                None => self.anywhere || self.catalogue.is_visible(schema),
            }
    }

    /// Takes in what a body says; what it does is the statement's doing.
    fn body(&mut self, sql: &str, whose: &str) {
        let mut found = blank();
        if judge_body(sql, &mut found).is_err() {
            found.worsen(Effect::Admin, "holds SQL that cannot be read");
        }
        for reason in found.reasons {
            self.all
                .worsen(reason.effect, format!("{whose}, which {}", reason.because));
        }
        self.all.reads.extend(found.reads);
        self.all.writes.extend(found.writes);
        self.all.names.functions.extend(found.names.functions);
        self.all.names.operators.extend(found.names.operators);
        self.all.names.types.extend(found.names.types);
        self.all.names.overloads.extend(found.names.overloads);
        self.all.names.selections.extend(found.names.selections);
        self.grew = true;
    }

    fn relations(&mut self) {
        let reads = self.all.reads.clone();
        let writes = self.all.writes.clone();
        for (names, written) in [(reads, false), (writes, true)] {
            for name in names {
                for (oid, relation) in self.relations_named(&name) {
                    self.relation(oid, relation, written);
                }
            }
        }
    }

    /// The relations that a name can stand for.
    fn relations_named(&self, name: &Name) -> Vec<(Oid, &'c Relation)> {
        let oids = self.catalogue.relations_by_name.get(&name.name);
        oids.into_iter()
            .flatten()
            .filter_map(|oid| Some((*oid, self.catalogue.relations.get(oid)?)))
            .filter(|(_, found)| self.matches(name, &found.schema, &found.name))
            .collect()
    }

    fn relation(&mut self, oid: Oid, relation: &'c Relation, written: bool) {
        if !self.seen.insert((oid, written)) {
            return;
        }
        self.grew = true;
        self.reach(relation.row_type);
        if self.is_trusted(&relation.schema, &relation.name) {
            return;
        }
        let name = &relation.name;
        if relation.kind == 'f' {
            self.all.worsen(
                Effect::Admin,
                format!("reaches another server through the foreign table {name}"),
            );
        }
        if let Some(query) = relation
            .definition
            .as_ref()
            .filter(|_| relation.kind == 'v')
        {
            let before = self.all.reads.clone();
            self.body(query, &format!("uses the view {name}"));
            if written {
                let under: Vec<Name> = self.all.reads.difference(&before).cloned().collect();
                self.all.writes.extend(under);
            }
        }
        for policy in &relation.policies {
            self.body(
                &format!("select {policy}"),
                &format!("is under the row security of {name}"),
            );
        }
        if written {
            self.set_off(relation);
            for rule in &relation.rules {
                self.body(rule, &format!("sets off a rule of {name}"));
            }
        }
        for child in &relation.children {
            if let Some(found) = self.catalogue.relations.get(child) {
                self.relation(*child, found, written);
            }
        }
    }

    /// What a change of a relation sets off besides: it is named, so that whoever agrees to the change
    /// sees it, and so that a trigger that comes later is another change.
    fn set_off(&mut self, relation: &'c Relation) {
        let name = &relation.name;
        for trigger in &relation.triggers {
            let because = format!("sets off the trigger {trigger} of {name}");
            self.all.worsen(Effect::Write, because);
        }
        for default in &relation.defaults {
            self.body(
                &format!("select {default}"),
                &format!("fills in a default of {name}"),
            );
        }
        if self.all.kind == "insert" {
            return;
        }
        for child in &relation.cascades {
            if let Some(found) = self.catalogue.relations.get(child) {
                let because = format!("changes {} by a foreign key to {name}", found.name);
                self.all.worsen(Effect::Write, because);
                let touched = Name::qualified(found.schema.clone(), found.name.clone());
                self.all.writes.insert(touched);
                self.relation(*child, found, true);
            }
        }
    }

    fn functions(&mut self) {
        for name in self.all.names.functions.clone() {
            self.cast_named(&name);
            for (oid, function) in self.functions_named(&name) {
                self.function(oid, function);
            }
            let built_in = name.schema.as_deref().is_none_or(|s| s == "pg_catalog");
            if built_in
                && self.catalogue.built_in.contains(&name.name)
                && !functions::is_harmless(&name.name)
                && !(name.schema.is_none() && self.is_trusted("pg_catalog", &name.name))
            {
                let because = format!("calls {}, which is not known to be harmless", name.name);
                self.all.worsen(Effect::Admin, because);
            }
        }
        for call in self.all.names.overloads.clone() {
            for (oid, function) in self.functions_named(&Name::bare(call.name)) {
                if call.arguments.is_none_or(|count| function.takes(count)) {
                    self.function(oid, function);
                }
            }
        }
        for name in self.all.names.selections.clone() {
            self.selection(&name);
        }
    }

    /// What `value.name` can call, unless it is a column.
    fn selection(&mut self, name: &str) {
        self.cast_named(&Name::bare(name));
        for (oid, function) in self.functions_named(&Name::bare(name)) {
            if self.may_be_selected(function) {
                self.function(oid, function);
            }
        }
        if self.catalogue.built_in.contains(name)
            && !functions::is_harmless(name)
            && !functions::is_built_in_type(name)
            && !self.is_column(name)
        {
            let because =
                format!("selects {name}, as if to call a function not known to be harmless");
            self.all.worsen(Effect::Admin, because);
        }
    }

    fn functions_named(&self, name: &Name) -> Vec<(Oid, &'c Function)> {
        let oids = self.catalogue.by_name.get(&name.name);
        oids.into_iter()
            .flatten()
            .filter_map(|oid| Some((*oid, self.catalogue.functions.get(oid)?)))
            .filter(|(_, found)| self.matches(name, &found.schema, &found.name))
            .collect()
    }

    /// Whether selecting its name can call this function.
    fn may_be_selected(&self, function: &Function) -> bool {
        if !function.takes(1) {
            return false;
        }
        let Some(argument) = function.arguments.first() else {
            return false;
        };
        if let Some(kind) = self.catalogue.types.get(argument) {
            // A column of that name comes first; a type that is not there cannot be selected from.
            let is_column = kind.fields.contains(&function.name);
            return !is_column && self.reached.contains(argument);
        }
        // Of a built-in type, or of any.
        !self.is_column(&function.name)
    }

    /// Whether something that is reached has a column of this name.
    fn is_column(&self, name: &str) -> bool {
        let kinds = self
            .reached
            .iter()
            .filter_map(|kind| self.catalogue.types.get(kind));
        kinds
            .into_iter()
            .any(|kind| kind.fields.iter().any(|field| field == name))
    }

    fn function(&mut self, oid: Oid, function: &'c Function) {
        if !self.judged.insert(oid) {
            return;
        }
        self.grew = true;
        for kind in function.arguments.iter().chain([&function.result]) {
            self.cast_to(*kind);
        }
        if self.is_trusted(&function.schema, &function.name) {
            return;
        }
        self.anywhere |= function.own_path;
        let name = &function.name;
        if let Some(defaults) = &function.defaults {
            let whose = format!("calls {name}(), by whose defaults it");
            self.body(&format!("select {defaults}"), &whose);
        }
        if let Some(extension) = &function.extension {
            if !is_known(extension, function) {
                self.all.worsen(
                    Effect::Admin,
                    format!("calls {name}() of the extension {extension}, which is not known to be harmless"),
                );
            }
        } else if !function.parts.is_empty() {
            for (part, part_name) in &function.parts {
                self.by_number(*part, part_name, false);
            }
        } else if let (Some(body), "sql") = (&function.body, function.language.as_str()) {
            self.body(body, &format!("calls {name}()"));
        } else {
            self.all.worsen(
                Effect::Admin,
                format!("calls {name}(), whose body cannot be judged"),
            );
        }
    }

    /// A function that an operator, cast or aggregate stands on.
    fn by_number(&mut self, oid: Oid, name: &str, strict: bool) {
        if let Some(function) = self.catalogue.functions.get(&oid) {
            self.function(oid, function);
        } else if let Some((effect, what)) = dangerous::of(name) {
            self.all
                .worsen(effect, format!("calls {name}, which {what}"));
        } else if strict && !functions::is_harmless(name) {
            self.all.worsen(
                Effect::Admin,
                format!("calls {name}, which is not known to be harmless"),
            );
        }
    }

    fn types(&mut self) {
        for name in self.all.names.types.clone() {
            self.cast_named(&name);
        }
        // These turn text into rows of a type that no name in the statement gives.
        if self
            .all
            .names
            .overloads
            .iter()
            .any(|call| call.name.contains("populate_record"))
        {
            for kind in self.reached.clone() {
                self.cast_to(kind);
            }
        }
    }

    fn cast_named(&mut self, name: &Name) {
        let bare = Name {
            schema: name.schema.clone(),
            name: name.name.trim_start_matches('_').to_owned(),
        };
        let catalogue = self.catalogue;
        for (oid, kind) in &catalogue.types {
            if self.matches(name, &kind.schema, &kind.name)
                || self.matches(&bare, &kind.schema, &kind.name)
            {
                self.cast_to(*oid);
            }
        }
    }

    /// Values of this type, and of those it is made of, can be there.
    fn reach(&mut self, oid: Oid) {
        if is_built_in(oid) || !self.reached.insert(oid) {
            return;
        }
        self.grew = true;
        let catalogue = self.catalogue;
        if let Some(kind) = catalogue.types.get(&oid) {
            for part in &kind.parts {
                self.reach(*part);
            }
        }
        // Arrays of it can be made on the spot.
        for (array, kind) in &catalogue.types {
            if kind.name.starts_with('_') && kind.parts.contains(&oid) {
                self.reach(*array);
            }
        }
    }

    /// Values can be converted to this type, and to those it is made of.
    fn cast_to(&mut self, oid: Oid) {
        if is_built_in(oid) || !self.cast.insert(oid) {
            return;
        }
        self.grew = true;
        self.reach(oid);
        let catalogue = self.catalogue;
        if let Some(kind) = catalogue.types.get(&oid) {
            for check in &kind.checks {
                let whose = format!("checks a value of {}", kind.name);
                self.body(&format!("select {check}"), &whose);
            }
            for part in &kind.parts {
                self.cast_to(*part);
            }
        }
    }

    fn operators_and_casts(&mut self) {
        let catalogue = self.catalogue;
        let names = self.all.names.operators.clone();
        for operator in &catalogue.operators {
            let is_used = names
                .iter()
                .any(|name| self.matches(name, &operator.schema, &operator.name));
            let is_own = !USUAL_OPERATORS.contains(&operator.name.as_str());
            if is_used && (is_own || self.reaches_one(&operator.operands)) {
                let (oid, name) = &operator.function;
                self.by_number(*oid, name, true);
            }
        }
        for cast in &catalogue.casts {
            if self.reached.contains(&cast.source) {
                self.reach(cast.target);
            }
            let here = |kind: Oid| is_built_in(kind) || self.reached.contains(&kind);
            if here(cast.source) && here(cast.target) {
                let (oid, name) = &cast.function;
                self.by_number(*oid, name, false);
            }
        }
    }

    /// Whether the statement can have operands for an operator: one of a type of its own is
    /// enough, and so are none but built-in ones.
    fn reaches_one(&self, operands: &[Oid]) -> bool {
        let reached = operands.iter().any(|kind| self.reached.contains(kind));
        reached || operands.iter().all(|kind| is_built_in(*kind))
    }

    /// The first name of the statement itself that stands for nothing.
    fn unknown(&self, statement: &Statement) -> Option<Unknown> {
        let missing = |name: &&Name| !is_of_system(name) && self.relations_named(name).is_empty();
        let writes = statement
            .writes
            .iter()
            .filter(|_| statement.effect <= Effect::Write);
        let mut tables = statement.reads.iter().chain(writes);
        if statement.effect <= Effect::Write
            && let Some(name) = tables.find(missing)
        {
            return Some(Unknown::Relation(name.clone()));
        }
        let unknown = statement.names.functions.iter().find(|name| {
            self.functions_named(name).is_empty()
                && !self.is_of_server(name)
                && !self.is_column(&name.name)
                && !self.is_type(name)
        });
        unknown.cloned().map(Unknown::Function)
    }

    fn is_of_server(&self, name: &Name) -> bool {
        let schema = name.schema.as_deref();
        schema.is_none_or(|s| s == "pg_catalog") && self.catalogue.built_in.contains(&name.name)
    }

    fn is_type(&self, name: &Name) -> bool {
        let mut kinds = self.catalogue.types.values();
        kinds.any(|kind| self.matches(name, &kind.schema, &kind.name))
    }
}

/// Operators that PostgreSQL itself has: a user's one of the same sign is meant only where one of its
/// types is reached. Of any other sign it is always meant, since plain literals can become its types.
const USUAL_OPERATORS: &[&str] = &[
    "!", "!!", "!~", "!~*", "!~~", "!~~*", "#", "##", "#-", "#>", "#>>", "%", "&", "&&", "&<",
    "&<|", "&>", "*", "+", "-", "->", "->>", "-|-", "/", "<", "<->", "<<", "<<=", "<<|", "<=",
    "<>", "<@", "=", ">", ">=", ">>", ">>=", "?", "?#", "?&", "?-", "?-|", "?|", "?||", "@", "@-@",
    "@>", "@?", "@@", "@@@", "^", "^@", "|", "|&>", "|/", "|>>", "||", "||/", "~", "~*", "~<=~",
    "~<~", "~=", "~>=~", "~>~", "~~", "~~*",
];

fn is_known(extension: &str, function: &Function) -> bool {
    if extension == "postgis" {
        return function.immutable;
    }
    KNOWN
        .iter()
        .any(|(name, volatile)| *name == extension && (*volatile || !function.volatile))
}

/// Whether a relation belongs to the server itself.
fn is_of_system(name: &Name) -> bool {
    match name.schema.as_deref() {
        Some(schema) => matches!(schema, "pg_catalog" | "information_schema" | "pg_toast"),
        None => name.name.starts_with("pg_"),
    }
}
