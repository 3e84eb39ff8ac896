//! What `secondkey doctor` says of a MySQL or MariaDB target.

use sqlx::mysql::MySqlConnectOptions;

use crate::core::refusal::Refusal;
use crate::core::target::Target;
use crate::exec::Check;
use crate::exec::mysql::session::{Flavour, Mode, Session};
use crate::exec::mysql::{errors, login};

/// Checks a target end to end.
pub(super) async fn check(
    options: &MySqlConnectOptions,
    target: &Target,
    allow_privileged_login: bool,
) -> Vec<Check> {
    let mut session = match Session::open(options, Mode::Read).await {
        Ok(session) => session,
        Err(refusal) => return vec![bad(refusal)],
    };
    let mut found = vec![version(&session)];
    found.extend(encryption(&mut session, options).await);
    match login::excess(&mut session).await {
        Ok(excess) => found.push(privileges(&excess, target, allow_privileged_login)),
        Err(refusal) => found.push(bad(refusal)),
    }
    found.extend(views(&mut session).await);
    found.push(probe(&mut session).await);
    session.close().await;
    found
}

fn bad(refusal: Refusal) -> Check {
    Check::bad(refusal.message, refusal.hint.unwrap_or_default())
}

fn version(session: &Session) -> Check {
    let version = &session.version;
    match session.flavour {
        Flavour::MariaDb
            if ["10.11.", "11.8."]
                .iter()
                .any(|run| version.starts_with(run)) =>
        {
            Check::good(format!("reached MariaDB {version}, which our tests run"))
        }
        Flavour::MariaDb => Check::warning(
            format!("reached MariaDB {version}, which our tests do not run"),
            "our tests run 10.11 and 11.8; others work as far as we know",
        ),
        Flavour::MySql if version.starts_with("9.7.") => {
            Check::good(format!("reached MySQL {version}, which our tests run"))
        }
        Flavour::MySql => Check::warning(
            format!("reached MySQL {version}, which is not verified by us"),
            "our tests run MySQL 9.7; 8 works as far as we know",
        ),
    }
}

/// Whether rows and password cross a network in the clear.
async fn encryption(session: &mut Session, options: &MySqlConnectOptions) -> Option<Check> {
    let host = options.get_host();
    let near = options.get_socket().is_some() || ["localhost", "127.0.0.1", "::1"].contains(&host);
    let cipher = session
        .texts("SHOW SESSION STATUS LIKE 'Ssl_cipher'", &[])
        .await;
    let cipher = cipher.ok()?.into_iter().next()?.into_iter().nth(1)??;
    if !cipher.is_empty() {
        return Some(Check::good(format!(
            "the connection is encrypted ({cipher})"
        )));
    }
    (!near).then(|| {
        Check::warning(
            "the connection crosses a network without encryption",
            "set up TLS at the server and add ?ssl-mode=VERIFY_IDENTITY to the URL",
        )
    })
}

fn privileges(excess: &[String], target: &Target, allowed: bool) -> Check {
    if excess.is_empty() {
        return Check::good("the login has no privilege on the whole server beyond looking");
    }
    let found = format!(
        "the login may do more on the whole server: {}",
        excess.join(", ")
    );
    let mend = "give the target a login with privileges on its own database only";
    if target.is_read_only() && !allowed {
        Check::bad(found, mend)
    } else {
        Check::warning(found, mend)
    }
}

/// Views that cannot be seen into count as the worst.
async fn views(session: &mut Session) -> Option<Check> {
    let sql = "SELECT CAST(COUNT(*) AS CHAR) FROM information_schema.views \
               WHERE table_schema = DATABASE() AND view_definition = ''";
    let hidden = session.texts(sql, &[]).await.ok()?;
    let hidden = hidden.into_iter().flatten().flatten().next()?;
    (hidden != "0").then(|| {
        Check::warning(
            format!("the login cannot see into {hidden} of the database's views, which are therefore refused"),
            "grant SHOW VIEW on the database, or name the views in the target's `trusted` list",
        )
    })
}

/// Tries a change that would vanish with the connection: it must be refused.
async fn probe(session: &mut Session) -> Check {
    let sql = "CREATE TEMPORARY TABLE secondkey_probe (a int)";
    match session.own(sql).await {
        Err(error) if errors::number(&error).is_some() => {
            Check::good("the server refuses a change on the connection for reads")
        }
        Err(error) => bad(errors::refusal(&error)),
        Ok(()) => Check::bad(
            "the server accepted a change on the connection for reads",
            "report this with the server's version, and use a login that can only SELECT",
        ),
    }
}
