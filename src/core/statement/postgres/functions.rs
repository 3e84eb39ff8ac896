//! Which built-in functions are harmless: they answer, and do nothing else.
//!
//! `functions.txt` was made from the catalogue of PostgreSQL 15, and names that newer servers
//! added were judged by hand. A test holds it against a real server.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Harmless functions of `pg_catalog`, one name a line, sorted.
const LIST: &str = include_str!("functions.txt");

static HARMLESS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| LIST.lines().collect());

/// Whether every built-in function of this name is harmless.
pub(crate) fn is_harmless(name: &str) -> bool {
    HARMLESS.contains(name)
}

/// The harmless names, sorted.
pub(crate) fn harmless() -> impl Iterator<Item = &'static str> {
    LIST.lines()
}

/// Types of `pg_catalog`, sorted.
const TYPES: &[&str] = &[
    "aclitem",
    "bit",
    "bool",
    "box",
    "bpchar",
    "bytea",
    "char",
    "cid",
    "cidr",
    "circle",
    "date",
    "datemultirange",
    "daterange",
    "float4",
    "float8",
    "inet",
    "int2",
    "int2vector",
    "int4",
    "int4multirange",
    "int4range",
    "int8",
    "int8multirange",
    "int8range",
    "interval",
    "json",
    "jsonb",
    "jsonpath",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "money",
    "name",
    "numeric",
    "nummultirange",
    "numrange",
    "oid",
    "oidvector",
    "path",
    "pg_lsn",
    "pg_snapshot",
    "point",
    "polygon",
    "record",
    "refcursor",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "text",
    "tid",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "tsmultirange",
    "tsquery",
    "tsrange",
    "tstzmultirange",
    "tstzrange",
    "tsvector",
    "txid_snapshot",
    "unknown",
    "uuid",
    "varbit",
    "varchar",
    "void",
    "xid",
    "xid8",
    "xml",
];

/// Whether this is a type of `pg_catalog`, which nothing in another schema shadows.
pub(super) fn is_built_in_type(name: &str) -> bool {
    TYPES.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::postgres::dangerous;

    #[test]
    fn the_list_is_sorted_and_holds_nothing_known_to_be_dangerous() {
        let names: Vec<_> = harmless().collect();
        assert!(names.is_sorted(), "functions.txt is not sorted");
        let wrong: Vec<_> = names
            .iter()
            .filter(|n| dangerous::of(n).is_some())
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn built_in_types_are_found() {
        for name in ["aclitem", "text", "xml", "uuid", "timestamptz"] {
            assert!(is_built_in_type(name), "{name}");
        }
        assert!(!is_built_in_type("evil_text"));
    }
}
