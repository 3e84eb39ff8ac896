//! A spool: the rows of one result, kept by the executor for whoever asked.
//!
//! The first rows stay in memory. Beyond [`MEMORY_ROWS`] or [`MEMORY_BYTES`] they go to a temporary
//! file without a name, sealed with a key that never leaves this process
//! (ChaCha20-Poly1305, RFC 8439), so that no row of a database lies readable on a disk.

mod room;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use tokio::sync::Notify;

use crate::agent::Cut;
use crate::core::answer::{Column, Row, json_bytes};
use crate::core::refusal::{Code, Refusal};

pub use crate::core::report::Origin;
pub use room::Room;

/// Rows kept in memory.
pub const MEMORY_ROWS: usize = 10_000;
/// Bytes of rows kept in memory.
pub const MEMORY_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of rows kept at all, memory and file together.
pub const TOTAL_BYTES: usize = 256 * 1024 * 1024;
/// Rows kept at all.
pub const TOTAL_ROWS: u64 = 1_000_000;

/// How a result came to its end.
#[derive(Clone, Debug)]
pub enum End {
    /// All of it is here.
    Complete,
    /// A limit cut it.
    Cut(Cut),
    /// It broke while being read.
    Failed(Refusal),
}

/// The rows of one result.
#[derive(Debug)]
pub struct Spool {
    origin: Origin,
    columns: Vec<Column>,
    inner: Mutex<Inner>,
    news: Notify,
}

#[derive(Debug)]
struct Inner {
    room: Arc<Room>,
    memory: Vec<Row>,
    memory_bytes: usize,
    bytes: usize,
    file: Option<SealedFile>,
    chunks: Vec<Chunk>,
    rows: u64,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    first_row: u64,
    rows: u64,
    offset: u64,
    length: usize,
    number: u64,
}

impl Spool {
    /// An empty spool, which takes what it keeps out of `room`.
    pub fn new(origin: Origin, columns: Vec<Column>, room: Arc<Room>) -> Self {
        Self {
            origin,
            columns,
            inner: Mutex::new(Inner::new(room)),
            news: Notify::new(),
        }
    }

    /// Where the rows come from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The columns of the result.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Keeps rows; false once the spool is full or over.
    pub fn push(&self, rows: Vec<Row>) -> bool {
        let mut inner = self.lock();
        if inner.end.is_some() {
            return false;
        }
        let kept = inner.push(rows);
        drop(inner);
        self.news.notify_waiters();
        kept
    }

    /// Says how the result ended; the first word counts.
    pub fn finish(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.news.notify_waiters();
    }

    /// How many rows there are so far, and how the result ended, once it has.
    pub fn progress(&self) -> (u64, Option<End>) {
        let inner = self.lock();
        (inner.rows, inner.end.clone())
    }

    /// Waits until row `wanted` is here or the result has ended.
    pub async fn wait_for(&self, wanted: u64) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            {
                let inner = self.lock();
                if inner.rows > wanted || inner.end.is_some() {
                    return;
                }
            }
            news.await;
        }
    }

    /// Up to `count` rows from row `from` on, counted from 0.
    pub fn read(&self, from: u64, count: u64) -> Result<Vec<Row>, Refusal> {
        self.lock().read(from, count).map_err(|_| {
            Refusal::new(Code::PageGone, "the kept rows can no longer be read")
                .hint("run the statement again")
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn new(room: Arc<Room>) -> Self {
        Self {
            room,
            memory: Vec::new(),
            memory_bytes: 0,
            bytes: 0,
            file: None,
            chunks: Vec::new(),
            rows: 0,
            end: None,
        }
    }

    fn push(&mut self, rows: Vec<Row>) -> bool {
        let kept = self.keep(rows);
        if !kept {
            self.end = Some(End::Cut(Cut::Spool));
        }
        kept
    }

    fn keep(&mut self, rows: Vec<Row>) -> bool {
        let size: usize = rows.iter().map(|row| json_bytes(row)).sum();
        let count = rows.len() as u64;
        if self.bytes + size > TOTAL_BYTES || self.rows + count > TOTAL_ROWS {
            return false;
        }
        if !self.room.take(size) {
            return false;
        }
        self.bytes += size;
        if self.chunks.is_empty() && self.fits_in_memory(rows.len(), size) {
            self.memory.extend(rows);
            self.memory_bytes += size;
        } else if self.write(&rows).is_err() {
            return false;
        }
        self.rows += count;
        true
    }

    /// Whether rows stay in memory; if so, the room for them is taken.
    fn fits_in_memory(&self, rows: usize, size: usize) -> bool {
        self.memory.len() + rows <= MEMORY_ROWS
            && self.memory_bytes + size <= MEMORY_BYTES
            && self.room.take_memory(size)
    }

    fn write(&mut self, rows: &[Row]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(SealedFile::create()?),
        };
        let number = self.chunks.len() as u64;
        let (offset, length) = file.append(number, serde_json::to_vec(rows)?)?;
        let chunk = Chunk {
            first_row: self.rows,
            rows: rows.len() as u64,
            offset,
            length,
            number,
        };
        self.chunks.push(chunk);
        Ok(())
    }

    fn read(&mut self, from: u64, count: u64) -> io::Result<Vec<Row>> {
        let skip = usize::try_from(from).unwrap_or(usize::MAX);
        let take = usize::try_from(count).unwrap_or(usize::MAX);
        let mut rows: Vec<Row> = self.memory.iter().skip(skip).take(take).cloned().collect();
        let start = self
            .chunks
            .partition_point(|chunk| chunk.first_row + chunk.rows <= from);
        let Some(file) = &mut self.file else {
            return Ok(rows);
        };
        for chunk in self.chunks.iter().skip(start) {
            if rows.len() >= take {
                break;
            }
            let kept: Vec<Row> = serde_json::from_slice(&file.read(chunk)?)?;
            let skip = usize::try_from(from.saturating_sub(chunk.first_row)).unwrap_or(usize::MAX);
            let missing = take - rows.len();
            rows.extend(kept.into_iter().skip(skip).take(missing));
        }
        Ok(rows)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.room.give_back(self.bytes, self.memory_bytes);
    }
}

/// A temporary file whose content only this process can read.
struct SealedFile {
    file: File,
    key: LessSafeKey,
    end: u64,
}

impl std::fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedFile")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl SealedFile {
    fn create() -> io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(sealing)?;
        Ok(Self {
            file: tempfile::tempfile()?,
            key: LessSafeKey::new(key),
            end: 0,
        })
    }

    /// Seals `bytes` as chunk `number`, which is its nonce: a key is never used twice for one.
    fn append(&mut self, number: u64, mut bytes: Vec<u8>) -> io::Result<(u64, usize)> {
        self.key
            .seal_in_place_append_tag(nonce(number), Aad::empty(), &mut bytes)
            .map_err(sealing)?;
        let offset = self.end;
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(&bytes)?;
        self.end += bytes.len() as u64;
        Ok((offset, bytes.len()))
    }

    fn read(&mut self, chunk: &Chunk) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; chunk.length];
        self.file.seek(SeekFrom::Start(chunk.offset))?;
        self.file.read_exact(&mut bytes)?;
        let plain = self
            .key
            .open_in_place(nonce(chunk.number), Aad::empty(), &mut bytes)
            .map_err(sealing)?
            .len();
        bytes.truncate(plain);
        Ok(bytes)
    }
}

