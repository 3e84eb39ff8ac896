//! The relay that an executor has joined, whose orders it takes and nobody else's.
//!
//! ```text
//! relay.pin        the public half of the key that signs this relay's tokens. On a second line the workspace
//!                  whose work it takes, where that is not the folder's own
//! ```
//!
//! A relay whose key is rotated says which one follows, signed by the pinned one ([`crate::core::succession`]); then that
//! one is pinned, and the one before it is good for as long as orders that it signed may be on their way.

use std::sync::{Arc, Mutex, PoisonError};

use ed25519_dalek::VerifyingKey;

use crate::core::audit::{Draft, EventKind};
use crate::core::handshake::Hex32;
use crate::core::refusal::{Code, Refusal};
use crate::core::succession::{Succession, heir};
use crate::core::time::Timestamp;
use crate::core::token::Verifier;
use crate::core::workspace::WorkspaceName;
use crate::store::error::StoreError;
use crate::store::folder::{create_private, read_private, replace_private};
use crate::store::{State, keys};

/// The key that was pinned before, in this process.
#[derive(Debug, Default)]
pub(super) struct Before(Mutex<Option<(VerifyingKey, Timestamp)>>);

impl Before {
    fn set(&self, key: VerifyingKey, until: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((key, until));
    }

    /// It, while it is good.
    fn at(&self, now: Timestamp) -> Option<VerifyingKey> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.filter(|(_, until)| now < *until).map(|(key, _)| key)
    }
}

impl State {
    /// The relay that this executor has joined, if it has.
    pub fn pinned_relay(&self) -> Result<Option<Hex32>, StoreError> {
        Ok(self.pin()?.map(|(key, _)| key))
    }

    /// Takes what the relay that was joined has signed, and nothing else.
    pub fn relay_verifier(&self) -> Result<Verifier, Refusal> {
        let pinned = self.pinned_relay()?.and_then(|pinned| pinned.key());
        let pinned = pinned.ok_or_else(not_joined)?;
        let before = self.inner.before.at(self.now());
        Ok(Verifier::new(
            self.agent().clone(),
            [pinned].into_iter().chain(before),
        ))
    }

    /// The workspace whose work this executor takes: the one that it has joined, else that of this folder.
    pub fn served_workspace(&self) -> Result<String, StoreError> {
        let joined = self.pin()?.and_then(|(_, workspace)| workspace);
        Ok(joined.map_or_else(|| self.log().workspace().to_owned(), String::from))
    }

    fn pin(&self) -> Result<Option<(Hex32, Option<WorkspaceName>)>, StoreError> {
        let path = self.folder().relay_pin();
        if !path.exists() {
            return Ok(None);
        }
        let text = read_private(&path)?;
        let mut lines = text.lines();
        let key = lines.next().unwrap_or_default().trim().to_owned();
        let key = Hex32::try_from(key).ok();
        let key = key.filter(|key| key.key().is_some());
        let name = lines
            .next()
            .map(|name| name.trim().parse::<WorkspaceName>());
        match (key, name.transpose()) {
            (Some(key), Ok(name)) => Ok(Some((key, name))),
            _ => Err(StoreError::Damaged {
                path,
                what: "it does not hold a relay's public key and a workspace's name".to_owned(),
            }),
        }
    }

    /// Pins a relay and a workspace of it, and records that. Another can only be pinned in a state folder of
    /// its own.
    pub async fn pin_relay(&self, key: Hex32, workspace: &WorkspaceName) -> Result<(), Refusal> {
        let draft = Draft::new(self.now(), EventKind::RelayPinned)
            .text("key", &key.to_string())
            .text("workspace", workspace.as_str());
        self.log().append(draft).await?;
        create_private(
            &self.folder().relay_pin(),
            written(key, Some(workspace)).as_bytes(),
        )?;
        match self.pinned_relay()? {
            Some(pinned) if pinned == key => Ok(()),
            _ => Err(Refusal::new(
                Code::TokenRefused,
                "this agent has joined another relay already",
            )
            .hint("give it a state folder of its own with --state")),
        }
    }

    /// Pins the key that follows the pinned one by this chain, once that is recorded. A chain that leads nowhere
    /// from it changes nothing.
    pub async fn follow_relay(&self, chain: &[Succession]) -> Result<(), Refusal> {
        let (pinned, workspace) = self.pin()?.ok_or_else(not_joined)?;
        let (Some(next), Some(key)) = (heir(chain, pinned), pinned.key()) else {
            return Ok(());
        };
        let now = self.now();
        let draft = Draft::new(now, EventKind::RelayFollowed)
            .text("before", &pinned.to_string())
            .text("key", &next.to_string());
        self.log().append(draft).await?;
        self.inner.before.set(key, now.plus_ms(keys::OVERLAP_MS));
        let text = written(next, workspace.as_ref());
        replace_private(&self.folder().relay_pin(), text.as_bytes())?;
        Ok(())
    }

    /// The steps from the keys that signed this folder's tokens before to the one that does now, newest first.
    pub fn successions(&self) -> Result<Arc<[Succession]>, StoreError> {
        keys::successions(self.folder()).map(Arc::from)
    }
}

fn written(key: Hex32, workspace: Option<&WorkspaceName>) -> String {
    let workspace = workspace.map(|name| format!("{name}\n"));
    format!("{key}\n{}", workspace.unwrap_or_default())
}

fn not_joined() -> Refusal {
    Refusal::new(Code::InvalidArgument, "this agent has joined no relay")
        .hint("start it once with `--join`, and a token of `secondkey relay join-token`")
}
