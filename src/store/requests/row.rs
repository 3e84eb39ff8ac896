//! Rows: how a request is kept, and how a row becomes a request again. A row that this program did
//! not write is a named error, not a guess.
//!
//! The SQL is written so that PostgreSQL runs the same statements. To SQLite `$1` is a name, and
//! names are numbered as they appear: so each statement's `$` numbers first appear in order.

use crate::store::sql::{self, Connection, Optional as _, Row, params};

use crate::core::approval::Purpose;
use crate::core::checks::Checks;
use crate::core::ids::RequestId;
use crate::core::request::{Asked, Change, Document, Request, Review, State};
use crate::core::time::Timestamp;
use crate::core::work::Digest;
use crate::store::requests::error::Damaged;

/// A request as it lies in its two tables.
#[derive(Debug)]
pub(in crate::store) struct StoredRequest {
    id: String,
    workspace: String,
    requester: String,
    target: String,
    environment: String,
    engine: String,
    effect: String,
    kind: String,
    created_at: i64,
    updated_at: i64,
    statement: String,
    standing: StoredState,
    agent: String,
    reason: Option<String>,
    work: String,
    document: String,
    digest: String,
    expires_at: i64,
    requirements: String,
    workspace_policy: String,
    agent_policy: String,
}

/// The part of a row that says where the request stands.
#[derive(Debug)]
pub(super) struct StoredState {
    pub(super) status: String,
    pub(super) due_at: Option<i64>,
    pub(super) votes: i64,
    pub(super) version: i64,
    pub(super) state: String,
    pub(super) purpose: String,
    pub(super) review_is: Option<String>,
    pub(super) review: Option<String>,
}

/// Where a request stands, by its row.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) state: State,
    pub(super) version: u64,
    pub(super) purpose: Purpose,
    pub(super) review: Option<Review>,
}

impl StoredState {
    pub(super) fn from_row(row: &Row<'_>) -> sql::Result<Self> {
        Ok(Self {
            status: row.get("status")?,
            due_at: row.get("due_at")?,
            votes: row.get("votes")?,
            version: row.get("version")?,
            state: row.get("state")?,
            purpose: row.get("purpose")?,
            review_is: row.get("review_is")?,
            review: row.get("review")?,
        })
    }

    /// Where the request stands; the columns beside must say the same.
    pub(super) fn read(self, checks: &Checks<&'static str>) -> Result<Standing, &'static str> {
        let state: State =
            serde_json::from_str(&self.state).map_err(|_| "its state cannot be read")?;
        let same = state.status().as_str() == self.status;
        checks.demand(same, "its status is not that of its state")?;
        let same = state.due().map(Timestamp::unix_ms) == self.due_at;
        checks.demand(same, "its due time is not that of its state")?;
        let same = usize::try_from(self.votes) == Ok(state.votes().len());
        checks.demand(same, "its number of votes is not that of its state")?;
        let version = u64::try_from(self.version).unwrap_or(0);
        if version == 0 {
            return Err("its version is not a positive number");
        }
        let review = self.review.as_deref().map(serde_json::from_str::<Review>);
        let review = review
            .transpose()
            .map_err(|_| "its review cannot be read")?;
        let same = review.as_ref().map(Review::as_str) == self.review_is.as_deref();
        checks.demand(same, "its review does not stand where it says")?;
        let purpose = word(self.purpose, "its purpose is not known")?;
        let wanted = purpose == Purpose::BreakGlass && has_begun(&state);
        let wrong = "it has a review that it should not have, or none that it should";
        checks.demand(wanted == review.is_some(), wrong)?;
        Ok(Standing {
            state,
            version,
            purpose,
            review,
        })
    }
}

/// Whether an agent has ever begun it.
fn has_begun(state: &State) -> bool {
    match state {
        State::Running { .. } | State::Succeeded(_) | State::Failed { .. } | State::Unknown(_) => {
            true
        }
        // Whoever stops it before that is named.
        State::Cancelled { by, .. } => by.is_none(),
        State::Submitted
        | State::Denied { .. }
        | State::Measuring { .. }
        | State::Pending { .. }
        | State::Approved(_)
        | State::Dispatched { .. }
        | State::Rejected { .. }
        | State::Expired { .. } => false,
    }
}

impl StoredRequest {
    fn from_row(row: &Row<'_>) -> sql::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            workspace: row.get("workspace")?,
            requester: row.get("requester")?,
            target: row.get("target")?,
            environment: row.get("environment")?,
            engine: row.get("engine")?,
            effect: row.get("effect")?,
            kind: row.get("kind")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
            statement: row.get("statement")?,
            standing: StoredState::from_row(row)?,
            agent: row.get("agent")?,
            reason: row.get("reason")?,
            work: row.get("work")?,
            document: row.get("document")?,
            digest: row.get("digest")?,
            expires_at: row.get("expires_at")?,
            requirements: row.get("requirements")?,
            workspace_policy: row.get("workspace_policy")?,
            agent_policy: row.get("agent_policy")?,
        })
    }
}

