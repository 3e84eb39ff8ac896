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
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use crate::core::time::Timestamp;
use crate::core::work::Digest;
use crate::store::State;
use crate::store::error::StoreError;
use crate::store::folder::{create_private, private_folder};
use crate::store::keys;
use crate::store::shelf::Shelf;

/// Where the codes are on the shelf, and how their names begin.
const FOLDER: &str = "page";
const CODE: &str = "code-";
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
        let now = self.inner.clock.now();
        forget_old_codes(self.shelf(), now)?;
        let code = hex::encode(keys::random::<16>()?);
        let until = now.plus_ms(CODE_MS).unix_ms();
        let content = format!("{until}\n{whom}");
        let staged = self.shelf().stage(&code_name(&code), &content)?;
        staged.place()?;
        Ok(code)
    }

    /// Takes a code back, and gives whom it was made for. Only the first to come with it is let in, whichever process they ask.
    pub fn redeem_page_code(&self, code: &str) -> Result<Option<String>, StoreError> {
        let name = code_name(code);
        let Some(content) = self.shelf().read(&name)? else {
            return Ok(None);
        };
        let (until, whom) = content.split_once('\n').unwrap_or((&content, ""));
        let until = Timestamp::from_unix_ms(until.parse().unwrap_or(0));
        let first = self.shelf().take(&name)?;
        Ok((first && self.inner.clock.now() < until).then(|| whom.to_owned()))
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

/// The name of a code on the shelf. It holds a digest, so that it lets nobody in.
fn code_name(code: &str) -> String {
    let digest = Digest::of(&[b"secondkey page code\n", code.as_bytes()]);
    format!("{FOLDER}/{CODE}{digest}")
}

fn forget_old_codes(shelf: &Shelf, now: Timestamp) -> Result<(), StoreError> {
    for (name, _) in shelf.list(FOLDER)? {
        if !name.starts_with(CODE) {
            continue;
        }
        let name = format!("{FOLDER}/{name}");
        let content = shelf.read(&name)?.unwrap_or_default();
        let until = content.lines().next().and_then(|text| text.parse().ok());
        if now >= Timestamp::from_unix_ms(until.unwrap_or(0)) {
            // Somebody else may have been faster.
            shelf.take(&name)?;
        }
    }
    Ok(())
}
