//! Lists of requests: the newest first, a page at a time, each as of now.

use rusqlite::ToSql;

use crate::core::approval::Purpose;
use crate::core::checks::Checks;
use crate::core::engine::Engine;
use crate::core::ids::RequestId;
use crate::core::principal::Principal;
use crate::core::request::{Review, State, Status};
use crate::core::statement::Effect;
use crate::core::time::Timestamp;
use crate::store::requests::error::Damaged;
use crate::store::requests::row::{StoredState, parsed, word};
use crate::store::sql::{self, Connection, Row, params};

/// How many rows are read at once, at least.
const CHUNK: usize = 100;

/// Which requests to list. The default is the newest 50 of all.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only these; all if there are none.
    pub statuses: Vec<Status>,
    /// Only those of this requester.
    pub requester: Option<Principal>,
    /// Only those for this target.
    pub target: Option<String>,
    /// Only those whose review is open.
    pub open_reviews: bool,
    /// Only those older than this one: the `next` of the page before.
    pub before: Option<RequestId>,
    /// At most so many.
    pub limit: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            statuses: Vec::new(),
            requester: None,
            target: None,
            open_reviews: false,
            before: None,
            limit: 50,
        }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The requests, the newest first.
    pub requests: Vec<Summary>,
    /// Records that were met on the way and cannot be read. They hide no other.
    pub damaged: Vec<Damaged>,
    /// Where the next page starts, if there is one.
    pub next: Option<RequestId>,
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The request.
    pub id: RequestId,
    /// Who asks.
    pub requester: Principal,
    /// Where it is to run.
    pub target: String,
    /// The target's environment.
    pub environment: String,
    /// The target's engine.
    pub engine: Engine,
    /// The worst that it can do.
    pub effect: Effect,
    /// The statement's verb.
    pub kind: String,
    /// The statement without its literals and comments.
    pub statement: String,
    /// When it was asked.
    pub created: Timestamp,
    /// When its last change was recorded.
    pub updated: Timestamp,
    /// The version of the record.
    pub version: u64,
    /// Where it stands now.
    pub state: State,
    /// Whether it waits for people or goes ahead of its review.
    pub purpose: Purpose,
    /// The review of what was run ahead of it.
    pub review: Option<Review>,
}

#[derive(Debug)]
struct StoredSummary {
    id: String,
    requester: String,
    target: String,
    environment: String,
    engine: String,
    effect: String,
    kind: String,
    statement: String,
    created_at: i64,
    updated_at: i64,
    standing: StoredState,
}

impl StoredSummary {
    fn from_row(row: &Row<'_>) -> sql::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            requester: row.get(1)?,
            target: row.get(2)?,
            environment: row.get(3)?,
            engine: row.get(4)?,
            effect: row.get(5)?,
            kind: row.get(6)?,
            statement: row.get(7)?,
            created_at: row.get(8)?,
            updated_at: row.get(9)?,
            standing: StoredState {
                status: row.get(10)?,
                due_at: row.get(11)?,
                votes: row.get(12)?,
                version: row.get(13)?,
                state: row.get(14)?,
                purpose: row.get(15)?,
                review_is: row.get(16)?,
                review: row.get(17)?,
            },
        })
    }
}

impl StoredSummary {
    fn read(self, checks: &Checks<&'static str>) -> Result<Summary, Damaged> {
        let row = self;
        let request = row.id.clone();
        let read = || {
            let standing = row.standing.read(checks)?;
            Ok(Summary {
                id: parsed(row.id, "its id cannot be read")?,
                requester: parsed(row.requester, "its requester cannot be read")?,
                target: row.target,
                environment: row.environment,
                engine: word(row.engine, "its engine is not known")?,
                effect: word(row.effect, "its effect is not known")?,
                kind: row.kind,
                statement: row.statement,
                created: Timestamp::from_unix_ms(row.created_at),
                updated: Timestamp::from_unix_ms(row.updated_at),
                version: standing.version,
                state: standing.state,
                purpose: standing.purpose,
                review: standing.review,
            })
        };
        read().map_err(|what| Damaged { request, what })
    }
}

