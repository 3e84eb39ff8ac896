//! The checks of whoever counts approvals.

/// Why a verified verdict counts for nothing, or those that count are not enough. Each names the check
/// that failed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Uncounted {
    /// It rejects.
    #[error("only an approval is counted as one")]
    Decision,
    /// The policy lets nobody approve the work.
    #[error("no approval changes what the policy forbids")]
    Forbidden,
    /// The signer is in none of the groups that are asked.
    #[error("the signer is not of those who are asked")]
    Group,
    /// A vote with this key was counted before.
    #[error("each key is counted once")]
    Key,
    /// The signer is a program.
    #[error("only a human can approve")]
    NotHuman,
    /// The signer asked for it.
    #[error("nobody approves their own request")]
    OwnRequest,
    /// A vote of this person's was counted before.
    #[error("each person is counted once")]
    Person,
    /// The key proves less than is asked for.
    #[error("the key proves less than is asked for")]
    Presence,
    /// Fewer count than are asked for.
    #[error("fewer approvals count than are asked for")]
    Quorum,
    /// It was given on another surface than those that are asked for.
    #[error("the surface is not one that is asked for")]
    Surface,
}
