//! Keeps a target's capabilities current with their file, without a restart. A file that breaks changes
//! nothing: the last good one stays in force, and whoever asks is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use crate::config::{self, Surroundings, capability};
use crate::core::approval::Document;
use crate::core::capability::{
    Bundle, Capability, Offer, Rate, Remembered, Source, Voucher, WhenChanged,
};
use crate::core::engine::Engine;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::{Clock, Timestamp};
use crate::core::work::Digest;
use crate::policies::{PATIENCE_MS, Stamp, stamp};

/// Why one that waits to be accepted cannot be called.
const CHANGED: &str =
    "it is not what it was, and nobody has accepted it yet with `secondkey capability accept`";

/// The capabilities of each target that has any.
pub type ByTarget = BTreeMap<String, Arc<Capabilities>>;

/// The capabilities of one target, as their file says them now.
pub struct Capabilities {
    file: PathBuf,
    engine: Engine,
    /// What becomes of one that is not the one that was accepted.
    when_changed: WhenChanged,
    /// Who answers for what is said of them.
    voucher: Voucher,
    /// Where the secrets that the file refers to are found.
    around: Surroundings,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    /// Counts the changes of what is offered.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Held {
    bundle: Arc<Bundle>,
    /// The state of the file that was read last, whether or not it was good.
    seen: Option<Stamp>,
    looked_at: Timestamp,
    problem: Option<String>,
    /// What cannot be called now, and why.
    withdrawn: BTreeMap<String, String>,
    /// What was accepted, where anything is remembered.
    accepted: BTreeMap<String, Option<Digest>>,
    /// Those that are not what was accepted.
    changed: BTreeSet<String>,
    /// What all of it comes to: made once, because every call looks at it.
    offers: Arc<[Arc<Offer>]>,
    buckets: HashMap<String, Bucket>,
}

/// How often a capability may be called just now.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of calls.
    left: u64,
    at: Timestamp,
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capabilities")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Held {
    /// Works out which have changed, and what is offered.
    fn make_offers(&mut self, voucher: &Voucher, when_changed: WhenChanged) {
        let known = &self.accepted;
        // Where nothing is remembered everything is seen for the first time.
        let differs = |one: &Capability| {
            let accepted = known.get(one.name.as_str());
            accepted.map_or(!known.is_empty(), |it| *it != Some(one.digest()))
        };
        let changed = self.bundle.iter().filter(|one| differs(one));
        self.changed = changed.map(|one| one.name.as_str().to_owned()).collect();
        let mut reasons = self.withdrawn.clone();
        if when_changed == WhenChanged::Ask {
            let waiting = self.changed.iter().cloned();
            reasons.extend(waiting.map(|name| (name, CHANGED.to_owned())));
        }
        self.offers = self.bundle.offers(voucher, &reasons, &self.changed);
    }
}

impl Capabilities {
    /// The capabilities in a file, which has to be good now, for a target of this engine.
    pub fn follow(
        file: PathBuf,
        (engine, when_changed, voucher): (Engine, WhenChanged, Voucher),
        around: Surroundings,
        (clock, changes): (Arc<dyn Clock>, watch::Sender<u64>),
    ) -> Result<Self, String> {
        let seen = stamp(&file).ok();
        let bundle = read(&file, engine, &around)?;
        let mut held = Held {
            bundle: Arc::new(bundle),
            seen,
            looked_at: clock.now(),
            problem: None,
            withdrawn: BTreeMap::new(),
            accepted: BTreeMap::new(),
            changed: BTreeSet::new(),
            offers: Arc::default(),
            buckets: HashMap::new(),
        };
        held.make_offers(&voucher, when_changed);
        Ok(Self {
            held: Mutex::new(held),
            when_changed,
            voucher,
            file,
            engine,
            around,
            clock,
            changes,
        })
    }

