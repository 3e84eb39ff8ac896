//! Somebody with the file in their hands: each change is found, and where it is.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use secondkey::core::audit::{Break, EventKind, HeadError};
use secondkey::store::{State, StoreError};

use super::{TestClock, draft, open, raw, request};

/// A closed folder with 20 entries and a head at the last.
async fn written(root: &Path) -> PathBuf {
    let path = root.join("state");
    let state = open(&path);
    for number in 0..18 {
        let draft = draft(EventKind::ExecutionSucceeded, &request(1, number));
        state.log().append(draft).await.unwrap();
    }
    state.close().await.unwrap();
    path
}

fn check(path: &Path) -> Result<u64, Break> {
    let report = open(path).log().verify(None).unwrap();
    report.outcome.map(|verified| verified.removed)
}

#[tokio::test]
async fn each_change_to_the_table_is_found_where_it_is() {
    type Expected = fn(&Break) -> bool;
    let cases: [(&str, Expected); 9] = [
        (
            "update audit set body = replace(body, '\"rows\":7', '\"rows\":8') where sequence = 9",
            |found| *found == Break::Edited { sequence: 9 },
        ),
        (
            "update audit set body = 'no json' where sequence = 9",
            |found| *found == Break::Edited { sequence: 9 },
        ),
        (
            "update audit set leaf = x'00' where sequence = 9",
            |found| *found == Break::Edited { sequence: 9 },
        ),
        (
            "update audit set link = (select link from audit where sequence = 8) where sequence = 9",
            |found| *found == Break::Unlinked { sequence: 9 },
        ),
        ("delete from audit where sequence = 9", |found| {
            *found
                == Break::Missing {
                    sequence: 9,
                    found: 10,
                }
        }),
        (
            "delete from audit where sequence > 15",
            |found| matches!(found, Break::Cut { entries: 15, head } if head.count == 20),
        ),
        (
            "delete from audit",
            |found| matches!(found, Break::Cut { entries: 0, head } if head.count == 20),
        ),
        (
            "insert into audit (sequence, body, leaf, link) select -1, body, leaf, link from audit where sequence = 9",
            |found| {
                *found
                    == Break::Missing {
                        sequence: 1,
                        found: 0,
                    }
            },
        ),
        (
            "update audit set sequence = sequence + 100 where sequence > 9",
            |found| {
                *found
                    == Break::Missing {
                        sequence: 10,
                        found: 110,
                    }
            },
        ),
    ];
    for (sql, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path()).await;
        assert_eq!(check(&path), Ok(0), "before: {sql}");
        let connection = raw(&path);
        assert_ne!(connection.execute(sql, ()).unwrap(), 0, "{sql}");
        drop(connection);
        let found = check(&path).unwrap_err();
        assert!(expected(&found), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn a_removed_body_is_reported_and_breaks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path()).await;
    raw(&path)
        .execute("update audit set body = null where sequence in (4, 7)", ())
        .unwrap();
    assert_eq!(check(&path), Ok(2));
}

#[tokio::test]
async fn a_lost_database_is_missed_by_the_heads_beside_it_and_by_one_kept_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path()).await;
    let elsewhere = open(&path).log().checkpoint().await.unwrap();
    lose_the_database(&path);
    assert!(matches!(check(&path), Err(Break::Cut { .. })));

    std::fs::remove_file(path.join("audit.heads")).unwrap();
    assert_eq!(check(&path), Ok(0), "without any head nobody can tell");
    let state = open(&path);
    let head = state.log().open_head(&elsewhere).unwrap().unwrap();
    let report = state.log().verify(Some(head.clone())).unwrap();
    assert_eq!((report.own_heads, head.count), (0, 20));
    assert!(
        matches!(report.outcome, Err(Break::Cut { entries: 0, .. })),
        "{report:?}"
    );

    let forged = elsewhere.replace("\n20\n", "\n0\n");
    assert_eq!(
        state.log().open_head(&forged).unwrap(),
        Err(HeadError::Signature)
    );
    let other = open(&folder.path().join("other"));
    assert_eq!(
        other.log().open_head(&elsewhere).unwrap(),
        Err(HeadError::UnknownKey)
    );
}

fn lose_the_database(path: &Path) {
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        drop(std::fs::remove_file(path.join(name)));
    }
}

#[tokio::test]
async fn heads_are_signed_each_thousand_entries_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let state = open(&path);
    let append = |number| {
        let log = state.log();
        log.append_soon(draft(EventKind::PageRead, &request(1, number)));
    };
    (0..1_000).for_each(append);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !path.join("audit.heads").exists() {
        assert!(std::time::Instant::now() < deadline, "no head was signed");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    (1_000..1_100).for_each(append);
    state.close().await.unwrap();
    let heads = std::fs::read_to_string(path.join("audit.heads")).unwrap();
    assert_eq!(
        heads.matches("\u{2014} secondkey/audit/local ").count(),
        2,
        "{heads}"
    );
    let report = open(&path).log().verify(None).unwrap();
    assert_eq!(report.outcome.unwrap().against.unwrap().count, 1_102);
}

#[test]
fn an_older_binary_refuses_the_folder_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(open(&path));
    raw(&path).pragma_update(None, "user_version", 99).unwrap();
    let refused = State::open(&path, TestClock::new()).unwrap_err();
    assert!(
        matches!(refused, StoreError::Newer { found: 99, known } if known < 99),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("newer version"), "{refused}");
    let version: i64 = Connection::open(path.join("state.db"))
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 99);
}