fn read(row: StoredRequest, checks: &Checks<&'static str>) -> Result<Request, &'static str> {
    let standing = row.standing.read(checks)?;
    let document = Document::new(row.document, Timestamp::from_unix_ms(row.expires_at));
    let same = document.digest().to_string() == row.digest;
    checks.demand(same, "its document is not that of its digest")?;
    let asked = Asked {
        purpose: standing.purpose,
        id: parsed(row.id, "its id cannot be read")?,
        workspace: row.workspace,
        requester: parsed(row.requester, "its requester cannot be read")?,
        target: row.target,
        environment: row.environment,
        engine: word(row.engine, "its engine is not known")?,
        agent: parsed(row.agent, "its agent cannot be read")?,
        effect: word(row.effect, "its effect is not known")?,
        kind: row.kind,
        statement: row.statement,
        reason: row.reason,
        work: digest(row.work)?,
        document,
        requirements: row.requirements,
        workspace_policy: digest(row.workspace_policy)?,
        agent_policy: digest(row.agent_policy)?,
    };
    let times = (
        Timestamp::from_unix_ms(row.created_at),
        Timestamp::from_unix_ms(row.updated_at),
    );
    let stands = (standing.state, standing.review);
    Ok(Request::restored(asked, times, standing.version, stands))
}

pub(super) fn parsed<T: TryFrom<String>>(
    text: String,
    wrong: &'static str,
) -> Result<T, &'static str> {
    T::try_from(text).map_err(|_| wrong)
}

/// One of a closed set of words, as serde writes them.
pub(super) fn word<T: serde::de::DeserializeOwned>(
    text: String,
    wrong: &'static str,
) -> Result<T, &'static str> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(|_| wrong)
}

fn digest(text: String) -> Result<Digest, &'static str> {
    parsed(text, "a digest in it cannot be read")
}

