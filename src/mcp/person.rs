//! The person in front of a client: opening a request's page there, where the client can.
//!
//! Both generations of the protocol know *elicitation by URL*. Under 2025-11-25 the server asks in the
//! midst of a call (`elicitation/create`, mode `url`); under 2026-07-28 the call is answered with what is
//! asked for, and made again with what came of it. Either way the link carries no authority, and what a
//! client answers decides nothing: a program says it, and programs can be told what to say.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use rmcp::RoleServer;
use rmcp::model::{
    ClientResult, ElicitRequest, ElicitRequestParams, ElicitationAction, InputRequest,
    InputRequiredResult, InputResponses, ProtocolVersion, ServerRequest,
};
use rmcp::service::{PeerRequestOptions, RequestContext};

use crate::broker::approvals::{Page, needs};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Request;

/// What the one question of ours is called in an answer that asks for input.
const QUESTION: &str = "page";
/// Requests whose page is remembered to have been offered; of more, the oldest are forgotten.
const REMEMBERED: usize = 10_000;

/// How a client can be made to open a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opens {
    /// It cannot: a link in the answer has to do.
    Never,
    /// By asking it in the midst of a call.
    Asked,
    /// By an answer that asks for it; the call is made again then.
    Answered,
}

/// What a client said that it can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    /// How it opens a page.
    pub(super) opens: Opens,
    /// Whether it takes a task for an answer.
    pub(super) tasks: bool,
}

impl Abilities {
    /// The same for a client that no page can be opened at.
    pub(super) fn without_a_page(self) -> Self {
        Self {
            opens: Opens::Never,
            ..self
        }
    }

    /// Those of the client that makes this call.
    pub(super) fn of(context: &RequestContext<RoleServer>) -> Self {
        let declared = context.client_capabilities().unwrap_or_default();
        let by_url = declared
            .elicitation
            .as_ref()
            .is_some_and(|elicitation| elicitation.url.is_some());
        let modern = context
            .protocol_version()
            .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        Self {
            opens: match (by_url, modern) {
                (false, _) => Opens::Never,
                (true, false) => Opens::Asked,
                (true, true) => Opens::Answered,
            },
            tasks: declared.supports_tasks(),
        }
    }
}

/// The requests whose page this process has offered to a client: each is offered once.
#[derive(Debug, Default)]
pub(super) struct Offers(Mutex<BTreeSet<RequestId>>);

impl Offers {
    /// Notes that a request's page is offered; false if it was before.
    pub(super) fn note(&self, id: &RequestId) -> bool {
        let mut offered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = offered.insert(id.clone());
        // Ids begin with the time.
        while offered.len() > REMEMBERED {
            offered.pop_first();
        }
        new
    }

    /// Whether a request's page was offered.
    pub(super) fn has(&self, id: &RequestId) -> bool {
        let offered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offered.contains(id)
    }
}

/// What a client is to show a person: where to look, and nothing that could be decided on unseen.
fn question(request: &Request, page: &Page) -> ElicitRequestParams {
    let asked = request.asked();
    let message = format!(
        "A statement on `{}` ({}, effect `{}`) waits for {}. Open its page to see all of it and to decide \
         there; what you answer here decides nothing.",
        asked.target,
        asked.environment,
        asked.effect,
        needs(&asked.requirements),
    );
    ElicitRequestParams::UrlElicitationParams {
        meta: None,
        message,
        url: page.of(&asked.id),
        elicitation_id: asked.id.as_str().to_owned(),
    }
}

/// What a client of the newer generation is asked for, in the form that answers and tasks carry.
pub(super) fn questions(request: &Request, page: &Page) -> BTreeMap<String, InputRequest> {
    let mut question = question(request, page);
    if let ElicitRequestParams::UrlElicitationParams { elicitation_id, .. } = &mut question {
        // 2026-07-28 has no such field.
        elicitation_id.clear();
    }
    let question = InputRequest::Elicitation(ElicitRequest::new(question));
    BTreeMap::from([(QUESTION.to_owned(), question)])
}

/// The answer that asks a client of the newer generation to open the page and to call again. The
/// state is the request's id: what may be done with it is looked up here, by who calls.
pub(super) fn input_required(request: &Request, page: &Page) -> InputRequiredResult {
    let state = request.id().as_str().to_owned();
    InputRequiredResult::new(Some(questions(request, page)), Some(state))
}

/// The request that a state handed back by a client speaks of. It is a claim like any other.
pub(super) fn resumes(state: &str) -> Result<RequestId, Refusal> {
    state.parse().map_err(|_| {
        Refusal::new(Code::InvalidArgument, "the `requestState` is none of ours")
            .hint("make the call anew without it")
    })
}

/// Whether a client says that the page was opened.
pub(super) fn says_opened(responses: Option<&InputResponses>) -> bool {
    let answer = responses.and_then(|responses| responses.get(QUESTION));
    answer.is_some_and(|answer| {
        answer.get("action").and_then(serde_json::Value::as_str) == Some("accept")
    })
}

/// What came first while a client was asked to open a page.
#[derive(Debug)]
pub(super) enum Met<T> {
    /// What the call waits for. The question was taken back.
    Over(T),
    /// The client's answer, or none: whether it says that the page was opened.
    Answer {
        /// It says so.
        opened: bool,
    },
}

/// Asks a client of the older generation to open the page while `meanwhile` goes on, and says which
/// of the two came first.
pub(super) async fn ask_while<T>(
    context: &RequestContext<RoleServer>,
    (request, page): (&Request, &Page),
    meanwhile: Pin<&mut impl Future<Output = T>>,
) -> Met<T> {
    let question = ServerRequest::ElicitRequest(ElicitRequest::new(question(request, page)));
    let options = PeerRequestOptions::no_options();
    let sent = context.peer.send_cancellable_request(question, options);
    let mut asked = match sent.await {
        Ok(asked) => asked,
        Err(error) => {
            tracing::debug!(%error, "the client was not asked to open the page");
            return Met::Answer { opened: false };
        }
    };
    tokio::select! {
        answer = &mut asked.rx => Met::Answer {
            opened: matches!(
                answer,
                Ok(Ok(ClientResult::ElicitResult(result))) if result.action == ElicitationAction::Accept
            ),
        },
        over = meanwhile => {
            let why = "the request no longer waits in this call".to_owned();
            if let Err(error) = asked.cancel(Some(why)).await {
                tracing::debug!(%error, "the question was not taken back");
            }
            Met::Over(over)
        }
    }
}
