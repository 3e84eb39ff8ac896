//! What the web page keeps in a state folder: who serves it, the secret behind its sessions, codes
//! that let a browser in, and proposals of keys that were made on it.
//!
//! ```text
//! page.lock              held by the process that serves the page; says at which origin
//! page/code-<digest>     a code that was given out: until when it is good, in unix milliseconds, and for whom
//! page/proposal-*.json   a key that somebody proposes, with its proof
//! keys/page.key          the secret that sessions are signed with
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use crate::core::time::Timestamp;
use crate::core::work::Digest;
use crate::store::error::StoreError;
use crate::store::folder::{create_private, private_folder, read_private};
use crate::store::keys;
use crate::store::{Folder, State};

/// How long a code lets a browser in, in milliseconds.
const CODE_MS: i64 = 5 * 60 * 1_000;

/// The right to serve the page of a state folder, for as long as it is kept.
#[derive(Debug)]
pub struct PageLock {
    file: File,
}

impl PageLock {
    /// Says at which origin the page is served.
    pub fn announce(&mut self, origin: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(origin.as_bytes())
    }
}

impl Drop for PageLock {
    fn drop(&mut self) {
        // Whoever reads the file without the lock being held finds no origin to go to.
        drop(self.file.set_len(0));
    }
}

impl State {
    /// The secret that the page signs sessions with.
    pub fn page_secret(&self) -> Result<[u8; 32], StoreError> {
        keys::page_secret(self.folder())
    }

    /// Takes the right to serve the page, unless another process has it.
    pub fn lock_page(&self) -> Result<Option<PageLock>, StoreError> {
        let path = self.folder().page_lock();
        let failed = |error: &std::io::Error| StoreError::io("lock", &path, error);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(PageLock { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        }
    }

    /// At which origin the page is served, if it is.
    pub fn page_origin(&self) -> Option<String> {
        let mut origin = String::new();
        let file = File::open(self.folder().page_lock()).ok()?;
        // Whoever was killed has left the text, but not the lock.
        if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return None;
        }
        file.take(256).read_to_string(&mut origin).ok()?;
        (!origin.is_empty()).then_some(origin)
    }

    /// Makes a code that lets one browser in, once, within five minutes. `whom` is given back to whoever takes it.
    pub fn page_code(&self, whom: &str) -> Result<String, StoreError> {
        let folder = self.folder();
        private_folder(&folder.page())?;
        let now = self.inner.clock.now();
        forget_old_codes(folder, now);
        let code = hex::encode(keys::random::<16>()?);
        let until = now.plus_ms(CODE_MS).unix_ms();
        let content = format!("{until}\n{whom}");
        create_private(&code_path(folder, &code), content.as_bytes())?;
        Ok(code)
    }

    /// Takes a code back, and gives whom it was made for. Only the first to come with it is let in, whichever process they ask.
    pub fn redeem_page_code(&self, code: &str) -> Result<Option<String>, StoreError> {
        let path = code_path(self.folder(), code);
        if !path.exists() {
            return Ok(None);
        }
        let content = read_private(&path)?;
        let (until, whom) = content.split_once('\n').unwrap_or((&content, ""));
        let until = Timestamp::from_unix_ms(until.parse().unwrap_or(0));
        match std::fs::remove_file(&path) {
            Ok(()) => Ok((self.inner.clock.now() < until).then(|| whom.to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("delete", &path, &error)),
        }
    }

    /// Keeps a proposal of a key for `secondkey trust add`. Gives its path.
    pub fn keep_proposal(&self, name: &str, text: &str) -> Result<PathBuf, StoreError> {
        let folder = self.folder();
        private_folder(&folder.page())?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let name: String = name.chars().filter(|c| plain(*c)).collect();
        let path = folder.page().join(format!("proposal-{name}.json"));
        create_private(&path, text.as_bytes())?;
        Ok(path)
    }
}

/// The file of a code. It holds a digest, so that its name lets nobody in.
fn code_path(folder: &Folder, code: &str) -> PathBuf {
    let digest = Digest::of(&[b"secondkey page code\n", code.as_bytes()]);
    folder.page().join(format!("code-{digest}"))
}

fn forget_old_codes(folder: &Folder, now: Timestamp) {
    let Ok(entries) = std::fs::read_dir(folder.page()) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str());
        if !name.is_some_and(|name| name.starts_with("code-")) {
            continue;
        }
        let content = std::fs::read_to_string(&path).unwrap_or_default();
        let until = content.lines().next().and_then(|text| text.parse().ok());
        let until = until.unwrap_or(0);
        if now >= Timestamp::from_unix_ms(until) {
            // Somebody else may have been faster.
            drop(std::fs::remove_file(&path));
        }
    }
}
