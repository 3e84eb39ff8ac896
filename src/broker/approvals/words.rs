//! What a model is told about requests that wait for people.

use crate::core::ids::RequestId;
use crate::core::policy::Requirement;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Request, Status};

/// What a model is told of a request that does not run now. `page` is where people decide.
pub fn standing(request: &Request, page: &Page) -> Refusal {
    let id = request.id();
    let asked = request.asked();
    let comments = || {
        let votes = request.state().votes().iter();
        let said = votes.filter_map(|vote| {
            let comment = vote.comment.as_deref()?;
            Some(format!("; {} says: {comment}", vote.signer))
        });
        said.collect::<String>()
    };
    match request.status() {
        Status::Submitted | Status::Measuring | Status::Pending => Refusal::new(
            Code::ApprovalPending,
            format!(
                "a person has to approve this on `{}` first (effect `{}`); request {id} waits for them",
                asked.target, asked.effect
            ),
        )
        .hint(format!(
            "tell the person: it needs {}; they {}. Then call \
             `request` with action `wait` and this id: that runs it and gives its result. Do not send the statement again",
            needs(&asked.requirements),
            page.how(id)
        )),
        Status::Rejected => Refusal::new(
            Code::ApprovalRejected,
            format!("request {id} was rejected{}", comments()),
        )
        .hint("ask the person what they would agree to"),
        Status::Expired => Refusal::new(
            Code::RequestState,
            format!("the time of request {id} ran out before it was approved and run"),
        )
        .hint("make the call again to ask anew"),
        status @ (Status::Denied
        | Status::Approved
        | Status::Dispatched
        | Status::Running
        | Status::Succeeded
        | Status::Failed
        | Status::Cancelled
        | Status::Unknown) => Refusal::new(
            Code::RequestState,
            format!("request {id} is {status}; it runs once"),
        )
        .hint("make the call again to ask anew, if that is what you want"),
    }
}

/// Where people see what waits, and decide.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Page {
    /// On this machine.
    #[default]
    Here,
    /// On the relay's machine alone.
    AtTheRelay,
    /// At an origin of the relay's, for everybody.
    Public(String),
}

impl Page {
    /// The page of a request.
    pub fn of(&self, id: &RequestId) -> String {
        let origin = match self {
            Self::Here | Self::AtTheRelay => "http://localhost:7321",
            Self::Public(origin) => origin,
        };
        format!("{origin}/r/{id}")
    }

    /// Whether the browser of whoever asks can open it.
    pub fn can_be_opened(&self) -> bool {
        match self {
            Self::Here | Self::Public(_) => true,
            Self::AtTheRelay => false,
        }
    }

    /// What people do about a request.
    fn how(&self, id: &RequestId) -> String {
        let page = self.of(id);
        match self {
            Self::Here => format!("run `secondkey approve {id}` or open {page}"),
            Self::AtTheRelay => {
                format!("run `secondkey approve {id}` with `--relay` and the relay's address")
            }
            Self::Public(origin) => {
                format!("open {page} or run `secondkey approve {id} --relay {origin}`")
            }
        }
    }
}

/// Such as "1 of dba, then 1 of owner".
pub fn needs(requirements: &str) -> String {
    let parsed: Vec<Requirement> = serde_json::from_str(requirements).unwrap_or_default();
    let said: Vec<String> = parsed.iter().map(ToString::to_string).collect();
    if said.is_empty() {
        "somebody".to_owned()
    } else {
        said.join(" and ")
    }
}

/// Where nobody is trusted to approve anything yet: what to run first.
pub(super) fn nobody_yet(needs: Refusal) -> Refusal {
    let hint = needs.hint.clone().unwrap_or_default();
    needs.hint(format!(
        "nobody can approve yet: a person runs `secondkey trust init` once; or {hint}"
    ))
}

/// The refusal for a request that this caller has none of.
pub fn unknown(id: &RequestId) -> Refusal {
    Refusal::new(
        Code::UnknownRequest,
        format!("there is no request {id} of yours"),
    )
    .hint("`request` with action `list` shows yours")
}
