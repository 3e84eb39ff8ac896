//! Built-in functions that are known to do more than answer, each with what it does.

use crate::core::statement::Effect;

/// Names, or beginnings of names that end in `*`, with their effect and what they do. The first
/// that matches counts.
const DANGEROUS: &[(&str, Effect, &str)] = &[
    ("nextval", Effect::Write, "advances a sequence"),
    ("setval", Effect::Write, "sets a sequence"),
    ("lo_export", Effect::Admin, "writes a file on the server"),
    ("lo_import*", Effect::Admin, "reads a file on the server"),
    ("lo_get", Effect::Admin, "reads a large object"),
    ("lo_*", Effect::Admin, "works on large objects"),
    ("loread", Effect::Admin, "reads a large object"),
    ("lowrite", Effect::Admin, "writes a large object"),
    ("pg_sleep*", Effect::Admin, "holds a connection"),
    ("set_config", Effect::Admin, "changes a setting"),
    ("setseed", Effect::Admin, "changes the session's state"),
    ("pg_terminate_backend", Effect::Admin, "ends other sessions"),
    (
        "pg_cancel_backend",
        Effect::Admin,
        "cancels other sessions' work",
    ),
    (
        "pg_log_backend_memory_contexts",
        Effect::Admin,
        "writes to the server's log",
    ),
    ("query_to_xml*", Effect::Admin, "runs SQL given as text"),
    ("cursor_to_xml*", Effect::Admin, "runs SQL given as text"),
    (
        "table_to_xml*",
        Effect::Admin,
        "reads relations given as text",
    ),
    (
        "schema_to_xml*",
        Effect::Admin,
        "reads every table of a schema",
    ),
    ("database_to_xml*", Effect::Admin, "reads every table"),
    ("ts_stat", Effect::Admin, "runs SQL given as text"),
    ("ts_rewrite", Effect::Admin, "runs SQL given as text"),
    ("pg_read_*", Effect::Admin, "reads files on the server"),
    ("pg_ls_*", Effect::Admin, "lists files on the server"),
    (
        "pg_stat_file",
        Effect::Admin,
        "looks at files on the server",
    ),
    (
        "pg_current_logfile",
        Effect::Admin,
        "looks at files on the server",
    ),
    (
        "pg_hba_file_rules",
        Effect::Admin,
        "reads files on the server",
    ),
    (
        "pg_ident_file_mappings",
        Effect::Admin,
        "reads files on the server",
    ),
    (
        "pg_show_all_file_settings",
        Effect::Admin,
        "reads files on the server",
    ),
    (
        "pg_config",
        Effect::Admin,
        "shows how the server is installed",
    ),
    ("pg_advisory_*", Effect::Admin, "takes or frees a lock"),
    ("pg_try_advisory_*", Effect::Admin, "takes a lock"),
    ("pg_notify", Effect::Admin, "sends a notification"),
    (
        "pg_export_snapshot",
        Effect::Admin,
        "writes a snapshot file",
    ),
    (
        "pg_current_xact_id",
        Effect::Admin,
        "takes a transaction id",
    ),
    ("txid_current", Effect::Admin, "takes a transaction id"),
    (
        "pg_logical_*",
        Effect::Admin,
        "works on the replication log",
    ),
    ("pg_replication_*", Effect::Admin, "works on replication"),
    (
        "pg_create_*",
        Effect::Admin,
        "makes a replication slot or restore point",
    ),
    ("pg_copy_*", Effect::Admin, "copies a replication slot"),
    (
        "pg_drop_replication_slot",
        Effect::Admin,
        "drops a replication slot",
    ),
    (
        "pg_sync_replication_slots",
        Effect::Admin,
        "works on replication",
    ),
    ("pg_import_*", Effect::Admin, "changes the catalogue"),
    ("pg_reload_conf", Effect::Admin, "controls the server"),
    ("pg_rotate_logfile*", Effect::Admin, "controls the server"),
    ("pg_promote", Effect::Admin, "controls the server"),
    ("pg_switch_wal", Effect::Admin, "controls the server"),
    ("pg_wal_replay_*", Effect::Admin, "controls the server"),
    ("pg_backup_*", Effect::Admin, "controls a backup"),
    ("pg_start_backup", Effect::Admin, "controls a backup"),
    ("pg_stop_backup", Effect::Admin, "controls a backup"),
    ("pg_stat_reset*", Effect::Admin, "resets statistics"),
    (
        "pg_stat_force_next_flush",
        Effect::Admin,
        "changes the session's state",
    ),
    (
        "pg_stat_clear_snapshot",
        Effect::Admin,
        "changes the session's state",
    ),
    ("pg_restore_*_stats", Effect::Admin, "changes statistics"),
    ("pg_clear_*_stats", Effect::Admin, "changes statistics"),
    ("brin_*", Effect::Admin, "changes an index"),
    ("gin_clean_pending_list", Effect::Admin, "changes an index"),
    ("binary_upgrade_*", Effect::Admin, "changes the catalogue"),
    ("pg_nextoid", Effect::Admin, "changes the catalogue"),
    (
        "pg_stop_making_pinned_objects",
        Effect::Admin,
        "changes the catalogue",
    ),
    ("dblink*", Effect::Admin, "connects to another server"),
    ("crosstab*", Effect::Admin, "runs SQL given as text"),
    ("connectby", Effect::Admin, "runs SQL given as text"),
    ("xpath_table", Effect::Admin, "runs SQL given as text"),
    ("pg_file_*", Effect::Admin, "writes files on the server"),
    ("pg_logdir_ls", Effect::Admin, "lists files on the server"),
];

/// What a built-in function of this name does, when it is known to do more than answer.
pub(super) fn of(name: &str) -> Option<(Effect, &'static str)> {
    let matches = |pattern: &str| match pattern.split_once('*') {
        Some((start, end)) => name.starts_with(start) && name.ends_with(end),
        None => pattern == name,
    };
    DANGEROUS
        .iter()
        .find(|(pattern, ..)| matches(pattern))
        .map(|(_, effect, what)| (*effect, *what))
}
