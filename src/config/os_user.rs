//! Which user of this machine the process runs as. A label for the audit log, not proof.

use crate::config::surroundings::Surroundings;

impl Surroundings {
    /// The user's name: by the system's own records where they can be read, since a variable
    /// can say anything.
    pub fn os_user(&self) -> String {
        let variable = |name| self.environment.read(name).ok().flatten();
        recorded_name()
            .or_else(|| variable("USER"))
            .or_else(|| variable("LOGNAME"))
            .or_else(|| variable("USERNAME"))
            .unwrap_or_else(|| "unknown".to_owned())
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

fn recorded_name() -> Option<String> {
    let id = user_id()?.to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_one_that_the_system_knows() {
        let whoami = std::process::Command::new("id")
            .arg("-un")
            .output()
            .unwrap();
        assert_eq!(
            Surroundings::of_process().os_user(),
            String::from_utf8(whoami.stdout).unwrap().trim()
        );
    }
}
