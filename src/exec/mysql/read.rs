//! Running a read: in a read-only transaction of a read-only session, row after row.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use futures::TryStreamExt as _;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{
    AssertSqlSafe, Connection as _, Either, Executor as _, SqlSafeStr as _, Statement as _,
};
use tokio::sync::{mpsc, oneshot};

use crate::core::answer::{self, Column, Row};
use crate::core::limits::Limits;
use crate::core::refusal::{Code, Refusal};
use crate::core::schema::Described;
use crate::exec::Event;
use crate::exec::mysql::errors;
use crate::exec::mysql::session::Session;
use crate::exec::mysql::values::Columns;
use crate::exec::mysql::watch::{Watch, Why};
use crate::exec::rows::ROWS_PER_EVENT;

/// About how many bytes of JSON one event holds after the first page.
const BYTES_PER_EVENT: usize = 1024 * 1024;
/// Texts whose grammar the server has confirmed, remembered at most.
const REMEMBERED: usize = 1024;

/// One read to be run.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) sql: String,
    pub(super) arguments: MySqlArguments,
    pub(super) limits: Limits,
    /// What the server is to be asked about the text's grammar; absent for `SHOW` and the like.
    pub(super) probe: Option<String>,
    /// Whether the server may cut the answer short with no more than a warning.
    pub(super) may_fall_short: bool,
    /// Whether the answer can hold the hash of a password (`SHOW GRANTS`).
    pub(super) hides_hashes: bool,
}

/// Told the columns, or why there are none.
pub(super) type Started = oneshot::Sender<Result<Vec<Column>, Refusal>>;

/// How a read ended.
#[derive(Debug)]
pub(super) enum End {
    /// All of it was sent, and the connection is as clean as before.
    Complete,
    /// The server refused it; the connection is fine.
    Refused(sqlx::Error),
    /// Something else is wrong with it; the connection is fine.
    Wrong(Refusal),
    /// It has to end, and the server still works on it.
    Stopped(Why),
    /// The connection broke.
    Broken(sqlx::Error),
}

impl From<sqlx::Error> for End {
    fn from(error: sqlx::Error) -> Self {
        if errors::is_lost(&error) {
            Self::Broken(error)
        } else {
            Self::Refused(error)
        }
    }
}

/// The texts that the server's grammar takes as a query inside another query.
#[derive(Debug, Default)]
pub(super) struct Grammar {
    known: Mutex<HashSet<String>>,
}

impl Grammar {
    fn knows(&self, probe: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(probe)
    }

    fn learn(&self, probe: String) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(probe);
    }
}

/// Runs a read. `started` is used up as soon as the columns are known.
pub(super) async fn run(
    session: &mut Session,
    order: &Order,
    to: Outlet<'_>,
    grammar: &Grammar,
) -> End {
    match stream(session, order, to, grammar).await {
        Ok(()) => End::Complete,
        Err(end) => end,
    }
}

/// Where rows go, and what watches over them.
#[derive(Debug)]
pub(super) struct Outlet<'a> {
    pub(super) started: &'a mut Option<Started>,
    pub(super) events: &'a mpsc::Sender<Event>,
    pub(super) watch: &'a Watch,
}

impl Outlet<'_> {
    fn start(&mut self, columns: Vec<Column>) {
        if let Some(started) = self.started.take() {
            // A caller that went away does not want to know.
            let _unwanted = started.send(Ok(columns));
        }
    }

    async fn send(&self, rows: Vec<Row>) -> Result<(), End> {
        let sent = self.watch.during(self.events.send(Event::Rows(rows))).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Stopped(Why::Cancelled)),
            Err(why) => Err(End::Stopped(why)),
        }
    }
}

async fn stream(
    session: &mut Session,
    order: &Order,
    mut to: Outlet<'_>,
    grammar: &Grammar,
) -> Result<(), End> {
    session.limit(order.limits.time_ms).await?;
    let watch = to.watch;
    let prepared = watch.during(prepare(session, order, grammar)).await;
    let mut columns = prepared.map_err(End::Stopped)??;
    let query = sqlx::query_with(AssertSqlSafe(order.sql.clone()), order.arguments.clone());
    let mut results = session.connection.fetch_many(query);
    let mut page = Page::new(order.limits);
    let mut first = true;
    loop {
        let next = watch
            .during(results.try_next())
            .await
            .map_err(End::Stopped)?;
        match next? {
            Some(Either::Right(row)) => {
                if std::mem::take(&mut first) {
                    columns = Columns::new(sqlx::Row::columns(&row));
                    to.start(columns.shown.clone());
                }
                if page.is_full() {
                    to.send(page.take()).await?;
                }
                page.push(json(&columns, &row, order)?);
            }
            Some(Either::Left(_)) => {}
            None => break,
        }
    }
    if first {
        to.start(columns.shown.clone());
    }
    drop(results);
    if order.may_fall_short {
        whole(session).await?;
    }
    if !page.rows.is_empty() {
        to.send(page.take()).await?;
    }
    Ok(())
}