/// The request of this id in this workspace, if there is one.
pub(in crate::store) fn load(
    connection: &Connection,
    (workspace, checks): (&str, &Checks<&'static str>),
    id: &RequestId,
) -> sql::Result<Option<Result<Request, Damaged>>> {
    let row = connection
        .query_row(LOAD, (id.as_str(), workspace), StoredRequest::from_row)
        .optional()?;
    let read = |row: StoredRequest| {
        let request = row.id.clone();
        read(row, checks).map_err(|what| Damaged { request, what })
    };
    Ok(row.map(read))
}

/// Writes a new request. `false`: there is one of this id.
pub(in crate::store) fn insert(
    connection: &Connection,
    request: &Request,
    sealed: Option<&[u8]>,
) -> sql::Result<bool> {
    let asked = request.asked();
    let state = request.state();
    let inserted = connection.execute(
        INSERT,
        params![
            asked.id.as_str(),
            asked.workspace,
            asked.requester.to_string(),
            asked.target,
            asked.environment,
            asked.engine.as_str(),
            asked.effect.as_str(),
            asked.kind,
            state.status().as_str(),
            state.due().map(Timestamp::unix_ms),
            count(state),
            number(request.version()),
            request.created().unix_ms(),
            request.updated().unix_ms(),
            asked.statement,
            json(state),
            asked.purpose.as_str(),
            request.review().map(Review::as_str),
            request.review().map(json),
        ],
    )?;
    if inserted == 0 {
        return Ok(false);
    }
    connection.execute(
        INSERT_DOCUMENT,
        params![
            asked.id.as_str(),
            asked.agent.as_str(),
            asked.reason,
            asked.work.to_string(),
            asked.document.text(),
            asked.document.digest().to_string(),
            asked.document.expires().unix_ms(),
            asked.requirements,
            asked.workspace_policy.to_string(),
            asked.agent_policy.to_string(),
        ],
    )?;
    if let Some(sealed) = sealed.filter(|_| state.status().needs_values()) {
        connection.execute(INSERT_VALUES, (asked.id.as_str(), sealed))?;
    }
    Ok(true)
}

/// Writes the next state of a request, and deletes its values at the end of its life. `false`: the
/// record is not the one that the change was made from, or its time has run out since.
pub(in crate::store) fn update(
    connection: &Connection,
    change: &Change,
    now: Timestamp,
) -> sql::Result<bool> {
    let request = change.request();
    let state = request.state();
    let id = request.id().as_str();
    let updated = connection.execute(
        UPDATE,
        params![
            state.status().as_str(),
            state.due().map(Timestamp::unix_ms),
            count(state),
            number(request.version()),
            request.updated().unix_ms(),
            json(state),
            request.review().map(Review::as_str),
            request.review().map(json),
            id,
            request.asked().workspace,
            number(change.before()),
            now.unix_ms(),
        ],
    )?;
    if updated != 0 && !state.status().needs_values() {
        connection.execute(DELETE_VALUES, (id,))?;
    }
    Ok(updated != 0)
}

/// The requests whose time has run out and whose records do not say so yet, the oldest first.
pub(in crate::store) fn overdue(
    connection: &Connection,
    now: Timestamp,
    limit: u32,
) -> sql::Result<Vec<String>> {
    let rows = connection.query_map(OVERDUE, (now.unix_ms(), limit), |row| row.get(0))?;
    rows.collect()
}

/// The sealed values of a request, while it has some.
pub(super) fn sealed(connection: &Connection, id: &RequestId) -> sql::Result<Option<Vec<u8>>> {
    connection
        .query_row(VALUES, (id.as_str(),), |row| row.get(0))
        .optional()
}

fn json<T: serde::Serialize>(state: &T) -> String {
    // A state or review is plain structs and text keys: there is nothing that JSON could not hold.
    serde_json::to_string(state).unwrap_or_default()
}

fn count(state: &State) -> i64 {
    i64::try_from(state.votes().len()).unwrap_or(i64::MAX)
}

pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

const LOAD: &str = "
    select r.id, r.workspace, r.requester, r.target, r.environment, r.engine, r.effect, r.kind,
           r.status, r.due_at, r.votes, r.version, r.created_at, r.updated_at, r.statement, r.state,
           r.purpose, r.review_is, r.review, d.agent, d.reason, d.work, d.document, d.digest, d.expires_at, d.requirements,
           d.workspace_policy, d.agent_policy
    from requests r join request_documents d on d.request = r.id
    where r.id = $1 and r.workspace = $2";
const INSERT: &str = "
    insert into requests (id, workspace, requester, target, environment, engine, effect, kind,
                          status, due_at, votes, version, created_at, updated_at, statement, state,
                          purpose, review_is, review)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
    on conflict (id) do nothing";
const INSERT_DOCUMENT: &str = "
    insert into request_documents (request, agent, reason, work, document, digest, expires_at,
                                   requirements, workspace_policy, agent_policy)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const INSERT_VALUES: &str = "insert into request_values (request, sealed) values ($1, $2)";
/// A change that was decided before the request's time ran out does not count after it.
const UPDATE: &str = "
    update requests
    set status = $1, due_at = $2, votes = $3, version = $4, updated_at = $5, state = $6,
        review_is = $7, review = $8
    where id = $9 and workspace = $10 and version = $11
      and (due_at is null or due_at > $12 or due_at <= $5)";
const DELETE_VALUES: &str = "delete from request_values where request = $1";
const OVERDUE: &str = "select id from requests where due_at <= $1 order by due_at limit $2";
const VALUES: &str = "select sealed from request_values where request = $1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_first_appear_in_order_because_sqlite_numbers_them_so() {
        let all = [
            LOAD,
            INSERT,
            INSERT_DOCUMENT,
            INSERT_VALUES,
            UPDATE,
            DELETE_VALUES,
            OVERDUE,
            VALUES,
        ];
        for sql in all {
            let mut highest = 0;
            for rest in sql.split('$').skip(1) {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                let number: u32 = digits.parse().unwrap();
                assert!(number <= highest + 1, "${number} comes too early in {sql}");
                highest = highest.max(number);
            }
            assert_ne!(highest, 0, "{sql}");
        }
    }
}
