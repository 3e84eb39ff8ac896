//! What can happen, by its dotted name.

use std::fmt;

/// Declares [`EventKind`] with the written form of each kind.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What happened. The written form never changes its meaning.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum EventKind {
            $($(#[$doc])* $name,)*
        }

        impl EventKind {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The written form.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// An agent came in by its dialed connection.
    AgentConnected = "agent.connected",
    /// An agent's connection ended.
    AgentDisconnected = "agent.disconnected",
    /// Somebody let an agent run nothing new.
    AgentFrozen = "agent.frozen",
    /// Somebody made a token by which an agent can join a relay.
    AgentInvited = "agent.invited",
    /// An agent joined a relay.
    AgentJoined = "agent.joined",
    /// Whoever dialed a relay as an agent was turned away.
    AgentRefused = "agent.refused",
    /// Somebody put an agent out of a relay.
    AgentRemoved = "agent.removed",
    /// Somebody let a frozen agent work again.
    AgentThawed = "agent.thawed",
    /// Somebody said from which addresses a workspace may be used.
    AddressesAllowed = "addresses.allowed",
    /// An API key of a relay was made.
    ApiKeyIssued = "api_key.issued",
    /// Whoever showed an API key was turned away: its holder is suspended, or it is not for that address.
    ApiKeyRefused = "api_key.refused",
    /// An API key of a relay was ended.
    ApiKeyRevoked = "api_key.revoked",
    /// Somebody who may approve let a changed capability be called as it is.
    CapabilityAccepted = "capability.accepted",
    /// An acceptance of a changed capability was refused.
    CapabilityAcceptanceRefused = "capability.acceptance_refused",
    /// A capability was found to be another than the one that was known.
    CapabilityChanged = "capability.changed",
    /// Somebody at an agent tried a capability out, in a transaction that was rolled back.
    CapabilityRehearsed = "capability.rehearsed",
    /// Somebody read names and types out of a target's catalogue.
    CatalogueRead = "catalogue.read",
    /// A user of this machine came in by the agent's socket.
    ConnectionOpened = "connection.opened",
    /// A user of this machine was turned away at the agent's socket.
    ConnectionRefused = "connection.refused",
    /// Work was stopped, and nothing of it was committed.
    ExecutionCancelled = "execution.cancelled",
    /// Work ended in an error.
    ExecutionFailed = "execution.failed",
    /// The agent refused to run what the broker had allowed.
    ExecutionRefused = "execution.refused",
    /// The agent is about to run work: the intent.
    ExecutionStarted = "execution.started",
    /// Work ended well.
    ExecutionSucceeded = "execution.succeeded",
    /// The connection was lost; whether anything was committed is not known.
    ExecutionUnknown = "execution.unknown",
    /// Somebody asked whether everything is up.
    HealthChecked = "health.checked",
    /// A key was made.
    KeyCreated = "key.created",
    /// A key took another's place.
    KeyRotated = "key.rotated",
    /// A message to people was given up: nobody took it.
    NotificationAbandoned = "notification.abandoned",
    /// A message to people was delivered.
    NotificationDelivered = "notification.delivered",
    /// A message to people could not be delivered, and is tried again.
    NotificationFailed = "notification.failed",
    /// Somebody fetched a further page of a result.
    PageRead = "page.read",
    /// Somebody let a suspended principal go on.
    PrincipalResumed = "principal.resumed",
    /// Somebody ended all keys of a principal, for good.
    PrincipalRetired = "principal.retired",
    /// Somebody had the keys of a principal count for nothing, for now.
    PrincipalSuspended = "principal.suspended",
    /// The broker allowed work.
    RequestAllowed = "request.allowed",
    /// As many people as the policy wanted have agreed.
    RequestApproved = "request.approved",
    /// Somebody stopped a request before it was run.
    RequestCancelled = "request.cancelled",
    /// A token was signed for an approved request.
    RequestDispatched = "request.dispatched",
    /// A request's time ran out before it was run.
    RequestExpired = "request.expired",
    /// A token was not used in time; the approval stands.
    RequestLapsed = "request.lapsed",
    /// A request's effect is about to be measured.
    RequestMeasuring = "request.measuring",
    /// A request waits for people.
    RequestPending = "request.pending",
    /// The broker refused work.
    RequestRefused = "request.refused",
    /// People said no.
    RequestRejected = "request.rejected",
    /// A look-up has found how a run ended.
    RequestSettled = "request.settled",
    /// An agent goes on to the key that follows its relay's, which that one has signed.
    RelayFollowed = "relay.followed",
    /// An agent has joined a relay, whose orders it takes from then on.
    RelayPinned = "relay.pinned",
    /// Somebody asked for work that has a life of its own.
    RequestSubmitted = "request.submitted",
    /// Somebody else has reviewed work that broke the glass.
    ReviewClosed = "review.closed",
    /// Work that breaks the glass was begun: somebody else has to review it.
    ReviewOpened = "review.opened",
    /// Somebody's review was refused.
    ReviewRefused = "review.refused",
    /// A server process began.
    ServerStarted = "server.started",
    /// A server process ended in good order.
    ServerStopped = "server.stopped",
    /// Somebody made a backup of a relay.
    StateBackedUp = "state.backed_up",
    /// Somebody put a backup of a relay in its place.
    StateRestored = "state.restored",
    /// A trust file was pinned: from then on its signers count, and nobody else.
    TrustInstalled = "trust.installed",
    /// Somebody made a workspace of a relay.
    WorkspaceCreated = "workspace.created",
    /// Somebody took a workspace away from a relay.
    WorkspaceRemoved = "workspace.removed",
    /// A person's signed vote was counted.
    VoteCast = "vote.cast",
    /// Somebody's vote was refused.
    VoteRefused = "vote.refused",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_dotted_name_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), EventKind::ALL.len());
        assert!(names.iter().all(|name| name.split('.').count() == 2));
    }
}
