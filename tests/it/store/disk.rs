//! A full disk: nothing runs, everybody is told, and it goes on by itself when there is room again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use secondkey::core::audit::EventKind;
use secondkey::core::refusal::{Code, Refusal};
use secondkey::store::log::Select;
use secondkey::store::{BeginError, State, StoreError};

use super::{draft, open, request, start};

/// A small file system in memory, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this user may not mount.
    fn mount(folder: &Path) -> Option<Self> {
        let path = folder.join("disk");
        std::fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs"])
            .arg(&path)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

#[tokio::test]
async fn a_full_disk_stops_everything_and_room_on_it_heals_everything() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        eprintln!("skipped: a full disk needs the right to mount a tmpfs");
        return;
    };
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 1024 * 1024]).unwrap();
    let state = open(&disk.0.join("state"));
    let acknowledged = fill(&state).await;

    // Full: no request is begun, in either mode, and each answer comes soon.
    for (number, synced) in [(0, false), (1, true)] {
        let began = Instant::now();
        let refused = state
            .log()
            .begin(start(&request(2, number), synced))
            .await
            .unwrap_err();
        assert_eq!(refused, BeginError::Store(StoreError::Full));
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(Refusal::from(refused).code, Code::AuditUnavailable);
    }
    // What ends meanwhile is kept, and holds back all that comes later.
    state
        .log()
        .append_soon(draft(EventKind::ExecutionUnknown, &request(3, 0)));
    let later = draft(EventKind::PageRead, &request(3, 1));
    assert_eq!(state.log().append(later).await, Err(StoreError::Full));
    let verified = state.log().verify(None).unwrap().outcome.unwrap();
    assert_eq!(verified.entries, acknowledged);

    std::fs::remove_file(&ballast).unwrap();
    let sealed = state
        .log()
        .begin(start(&request(2, 0), true))
        .await
        .unwrap();
    assert_eq!(sealed.sequence, acknowledged + 2);
    let kept = state.log().show(&Select::Request(request(3, 0))).unwrap();
    assert_eq!(kept[0].stored.sequence, acknowledged + 1);
    // What was refused was not consumed, and left nothing behind.
    assert!(
        state
            .log()
            .show(&Select::Request(request(3, 1)))
            .unwrap()
            .is_empty()
    );
    state
        .log()
        .begin(start(&request(2, 1), false))
        .await
        .unwrap();
    state.close().await.unwrap();
    let report = open(&disk.0.join("state")).log().verify(None).unwrap();
    assert_eq!(report.outcome.unwrap().entries, acknowledged + 3);
}

/// Begins until the disk is full, and then appends until not even that fits; how many entries there
/// are then.
async fn fill(state: &State) -> u64 {
    let mut last = 0;
    let mut begins = true;
    for number in 0..100_000 {
        let id = request(1, number);
        let written = if begins {
            state.log().begin(start(&id, false)).await
        } else {
            let entry = draft(EventKind::PageRead, &id);
            state.log().append(entry).await.map_err(BeginError::from)
        };
        match written {
            Ok(sealed) => last = sealed.sequence,
            Err(error) => {
                assert_eq!(error, BeginError::Store(StoreError::Full));
                if !begins {
                    return last;
                }
                begins = false;
            }
        }
    }
    panic!("the disk never filled");
}