    /// The bundle in force now.
    pub fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.current().bundle)
    }

    /// What is offered now.
    pub fn offers(&self) -> Arc<[Arc<Offer>]> {
        Arc::clone(&self.current().offers)
    }

    /// The capability of this name, if the bundle in force is the one that is meant, and it is not withdrawn.
    pub fn find(&self, name: &str, bundle: &Digest) -> Result<Arc<Capability>, Refusal> {
        let held = self.current();
        let capability = held.bundle.get(name).ok_or_else(|| unknown(name))?;
        if held.bundle.digest() != *bundle {
            let message =
                format!("the capability `{name}` is not what it was: its file has changed");
            return Err(Refusal::new(Code::UnknownCapability, message)
                .hint("list the capabilities again, look at what it is now, and call it anew"));
        }
        if let Some(why) = held.withdrawn.get(name) {
            return Err(withdrawn(name, why));
        }
        if self.when_changed == WhenChanged::Ask && held.changed.contains(name) {
            return Err(withdrawn(name, CHANGED));
        }
        Ok(Arc::clone(capability))
    }

    /// What is offered under a name, if the bundle in force is the one that is meant.
    pub fn offer(&self, name: &str, bundle: &Digest) -> Result<Arc<Offer>, Refusal> {
        let offers = self.offers();
        let mut all = offers.iter();
        let found = all.find(|one| one.said.contract.name.as_str() == name);
        let found = found.filter(|one| one.said.bundle == *bundle);
        found.map(Arc::clone).ok_or_else(|| unknown(name))
    }

    /// What becomes of a capability that is not the one that was accepted.
    pub fn when_changed(&self) -> WhenChanged {
        self.when_changed
    }

    /// Takes note of what was accepted. Whoever looks on is told of a change.
    pub fn remember(&self, known: &[Remembered]) {
        let accepted = known.iter().map(|one| (one.name.clone(), one.before()));
        let accepted: BTreeMap<_, _> = accepted.collect();
        let mut held = self.lock();
        let before = held.changed.clone();
        held.accepted = accepted;
        held.make_offers(&self.voucher, self.when_changed);
        for name in held.changed.difference(&before) {
            tracing::warn!(capability = %name, "it is not what it was");
        }
        if held.changed != before {
            drop(held);
            self.tell();
        }
    }

    /// The secret behind a reference in the file.
    pub fn secret(&self, reference: &str) -> Option<String> {
        secret(reference, &self.file, &self.around).ok()
    }

    /// Counts a call of a capability whose calls are limited.
    pub fn count(&self, name: &str, rate: Rate) -> Result<(), Refusal> {
        let now = self.clock.now();
        let mut held = self.lock();
        let full = u64::from(rate.burst).saturating_mul(1_000);
        let bucket = held.buckets.entry(name.to_owned()).or_insert(Bucket {
            left: full,
            at: now,
        });
        let passed = now.unix_ms().saturating_sub(bucket.at.unix_ms());
        let passed = u64::try_from(passed).unwrap_or(0);
        let earned = passed
            .saturating_mul(u64::from(rate.requests))
            .saturating_mul(1_000)
            / rate.per_ms.max(1);
        if earned > 0 {
            bucket.left = bucket.left.saturating_add(earned).min(full);
            bucket.at = now;
        }
        if bucket.left < 1_000 {
            let message = format!(
                "`{name}` may be called {} times in {} ms, by all callers together",
                rate.requests, rate.per_ms
            );
            return Err(Refusal::new(Code::LimitReached, message).hint("call it again later"));
        }
        bucket.left -= 1_000;
        Ok(())
    }

    /// Takes note of what cannot be called now, and why. Whoever looks on is told of a change.
    pub fn withdraw(&self, withdrawn: BTreeMap<String, String>) {
        let mut held = self.lock();
        if held.withdrawn != withdrawn {
            for (name, why) in &withdrawn {
                if held.withdrawn.get(name) != Some(why) {
                    tracing::warn!(capability = %name, "withdrawn: {why}");
                }
            }
            for name in held
                .withdrawn
                .keys()
                .filter(|name| !withdrawn.contains_key(*name))
            {
                tracing::info!(capability = %name, "offered again");
            }
            held.withdrawn = withdrawn;
            held.make_offers(&self.voucher, self.when_changed);
            drop(held);
            self.tell();
        }
    }

    /// What cannot be called now, and why.
    pub fn withdrawn(&self) -> BTreeMap<String, String> {
        self.current().withdrawn.clone()
    }

    /// What is wrong with the file as it is now, while the last good one stays in force.
    pub fn problem(&self) -> Option<String> {
        self.current().problem.clone()
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is held, after a look at the file if the last one is a while ago.
    fn current(&self) -> MutexGuard<'_, Held> {
        let mut held = self.lock();
        let now = self.clock.now();
        let age = now.unix_ms().saturating_sub(held.looked_at.unix_ms());
        if (0..PATIENCE_MS).contains(&age) {
            return held;
        }
        held.looked_at = now;
        let seen = stamp(&self.file).ok();
        if seen.is_some() && seen == held.seen {
            return held;
        }
        held.seen = seen;
        match read(&self.file, self.engine, &self.around) {
            Ok(bundle) => {
                held.problem = None;
                if bundle.digest() != held.bundle.digest() {
                    tracing::info!(file = %self.file.display(), digest = %bundle.digest(), "the capabilities have changed");
                    held.bundle = Arc::new(bundle);
                    held.withdrawn.clear();
                    held.make_offers(&self.voucher, self.when_changed);
                    self.tell();
                }
            }
            Err(problem) => {
                if held.problem.as_ref() != Some(&problem) {
                    tracing::error!(
                        file = %self.file.display(),
                        "the file of capabilities is broken; the last good one stays in force:\n{problem}"
                    );
                }
                held.problem = Some(problem);
            }
        }
        held
    }
}