/// Refuses an answer that MariaDB calls incomplete in a warning: it ends a recursion after
/// `max_recursive_iterations` rounds, and a query after the rows of `LIMIT ROWS EXAMINED`.
async fn whole(session: &mut Session) -> Result<(), End> {
    let warnings = session.texts("SHOW WARNINGS", &[]).await?;
    let incomplete = |text: &String| {
        text.contains("may be incomplete") || text.contains("max_recursive_iterations")
    };
    if !warnings.iter().flatten().flatten().any(incomplete) {
        return Ok(());
    }
    Err(End::Wrong(
        Refusal::new(
            Code::DatabaseError,
            "the server stopped the statement early, so its answer would be incomplete",
        )
        .hint(
            "let the recursion end by itself within 1000 rounds, or leave out LIMIT ROWS EXAMINED",
        ),
    ))
}

/// Prepares the statement, and asks the server whether it can stand inside a query.
async fn prepare(session: &mut Session, order: &Order, grammar: &Grammar) -> Result<Columns, End> {
    let sql = AssertSqlSafe(order.sql.clone()).into_sql_str();
    let statement = session.connection.prepare(sql).await?;
    let columns = Columns::new(statement.columns());
    if let Some(probe) = &order.probe {
        ask(session, probe, grammar).await?;
    }
    Ok(columns)
}

/// Asks the server whether its own grammar takes a text as a query, unless it was asked before.
pub(super) async fn ask(session: &mut Session, probe: &str, grammar: &Grammar) -> Result<(), End> {
    if grammar.knows(probe) {
        return Ok(());
    }
    let text = AssertSqlSafe(probe.to_owned()).into_sql_str();
    match session.connection.prepare(text).await {
        Ok(_) => grammar.learn(probe.to_owned()),
        Err(error) if is_only_a_star(&error) => grammar.learn(probe.to_owned()),
        Err(error) if errors::is_lost(&error) => return Err(End::Broken(error)),
        Err(_) => {
            return Err(End::Wrong(
                Refusal::new(
                    Code::Forbidden,
                    "the server's own grammar does not take this as a plain query",
                )
                .hint("use a SELECT that could stand inside another SELECT: no INTO, no locks, no assignments"),
            ));
        }
    }
    Ok(())
}

/// What the server says of a statement that is prepared and not run. It gives parameters no types.
pub(super) async fn describe(session: &mut Session, sql: &str) -> Result<Described, Refusal> {
    let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
    // One that was prepared here before says what the tables were like then.
    let forgotten = session.connection.clear_cached_statements().await;
    forgotten.map_err(|error| errors::refusal(&error))?;
    let statement = session.connection.prepare(sql).await;
    let statement = statement.map_err(|error| errors::refusal(&error))?;
    Ok(Described {
        params: Vec::new(),
        columns: Columns::new(statement.columns()).shown,
        nullable: Vec::new(),
    })
}

/// Inside EXISTS the server takes a `*` for one column, so that the sides of a UNION with one no
/// longer match (1222). It says so after the whole text has passed its grammar.
pub(super) fn is_only_a_star(error: &sqlx::Error) -> bool {
    errors::number(error).is_some_and(|(number, _)| number == 1222)
}

fn json(columns: &Columns, row: &MySqlRow, order: &Order) -> Result<Row, End> {
    let mut row = columns.row(row).map_err(End::Wrong)?;
    if order.hides_hashes {
        row.iter_mut().for_each(hide_hash);
    }
    Ok(row)
}

/// Replaces the hash of a password in a line of `SHOW GRANTS`, visibly.
fn hide_hash(value: &mut serde_json::Value) {
    let hidden = value.as_str().and_then(|line| {
        let (before, _) = line.split_once(" IDENTIFIED ")?;
        Some(format!("{before} IDENTIFIED ..."))
    });
    if let Some(hidden) = hidden {
        *value = serde_json::Value::String(hidden);
    }
}

/// Rows on their way: first one more than the caller's page shows, then about a megabyte each.
#[derive(Debug)]
struct Page {
    rows: Vec<Row>,
    bytes: usize,
    full: usize,
    full_bytes: usize,
}

impl Page {
    fn new(limits: Limits) -> Self {
        let wide = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            rows: Vec::new(),
            bytes: 0,
            full: wide(limits.rows).saturating_add(1),
            full_bytes: wide(limits.bytes),
        }
    }

    /// A page that is over its bytes already is cut by them; its rows need not be complete.
    fn is_full(&self) -> bool {
        self.rows.len() >= self.full || self.bytes > self.full_bytes
    }

    fn push(&mut self, row: Row) {
        self.bytes = self.bytes.saturating_add(answer::json_bytes(&row));
        self.rows.push(row);
    }

    fn take(&mut self) -> Vec<Row> {
        (self.full, self.full_bytes, self.bytes) = (ROWS_PER_EVENT, BYTES_PER_EVENT, 0);
        std::mem::take(&mut self.rows)
    }
}
