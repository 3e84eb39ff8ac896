//! The relay's page for people's browsers: each workspace has its own, and the session says which one is meant.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::task::spawn_blocking;

use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::relay::clients::Client;
use crate::relay::known::still_known;
use crate::relay::{Relay, Workspace, address, nothing_here};
use crate::store::State as Store;
use crate::store::page::PageLock;
use crate::web::{Address, Site, Visitor, router};
use crate::wire::people::Reply;

/// The page of one workspace.
#[derive(Debug)]
pub(super) struct Page {
    site: Site,
    pages: TowerToHyperService<Router>,
    #[expect(
        dead_code,
        reason = "held for its drop: until then others of this folder name this page in their links"
    )]
    lock: Option<PageLock>,
}

impl Page {
    /// At this address.
    pub(super) fn new(state: &Store, address: &Address) -> Result<Self, Refusal> {
        let mut lock = state.lock_page()?;
        if let Some(lock) = &mut lock
            && let Err(error) = lock.announce(address.origin())
        {
            tracing::warn!(%error, "the page's address could not be written down");
        }
        let site = Site::of_relay(state.clone(), address.clone())?;
        Ok(Self {
            pages: TowerToHyperService::new(router(site.clone())),
            site,
            lock,
        })
    }
}

/// Answers a browser.
pub(super) async fn answer(State(relay): State<Arc<Relay>>, mut request: Request) -> Response {
    let workspace = meant(&relay, &request);
    let Some(page) = &workspace.page else {
        return nothing_here().await.into_response();
    };
    if let Some(visitor) = page.site.visitor(request.headers()) {
        let from = address::of(&request, &relay.proxies);
        if !still_known(&workspace, (&visitor.key, &visitor.principal), from).await {
            request.headers_mut().remove(header::COOKIE);
        }
    }
    let Ok(response) = page.pages.call(request).await;
    response
}

/// The workspace whose page is meant, by the link or the session; else the first. Whether the browser may see it is
/// for that page to say.
fn meant(relay: &Relay, request: &Request) -> Arc<Workspace> {
    let first = relay.hall.first();
    let query = request.uri().query().unwrap_or_default();
    let mut fields = url::form_urlencoded::parse(query.as_bytes());
    let by_link = fields.find(|(name, _)| request.uri().path() == "/enter" && name == "workspace");
    let claimed = match by_link {
        Some((_, name)) => Some(name.into_owned()),
        None => (first.page.as_ref()).and_then(|page| page.site.claimed(request.headers())),
    };
    let all = relay.hall.all();
    let named = claimed.and_then(|name| {
        all.into_iter()
            .find(|one| one.state.log().workspace() == name)
    });
    named.unwrap_or_else(|| Arc::clone(first))
}

/// A link that lets a person's browser in.
pub(super) async fn link(
    workspace: &Arc<Workspace>,
    client: &Client,
    request: Option<RequestId>,
) -> Result<Reply, Refusal> {
    if workspace.page.is_none() {
        let sentence = "this relay serves no page";
        return Err(Refusal::new(Code::InvalidArgument, sentence).hint(
            "whoever runs it can start it with `--page`; `secondkey approve --relay` does without",
        ));
    }
    let Some(key) = client.key() else {
        let sentence = "a link to the page is made for whoever comes with an API key";
        return Err(Refusal::new(Code::Forbidden, sentence)
            .hint("ask for a key that is made for `human:` and your name"));
    };
    let visitor = Visitor {
        workspace: workspace.state.log().workspace().to_owned(),
        principal: client.caller.principal.clone(),
        key: key.to_owned(),
    };
    let workspace = Arc::clone(workspace);
    let made = spawn_blocking(move || {
        let link = |page: &Page| page.site.link(&visitor, request.as_ref());
        workspace.page.as_ref().map(link).transpose()
    });
    let made = made.await.ok().transpose()?.flatten();
    let failed = || Refusal::new(Code::Internal, "the link could not be made");
    made.map(Reply::Link).ok_or_else(failed)
}
