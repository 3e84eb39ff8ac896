//! From a stream of rows to a first page, and the rest into a spool.

use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use crate::agent::pages::Pages;
use crate::agent::spool::{End, Origin, Spool};
use crate::agent::{Cut, PartReport, Truncated};
use crate::core::answer::{Column, Row, json_bytes};
use crate::core::limits::Limits;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Effect;
use crate::core::token::Claims;
use crate::exec::{Event, Running};

/// A first page.
#[derive(Debug)]
pub struct Collected {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows of the page.
    pub rows: Vec<Row>,
    /// Rows inserted, changed or deleted.
    pub affected: Option<u64>,
    /// What is not on the page.
    pub truncated: Option<Truncated>,
    /// Of a batch what each statement answered.
    pub parts: Vec<PartReport>,
    /// Whether it is told once more, of a run before.
    pub replayed: bool,
}

/// The first pages of a batch, which is over: together they are no larger than one page may be, and what
/// does not fit waits behind a handle of its own.
pub async fn first_pages(
    runs: Vec<Running>,
    claims: &Claims,
    (pages, largest): (&Arc<Pages>, Limits),
) -> Result<Collected, Refusal> {
    let mut whole = Collected {
        columns: Vec::new(),
        rows: Vec::new(),
        affected: None,
        truncated: None,
        parts: Vec::new(),
        replayed: false,
    };
    let mut claims = claims.clone();
    for running in runs {
        let one = first_page(running, &claims, Effect::Write, (pages, largest)).await?;
        let used: usize = one.rows.iter().map(|row| json_bytes(row) + 1).sum();
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        claims.limits.bytes = claims.limits.bytes.saturating_sub(used);
        if let Some(affected) = one.affected {
            whole.affected = Some(whole.affected.unwrap_or(0).saturating_add(affected));
        }
        whole.parts.push(PartReport {
            columns: one.columns,
            rows: one.rows,
            affected: one.affected,
            truncated: one.truncated,
        });
    }
    Ok(whole)
}

/// Reads until the first page is full. A read then goes on into a spool behind the answer's back;
/// work above `read` is followed to its end first, because only then is it known whether it stands.
pub async fn first_page(
    running: Running,
    claims: &Claims,
    effect: Effect,
    (pages, largest): (&Arc<Pages>, Limits),
) -> Result<Collected, Refusal> {
    let Running {
        columns,
        mut events,
    } = running;
    let mut page = Page::new(claims.limits);
    let mut end = page.fill(&mut events).await?;
    let Some(cut) = page.cut else {
        return Ok(Collected {
            columns,
            rows: page.rows,
            affected: affected(end.as_ref()),
            truncated: None,
            parts: Vec::new(),
            replayed: false,
        });
    };
    let origin = Origin {
        owner: claims.sub.clone(),
        request: claims.request.clone(),
        target: claims.target.clone(),
        limits: largest,
    };
    let spool = Arc::new(Spool::new(origin, columns.clone(), pages.room()));
    let shown = page.rows.len() as u64;
    spool.push(page.rows.clone());
    spool.push(page.beyond);
    if effect > Effect::Read && end.is_none() {
        end = Some(follow(&spool, &mut events, effect).await?);
    }
    let handle = pages.keep(Arc::clone(&spool));
    match &end {
        Some(_) => spool.finish(End::Complete),
        None => drop(tokio::spawn(follow_alone(Arc::clone(&spool), events))),
    }
    let (at_least, ended) = spool.progress();
    let truncated = Truncated {
        by: cut,
        shown,
        at_least,
        exact: matches!(ended, Some(End::Complete)),
        handle: Some(handle),
        next: shown,
        note: page.note,
    };
    Ok(Collected {
        columns,
        rows: page.rows,
        affected: affected(end.as_ref()),
        truncated: Some(truncated),
        parts: Vec::new(),
        replayed: false,
    })
}

/// Reads what fits on one page, and keeps nothing of the rest. Work above `read` was run to its end before
/// its first row is seen.
pub(super) async fn only_page(
    running: Running,
    limits: Limits,
    effect: Effect,
) -> Result<Collected, Refusal> {
    let Running {
        columns,
        mut events,
    } = running;
    let mut page = Page::new(limits);
    let mut done = page.fill(&mut events).await?;
    // A change says at its end how many rows it changed; of a read nothing more is wanted.
    while effect > Effect::Read && done.is_none() {
        match events.recv().await {
            Some(Event::Rows(_)) => {}
            Some(Event::Done { affected }) => done = Some(Done { affected }),
            Some(Event::Failed(refusal)) => return Err(refusal),
            None => return Err(vanished()),
        }
    }
    let shown = page.rows.len() as u64;
    let truncated = page.cut.map(|by| Truncated {
        by,
        shown,
        at_least: shown + page.beyond.len() as u64,
        exact: false,
        handle: None,
        next: shown,
        note: page.note,
    });
    Ok(Collected {
        columns,
        rows: page.rows,
        affected: affected(done.as_ref()),
        truncated,
        parts: Vec::new(),
        replayed: false,
    })
}

