//! The session of a client of the older protocol: opened by its greeting, opened again by the same greeting
//! when the relay does not know it any more, and with a stream of what the relay says by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use serde_json::Value;
use tokio::time::sleep;

use crate::mcp::remote::asked::Asked;
use crate::mcp::remote::door::{Broken, Head};
use crate::mcp::remote::{No, PATIENCE, PAUSES, Remote, Wait, lost, strange};

/// What ends a greeting.
const GREETED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
/// The longest pause between two attempts to hear what the relay says by itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Which one it is of this process.
    pub(super) number: u64,
    id: HeaderValue,
    version: HeaderValue,
    greeting: Asked,
}

impl Session {
    /// What it puts into the head of a request: its id, and the version that was agreed on.
    pub(super) fn head(&self) -> (&HeaderValue, &HeaderValue) {
        (&self.id, &self.version)
    }
}

/// The session, if there is one.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    current: Mutex<Option<Session>>,
    /// Held by whoever opens it again.
    renewing: tokio::sync::Mutex<()>,
}

impl Sessions {
    pub(super) fn current(&self) -> Option<Session> {
        self.lock().clone()
    }

    /// Keeps the session that a greeting has opened; false where it has opened none.
    pub(super) fn open(&self, greeting: &Asked, id: Option<HeaderValue>, answer: &str) -> bool {
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        let result = answer.get("result");
        let version = result.and_then(|result| result.get("protocolVersion"));
        let version = version.and_then(Value::as_str);
        let version = version.and_then(|version| HeaderValue::from_str(version).ok());
        let (Some(id), Some(version)) = (id, version) else {
            return false;
        };
        let mut current = self.lock();
        let number = current.as_ref().map_or(0, |session| session.number + 1);
        *current = Some(Session {
            number,
            id,
            version,
            greeting: greeting.clone(),
        });
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<Session>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote {
    /// Opens the session of this number again, unless that was done meanwhile.
    pub(super) async fn renew(self: &Arc<Self>, number: u64, wait: &mut Wait) -> Result<(), No> {
        let _alone = self.sessions.renewing.lock().await;
        let Some(session) = self.sessions.current() else {
            return Ok(());
        };
        if session.number != number {
            return Ok(());
        }
        let greeting = &session.greeting;
        loop {
            let sent = self.door.post(greeting.line.clone(), Head::default());
            let refusal = match self.looked_at(sent.await)? {
                Err(Broken::Unsent(refusal)) => refusal,
                Err(Broken::Lost) => lost(),
                Ok(answer) => {
                    let (status, id) = (answer.status(), answer.session());
                    // The client has had its answer to this long ago.
                    let line = self.response(answer, greeting, false).await;
                    if line.is_some_and(|line| self.sessions.open(greeting, id, &line)) {
                        self.tell(Bytes::from_static(GREETED.as_bytes())).await;
                        self.listen();
                        return Ok(());
                    }
                    strange(status)
                }
            };
            wait.pause(refusal).await?;
        }
    }

    /// Passes on what the relay says by itself, as long as the session lasts.
    pub(super) fn listen(self: &Arc<Self>) {
        if let Some(session) = self.sessions.current() {
            tokio::spawn(Arc::clone(self).hear(session));
        }
    }

    async fn hear(self: Arc<Self>, session: Session) {
        let mut pause = PAUSES.0;
        let lasts = || {
            let current = self.sessions.current();
            current.is_some_and(|current| current.number == session.number)
        };
        while lasts() {
            let head = Head {
                session: Some(session.head()),
                modern: None,
            };
            match self.door.listen(head).await {
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => {
                    let mut wait = Wait::new(PATIENCE);
                    if self.renew(session.number, &mut wait).await.is_ok() {
                        return;
                    }
                }
                Ok(answer) if answer.status().is_client_error() => return,
                Ok(answer) if answer.is_stream() => {
                    pause = PAUSES.0;
                    let mut events = answer.events();
                    while let Some(message) = events.next().await {
                        self.pass(message).await;
                    }
                }
                Ok(_) | Err(_) => {}
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// Tells the relay that the client leaves.
    pub(super) async fn end_session(&self) {
        if let Some(session) = self.sessions.current() {
            let head = Head {
                session: Some(session.head()),
                modern: None,
            };
            if self.door.end(head).await.is_err() {
                tracing::debug!("the relay did not hear that the client leaves");
            }
        }
    }
}
