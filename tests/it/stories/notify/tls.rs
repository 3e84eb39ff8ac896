//! A receiver behind TLS: told if the system trusts it, and not otherwise.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use super::{SOON, ask, serving, told_at, wait_for, wait_until_settled};
use crate::support::receiver::Receiver;
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

/// A certificate for `localhost` that only its holder has signed, and its key.
fn certificate(folder: &Path) -> Option<ServerConfig> {
    std::fs::write(folder.join("request.cnf"), REQUEST).unwrap();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-days", "2", "-config", "request.cnf"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status()
        .ok()?;
    assert!(made.success());
    let certificate = CertificateDer::from_pem_file(folder.join("certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_no_client_auth();
    Some(builder.with_single_cert(vec![certificate], key).unwrap())
}

#[tokio::test]
async fn a_receiver_is_told_by_tls_if_the_system_trusts_it() {
    let folder = TempDir::new().unwrap();
    let Some(config) = certificate(folder.path()) else {
        skip("stories::notify::tls", "openssl is not installed");
        return;
    };
    let receiver = Receiver::behind_tls(config);
    let url = format!("https://localhost:{}/hooks", receiver.port);
    let allowed = "[\"127.0.0.1\", \"::1\"]";

    let world = told_at(&url, allowed).await;
    let mut server = serving(&world).await;
    ask(&mut server).await;
    let failed = wait_for(&world.program, "notification.failed").await;
    let why = failed["facts"]["why"].as_str().unwrap();
    assert_eq!(why, "no TLS: the certificate is not trusted", "{failed}");
    server.finish().await;
    assert!(receiver.taken().is_empty(), "{:#?}", receiver.taken());

    let mut world = told_at(&url, allowed).await;
    let trusted = folder.path().join("certificate.pem");
    world.program = world
        .program
        .variable("SSL_CERT_FILE", trusted.to_str().unwrap());
    let mut server = serving(&world).await;
    ask(&mut server).await;
    receiver.wait_for(1, SOON).await.remove(0).verify();
    wait_until_settled(&world, 1).await;
    server.finish().await;
}
