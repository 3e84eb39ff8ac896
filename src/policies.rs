//! Keeps a policy current with its file and with the trust file that its groups are checked against,
//! without a restart. A file that breaks changes nothing: the last good policy stays in force, and
//! whoever asks is told.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::core::policy::PolicySet;
use crate::core::time::{Clock, Timestamp};
use crate::core::trust::TrustFile;

/// The files are looked at no more often than this, in milliseconds.
pub(crate) const PATIENCE_MS: i64 = 1_000;

/// One policy in force: a file's, or one that ships with the program.
#[derive(Debug)]
pub struct Policies {
    source: Source,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
}

/// Where a policy comes from.
#[derive(Debug)]
enum Source {
    BuiltIn,
    File(PathBuf, Trusted),
}

/// Gives the trust file as it is now; nothing where there is none, or where it does not count.
pub struct Trusted(Box<dyn Fn() -> Option<Arc<TrustFile>> + Send + Sync>);

impl Trusted {
    /// From whoever knows.
    pub fn by(look: impl Fn() -> Option<Arc<TrustFile>> + Send + Sync + 'static) -> Self {
        Self(Box::new(look))
    }

    fn now(&self) -> Option<Arc<TrustFile>> {
        (self.0)()
    }
}

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trusted")
    }
}

/// What is known of the file.
#[derive(Debug)]
struct Held {
    policy: Arc<PolicySet>,
    /// The state of the file that was read last, whether or not it was a policy.
    seen: Option<Stamp>,
    /// The trust file that its groups were checked against.
    trust: Option<Arc<TrustFile>>,
    looked_at: Timestamp,
    problem: Option<String>,
}

/// Tells one state of a file from the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

/// A policy file that cannot be used.
#[derive(Debug)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

impl Policies {
    /// A policy that ships with the program and never changes.
    pub fn built_in(policy: Arc<PolicySet>, clock: Arc<dyn Clock>) -> Self {
        Self {
            source: Source::BuiltIn,
            held: Mutex::new(Held {
                policy,
                seen: None,
                trust: None,
                looked_at: clock.now(),
                problem: None,
            }),
            clock,
        }
    }

    /// The policy in a file, which has to be good now, and to ask only groups that `trusted` knows.
    pub fn follow(
        file: PathBuf,
        trusted: Trusted,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Unusable> {
        let seen = stamp(&file).ok();
        let trust = trusted.now();
        let policy = read(&file, trust.as_deref()).map_err(Unusable)?;
        Ok(Self {
            source: Source::File(file, trusted),
            held: Mutex::new(Held {
                policy: Arc::new(policy),
                seen,
                trust,
                looked_at: clock.now(),
                problem: None,
            }),
            clock,
        })
    }

    /// The policy in force now.
    pub fn current(&self) -> Arc<PolicySet> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let age = now.unix_ms().saturating_sub(held.looked_at.unix_ms());
        if let Source::File(file, trusted) = &self.source
            && !(0..PATIENCE_MS).contains(&age)
        {
            held.looked_at = now;
            held.look(file, trusted.now());
        }
        Arc::clone(&held.policy)
    }

    /// What is wrong with the file as it is now, while the last good policy stays in force.
    pub fn problem(&self) -> Option<String> {
        drop(self.current());
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.problem.clone()
    }

    /// The file, where there is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::BuiltIn => None,
            Source::File(file, _) => Some(file),
        }
    }
}

impl Held {
    /// Reads the file again if it, or the trust file, is not what it was when it was read last.
    fn look(&mut self, file: &Path, trust: Option<Arc<TrustFile>>) {
        let seen = stamp(file).ok();
        if seen.is_some() && seen == self.seen && trust == self.trust {
            return;
        }
        let read = read(file, trust.as_deref());
        self.trust = trust;
        match read {
            Ok(policy) => {
                self.seen = seen;
                self.problem = None;
                if policy.digest() != self.policy.digest() {
                    tracing::info!(file = %file.display(), digest = %policy.digest(), "the policy has changed");
                }
                self.policy = Arc::new(policy);
            }
            Err(problem) => {
                self.seen = seen;
                if self.problem.as_ref() != Some(&problem) {
                    tracing::error!(
                        file = %file.display(),
                        "the policy file is broken; the last good policy stays in force:\n{problem}"
                    );
                }
                self.problem = Some(problem);
            }
        }
    }
}

/// The state of a file now.
pub(crate) fn stamp(file: &Path) -> std::io::Result<Stamp> {
    let facts = fs::metadata(file)?;
    Ok(Stamp {
        modified: facts.modified().ok(),
        bytes: facts.len(),
    })
}

fn read(file: &Path, trust: Option<&TrustFile>) -> Result<PolicySet, String> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file)
        .map_err(|error| format!("{name}: the policy cannot be read: {}", error.kind()))?;
    PolicySet::load_under(&text, &name, trust).map_err(|problems| problems.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::core::policy::STARTER;

    fn nobody() -> Trusted {
        Trusted::by(|| None)
    }

    #[derive(Debug, Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn a_changed_file_is_read_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.cedar");
        fs::write(&file, STARTER).unwrap();
        let hand = Arc::new(Hand::default());
        let clock = Arc::clone(&hand) as Arc<dyn Clock>;
        let policies = Policies::follow(file.clone(), nobody(), clock).unwrap();
        let first = policies.current().digest();
        assert_eq!(first, PolicySet::starter().digest());

        let second = "permit (principal, action, resource);";
        fs::write(&file, second).unwrap();
        assert_eq!(policies.current().digest(), first, "not looked at yet");
        hand.0.store(1_000, Ordering::SeqCst);
        let changed = policies.current();
        assert_ne!(changed.digest(), first);
        assert_eq!((changed.len(), policies.problem()), (1, None));

        fs::write(&file, "permit (principal, action, resource").unwrap();
        hand.0.store(2_000, Ordering::SeqCst);
        assert_eq!(policies.current().digest(), changed.digest());
        let problem = policies.problem().unwrap();
        assert!(problem.contains("policy.cedar:1:"), "{problem}");

        fs::remove_file(&file).unwrap();
        hand.0.store(3_000, Ordering::SeqCst);
        assert_eq!(policies.current().digest(), changed.digest());
        assert!(policies.problem().unwrap().contains("cannot be read"));

        fs::write(&file, STARTER).unwrap();
        hand.0.store(4_000, Ordering::SeqCst);
        assert_eq!(policies.current().digest(), first);
        assert_eq!(policies.problem(), None);
    }

    #[test]
    fn a_file_that_is_broken_from_the_start_is_no_policy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.cedar");
        let hand = Arc::new(Hand::default());
        let clock = Arc::clone(&hand) as Arc<dyn Clock>;
        assert!(Policies::follow(file.clone(), nobody(), clock).is_err());
        fs::write(&file, "forbid").unwrap();
        assert!(Policies::follow(file, nobody(), hand).is_err());
    }
}
