//! What `secondkey doctor` looks at: the way there, the server, the login, and whether the server
//! itself refuses change to a read.

use super::Postgres;
use super::pool::Loan;
use crate::core::refusal::Refusal;
use crate::exec::Check;

/// The version that our tests run against.
const TESTED: &str = "15.";

/// Checks a target end to end.
pub(super) async fn check(postgres: &Postgres) -> Vec<Check> {
    let mut loan = match postgres.pool.lend().await {
        Ok(loan) => loan,
        Err(refusal) => return vec![from(&refusal)],
    };
    let mut found = vec![Check::good("the database answers and accepts the login")];
    match loan.session.facts().await {
        Ok(facts) => {
            found.push(version(&facts.version));
            found.push(powers(postgres, &facts.powers));
            found.extend(facts.notes.iter().map(|note| {
                Check::warning(
                    format!("the login {note}"),
                    "a login for an AI client rarely needs that; take it away if you can",
                )
            }));
        }
        Err(refusal) => found.push(from(&refusal)),
    }
    found.push(probe(&loan).await);
    match postgres.snapshot.load(&mut loan.session).await {
        Ok(took) => found.push(Check::good(format!(
            "the catalogue was read in {} ms",
            took.as_millis()
        ))),
        Err(refusal) => found.push(from(&refusal)),
    }
    loan.give_back();
    found
}

fn from(refusal: &Refusal) -> Check {
    Check::bad(
        refusal.message.clone(),
        refusal.hint.clone().unwrap_or_default(),
    )
}

fn version(version: &str) -> Check {
    if version.starts_with(TESTED) {
        Check::good(format!("PostgreSQL {version}: run by our tests"))
    } else {
        Check::warning(
            format!("PostgreSQL {version}: not verified by us"),
            "our tests run PostgreSQL 15; it should work, but nobody has looked",
        )
    }
}

fn powers(postgres: &Postgres, powers: &[&str]) -> Check {
    if powers.is_empty() {
        return Check::good("the login is no superuser and reaches no files on the server");
    }
    let found = format!("the login {}", powers.join(", "));
    let mend = "make a login without these powers: create role NAME login password '...'; \
                grant select on all tables in schema public to NAME";
    if postgres.settings.target.is_read_only() && !postgres.settings.allow_privileged_login {
        Check::bad(found, mend)
    } else {
        Check::warning(found, mend)
    }
}

/// Tries to change something harmless where nothing can be changed.
async fn probe(loan: &Loan) -> Check {
    let client = &loan.session.client;
    let tried = client
        .batch_execute("begin read only; select 1; create temporary table secondkey_probe (a int)")
        .await;
    let read_write = client
        .batch_execute("rollback; begin read only; select 1; set transaction read write")
        .await;
    let _ended = client.batch_execute("rollback").await;
    match (tried, read_write) {
        (Err(first), Err(second))
            if first.code().is_some_and(|c| c.code() == "25006")
                && second.as_db_error().is_some() =>
        {
            Check::good("the server refuses change inside a read, and refuses to leave that mode")
        }
        _ => Check::bad(
            "the server did not refuse change inside a read-only transaction",
            "is this a PostgreSQL server, or a proxy in front of one that changes statements?",
        ),
    }
}
