//! Keeps on this side what a relay shows of its audit log: the entries of whoever goes there with this key, signed
//! heads, and which requests were answered.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::cli::errand::Errand;
use crate::clock::SystemClock;
use crate::core::audit::{Head, Stored};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::Clock as _;
use crate::core::work::Digest;
use crate::store::audit_cache::{Answered, AuditCache, Shown, Whose};
use crate::wire::audit::{OWN, Own};

/// How long further answers are waited for, so that one look serves many.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a look at the end may take: a client that has left waits for nothing.
const FAREWELL: Duration = Duration::from_secs(2);
/// After how long a relay that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(30);
/// The most answers that wait to be kept, while it is not known whose they are.
const MOST_WAITING: usize = 10_000;
/// The most questions of one look: a relay must not be able to keep anybody busy for ever.
const MOST_QUESTIONS: usize = 1_000;

/// Whoever keeps.
#[derive(Debug)]
pub(in crate::cli) struct Keeper {
    errand: Errand,
    cache: Arc<AuditCache>,
    whose: Option<Whose>,
    waiting: Vec<Answered>,
}

/// Does something to the cache on a thread that may block.
pub(super) async fn with<T: Send + 'static>(
    cache: &Arc<AuditCache>,
    work: impl FnOnce(&AuditCache) -> Result<T, crate::store::StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    let cache = Arc::clone(cache);
    let done = spawn_blocking(move || work(&cache)).await;
    let stopped = |_| Refusal::new(Code::Internal, "the audit cache could not be used");
    Ok(done.map_err(stopped)??)
}

/// Opens what is kept, and makes it where there is none.
pub(super) async fn open(path: PathBuf) -> Result<Arc<AuditCache>, Refusal> {
    let opened = spawn_blocking(move || AuditCache::open(&path)).await;
    let stopped = |_| Refusal::new(Code::Internal, "the audit cache could not be opened");
    Ok(Arc::new(opened.map_err(stopped)??))
}

impl Keeper {
    /// Who keeps what this errand brings, in this file.
    pub(in crate::cli) async fn new(errand: Errand, path: PathBuf) -> Result<Self, Refusal> {
        Ok(Self {
            errand,
            cache: open(path).await?,
            whose: None,
            waiting: Vec::new(),
        })
    }

    /// Keeps until `closing` fires, and then once more what has come meanwhile.
    pub(in crate::cli) async fn run(
        mut self,
        mut answered: UnboundedReceiver<RequestId>,
        closing: CancellationToken,
    ) {
        // What was there before this client.
        let mut behind = tokio::select! {
            seen = self.look() => !seen,
            () = closing.cancelled() => true,
        };
        while !closing.is_cancelled() {
            tokio::select! {
                Some(request) = answered.recv() => self.note(request),
                () = sleep(AGAIN), if behind => {}
                () = closing.cancelled() => break,
            }
            tokio::select! {
                () = sleep(SETTLE) => {}
                () = closing.cancelled() => {}
            }
            while let Ok(request) = answered.try_recv() {
                self.note(request);
            }
            behind = tokio::select! {
                seen = self.look() => !seen,
                () = closing.cancelled() => true,
            };
        }
        while let Ok(request) = answered.try_recv() {
            self.note(request);
            behind = true;
        }
        if behind {
            drop(timeout(FAREWELL, self.look()).await);
        }
    }

    fn note(&mut self, request: RequestId) {
        let at = SystemClock.now();
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push(Answered { request, at });
        }
    }

    /// Keeps what has come. Says whether it could.
    async fn look(&mut self) -> bool {
        match self.try_look().await {
            Ok(()) => true,
            Err(refusal) => {
                tracing::info!(%refusal, "the relay's audit log could not be looked at");
                false
            }
        }
    }

    async fn try_look(&mut self) -> Result<(), Refusal> {
        // Kept first: a relay that hides its log from now on must not hide what it has answered.
        self.keep_answered().await?;
        let (whose, _) = look(&self.errand, &self.cache, self.whose.clone()).await?;
        self.whose = Some(whose);
        self.keep_answered().await
    }

    async fn keep_answered(&mut self) -> Result<(), Refusal> {
        let Some(whose) = &self.whose else {
            return Ok(());
        };
        let (whose, waiting) = (whose.clone(), self.waiting.clone());
        with(&self.cache, move |cache| {
            waiting
                .iter()
                .try_for_each(|one| cache.answered(&whose, one))
        })
        .await?;
        self.waiting.clear();
        Ok(())
    }
}

/// Keeps everything that the relay shows now. Gives whose it is, and how far the log has come.
pub(super) async fn look(
    errand: &Errand,
    cache: &Arc<AuditCache>,
    mut whose: Option<Whose>,
) -> Result<(Whose, Head), Refusal> {
    for _ in 0..MOST_QUESTIONS {
        let since = match whose.clone() {
            Some(whose) => with(cache, move |cache| cache.reached(&whose)).await?,
            None => 0,
        };
        let own: Own = errand.get(&format!("{OWN}?since={since}")).await?;
        let (of, shown) = read(own)?;
        if shown.until <= since && since < shown.head.count {
            return Err(strange("its answers lead nowhere"));
        }
        let (head, until) = (shown.head.clone(), shown.until);
        let last = with(cache, {
            let of = of.clone();
            move |cache| {
                let last = cache.longest(&of.workspace)?;
                cache.keep(&of, &shown, SystemClock.now())?;
                Ok(last)
            }
        });
        if head.count < last.await? {
            tracing::warn!(
                "the relay's audit log is shorter than it was; run `secondkey audit reconcile`"
            );
        }
        if until >= head.count {
            return Ok((of, head));
        }
        whose = Some(of);
    }
    Err(strange("its audit log has no end"))
}

/// Takes apart what was shown. Whether it fits with what was shown before is not looked at here.
fn read(own: Own) -> Result<(Whose, Shown), Refusal> {
    #[derive(Deserialize)]
    struct Line {
        sequence: u64,
        body: Option<Box<RawValue>>,
        leaf: Digest,
        link: Digest,
    }
    let line = |raw: Box<RawValue>| {
        let line: Line = serde_json::from_str(raw.get()).ok()?;
        Some(Stored {
            sequence: line.sequence,
            body: line.body.map(|body| body.get().as_bytes().to_vec()),
            leaf: line.leaf,
            link: line.link,
        })
    };
    let entries = own.entries.into_iter().map(line).collect::<Option<_>>();
    let keys = own
        .keys
        .iter()
        .map(|text| key(text))
        .collect::<Option<Vec<_>>>();
    let (Some(entries), Some(keys)) = (entries, keys) else {
        return Err(strange("what it shows of its audit log cannot be read"));
    };
    let head = Head::open(&own.head, &keys).ok();
    let head = head.filter(|head| head.workspace == own.workspace);
    let head =
        head.ok_or_else(|| strange("the head of its audit log is not signed by its keys"))?;
    let shown = Shown {
        entries,
        until: own.until,
        note: own.head,
        head,
        keys,
    };
    let whose = Whose {
        workspace: own.workspace,
        principal: own.principal,
    };
    Ok((whose, shown))
}

fn key(text: &str) -> Option<VerifyingKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

fn strange(what: &str) -> Refusal {
    Refusal::new(Code::AgentUnavailable, format!("the relay cannot be followed: {what}"))
        .hint("install the same version of secondkey on both sides; if that is so, ask whoever runs the relay")
}
