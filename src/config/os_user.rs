//! Which user of this machine the process runs as. A label for the audit log, not proof.

use crate::config::surroundings::Surroundings;

impl Surroundings {
    /// The user's name, by the system's own records: a variable could say anything.
    pub fn os_user(&self) -> String {
        whoami::username().unwrap_or_else(|_| "unknown".to_owned())
    }
}

/// The numeric user id of this process, where that can be told without unsafe code.
#[cfg(target_os = "linux")]
pub fn user_id() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    Some(std::fs::metadata("/proc/self").ok()?.uid())
}

/// The numeric user id of this process, where that can be told without unsafe code.
#[cfg(not(target_os = "linux"))]
pub fn user_id() -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_one_that_the_system_knows() {
        let name = std::process::Command::new("id")
            .arg("-un")
            .output()
            .unwrap();
        assert_eq!(
            Surroundings::of_process().os_user(),
            String::from_utf8(name.stdout).unwrap().trim()
        );
    }
}
