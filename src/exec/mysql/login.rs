//! What the login may do, as far as it reaches beyond its own databases.

use crate::core::refusal::{Code, Refusal};
use crate::exec::mysql::errors;
use crate::exec::mysql::session::Session;

/// Privileges on the whole server that let a login look, but not touch.
const LOOKING: [&str; 10] = [
    "BINLOG MONITOR",
    "EXECUTE",
    "PROCESS",
    "REPLICATION CLIENT",
    "REPLICA MONITOR",
    "SELECT",
    "SHOW DATABASES",
    "SHOW VIEW",
    "SLAVE MONITOR",
    "USAGE",
];

/// The privileges on the whole server that a login for reads should not have.
pub(super) async fn excess(session: &mut Session) -> Result<Vec<String>, Refusal> {
    let grants = session.texts("SHOW GRANTS", &[]).await;
    let grants = grants.map_err(|error| errors::refusal(&error))?;
    let lines = grants.into_iter().flatten().flatten();
    let mut excess: Vec<String> = lines.flat_map(|line| beyond_looking(&line)).collect();
    excess.sort();
    excess.dedup();
    Ok(excess)
}

/// The refusal of a login that has them.
pub(super) fn refusal(excess: &[String]) -> Refusal {
    Refusal::new(
        Code::PrivilegedLogin,
        format!(
            "the target is for reads, and its login may do more on the whole server: {}",
            excess.join(", ")
        ),
    )
    .hint("a person has to give the target a login with SELECT and SHOW VIEW on its database only, or set allow_privileged_login")
}

/// What one line of `SHOW GRANTS` gives on `*.*` beyond looking.
fn beyond_looking(line: &str) -> Vec<String> {
    let Some((given, rest)) = line
        .strip_prefix("GRANT ")
        .and_then(|l| l.split_once(" ON "))
    else {
        return Vec::new();
    };
    let option = rest.contains(" WITH GRANT OPTION");
    if !rest.starts_with("*.* TO ") {
        // Being somebody else's proxy is as good as being them.
        let proxy = given == "PROXY";
        return proxy.then(|| "PROXY".to_owned()).into_iter().collect();
    }
    let more = given
        .split(", ")
        .filter(|privilege| !LOOKING.contains(privilege))
        .map(ToOwned::to_owned);
    more.chain(option.then(|| "GRANT OPTION".to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_beyond_looking_counts() {
        for (line, beyond) in [
            (
                "GRANT USAGE ON *.* TO `ro`@`%` IDENTIFIED BY PASSWORD '*A'",
                "",
            ),
            ("GRANT SELECT, PROCESS ON *.* TO `ro`@`%`", ""),
            ("GRANT SELECT, FILE, SUPER ON *.* TO `x`@`%`", "FILE SUPER"),
            (
                "GRANT ALL PRIVILEGES ON *.* TO `x`@`%` WITH GRANT OPTION",
                "ALL PRIVILEGES GRANT OPTION",
            ),
            ("GRANT ALL PRIVILEGES ON `shop`.* TO `x`@`%`", ""),
            (
                "GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION",
                "PROXY",
            ),
            ("GRANT `role` TO `x`@`%`", ""),
        ] {
            assert_eq!(beyond_looking(line).join(" "), beyond, "{line}");
        }
    }
}
