//! A relay that goes by the configuration in its state folder.

use std::path::Path;

use super::rig::Fleet;
use crate::support::http::send;
use crate::web::rig::free_port;

/// What a relay says that refuses to start.
fn refused(fleet: &Fleet, flags: &[&str]) -> String {
    let mut command = fleet.command(&[&["relay"], flags].concat(), "relay");
    let output = command
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn healthy(port: u16, host: &str) -> bool {
    send(port, "GET", "/healthz", &[("Host", host)], "").status == 200
}

#[test]
fn what_init_writes_is_what_a_relay_goes_by_and_a_flag_wins() {
    let mut fleet = Fleet::alone();
    let file = fleet.path("relay").join("secondkey.toml");
    let template = std::fs::read_to_string(&file).unwrap();
    assert!(
        template
            .lines()
            .all(|line| line.is_empty() || line.starts_with('#')),
        "{template}"
    );

    // All that is wrong is said at once, and where; nothing is served.
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("[relay]\nlisten = \"everywhere\"\nhost = \"a\"\ntls_key = \"relay.key\"\n");
    let said = refused(&fleet, &[]);
    for part in [
        "secondkey.toml:2:",
        "secondkey.toml:3:",
        "unknown key `relay.host`",
        "tls_certificate",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // As by flags: nothing in the clear where others listen, and no numbers for everybody.
    write("[relay]\nlisten = \"0.0.0.0:0\"\n");
    assert!(refused(&fleet, &[]).contains("there is no TLS"));
    write("[relay]\nmetrics = \"0.0.0.0:0\"\n");
    assert!(refused(&fleet, &[]).contains("numbers are read without a key"));

    let [first, second, metrics] = [free_port(), free_port(), free_port()];
    let page = format!("http://localhost:{first}");
    write(&format!(
        "[relay]\nlisten = \"127.0.0.1:{first}\"\nhosts = [\"relay.test\"]\npage = \"{page}\"\nmetrics = \"127.0.0.1:{metrics}\"\n"
    ));
    fleet.start_by_its_file();
    assert_eq!(fleet.port, first);
    assert!(healthy(first, "relay.test"));
    assert_eq!(
        send(metrics, "GET", "/metrics", &[("Host", "localhost")], "").status,
        200
    );
    let host = format!("localhost:{first}");
    assert_eq!(
        send(first, "GET", "/", &[("Host", &host)], "").status,
        401,
        "the page is locked"
    );
    fleet.stop_relay();

    // A flag stands for what the file says.
    fleet.port = second;
    fleet.start_relay();
    assert!(healthy(second, "relay.test"));
    fleet.stop_relay();

    // Another file is read instead where one is named.
    let named = fleet.path("named.toml");
    std::fs::write(
        &named,
        format!("[relay]\nlisten = \"127.0.0.1:{second}\"\n"),
    )
    .unwrap();
    fleet.besides = vec![
        "--config".into(),
        Path::new("named.toml").display().to_string(),
    ];
    fleet.start_by_its_file();
    assert_eq!(fleet.port, second);
    // What is made anew leaves the file that is there alone.
    fleet.stop_relay();
    std::fs::create_dir(fleet.path("other")).unwrap();
    std::fs::write(fleet.path("other").join("secondkey.toml"), "# mine\n").unwrap();
    std::fs::set_permissions(
        fleet.path("other"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    fleet.run(&["relay", "init"], "other");
    let mine = std::fs::read_to_string(fleet.path("other").join("secondkey.toml")).unwrap();
    assert_eq!(mine, "# mine\n");
}
