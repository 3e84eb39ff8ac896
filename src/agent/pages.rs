//! Page handles: who may collect which spooled rows, and for how long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::collect::Page;
use crate::agent::spool::{End, Room, Spool};
use crate::agent::{Cut, Truncated};
use crate::core::ids::HandleId;
use crate::core::limits::Limits;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::{Clock, Timestamp};

pub use crate::core::report::PageOfRows;

/// How long a handle lives after it was last used, in milliseconds.
pub const LIFE_MS: i64 = 5 * 60 * 1000;
/// How many results are kept; the one unused for longest makes room. It also does when all together
/// are large.
pub const KEPT: usize = 64;

/// Where new handles come from.
pub type MakeHandle = Box<dyn Fn() -> HandleId + Send + Sync>;

/// The results that wait to be collected.
pub struct Pages {
    clock: Arc<dyn Clock>,
    make_handle: MakeHandle,
    kept: Mutex<BTreeMap<HandleId, Kept>>,
    room: Arc<Room>,
}

struct Kept {
    spool: Arc<Spool>,
    used: Timestamp,
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
            room: Arc::default(),
        }
    }

    /// The room that what is kept here shares.
    pub fn room(&self) -> Arc<Room> {
        Arc::clone(&self.room)
    }

    /// Keeps a spool and says how to ask for it.
    pub fn keep(&self, spool: Arc<Spool>) -> HandleId {
        let now = self.clock.now();
        let handle = (self.make_handle)();
        let mut kept = self.lock();
        kept.retain(|_, kept| alive(kept, now));
        while kept.len() >= KEPT || self.room.is_scarce() {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(handle, _)| handle.clone()) else {
                break;
            };
            kept.remove(&oldest);
        }
        kept.insert(handle.clone(), Kept { spool, used: now });
        handle
    }

    /// The rows from `from` on: `max_rows` of them, or what the target lets onto a page. Waits for
    /// rows that are still being read. A handle is good for its owner only; to anybody else it does
    /// not exist.
    pub async fn page(
        &self,
        owner: &Principal,
        handle: &HandleId,
        from: u64,
        max_rows: Option<u32>,
    ) -> Result<PageOfRows, Refusal> {
        let spool = self.find(owner, handle)?;
        let most = spool.origin().limits;
        let limits = Limits {
            rows: max_rows.unwrap_or(most.rows).clamp(1, most.rows),
            ..most
        };
        spool
            .wait_for(from.saturating_add(u64::from(limits.rows)))
            .await;
        let mut page = Page::new(limits);
        let rows = spool.read(from, u64::from(limits.rows) + 1)?;
        for row in rows {
            page.offer(row);
        }
        let (total, end) = spool.progress();
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
            origin: spool.origin().clone(),
        })
    }

    fn find(&self, owner: &Principal, handle: &HandleId) -> Result<Arc<Spool>, Refusal> {
        let now = self.clock.now();
        let mut kept = self.lock();
        kept.retain(|_, kept| alive(kept, now));
        match kept.get_mut(handle) {
            Some(found) if found.spool.origin().owner == *owner => {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    use serde_json::json;

    use super::*;
    use crate::agent::spool::Origin;
    use crate::core::answer::Row;
    use crate::core::ids::RequestId;
    use crate::core::principal::PrincipalKind;

    #[derive(Debug, Default)]
    struct SetClock(AtomicI64);

    impl Clock for SetClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_ms(self.0.load(Ordering::Relaxed))
        }
    }

    fn pages() -> (Arc<SetClock>, Pages) {
        let clock = Arc::new(SetClock::default());
        let count = AtomicU64::new(0);
        let next = move || HandleId::new(count.fetch_add(1, Ordering::Relaxed), [0; 10]);
        (Arc::clone(&clock), Pages::new(clock, Box::new(next)))
    }

    fn principal(name: &str) -> Principal {
        Principal::new(PrincipalKind::Ai, name)
    }

    fn spool(owner: &str, rows: i64) -> Arc<Spool> {
        let origin = Origin {
            owner: principal(owner),
            request: RequestId::new(1, [0; 10]),
            target: "shop".into(),
            limits: Limits::DEFAULT,
        };
        let spool = Spool::new(origin, Vec::new(), Arc::default());
        spool.push((0..rows).map(|n| vec![json!(n)]).collect());
        Arc::new(spool)
    }

    async fn first_row(pages: &Pages, owner: &str, handle: &HandleId) -> Result<Vec<Row>, Code> {
        let page = pages.page(&principal(owner), handle, 0, Some(1)).await;
        page.map(|page| page.rows).map_err(|refusal| refusal.code)
    }

    #[tokio::test]
    async fn a_handle_lives_five_minutes_from_its_last_use() {
        let (clock, pages) = pages();
        let handle = pages.keep(spool("ada/x", 3));
        for _ in 0..3 {
            clock.0.fetch_add(LIFE_MS - 1, Ordering::Relaxed);
            let row = first_row(&pages, "ada/x", &handle).await;
            assert_eq!(row, Ok(vec![vec![json!(0)]]));
        }
        clock.0.fetch_add(LIFE_MS, Ordering::Relaxed);
        let gone = first_row(&pages, "ada/x", &handle).await;
        assert_eq!(gone, Err(Code::PageGone));
    }

    #[tokio::test]
    async fn nobody_else_can_use_a_handle_or_keep_it_alive() {
        let (clock, pages) = pages();
        let handle = pages.keep(spool("ada/x", 3));
        clock.0.fetch_add(LIFE_MS - 1, Ordering::Relaxed);
        let other = first_row(&pages, "ada/y", &handle).await;
        assert_eq!(other, Err(Code::PageGone));
        clock.0.fetch_add(1, Ordering::Relaxed);
        let gone = first_row(&pages, "ada/x", &handle).await;
        assert_eq!(gone, Err(Code::PageGone));
    }

    #[tokio::test]
    async fn the_result_unused_for_longest_makes_room() {
        let (clock, pages) = pages();
        let mut handles = Vec::new();
        for _ in 0..KEPT {
            clock.0.fetch_add(1, Ordering::Relaxed);
            handles.push(pages.keep(spool("ada/x", 3)));
        }
        clock.0.fetch_add(1, Ordering::Relaxed);
        assert!(first_row(&pages, "ada/x", &handles[0]).await.is_ok());
        pages.keep(spool("ada/x", 3));
        assert!(first_row(&pages, "ada/x", &handles[0]).await.is_ok());
        let gone = first_row(&pages, "ada/x", &handles[1]).await;
        assert_eq!(gone, Err(Code::PageGone));
    }

    #[tokio::test]
    async fn a_result_that_broke_says_so_on_its_last_page() {
        let (_, pages) = pages();
        let spool = spool("ada/x", 3);
        let handle = pages.keep(Arc::clone(&spool));
        let broke = Refusal::new(Code::DatabaseUnavailable, "the connection was lost");
        spool.finish(End::Failed(broke));
        let owner = principal("ada/x");
        let page = pages.page(&owner, &handle, 1, None).await;
        let cut = page.unwrap().truncated.unwrap();
        assert_eq!((cut.by, cut.exact, cut.next), (Cut::Error, false, 3));
        assert_eq!(cut.note.as_deref(), Some("the connection was lost"));
        let beyond = pages.page(&owner, &handle, 3, None).await;
        assert_eq!(beyond.unwrap_err().code, Code::DatabaseUnavailable);
    }
}
