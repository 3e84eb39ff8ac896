//! Page handles: who may collect which spooled rows, and for how long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::collect::Page;
use crate::agent::spool::{End, Spool};
use crate::agent::{Cut, Truncated};
use crate::core::answer::{Column, Row};
use crate::core::ids::HandleId;
use crate::core::limits::Limits;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::{Clock, Timestamp};

/// How long a handle lives after it was last used, in milliseconds.
pub const LIFE_MS: i64 = 5 * 60 * 1000;
/// How many results are kept; the one unused for longest makes room.
pub const KEPT: usize = 64;

/// Where new handles come from.
pub type MakeHandle = Box<dyn Fn() -> HandleId + Send + Sync>;

/// The results that wait to be collected.
pub struct Pages {
    clock: Arc<dyn Clock>,
    make_handle: MakeHandle,
    kept: Mutex<BTreeMap<HandleId, Kept>>,
}

struct Kept {
    spool: Arc<Spool>,
    used: Timestamp,
}

/// One page out of a spool.
#[derive(Debug)]
pub struct PageOfRows {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows of the page.
    pub rows: Vec<Row>,
    /// What comes after it.
    pub truncated: Option<Truncated>,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages")
            .field("kept", &self.lock().len())
            .finish_non_exhaustive()
    }
}

impl Pages {
    /// Nothing kept yet.
    pub fn new(clock: Arc<dyn Clock>, make_handle: MakeHandle) -> Self {
        Self {
            clock,
            make_handle,
            kept: Mutex::default(),
        }
    }

    /// Keeps a spool and says how to ask for it.
    pub fn keep(&self, spool: Arc<Spool>) -> HandleId {
        let now = self.clock.now();
        let handle = (self.make_handle)();
        let mut kept = self.lock();
        kept.retain(|_, kept| alive(kept, now));
        if kept.len() >= KEPT
            && let Some(oldest) = kept
                .iter()
                .min_by_key(|(_, k)| k.used)
                .map(|(h, _)| h.clone())
        {
            kept.remove(&oldest);
        }
        kept.insert(handle.clone(), Kept { spool, used: now });
        handle
    }

    /// The rows from `from` on, as many as `limits` let onto a page. Waits for rows that are still
    /// being read. A handle is good for its owner only; to anybody else it does not exist.
    pub async fn page(
        &self,
        owner: &Principal,
        handle: &HandleId,
        from: u64,
        limits: Limits,
    ) -> Result<PageOfRows, Refusal> {
        let spool = self.find(owner, handle)?;
        spool
            .wait_for(from.saturating_add(u64::from(limits.rows)))
            .await;
        let mut page = Page::new(limits);
        let rows = spool.read(from, u64::from(limits.rows) + 1)?;
        for row in rows {
            page.offer(row);
        }
        let (total, end) = (spool.rows_so_far(), spool.end());
        if let Some(End::Failed(refusal)) = &end
            && page.rows.is_empty()
            && page.cut.is_none()
        {
            return Err(refusal.clone());
        }
        let shown = page.rows.len() as u64;
        let cut = page.cut.or(match &end {
            Some(End::Cut(cut)) => Some(*cut),
            Some(End::Failed(_)) => Some(Cut::Error),
            Some(End::Complete) | None => None,
        });
        let next = from.saturating_add(shown);
        let more = next < total;
        let broke = match end {
            Some(End::Failed(ref refusal)) if !more => Some(refusal.message.clone()),
            _ => None,
        };
        let truncated = cut.map(|by| Truncated {
            by,
            shown,
            at_least: total,
            exact: matches!(end, Some(End::Complete)),
            handle: more.then(|| handle.clone()),
            next,
            note: page.note.or(broke),
        });
        Ok(PageOfRows {
            columns: spool.columns().to_vec(),
            rows: page.rows,
            truncated,
        })
    }

    fn find(&self, owner: &Principal, handle: &HandleId) -> Result<Arc<Spool>, Refusal> {
        let now = self.clock.now();
        let mut kept = self.lock();
        kept.retain(|_, kept| alive(kept, now));
        match kept.get_mut(handle) {
            Some(found) if found.spool.owner() == owner => {
                found.used = now;
                Ok(Arc::clone(&found.spool))
            }
            _ => Err(
                Refusal::new(Code::PageGone, "there are no rows behind this handle").hint(
                    "handles last five minutes after their last use; run the statement again",
                ),
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HandleId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn alive(kept: &Kept, now: Timestamp) -> bool {
    kept.used.plus_ms(LIFE_MS) > now
}
