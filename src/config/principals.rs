//! `[principals]`: the roles and groups of those who ask, as policies see them.

use std::collections::BTreeSet;

use crate::config::document::{At, Table};
use crate::config::meant::Reading;
use crate::config::problem::Problems;
use crate::core::policy::facts::Standing;
use crate::core::policy::principals::{NAME_CHARS, Pattern, Principals, is_name};

/// `[principals."PATTERN"]` as written.
#[derive(Debug)]
pub(super) struct WrittenPrincipal {
    pattern: At<String>,
    roles: Vec<At<String>>,
    groups: Vec<At<String>>,
}

pub(super) fn from_table(top: &Table<'_>, problems: &mut Problems) -> Vec<WrittenPrincipal> {
    let Some(principals) = top.table("principals", problems) else {
        return Vec::new();
    };
    let tables = principals.tables(problems).into_iter();
    let written = tables.map(|(pattern, table)| {
        table.only(&["groups", "roles"], problems);
        WrittenPrincipal {
            pattern,
            roles: table.texts("roles", problems).unwrap_or_default(),
            groups: table.texts("groups", problems).unwrap_or_default(),
        }
    });
    written.collect()
}

impl Reading<'_> {
    /// The roles and groups of those who ask.
    pub(super) fn principals(&mut self, written: &[WrittenPrincipal]) -> Principals {
        let mut entries = Vec::new();
        for WrittenPrincipal {
            pattern,
            roles,
            groups,
        } in written
        {
            // Everything is looked at even when the pattern is wrong, so that all problems show.
            let standing = Standing {
                roles: self.names(roles, "a role"),
                groups: self.names(groups, "a group"),
            };
            match Pattern::parse(&pattern.value) {
                Ok(pattern) => entries.push((pattern, standing)),
                Err(error) => self.problem(
                    &pattern.place,
                    format!("`{}` is {error}", pattern.value.escape_debug()),
                    "write a principal like `human:ada`, or `ai:ada/*` and `ai:*` for all that begin so",
                ),
            }
        }
        Principals::new(entries)
    }

    fn names(&mut self, written: &[At<String>], what: &str) -> BTreeSet<String> {
        for at in written.iter().filter(|at| !is_name(&at.value)) {
            self.problem(
                &at.place,
                format!("`{}` is not the name of {what}", at.value.escape_debug()),
                format!("a name has 1 to {NAME_CHARS} letters, digits, `_` and `-`"),
            );
        }
        written.iter().map(|at| at.value.clone()).collect()
    }
}
