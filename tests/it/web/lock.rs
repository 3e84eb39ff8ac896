//! One process of a state folder serves the page; when it goes, another takes over.

use std::time::{Duration, Instant};

use crate::web::rig::{Rig, open, serve};

#[test]
fn another_process_takes_over_and_knows_the_same_sessions() {
    let mut rig = Rig::start();
    let cookie = rig.enter().cookie;
    let (mut second, link) = serve(rig.folder.path(), rig.port);
    assert!(link.starts_with(&rig.origin()), "{link}");
    rig.kill_page();
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(("127.0.0.1", rig.port)).is_err() {
        assert!(Instant::now() < deadline, "nobody took over");
        std::thread::sleep(Duration::from_millis(50));
    }
    let answer = rig.page("/", &cookie);
    second.kill().unwrap();
    second.wait().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn nobody_is_sent_to_a_page_whose_process_was_killed() {
    let mut rig = Rig::start();
    assert_eq!(open(rig.folder.path()).page_origin(), Some(rig.origin()));
    rig.kill_page();
    assert_eq!(open(rig.folder.path()).page_origin(), None);
}
