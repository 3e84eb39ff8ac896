//! Running work above `read`: on a connection of its own, which is closed at the end.

use futures::TryStreamExt as _;
use sqlx::mysql::MySqlArguments;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, Either, Executor as _};

use crate::core::answer::{self, Column, Row};
use crate::core::limits::Limits;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Effect;
use crate::core::token::Keep;
use crate::exec::ledger::unwritten;
use crate::exec::mysql::errors;
use crate::exec::mysql::session::{Mode, Session};
use crate::exec::mysql::values::Columns;
use crate::exec::mysql::watch::Watch;
use crate::exec::rows::ROWS_PER_EVENT;

/// The largest answer of a change, in bytes of JSON: it is held until the change is committed.
pub(super) const ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// One change to be run.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) sql: String,
    pub(super) arguments: MySqlArguments,
    pub(super) limits: Limits,
    pub(super) effect: Effect,
    /// Whether each row that it answers is one that it changed.
    pub(super) returns_changed: bool,
    /// What has to hold before it is kept.
    pub(super) keep: Keep,
}

/// What a change answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) columns: Vec<Column>,
    pub(super) pages: Vec<Vec<Row>>,
    pub(super) affected: u64,
    pub(super) bytes: usize,
}

/// Whether each row that a statement of this kind answers is one that it changed. MariaDB counts none of those
/// that `RETURNING` answers.
pub(super) fn returns_changed(kind: &str) -> bool {
    matches!(kind, "delete" | "insert" | "replace" | "update")
}

/// Runs a change to its end.
pub(super) async fn run(
    options: &MySqlConnectOptions,
    order: Order,
    watch: &Watch,
) -> Result<Answer, Refusal> {
    let mut session = Session::open(options, Mode::Change).await?;
    let limit = session.limit(order.limits.time_ms).await;
    limit.map_err(|error| errors::refusal(&error))?;
    let done = if order.effect == Effect::Write {
        in_transaction(&mut session, order, watch).await
    } else {
        alone(&mut session, order, watch).await
    };
    // Whatever was not committed is rolled back by this.
    session.close().await;
    done
}

/// Rows change in one transaction: all of it is committed or nothing is.
async fn in_transaction(
    session: &mut Session,
    order: Order,
    watch: &Watch,
) -> Result<Answer, Refusal> {
    let begun = session.own("START TRANSACTION READ WRITE").await;
    begun.map_err(|error| errors::refusal(&error))?;
    let (limits, keep) = (order.limits, order.keep.clone());
    let answer = match execute(session, order, watch).await {
        Ok(answer) => answer,
        Err(Failure::Refused(refusal)) => return Err(refusal),
        Err(Failure::Lost) => return Err(lost()),
    };
    let columns = answer.columns.iter().map(|column| column.name.as_str());
    keep.check(Some(answer.affected), columns)?;
    if keep.nothing {
        let undone = session.own("ROLLBACK").await;
        undone.map_err(|error| errors::refusal(&error))?;
        return Ok(answer);
    }
    note(session, &keep, (answer.affected, 0)).await?;
    commit(session, limits).await?;
    Ok(answer)
}

/// Notes the change in the ledger, if there is one, inside its transaction.
pub(super) async fn note(
    session: &mut Session,
    keep: &Keep,
    (affected, statements): (u64, usize),
) -> Result<(), Refusal> {
    let Some(note) = &keep.note else {
        return Ok(());
    };
    match session.own(note.done(Some(affected), statements)).await {
        Ok(()) => Ok(()),
        Err(error) if errors::is_lost(&error) => Err(lost()),
        Err(error) => Err(unwritten(&errors::refusal(&error))),
    }
}

/// The refusal where the connection was gone before anything was committed.
pub(super) fn lost() -> Refusal {
    Refusal::new(
        Code::DatabaseUnavailable,
        "the connection was lost before the change was committed, so nothing of it stands",
    )
    .hint("try again in a moment")
}

