//! What an executor proves itself with to a relay, and whether it is frozen.
//!
//! ```text
//! frozen           there while nothing new may run
//! keys/dial.key    the key that this executor proves itself with
//! ```

use std::io::ErrorKind;

use ed25519_dalek::SigningKey;

use crate::core::audit::{Draft, EventKind};
use crate::core::principal::Principal;
use crate::core::refusal::Refusal;
use crate::store::error::StoreError;
use crate::store::folder::create_private;
use crate::store::{State, keys};

impl State {
    /// The key that this executor proves itself with, made on first use.
    pub fn dial_key(&self) -> Result<SigningKey, StoreError> {
        Ok(SigningKey::from_bytes(&keys::dial_secret(self.folder())?))
    }

    /// Whether nothing new may run here. What cannot be looked at counts as frozen.
    pub fn is_frozen(&self) -> bool {
        match self.folder().frozen().symlink_metadata() {
            Ok(_) => true,
            Err(error) => error.kind() != ErrorKind::NotFound,
        }
    }

    /// Lets nothing new run from now on, whoever asks; then records that.
    pub async fn freeze(&self, by: &Principal) -> Result<(), Refusal> {
        // First: an audit log that cannot be written must not keep anybody from stopping things.
        create_private(&self.folder().frozen(), b"")?;
        let draft = Draft::new(self.now(), EventKind::AgentFrozen).by(by);
        self.log().append(draft).await?;
        Ok(())
    }

    /// Lets work run again, once that is recorded.
    pub async fn thaw(&self, by: &Principal) -> Result<(), Refusal> {
        let draft = Draft::new(self.now(), EventKind::AgentThawed).by(by);
        self.log().append(draft).await?;
        let path = self.folder().frozen();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::io("delete", &path, &error).into())
            }
            _ => Ok(()),
        }
    }
}