/// The statement of the capability that a document names, for those who decide about it: as the agent would run it,
/// or why it would not.
pub fn statement_behind(all: &ByTarget, document: &Document) -> Result<String, Refusal> {
    let Some(called) = &document.capability else {
        let sentence = "this request calls no capability; its statement is part of it";
        return Err(Refusal::new(Code::InvalidArgument, sentence));
    };
    let all = all.get(&document.target);
    let all = all.ok_or_else(|| unknown(&called.name))?;
    Ok(all.find(&called.name, &called.bundle)?.sql.clone())
}

/// There is no capability of this name.
pub fn unknown(name: &str) -> Refusal {
    let sentence = format!("there is no capability `{}` here", name.escape_debug());
    Refusal::new(Code::UnknownCapability, sentence)
        .hint("list the capabilities to see what there is")
}

/// The refusal of a capability that is withdrawn for now.
pub fn withdrawn(name: &str, why: &str) -> Refusal {
    let sentence = format!("the capability `{name}` is withdrawn for now: {why}");
    Refusal::new(Code::CapabilityWithdrawn, sentence)
        .hint("it comes back once that is no longer so; tell the person who looks after it")
}

/// Reads a file and checks that its secrets are there.
fn read(file: &Path, engine: Engine, around: &Surroundings) -> Result<Bundle, String> {
    let loaded = capability::load(file, engine).map_err(|problems| problems.to_string())?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for capability in loaded.bundle.iter() {
        for parameter in &capability.params {
            if let Source::Secret(reference) = &parameter.source {
                secret(reference, file, around).map_err(|refusal| {
                    format!(
                        "{}: the secret `{}` of `{}`: {refusal}",
                        file.display(),
                        parameter.name,
                        capability.name
                    )
                })?;
            }
        }
    }
    Ok(loaded.bundle)
}

fn secret(reference: &str, file: &Path, around: &Surroundings) -> Result<String, Refusal> {
    let mut around = around.clone();
    if let Some(folder) = file.parent() {
        folder.clone_into(&mut around.folder);
    }
    let found = config::secret_of(reference, &around)?;
    Ok(found.expose_secret().to_owned())
}