/// Rows up to the limits of one page.
#[derive(Debug)]
pub(super) struct Page {
    limits: Limits,
    bytes: usize,
    pub(super) rows: Vec<Row>,
    /// The first rows that did not fit.
    pub(super) beyond: Vec<Row>,
    pub(super) cut: Option<Cut>,
    /// Why not even one row fits.
    pub(super) note: Option<String>,
}

impl Page {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            bytes: 2,
            rows: Vec::new(),
            beyond: Vec::new(),
            cut: None,
            note: None,
        }
    }

    /// Takes a row if there is room, else sets it aside. Once one is set aside, all are.
    pub(super) fn offer(&mut self, row: Row) {
        if self.cut.is_none() {
            let bytes = json_bytes(&row);
            let size = bytes + 1;
            if self.rows.len() >= self.limits.rows as usize {
                self.cut = Some(Cut::Rows);
            } else if self.bytes + size > self.limits.bytes as usize {
                self.cut = Some(Cut::Bytes);
                if self.rows.is_empty() {
                    self.note = Some(format!(
                        "one row alone takes {bytes} bytes and a page holds {}; select fewer columns or shorten them",
                        self.limits.bytes
                    ));
                }
            } else {
                self.bytes += size;
                self.rows.push(row);
                return;
            }
        }
        self.beyond.push(row);
    }

    /// Reads events until the page is full or the statement is done.
    async fn fill(&mut self, events: &mut Receiver<Event>) -> Result<Option<Done>, Refusal> {
        while self.cut.is_none() {
            match events.recv().await {
                Some(Event::Rows(rows)) => rows.into_iter().for_each(|row| self.offer(row)),
                Some(Event::Done { affected }) => return Ok(Some(Done { affected })),
                Some(Event::Failed(refusal)) => return Err(refusal),
                None => return Err(vanished()),
            }
        }
        Ok(None)
    }
}

/// The statement reached its end.
#[derive(Debug)]
struct Done {
    affected: Option<u64>,
}

fn affected(end: Option<&Done>) -> Option<u64> {
    end.and_then(|done| done.affected)
}

/// Reads on into the spool. A read stops when the spool is full; other work only stops being kept.
async fn follow(
    spool: &Spool,
    events: &mut Receiver<Event>,
    effect: Effect,
) -> Result<Done, Refusal> {
    loop {
        match events.recv().await {
            Some(Event::Rows(rows)) => {
                if !spool.push(rows) && effect == Effect::Read {
                    return Ok(Done { affected: None });
                }
            }
            Some(Event::Done { affected }) => return Ok(Done { affected }),
            Some(Event::Failed(refusal)) => return Err(refusal),
            None => return Err(vanished()),
        }
    }
}

async fn follow_alone(spool: Arc<Spool>, mut events: Receiver<Event>) {
    let end = match follow(&spool, &mut events, Effect::Read).await {
        Ok(_) => End::Complete,
        Err(refusal) if refusal.code == Code::TimeLimit => End::Cut(Cut::Time),
        Err(refusal) => End::Failed(refusal),
    };
    spool.finish(end);
}

fn vanished() -> Refusal {
    Refusal::new(
        Code::Internal,
        "the connection's task ended without an answer",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(rows: u32, bytes: u32) -> Page {
        Page::new(Limits {
            rows,
            bytes,
            time_ms: 1,
        })
    }

    #[test]
    fn a_page_is_cut_by_rows_and_keeps_the_order_of_the_rest() {
        let mut page = page(2, 1000);
        (1..=4).for_each(|n| page.offer(vec![json!(n)]));
        assert_eq!(page.rows, [[json!(1)], [json!(2)]]);
        assert_eq!(page.beyond, [[json!(3)], [json!(4)]]);
        assert_eq!(page.cut, Some(Cut::Rows));
    }

    #[test]
    fn a_small_row_after_a_large_one_does_not_jump_the_queue() {
        let mut page = page(10, 20);
        page.offer(vec![json!("12345")]);
        page.offer(vec![json!("a long text that does not fit")]);
        page.offer(vec![json!(1)]);
        assert_eq!((page.rows.len(), page.beyond.len()), (1, 2));
        assert_eq!(page.cut, Some(Cut::Bytes));
        assert_eq!(page.note, None);
    }

    #[test]
    fn a_row_larger_than_a_page_is_explained() {
        let mut page = page(10, 20);
        page.offer(vec![json!("a long text that does not fit")]);
        assert_eq!(page.cut, Some(Cut::Bytes));
        assert!(
            page.note
                .unwrap()
                .starts_with("one row alone takes 33 bytes and a page holds 20")
        );
    }
}
