//! Which events people can be told of.

use std::fmt;

use crate::core::audit::EventKind;
use crate::core::ids::RequestId;

/// Something that people can be told of. Its written form is that of the audit log's entry.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Event {
    /// As many people as the policy wanted have agreed.
    Approved,
    /// Its time ran out.
    Expired,
    /// A request waits for people.
    Pending,
    /// People said no.
    Rejected,
    /// Somebody broke the glass, and somebody else is to look at it.
    ReviewOpened,
}

impl Event {
    /// Every event there is.
    pub const ALL: [Self; 5] = [
        Self::Approved,
        Self::Expired,
        Self::Pending,
        Self::Rejected,
        Self::ReviewOpened,
    ];

    /// The event behind an entry of the audit log, if people can be told of it.
    pub fn of(kind: EventKind) -> Option<Self> {
        Self::named(kind.as_str())
    }

    /// The event of this written form.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == text)
    }

    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => EventKind::RequestApproved.as_str(),
            Self::Expired => EventKind::RequestExpired.as_str(),
            Self::Pending => EventKind::RequestPending.as_str(),
            Self::Rejected => EventKind::RequestRejected.as_str(),
            Self::ReviewOpened => EventKind::ReviewOpened.as_str(),
        }
    }

    /// What happened, for people.
    pub const fn headline(self) -> &'static str {
        match self {
            Self::Approved => "A request was approved",
            Self::Expired => "A request's time ran out",
            Self::Pending => "A request waits for approval",
            Self::Rejected => "A request was rejected",
            Self::ReviewOpened => "The glass was broken; a review is open",
        }
    }

    /// The id of the message about this event of a request. It is the same however often and by
    /// whichever process it is sent, so that a receiver can drop what it has seen. No event happens
    /// twice to a request. There is no full stop in it, which separates it from what else is signed.
    pub fn message_id(self, request: &RequestId) -> String {
        let word = self.as_str().rsplit('.').next().unwrap_or_default();
        let request = request.as_str();
        format!(
            "msg_{}_{word}",
            request.strip_prefix("req_").unwrap_or(request)
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_one_of_the_log_and_has_an_id_of_its_own() {
        let request = RequestId::new(1_700_000_000_000, [7; 10]);
        let mut ids = std::collections::BTreeSet::new();
        for event in Event::ALL {
            assert_eq!(Event::named(event.as_str()), Some(event));
            let id = event.message_id(&request);
            assert!(!id.contains('.') && id.contains("018bcfe56800"), "{id}");
            assert!(ids.insert(id));
        }
        assert_eq!(Event::of(EventKind::VoteCast), None);
    }
}
