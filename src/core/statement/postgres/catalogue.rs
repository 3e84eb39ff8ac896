//! What the judgement has to know of a database's catalogue, as plain values.

use std::collections::{HashMap, HashSet};

/// The number that the server gives an object.
pub type Oid = u32;
/// Numbers from here on belong to objects that users made.
const FIRST_USER_OID: Oid = 16_384;

/// The facts about one database. What belongs to `pg_catalog` is left out, names of functions
/// excepted.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// The schemas that bare names are looked for in, in order.
    pub search_path: Vec<String>,
    /// The names of the functions of `pg_catalog`.
    pub built_in: HashSet<String>,
    /// Functions that users and extensions made.
    pub functions: HashMap<Oid, Function>,
    /// Operators that users and extensions made.
    pub operators: Vec<Operator>,
    /// Casts that call a function.
    pub casts: Vec<Cast>,
    /// Types that users and extensions made; row types of relations too.
    pub types: HashMap<Oid, Type>,
    /// Relations outside `pg_catalog` and `information_schema`.
    pub relations: HashMap<Oid, Relation>,
    /// The numbers of functions and relations by name; kept by [`Catalogue::index`].
    pub by_name: HashMap<String, Vec<Oid>>,
    /// The numbers of relations by name; kept by [`Catalogue::index`].
    pub relations_by_name: HashMap<String, Vec<Oid>>,
}

/// A function, aggregate or procedure.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// Its body as SQL, where it has one.
    pub body: Option<String>,
    /// Whether it may change something by its own word (`volatile`).
    pub volatile: bool,
    /// Whether it is marked `immutable`.
    pub immutable: bool,
    /// The extension it is part of.
    pub extension: Option<String>,
    /// The types of its arguments.
    pub arguments: Vec<Oid>,
    /// The type of its result.
    pub result: Oid,
    /// For an aggregate, the functions it is made of, with their names.
    pub parts: Vec<(Oid, String)>,
    /// Whether it runs with a search path of its own.
    pub own_path: bool,
    /// The fewest arguments it can be called with.
    pub fewest: usize,
    /// The most, unless its last argument stands for any number of them.
    pub most: Option<usize>,
    /// The default expressions, as one list.
    pub defaults: Option<String>,
}

impl Function {
    /// Whether it can be called with this many arguments.
    pub fn takes(&self, count: usize) -> bool {
        self.fewest <= count && self.most.is_none_or(|most| count <= most)
    }
}

/// An operator.
#[derive(Clone, Debug, Default)]
pub struct Operator {
    /// Its schema.
    pub schema: String,
    /// Its sign.
    pub name: String,
    /// The types of its operands.
    pub operands: Vec<Oid>,
    /// The function behind it, with its name.
    pub function: (Oid, String),
}

/// A cast by a function.
#[derive(Clone, Debug, Default)]
pub struct Cast {
    /// From this type.
    pub source: Oid,
    /// To this type.
    pub target: Oid,
    /// The function, with its name.
    pub function: (Oid, String),
}

/// A type.
#[derive(Clone, Debug, Default)]
pub struct Type {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The types it is made of: a domain's base, an array's element, a composite's fields.
    pub parts: Vec<Oid>,
    /// The names of a composite's fields.
    pub fields: Vec<String>,
    /// A domain's conditions, as SQL.
    pub checks: Vec<String>,
}

/// A table, view or similar.
#[derive(Clone, Debug, Default)]
pub struct Relation {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its kind (`pg_class.relkind`).
    pub kind: char,
    /// A view's query.
    pub definition: Option<String>,
    /// Its rules other than a view's own, as SQL.
    pub rules: Vec<String>,
    /// The conditions of its row security, as SQL, when that is on.
    pub policies: Vec<String>,
    /// Its triggers, by name, those of foreign keys left out.
    pub triggers: Vec<String>,
    /// The defaults of its columns that call something, as SQL.
    pub defaults: Vec<String>,
    /// The relations whose foreign keys to it change them along with it.
    pub cascades: Vec<Oid>,
    /// The type of its rows.
    pub row_type: Oid,
    /// The names of its columns.
    pub columns: Vec<String>,
    /// The tables that inherit from it, partitions too.
    pub children: Vec<Oid>,
}

impl Catalogue {
    /// Fills the look-ups by name.
    pub fn index(&mut self) {
        for (oid, function) in &self.functions {
            let place = self.by_name.entry(function.name.clone()).or_default();
            place.push(*oid);
        }
        for (oid, relation) in &self.relations {
            let place = self.relations_by_name.entry(relation.name.clone());
            place.or_default().push(*oid);
        }
    }

    /// Whether a bare name finds what is in this schema.
    pub fn is_visible(&self, schema: &str) -> bool {
        self.search_path.iter().any(|visible| visible == schema)
    }

    /// The names of the relations, with their schema where a bare name does not find them.
    pub fn relation_names(&self) -> impl Iterator<Item = String> {
        self.relations.values().map(|relation| {
            if self.is_visible(&relation.schema) {
                relation.name.clone()
            } else {
                format!("{}.{}", relation.schema, relation.name)
            }
        })
    }
}

/// Whether a type belongs to `pg_catalog`.
pub(super) fn is_built_in(oid: Oid) -> bool {
    oid < FIRST_USER_OID
}
