//! What the doctor says of the files of capabilities: whether they are good, and which are not what was accepted.

use std::path::Path;

use crate::config::TargetConfig;
use crate::config::capability;
use crate::core::capability::{Remembered, WhenChanged};
use crate::exec::Check;
use crate::store::remembered::changed_capabilities;

/// Examines the file of each target that has one, and what the state folder remembers of it.
pub(super) fn examine(targets: &[TargetConfig], state: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    let remembered = changed_capabilities(state).unwrap_or_else(|error| {
        let hint = "see whether the file `state.db` in the state folder is whole";
        checks.push(Check::bad(error.to_string(), hint));
        Vec::new()
    });
    for one in targets {
        let Some(file) = &one.capabilities else {
            continue;
        };
        let target = one.target.name.as_str();
        match capability::load(file, one.target.engine) {
            Err(problems) => checks.push(Check::bad(
                format!("the capabilities of {target} are broken:\n{problems}"),
                "nothing starts with it; where it was good before, that is still in force",
            )),
            Ok(loaded) => {
                let count = loaded.bundle.iter().count();
                checks.push(Check::good(format!(
                    "{target} offers {count}, by {} with the digest {}",
                    file.display(),
                    loaded.bundle.digest()
                )));
                let here =
                    |it: &&Remembered| it.target == target && loaded.bundle.get(&it.name).is_some();
                let changed = remembered.iter().filter(here);
                checks.extend(changed.map(|it| is_another(it, one.when_changed)));
            }
        }
    }
    checks
}

/// One that is not what was accepted.
fn is_another(one: &Remembered, when_changed: WhenChanged) -> Check {
    let (name, now, since) = (&one.name, one.seen.0, one.seen_at);
    let what = match one.before() {
        Some(before) => {
            format!("{name} is not what it was: {before} became {now}, seen at {since}")
        }
        None => format!("{name} is new: {now}, seen at {since}"),
    };
    let hint = match when_changed {
        WhenChanged::Ask => {
            format!(
                "it is withdrawn; look at it, and sign for it: `secondkey capability accept {name}`"
            )
        }
        WhenChanged::Run => format!(
            "it runs; `secondkey capability accept {name}` shows the change and signs for it, and `changed_capabilities = \"ask\"` has such wait"
        ),
    };
    Check::warning(what, hint)
}
