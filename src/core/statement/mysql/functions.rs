//! The functions that a read may call: built into the server, and without any effect beyond their value.
//!
//! A name that is not here is looked up in the catalogue, and counts as the worst effect unless the
//! target's owner vouches for it. A server looks for its own functions before a user's, but MySQL and
//! MariaDB do not have all of the same ones: the catalogue has the last word on a user's function
//! with one of these names. `schema.name(...)` is never looked up here.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::core::statement::Effect;

/// Whether a function of this name, in lower case, only computes a value.
pub(super) fn is_harmless(name: &str) -> bool {
    HARMLESS.contains(name)
}

/// What a function is known to do, where that is more than computing a value.
pub(super) fn danger(name: &str) -> Option<(Effect, &'static str)> {
    let found = DANGERS.binary_search_by_key(&name, |(name, ..)| name);
    let (_, effect, because) = DANGERS.get(found.ok()?)?;
    Some((*effect, because))
}

/// Keywords that a parenthesis can follow without a call, and types that take a length.
pub(super) fn is_before_parenthesis(word: &str) -> bool {
    KEYWORDS.binary_search(&word).is_ok()
}

/// One name a line.
const NAMES: &str = include_str!("functions.txt");

static HARMLESS: LazyLock<BTreeSet<&str>> = LazyLock::new(|| NAMES.lines().collect());

/// Sorted, for the binary search.
const KEYWORDS: [&str; 73] = [
    "against",
    "all",
    "analyze",
    "and",
    "as",
    "between",
    "binary",
    "by",
    "case",
    "character",
    "collate",
    "cross",
    "distinct",
    "distinctrow",
    "div",
    "else",
    "except",
    "exists",
    "explain",
    "force",
    "from",
    "group",
    "having",
    "high_priority",
    "ignore",
    "in",
    "index",
    "inner",
    "intersect",
    "interval",
    "into",
    "is",
    "join",
    "key",
    "keys",
    "left",
    "like",
    "limit",
    "mod",
    "natural",
    "not",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "primary",
    "recursive",
    "regexp",
    "return",
    "right",
    "rlike",
    "row",
    "select",
    "separator",
    "set",
    "sql_big_result",
    "sql_calc_found_rows",
    "sql_small_result",
    "straight_join",
    "table",
    "then",
    "union",
    "unique",
    "update",
    "use",
    "using",
    "values",
    "when",
    "where",
    "with",
    "xor",
];

/// Sorted by name, for the binary search.
const DANGERS: [(&str, Effect, &str); 20] = [
    (
        "benchmark",
        Effect::Admin,
        "calls benchmark, which burns processor time",
    ),
    (
        "binlog_gtid_pos",
        Effect::Admin,
        "calls binlog_gtid_pos, which reads the binary log",
    ),
    (
        "des_decrypt",
        Effect::Admin,
        "calls des_decrypt, which uses a key file of the server",
    ),
    (
        "des_encrypt",
        Effect::Admin,
        "calls des_encrypt, which uses a key file of the server",
    ),
    (
        "get_lock",
        Effect::Admin,
        "calls get_lock, which takes a lock beyond the statement",
    ),
    (
        "load_file",
        Effect::Admin,
        "calls load_file, which reads a file of the server",
    ),
    (
        "master_gtid_wait",
        Effect::Admin,
        "calls master_gtid_wait, which holds the connection",
    ),
    (
        "master_pos_wait",
        Effect::Admin,
        "calls master_pos_wait, which holds the connection",
    ),
    (
        "nextval",
        Effect::Write,
        "calls nextval, which advances a sequence",
    ),
    (
        "release_all_locks",
        Effect::Admin,
        "calls release_all_locks, which drops locks of the session",
    ),
    (
        "release_lock",
        Effect::Admin,
        "calls release_lock, which drops a lock of the session",
    ),
    (
        "setval",
        Effect::Write,
        "calls setval, which moves a sequence",
    ),
    (
        "sleep",
        Effect::Admin,
        "calls sleep, which holds the connection",
    ),
    (
        "source_pos_wait",
        Effect::Admin,
        "calls source_pos_wait, which holds the connection",
    ),
    (
        "sys_eval",
        Effect::Admin,
        "calls sys_eval, which runs a program on the server",
    ),
    (
        "sys_exec",
        Effect::Admin,
        "calls sys_exec, which runs a program on the server",
    ),
    (
        "sys_set",
        Effect::Admin,
        "calls sys_set, which changes the server's environment",
    ),
    (
        "wait_for_executed_gtid_set",
        Effect::Admin,
        "calls wait_for_executed_gtid_set, which holds the connection",
    ),
    (
        "wait_until_sql_thread_after_gtids",
        Effect::Admin,
        "calls wait_until_sql_thread_after_gtids, which holds the connection",
    ),
    (
        "wsrep_sync_wait_upto_gtid",
        Effect::Admin,
        "calls wsrep_sync_wait_upto_gtid, which holds the connection",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_disjoint() {
        assert!(NAMES.lines().is_sorted_by(|a, b| a < b));
        assert!(KEYWORDS.is_sorted_by(|a, b| a < b));
        assert!(DANGERS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(
            DANGERS
                .iter()
                .all(|(name, ..)| !is_harmless(name) && !is_before_parenthesis(name))
        );
    }
}
