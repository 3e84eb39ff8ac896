//! The stream of rows from a running statement.

use tokio::sync::mpsc;

use crate::core::answer::{Column, Row};
use crate::core::refusal::Refusal;

/// How many [`Event`]s wait for a slow reader before the database is made to wait.
pub const EVENTS_AHEAD: usize = 4;
/// About how many rows an engine puts into one [`Event::Rows`] after the first page.
pub const ROWS_PER_EVENT: usize = 500;

/// A statement that has started to answer.
///
/// Dropping it stops a read at its source; work above `read` goes on to its end.
#[derive(Debug)]
pub struct Running {
    /// The columns; empty for work that answers no rows.
    pub columns: Vec<Column>,
    /// Rows as they come, then exactly one `Done` or `Failed`. The first `Rows` holds one row
    /// more than the token's row limit where there are so many, so that a reader knows at once
    /// whether the page was all.
    pub events: mpsc::Receiver<Event>,
}

impl Running {
    /// A statement that is over, with all that it answered.
    pub fn over(columns: Vec<Column>, pages: Vec<Vec<Row>>, affected: Option<u64>) -> Self {
        let (events, receiver) = mpsc::channel(pages.len() + 1);
        for page in pages {
            let _room = events.try_send(Event::Rows(page));
        }
        let _room = events.try_send(Event::Done { affected });
        Self {
            columns,
            events: receiver,
        }
    }
}

/// What a running statement says next.
#[derive(Debug)]
pub enum Event {
    /// More rows.
    Rows(Vec<Row>),
    /// The end. Whatever was to be committed is committed.
    Done {
        /// How many rows were inserted, changed or deleted, for work above `read`.
        affected: Option<u64>,
    },
    /// It failed; nothing of it stands, unless the code is `outcome_unknown`.
    Failed(Refusal),
}
