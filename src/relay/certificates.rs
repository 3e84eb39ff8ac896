//! The certificate, which is looked at again when its files change or SIGHUP comes. Connections that are open
//! keep theirs. Files that cannot be used leave the last good certificate in force.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Where a certificate and its key are, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, with those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Tls {
    /// Reads both files. Refused where they do not belong together.
    fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let wrong = |path: &Path, error: &dyn std::fmt::Display| {
            io::Error::other(format!("`{}` cannot be used: {error}", path.display()))
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&self.certificate)
            .map_err(|error| wrong(&self.certificate, &error))?
            .collect();
        let chain = chain.map_err(|error| wrong(&self.certificate, &error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|error| wrong(&self.key, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| wrong(&self.key, &error))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn stamp(&self) -> [Option<Stamp>; 2] {
        [&self.certificate, &self.key].map(|path| {
            let file = path.metadata().ok();
            file.map(|file| Stamp::of(&file))
        })
    }
}

/// What tells a file from what it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            inode: file.ino(),
            bytes: file.len(),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// The certificate in force.
pub struct Certificates {
    tls: Tls,
    current: Mutex<TlsAcceptor>,
    hangup: Mutex<Option<Signal>>,
    seen: Mutex<[Option<Stamp>; 2]>,
    /// Whether the files are such that an older certificate has to serve.
    pub(super) broken: AtomicBool,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files, which have to be good at the beginning. From here on SIGHUP ends nothing.
    pub fn open(tls: Tls) -> io::Result<Self> {
        let seen = tls.stamp();
        Ok(Self {
            current: Mutex::new(tls.acceptor()?),
            hangup: Mutex::new(Some(signal(SignalKind::hangup())?)),
            seen: Mutex::new(seen),
            tls,
            broken: AtomicBool::new(false),
        })
    }

    /// For a connection that comes now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.lock();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// There is one, for whoever watches first.
    fn take_hangup(&self) -> Option<Signal> {
        let mut hangup = self.hangup.lock().unwrap_or_else(PoisonError::into_inner);
        hangup.take()
    }

    /// Looks at the files until the relay closes.
    pub(super) async fn watch(self: Arc<Self>, closing: CancellationToken) {
        let Some(mut hangup) = self.take_hangup() else {
            return;
        };
        loop {
            let asked = tokio::select! {
                () = sleep(LOOK) => false,
                _ = hangup.recv() => true,
                () = closing.cancelled() => return,
            };
            let certificates = Arc::clone(&self);
            drop(spawn_blocking(move || certificates.look(asked)).await);
        }
    }

    /// Takes what is new. Files that could not be used are tried at each look, since a copy may have been
    /// under way; they are complained of once, and when somebody has `asked`.
    fn look(&self, asked: bool) {
        let stamp = self.tls.stamp();
        let changed = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *seen, stamp) != stamp
        };
        if !asked && !changed && !self.broken.load(Ordering::Relaxed) {
            return;
        }
        match self.tls.acceptor() {
            Ok(acceptor) => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = acceptor;
                self.broken.store(false, Ordering::Relaxed);
                tracing::info!("the certificate was read anew and is in force for new connections");
            }
            Err(error) => {
                let before = self.broken.swap(true, Ordering::Relaxed);
                if asked || changed || !before {
                    tracing::error!(%error, "the new certificate cannot be used; the last good one stays in force");
                }
            }
        }
    }
}
