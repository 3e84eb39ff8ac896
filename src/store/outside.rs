//! What an executor keeps about the relay that it dials, and whether it is frozen.
//!
//! ```text
//! relay.pin        the public half of the key that signs this relay's tokens; nobody else's are taken
//! frozen           there while nothing new may run
//! keys/dial.key    the key that this executor proves itself with
//! ```

use std::io::ErrorKind;

use ed25519_dalek::SigningKey;

use crate::core::audit::{Draft, EventKind};
use crate::core::handshake::Hex32;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::store::error::StoreError;
use crate::store::folder::{create_private, read_private};
use crate::store::{State, keys};

impl State {
    /// The key that this executor proves itself with, made on first use.
    pub fn dial_key(&self) -> Result<SigningKey, StoreError> {
        Ok(SigningKey::from_bytes(&keys::dial_secret(self.folder())?))
    }

    /// The relay that this executor has joined, if it has.
    pub fn pinned_relay(&self) -> Result<Option<Hex32>, StoreError> {
        let path = self.folder().relay_pin();
        if !path.exists() {
            return Ok(None);
        }
        let text = read_private(&path)?.trim().to_owned();
        Hex32::try_from(text)
            .ok()
            .filter(|key| key.key().is_some())
            .map(Some)
            .ok_or_else(|| StoreError::Damaged {
                path,
                what: "it does not hold a relay's public key".to_owned(),
            })
    }

    /// Pins a relay, and records that. Another can only be pinned in a state folder of its own.
    pub async fn pin_relay(&self, key: Hex32) -> Result<(), Refusal> {
        let draft = Draft::new(self.now(), EventKind::RelayPinned).text("key", &key.to_string());
        self.log().append(draft).await?;
        create_private(&self.folder().relay_pin(), format!("{key}\n").as_bytes())?;
        match self.pinned_relay()? {
            Some(pinned) if pinned == key => Ok(()),
            _ => Err(Refusal::new(
                Code::TokenRefused,
                "this agent has joined another relay already",
            )
            .hint("give it a state folder of its own with --state")),
        }
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