/// Reads one page. Where time has moved a request on, that is what counts: so rows are taken by
/// every status that can have become the one asked for, and looked at here.
pub(super) fn page(
    connection: &Connection,
    (workspace, checks): (&str, &Checks<&'static str>),
    filter: &Filter,
    now: Timestamp,
) -> sql::Result<Page> {
    let requester = filter.requester.as_ref().map(ToString::to_string);
    // Behind every id: `g` comes after the last hex digit.
    let before = filter.before.as_ref().map_or("req_g", RequestId::as_str);
    let kept = kept_as(&filter.statuses);
    let mut sql = SELECT.to_owned();
    let mut values: Vec<&dyn ToSql> = vec![&workspace, &before];
    if let Some(requester) = &requester {
        values.push(requester);
        sql.push_str(&equals("requester", values.len()));
    }
    if let Some(target) = &filter.target {
        values.push(target);
        sql.push_str(&equals("target", values.len()));
    }
    if filter.open_reviews {
        sql.push_str(" and review_is = 'open'");
    }
    let first = values.len() + 1;
    values.extend(kept.iter().map(|status| status as &dyn ToSql));
    match kept.len() {
        0 => {}
        // With one of them the index gives the rows in order, and nothing has to be sorted.
        1 => sql.push_str(&equals("status", first)),
        several => {
            let places: Vec<String> = (first..first + several).map(|n| format!("${n}")).collect();
            sql.push_str(" and status in (");
            sql.push_str(&places.join(", "));
            sql.push(')');
        }
    }
    let limit = i64::try_from(filter.limit.max(CHUNK).saturating_add(1)).unwrap_or(i64::MAX);
    values.push(&limit);
    sql = format!("{sql} order by id desc limit ${}", values.len());
    let mut page = Page {
        requests: Vec::new(),
        damaged: Vec::new(),
        next: None,
    };
    // Those that time has moved on may be among them and not be wanted: then some more are read.
    let mut last = before.to_owned();
    loop {
        let mut these = values.clone();
        if let Some(place) = these.get_mut(1) {
            *place = &last;
        }
        let rows = connection.query_map(&sql, these, StoredSummary::from_row)?;
        let rows = rows.collect::<sql::Result<Vec<_>>>()?;
        let (count, end) = (rows.len(), rows.last().map(|row| row.id.clone()));
        if page.takes(rows, (filter, checks), now) || i64::try_from(count) != Ok(limit) {
            return Ok(page);
        }
        last = end.unwrap_or_default();
    }
}

impl Page {
    /// Takes those in that are wanted; whether there are more than it has room for.
    fn takes(
        &mut self,
        rows: Vec<StoredSummary>,
        (filter, checks): (&Filter, &Checks<&'static str>),
        now: Timestamp,
    ) -> bool {
        for row in rows {
            let mut summary = match row.read(checks) {
                Ok(summary) => summary,
                Err(damaged) => {
                    self.damaged.push(damaged);
                    continue;
                }
            };
            summary.state = summary.state.as_of(now);
            let status = summary.state.status();
            if !filter.statuses.is_empty() && !filter.statuses.contains(&status) {
                continue;
            }
            if self.requests.len() >= filter.limit {
                self.next = self.requests.last().map(|last| last.id.clone());
                return true;
            }
            self.requests.push(summary);
        }
        false
    }
}

/// The reviews that are open, as they are kept. None where the file's format has no reviews yet.
pub(super) fn open_reviews(connection: &Connection) -> sql::Result<Vec<String>> {
    if !connection.has_column("requests", "review_is")? {
        return Ok(Vec::new());
    }
    let reviews = connection.query_map(
        "select review from requests where review_is = 'open'",
        (),
        |row| row.get(0),
    )?;
    reviews.collect()
}

/// How many requests wait for people now, of one requester or of all. None becomes such by time alone.
pub(super) fn waiting(
    connection: &Connection,
    workspace: &str,
    requester: Option<&Principal>,
    now: Timestamp,
) -> sql::Result<u64> {
    let requester = requester.map(ToString::to_string);
    let sql = "select count(*) from requests where workspace = $1 and status = 'pending' \
         and due_at > $2 and (cast($3 as text) is null or requester = $3)";
    let values = params![workspace, now.unix_ms(), requester];
    let count: i64 = connection.query_row(sql, values, |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Of everybody of the same kind whose name is the user's, alone or with a client's behind a `/`.
pub(super) fn waiting_of_all(
    connection: &Connection,
    workspace: &str,
    requester: &Principal,
    now: Timestamp,
) -> sql::Result<u64> {
    let whole = Principal::new(requester.kind(), requester.os_user()).to_string();
    let sql = "select count(*) from requests where workspace = $1 and status = 'pending' \
         and due_at > $2 and (requester = $3 or substr(requester, 1, length($3) + 1) = $3 || '/')";
    let values = params![workspace, now.unix_ms(), whole];
    let count: i64 = connection.query_row(sql, values, |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

fn equals(column: &'static str, place: usize) -> String {
    format!(" and {column} = ${place}")
}

/// Under which statuses requests can be kept that have one of these now; none means any.
fn kept_as(wanted: &[Status]) -> Vec<&'static str> {
    let became: &[(Status, Status)] = &[
        (Status::Approved, Status::Dispatched),
        (Status::Expired, Status::Pending),
        (Status::Expired, Status::Approved),
        (Status::Expired, Status::Dispatched),
        (Status::Unknown, Status::Dispatched),
        (Status::Unknown, Status::Running),
    ];
    let earlier = became
        .iter()
        .filter(|(now, _)| wanted.contains(now))
        .map(|(_, kept)| *kept);
    let all: std::collections::BTreeSet<Status> = wanted.iter().copied().chain(earlier).collect();
    all.into_iter().map(Status::as_str).collect()
}

const SELECT: &str = "
    select id, requester, target, environment, engine, effect, kind, statement, created_at,
           updated_at, status, due_at, votes, version, state,
           purpose, review_is, review
    from requests where workspace = $1 and id < $2";
