//! A certificate that is renewed while the relay runs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::rig::Fleet;
use crate::support::skip;

const REQUEST: &str = "\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = localhost
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost
";

/// A certificate for `localhost` that only its holder has signed, and its key: `NAME.pem`, `NAME.key`.
pub(super) fn make(folder: &Path, name: &str) -> bool {
    std::fs::write(folder.join("request.cnf"), REQUEST).unwrap();
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-config",
            "request.cnf",
        ])
        .args(curve)
        .args([
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status();
    made.is_ok_and(|made| made.success())
}

/// A connection that trusts nothing but one certificate.
fn connect(port: u16, trusted: &Path) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(trusted).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = StreamOwned::new(client, stream);
    alive(&mut stream)?;
    Ok(stream)
}

/// Asks whether the relay is alive, on a connection that stays open.
fn alive(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> std::io::Result<()> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    Ok(())
}

fn wait_for(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_renewed_certificate_is_in_force_and_a_broken_one_is_not() {
    let mut fleet = Fleet::alone();
    let folder = fleet.folder.path().to_owned();
    if !make(&folder, "old") {
        skip("fleet::certificates", "openssl is not installed");
        return;
    }
    assert!(make(&folder, "new") && make(&folder, "third"));
    let [old, new, third] = ["old.pem", "new.pem", "third.pem"].map(|name| folder.join(name));
    let put = |name: &str| {
        for end in ["pem", "key"] {
            let (from, to) = (format!("{name}.{end}"), format!("relay.{end}"));
            std::fs::copy(folder.join(from), folder.join(to)).unwrap();
        }
    };
    let hangup = |fleet: &Fleet| {
        let pid = fleet.relay_pid().to_string();
        assert!(
            Command::new("kill")
                .args(["-HUP", &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    put("old");
    let files = ["--tls-certificate", "relay.pem", "--tls-key", "relay.key"];
    fleet.besides = files.map(str::to_owned).to_vec();
    fleet.start_relay();
    let mut early = connect(fleet.port, &old).unwrap();
    assert!(connect(fleet.port, &new).is_err());

    // Files that changed are noticed.
    put("new");
    wait_for("the new one", || connect(fleet.port, &new).is_ok());
    assert!(connect(fleet.port, &old).is_err());
    // Who was there before stays.
    alive(&mut early).unwrap();

    // A key of another certificate, half a file and none at all keep the last good one.
    let broken: [&dyn Fn(); 3] = [
        &|| {
            std::fs::copy(folder.join("third.key"), folder.join("relay.key")).unwrap();
        },
        &|| {
            let half = "-----BEGIN CERTIFICATE-----\nMIIB";
            std::fs::write(folder.join("relay.pem"), half).unwrap();
        },
        &|| std::fs::remove_file(folder.join("relay.pem")).unwrap(),
    ];
    for (times, spoil) in broken.iter().enumerate() {
        let said = || {
            fleet
                .log("relay")
                .matches("the last good one stays in force")
                .count()
        };
        let before = said();
        spoil();
        hangup(&fleet);
        wait_for("a complaint", || said() > before);
        assert!(connect(fleet.port, &new).is_ok(), "{times}");
    }
    assert!(!fleet.log("relay").contains("MIIB"));

    put("third");
    hangup(&fleet);
    wait_for("the third one", || connect(fleet.port, &third).is_ok());
    assert!(connect(fleet.port, &new).is_err());
    alive(&mut early).unwrap();
}
