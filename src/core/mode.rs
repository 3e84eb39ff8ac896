//! How SecondKey is set up, in the words of `docs/deploy.md`. Whoever comes to a relay over a bridge calls it *hybrid*;
//! the relay cannot tell, and says *fleet*.

/// Who runs what is decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// The executor is on this machine.
    Local,
    /// A relay decides, and executors dial in.
    Fleet,
    /// Several relays do, on one store.
    Cluster,
}

impl Mode {
    /// The name, in answers and in sentences.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Fleet => "fleet",
            Self::Cluster => "cluster",
        }
    }
}