/// Commits what was changed.
pub(super) async fn commit(session: &mut Session, limits: Limits) -> Result<(), Refusal> {
    // A commit is not to be cut short by what is left of the statement's time.
    let patient = session.limit(limits.time_ms.max(30_000)).await;
    patient.map_err(|error| errors::refusal(&error))?;
    match session.own("COMMIT").await {
        Ok(()) => Ok(()),
        Err(error) if errors::is_lost(&error) => Err(unknown()),
        Err(error) => Err(errors::refusal(&error)),
    }
}

/// Definitions and administration commit themselves, statement by statement.
async fn alone(session: &mut Session, order: Order, watch: &Watch) -> Result<Answer, Refusal> {
    execute(session, order, watch)
        .await
        .map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Lost => unknown(),
        })
}

pub(super) fn unknown() -> Refusal {
    Refusal::new(
        Code::OutcomeUnknown,
        "the connection was lost before the server confirmed the change; it may stand or not",
    )
    .hint("look at the data before doing it again")
}

pub(super) enum Failure {
    /// The server said no, or was made to stop.
    Refused(Refusal),
    /// Nothing more was heard.
    Lost,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        if errors::is_lost(&error) {
            Self::Lost
        } else {
            Self::Refused(errors::refusal(&error))
        }
    }
}

/// How long a statement may take to end once it was killed.
const DYING: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) async fn execute(
    session: &mut Session,
    order: Order,
    watch: &Watch,
) -> Result<Answer, Failure> {
    let id = session.id;
    let mut work = Box::pin(collect(session, order));
    let why = match watch.during(&mut work).await {
        Ok(done) => return done,
        Err(why) => why,
    };
    watch.kill(id).await;
    match tokio::time::timeout(DYING, work).await {
        // It was quicker than the kill.
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Failure::Refused(_))) => Err(Failure::Refused(why.refusal())),
        Ok(Err(Failure::Lost)) | Err(_) => Err(Failure::Lost),
    }
}

async fn collect(session: &mut Session, order: Order) -> Result<Answer, Failure> {
    let page = usize::try_from(order.limits.rows)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let mut returned = 0_u64;
    let query = sqlx::query_with(AssertSqlSafe(order.sql), order.arguments);
    let mut results = session.connection.fetch_many(query);
    let mut answer = Answer::default();
    let mut columns: Option<Columns> = None;
    let mut sets = 0_u32;
    while let Some(next) = results.try_next().await? {
        match next {
            Either::Left(done) => {
                sets += 1;
                answer.affected = answer.affected.saturating_add(done.rows_affected());
            }
            // A procedure can answer several sets of rows; the first is the answer.
            Either::Right(_) if sets > 0 => {}
            Either::Right(row) => {
                let columns = columns.get_or_insert_with(|| Columns::new(sqlx::Row::columns(&row)));
                answer.add(columns.row(&row).map_err(Failure::Refused)?, page)?;
                returned += 1;
            }
        }
    }
    answer.columns = columns.map(|c| c.shown).unwrap_or_default();
    if order.returns_changed {
        answer.affected = answer.affected.max(returned);
    }
    Ok(answer)
}

impl Answer {
    fn add(&mut self, row: Row, first_page: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(answer::json_bytes(&row));
        if self.bytes > ANSWER_BYTES {
            let refusal = Refusal::new(
                Code::DatabaseError,
                "the change returns more than 32 MiB of rows",
            );
            return Err(Failure::Refused(
                refusal.hint("name fewer columns after RETURNING, or leave it out"),
            ));
        }
        let full = if self.pages.len() <= 1 {
            first_page
        } else {
            ROWS_PER_EVENT
        };
        match self.pages.last_mut() {
            Some(page) if page.len() < full => page.push(row),
            _ => self.pages.push(vec![row]),
        }
        Ok(())
    }
}