fn sealing(_: ring::error::Unspecified) -> io::Error {
    io::Error::other("the kept rows could not be sealed or opened")
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::ids::RequestId;
    use crate::core::limits::Limits;
    use crate::core::principal::{Principal, PrincipalKind};

    fn spool() -> Spool {
        spool_in(Arc::default())
    }

    fn spool_in(room: Arc<Room>) -> Spool {
        let origin = Origin {
            owner: Principal::new(PrincipalKind::Ai, "ada"),
            request: RequestId::new(1, [0; 10]),
            target: "shop".into(),
            limits: Limits::DEFAULT,
        };
        Spool::new(origin, vec![], room)
    }

    fn rows(range: std::ops::Range<u64>) -> Vec<Row> {
        range
            .map(|n| vec![json!(n), json!("CANARY-7f3a")])
            .collect()
    }

    #[test]
    fn rows_come_back_in_order_across_memory_and_file() {
        let spool = spool();
        for start in (0..25_000).step_by(500) {
            assert!(spool.push(rows(start..start + 500)));
        }
        spool.finish(End::Complete);
        assert!(matches!(spool.progress(), (25_000, Some(End::Complete))));
        for from in [0, 9_990, 9_999, 10_000, 10_499, 24_990] {
            assert_eq!(
                spool.read(from, 30).unwrap(),
                rows(from..(from + 30).min(25_000)),
                "{from}"
            );
        }
        assert!(spool.read(25_000, 5).unwrap().is_empty());
    }

    #[test]
    fn the_file_holds_nothing_readable() {
        let spool = spool();
        spool.push(rows(0..10_000));
        spool.push(rows(10_000..12_000));
        let mut inner = spool.lock();
        let file = inner.file.as_mut().unwrap();
        let mut bytes = Vec::new();
        file.file.seek(SeekFrom::Start(0)).unwrap();
        file.file.read_to_end(&mut bytes).unwrap();
        assert!(bytes.len() > 2_000 * 10);
        assert!(!bytes.windows(11).any(|w| w == b"CANARY-7f3a"));
    }

    #[test]
    fn a_full_spool_says_that_it_cut_the_result() {
        let spool = spool();
        let big = vec![vec![json!("x".repeat(1024 * 1024))]];
        let mut kept = 0;
        while spool.push(big.clone()) {
            kept += 1;
        }
        assert!((250..256).contains(&kept), "{kept}");
        assert!(matches!(spool.progress().1, Some(End::Cut(Cut::Spool))));
        assert!(!spool.push(big));
    }

    #[test]
    fn spools_share_their_room_and_give_it_back() {
        let room = Arc::new(Room::of(100, 3_000));
        let size = |rows: &[Row]| rows.iter().map(|row| json_bytes(row)).sum::<usize>();
        assert!((1_000..1_500).contains(&size(&rows(0..60))));
        let (one, two) = (spool_in(Arc::clone(&room)), spool_in(Arc::clone(&room)));
        assert!(one.push(rows(0..60)) && two.push(rows(0..60)));
        // Beyond the room in memory they lie in files, and come back all the same.
        assert!(one.lock().memory.is_empty() && one.lock().file.is_some());
        assert_eq!(one.read(0, 60).unwrap(), rows(0..60));
        assert!(room.is_scarce());
        assert!(!two.push(rows(60..120)));
        assert!(matches!(two.progress(), (60, Some(End::Cut(Cut::Spool)))));
        drop(one);
        let three = spool_in(Arc::clone(&room));
        assert!(three.push(rows(0..60)));
        drop((two, three));
        assert!(!room.is_scarce());
        assert!(spool_in(room).push(rows(0..3)));
    }

    #[tokio::test]
    async fn a_reader_waits_for_a_row_that_is_still_to_come() {
        let spool = Arc::new(spool());
        let writer = Arc::clone(&spool);
        let waiting = tokio::spawn(async move {
            spool.wait_for(3).await;
            spool.progress().0
        });
        tokio::task::yield_now().await;
        writer.push(rows(0..3));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        writer.push(rows(3..5));
        assert_eq!(waiting.await.unwrap(), 5);
    }
}
