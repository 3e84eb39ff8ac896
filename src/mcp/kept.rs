//! Sessions that go on at another process: what a client said when it began one is kept, for its key alone.

use std::fmt;
use std::pin::Pin;

use rmcp::transport::streamable_http_server::session::{
    SessionState, SessionStore, SessionStoreError,
};

use crate::broker::Sessions;

/// The sessions of the holder of one key.
pub(super) struct Kept {
    holder: String,
    sessions: Box<dyn Fn() -> Sessions + Send + Sync>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl Kept {
    /// Those of whoever has this key.
    pub(super) fn of(
        holder: &str,
        sessions: impl Fn() -> Sessions + Send + Sync + 'static,
    ) -> Self {
        Self {
            holder: holder.to_owned(),
            sessions: Box::new(sessions),
        }
    }
}

// In the form that `async_trait` gives these functions.
impl SessionStore for Kept {
    fn load<'s, 'i, 'a>(&'s self, id: &'i str) -> Doing<'a, Option<SessionState>>
    where
        's: 'a,
        'i: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let found = (self.sessions)().find(&self.holder, id).await?;
            Ok(found.and_then(|began| serde_json::from_str(&began).ok()))
        })
    }

    fn store<'s, 'i, 't, 'a>(&'s self, id: &'i str, state: &'t SessionState) -> Doing<'a, ()>
    where
        's: 'a,
        'i: 'a,
        't: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let began = serde_json::to_string(state)?;
            (self.sessions)().keep(&self.holder, id, began).await?;
            Ok(())
        })
    }

    fn delete<'s, 'i, 'a>(&'s self, id: &'i str) -> Doing<'a, ()>
    where
        's: 'a,
        'i: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            (self.sessions)().end(&self.holder, id).await?;
            Ok(())
        })
    }
}
