//! Which pragmas only read, and in which form.

/// Whether `PRAGMA name`, or `PRAGMA name(argument)`, only reads. `name` is lower case.
pub(crate) fn reads(name: &str, has_argument: bool) -> bool {
    DESCRIBING.contains(&name) || (!has_argument && ASKING.contains(&name))
}

/// Whether `relation` is the table-valued form of a pragma that does more than read.
pub(crate) fn changes_as_table(relation: &str) -> bool {
    relation
        .strip_prefix("pragma_")
        .is_some_and(|name| !reads(name, true) && !reads(name, false))
}

/// Their argument names what they describe, or how many problems to report.
const DESCRIBING: &[&str] = &[
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// With an argument they would set something; without one they tell what is set.
const ASKING: &[&str] = &[
    "analysis_limit",
    "application_id",
    "auto_vacuum",
    "automatic_index",
    "busy_timeout",
    "cache_size",
    "cache_spill",
    "cell_size_check",
    "collation_list",
    "compile_options",
    "data_version",
    "database_list",
    "defer_foreign_keys",
    "encoding",
    "foreign_keys",
    "freelist_count",
    "function_list",
    "hard_heap_limit",
    "ignore_check_constraints",
    "journal_mode",
    "journal_size_limit",
    "legacy_alter_table",
    "locking_mode",
    "max_page_count",
    "mmap_size",
    "module_list",
    "page_count",
    "page_size",
    "pragma_list",
    "query_only",
    "read_uncommitted",
    "recursive_triggers",
    "reverse_unordered_selects",
    "schema_version",
    "secure_delete",
    "soft_heap_limit",
    "synchronous",
    "temp_store",
    "threads",
    "trusted_schema",
    "user_version",
    "wal_autocheckpoint",
    "writable_schema",
];
