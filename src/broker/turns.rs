//! Turns: how many statements are under way at the same time. Who waits for people has none, so that
//! any number of those keeps nobody else from working; and the clients of one OS user have turns of their
//! own, so that they do not keep those of another from working.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::broker::{Caller, Rights};
use crate::core::refusal::{Code, Refusal};

/// Statements of one OS user's clients under way at the same time; more wait for their turn.
const STATEMENTS: usize = 64;

/// The turns of one process.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<String, Arc<Semaphore>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    #[expect(dead_code, reason = "held for its drop")]
    user: OwnedSemaphorePermit,
    #[expect(dead_code, reason = "held for its drop")]
    key: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for a turn, for as long as the caller does. Refused where their key has as many as it may.
    pub(super) async fn take(
        &self,
        caller: &Caller,
        cancel: &CancellationToken,
    ) -> Result<Turn, Refusal> {
        let gone = || {
            Refusal::new(
                Code::Cancelled,
                "the call was cancelled before its turn came",
            )
        };
        let key = caller.rights.as_ref().map(Rights::room).transpose()?;
        let turns = self.of(caller);
        tokio::select! {
            turn = turns.acquire_owned() => turn.map(|user| Turn { user, key }).map_err(|_| gone()),
            () = cancel.cancelled() => Err(gone()),
        }
    }

    /// Those of a caller's OS user: there are as many of these as users.
    fn of(&self, caller: &Caller) -> Arc<Semaphore> {
        let user = caller.principal.os_user();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = all.get(user) {
            return Arc::clone(turns);
        }
        let turns = Arc::new(Semaphore::new(STATEMENTS));
        all.insert(user.to_owned(), Arc::clone(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::core::principal::{Principal, PrincipalKind};

    fn caller(name: &str) -> Caller {
        Caller::of(Principal::new(PrincipalKind::Ai, name))
    }

    #[test]
    fn the_clients_of_one_user_do_not_take_the_turns_of_anothers() {
        let (turns, cancel) = (Turns::default(), CancellationToken::new());
        let take = |name| turns.take(&caller(name), &cancel).now_or_never();
        let mut taken: Vec<_> = (0..STATEMENTS)
            .map(|number| take(["ada/one", "ada/two"][number % 2]).unwrap().unwrap())
            .collect();
        assert!(take("ada/three").is_none(), "it waits");
        assert!(take("bo/one").is_some());
        taken.pop();
        assert!(take("ada/three").is_some());
        cancel.cancel();
        let refused = take("cy/one");
        assert!(refused.is_some());
    }
}
