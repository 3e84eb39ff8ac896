//! A write-ahead log that ends anywhere in its last three records: it always opens, and what it has
//! lost is at most the records that were not whole.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use secondkey::core::audit::{EventKind, Stored, verify};
use secondkey::core::work::Digest;

use super::{draft, open, request};

const RECORDS: u32 = 6;

#[tokio::test]
async fn a_log_cut_at_any_byte_of_its_last_three_records_opens_with_all_whole_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .unwrap();
    // Small pages: as many frames to tear in far fewer bytes.
    super::raw(&path)
        .execute_batch("pragma page_size = 512; vacuum")
        .unwrap();
    let state = open(&path);
    let size = || std::fs::read(path.join("state.db-wal")).unwrap();
    let mut ends = Vec::new();
    for number in 0..RECORDS {
        let draft = draft(EventKind::ExecutionSucceeded, &request(1, number));
        let sealed = state.log().append(draft).await.unwrap();
        ends.push((size().len(), sealed.sequence));
    }
    let wal = size();
    let database = std::fs::read(path.join("state.db")).unwrap();
    let (first, whole) = ends[ends.len() - 4];
    assert_eq!(wal.len(), ends.last().unwrap().0);
    assert!(
        ends.is_sorted() && whole + 3 == ends.last().unwrap().1,
        "{ends:?}"
    );

    let torn = folder.path().join("torn");
    std::fs::create_dir(&torn).unwrap();
    for cut in first..=wal.len() {
        let expected = ends
            .iter()
            .filter(|(end, _)| *end <= cut)
            .map(|(_, last)| *last)
            .max();
        std::fs::write(torn.join("state.db"), &database).unwrap();
        std::fs::write(torn.join("state.db-wal"), &wal[..cut]).unwrap();
        assert_eq!(Some(entries(&torn)), expected, "cut at byte {cut}");
    }
    // The whole program on the edges of each record.
    for (end, last) in &ends[ends.len() - 3..] {
        for (cut, expected) in [(*end - 1, *last - 1), (*end, *last)] {
            reopen(folder.path(), (&database, &wal[..cut]), expected).await;
        }
    }
}

/// How many entries the file has; they form a chain.
fn entries(folder: &Path) -> u64 {
    let connection = super::raw(folder);
    // Closing folds the log back, and need not wait for the disk here.
    connection
        .pragma_update(None, "synchronous", "off")
        .unwrap();
    let mut statement = connection
        .prepare("select sequence, body, leaf, link from audit order by sequence")
        .unwrap();
    let rows = statement.query_map((), |row| {
        Ok(Stored {
            sequence: row.get::<_, i64>(0)?.unsigned_abs(),
            body: Some(row.get::<_, String>(1)?.into_bytes()),
            leaf: Digest::from_bytes(row.get(2)?),
            link: Digest::from_bytes(row.get(3)?),
        })
    });
    let entries: Vec<Stored> = rows.unwrap().map(Result::unwrap).collect();
    verify("local", entries, []).unwrap().entries
}

async fn reopen(root: &Path, (database, wal): (&[u8], &[u8]), expected: u64) {
    let folder = root.join(format!("reopened-{}", wal.len()));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .unwrap();
    std::fs::write(folder.join("state.db"), database).unwrap();
    std::fs::write(folder.join("state.db-wal"), wal).unwrap();
    let state = open(&folder);
    // A new folder's keys are recorded behind what was there.
    let next = draft(EventKind::ExecutionSucceeded, &request(2, 0));
    assert_eq!(
        state.log().append(next).await.unwrap().sequence,
        expected + 3
    );
    let report = state.log().verify(None).unwrap();
    assert_eq!(report.outcome.unwrap().entries, expected + 3);
    state.close().await.unwrap();
}
