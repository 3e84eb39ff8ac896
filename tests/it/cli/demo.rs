//! The demo, as a newcomer runs it.

use tempfile::TempDir;

use crate::cli::{answer, code, secondkey};

#[test]
fn the_demo_plays_to_its_end_twice_over() {
    let folder = TempDir::new().unwrap();
    for _ in 0..2 {
        let (said, code) = answer(secondkey(folder.path()).args(["demo", "--dir", "shop"]));
        assert_eq!(code, 0, "{said}");
        for word in [
            "approval_required",
            "multiple_statements",
            "The audit log is whole",
            "claude mcp add",
        ] {
            assert!(said.contains(word), "{word} is missing in {said}");
        }
    }
}

#[test]
fn the_demo_leaves_other_peoples_files_alone() {
    let folder = TempDir::new().unwrap();
    for name in ["shop.db", "secondkey.toml"] {
        let place = folder.path().join(name).with_extension("place");
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join(name), "mine").unwrap();
        let output = secondkey(folder.path())
            .args(["demo", "--dir"])
            .arg(&place)
            .output()
            .unwrap();
        assert_eq!(code(&output), 1);
        assert_eq!(std::fs::read_to_string(place.join(name)).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1);
    }
}
