//! Who somebody is that comes over HTTP: what they show, and from where. This is the one place that knows what counts.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header;

use crate::core::audit::{Draft, EventKind};
use crate::core::life::Life;
use crate::core::oidc;
use crate::core::principal::Principal;
use crate::core::quota::Allowance;
use crate::core::refusal::{Code, Refusal};
use crate::mcp::http::bearer;
use crate::relay::clients::Client;
use crate::relay::discovery::{self, challenge};
use crate::relay::issuer::Unknown;
use crate::relay::rest::problem::{Fault, Problem};
use crate::relay::{Relay, Workspace, address};
use crate::store::members::Holder;

/// Whoever is known, and the workspace that they are of.
pub(super) type Known = (Arc<Workspace>, Client);

/// What a request shows, and where it comes from.
#[derive(Debug)]
pub(super) struct Shown {
    /// What follows `Bearer`; empty where nothing does.
    bearer: String,
    /// Whether there is an `Authorization` at all.
    pub(super) anything: bool,
    address: Option<IpAddr>,
    /// The name under which the relay was asked for.
    host: String,
}

impl Shown {
    /// By this request.
    pub(super) fn by(request: &Request, relay: &Relay) -> Self {
        Self {
            bearer: bearer(request.headers()).to_owned(),
            anything: request.headers().contains_key(header::AUTHORIZATION),
            address: address::of(request, &relay.proxies),
            host: discovery::host_of(request.headers()).to_owned(),
        }
    }
}

/// Whoever shows something that counts now, and from there: an API key, or a token of the identity provider.
pub(super) async fn known(relay: &Relay, shown: &Shown) -> Result<Known, Problem> {
    let address = shown.address;
    let found = match relay.hall.holder(&shown.bearer).await {
        Ok(found) => found.map(|(workspace, holder)| (workspace, holder, None)),
        Err(refusal) => {
            tracing::error!(%refusal, "the members cannot be read");
            return Err(refusal.into());
        }
    };
    let found = match found {
        Some(found) => Some(found),
        None => by_token(relay, shown).await?,
    };
    let Some((workspace, holder, until_ms)) = found else {
        return Err(unauthenticated(
            relay,
            shown,
            "the request shows no API key that counts".to_owned(),
        ));
    };
    if let Err(refusal) = may_come(&holder, address) {
        return Err(turned_away(&workspace, &holder, (refusal, address)).await);
    }
    let client = workspace.clients.of(holder, until_ms);
    Ok((workspace, client))
}

/// Whether whoever came by a key of this id is still somebody who may come, and from there. One that is not is on record.
pub(super) async fn still_known(
    workspace: &Workspace,
    (key, principal): (&str, &Principal),
    address: Option<IpAddr>,
) -> bool {
    let found = workspace.members.holder_of(key).await;
    let holder = match found {
        Ok(holder) => holder.filter(|holder| holder.principal == *principal),
        Err(refusal) => {
            tracing::error!(%refusal, "the members cannot be read");
            None
        }
    };
    let Some(holder) = holder else {
        return false;
    };
    match may_come(&holder, address) {
        Ok(()) => true,
        Err(refusal) => {
            drop(turned_away(workspace, &holder, (refusal, address)).await);
            false
        }
    }
}

/// Whoever it is may not do anything now.
pub(super) fn suspended(principal: &Principal) -> Refusal {
    let sentence = format!("`{principal}` is suspended");
    Refusal::new(Code::PrincipalSuspended, sentence).hint("ask whoever looks after the relay")
}

fn unauthenticated(relay: &Relay, shown: &Shown, sentence: String) -> Problem {
    Problem::of(Fault::Unauthenticated, sentence)
        .hint("send `Authorization: Bearer` with a key; a person gives out keys with `secondkey relay keys create`")
        .with(
            header::WWW_AUTHENTICATE,
            &challenge(relay, &shown.host, !shown.bearer.is_empty()),
        )
}

/// A workspace, whoever acts in it, and until when, unix milliseconds.
type Holding = (Arc<Workspace>, Holder, Option<i64>);

/// The workspace whose tokens this says to be one of; where it says none of theirs, the one that says what is wrong
/// with it. Nothing where what is shown is no token, or none counts.
fn meant(relay: &Relay, shown: &Shown) -> Result<Option<Arc<Workspace>>, Problem> {
    if !shown.bearer.contains('.') {
        return Ok(None);
    }
    let addressed = |workspace: &Arc<Workspace>| {
        let issuer = workspace.issuer.as_ref();
        issuer.is_some_and(|issuer| oidc::is_addressed(&shown.bearer, issuer.settings()))
    };
    let mut all = relay.hall.all().into_iter().filter(addressed);
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(Some(one)),
        (None, _) => Ok(discovery::described(relay, &shown.host)),
        (Some(_), Some(_)) => {
            let sentence = "two workspaces take the tokens of one issuer for one audience, so none of them counts";
            Err(Problem::of(Fault::IdentityUnavailable, sentence)
                .hint("whoever runs the relay has to give each workspace an audience of its own"))
        }
    }
}

/// Whoever a token speaks for, in the workspace that it is for; nothing where what is shown is none.
async fn by_token(relay: &Relay, shown: &Shown) -> Result<Option<Holding>, Problem> {
    let Some(workspace) = meant(relay, shown)? else {
        return Ok(None);
    };
    let Some(issuer) = &workspace.issuer else {
        return Ok(None);
    };
    let bearer = match issuer.bearer(&shown.bearer, workspace.state.now()).await {
        Ok(bearer) => bearer,
        Err(Unknown::NoKeys) => {
            let sentence =
                "the identity provider's keys are not to be had, so no token of it counts";
            return Err(Problem::of(Fault::IdentityUnavailable, sentence).hint(
                "try again in a minute; if that does not help, tell whoever runs the relay",
            ));
        }
        Err(Unknown::Rejected(why)) => {
            let sentence = format!("the token does not count: {why}");
            return Err(unauthenticated(relay, shown, sentence));
        }
    };
    let roles: Vec<&str> = bearer.roles.iter().map(String::as_str).collect();
    let (life, networks) = workspace.members.standing_of(&bearer.principal).await?;
    let holder = Holder {
        // No key has such an id. Other roles are another's rights.
        id: format!("token {} {}", bearer.principal, roles.join(",")),
        roles: bearer.roles.clone(),
        principal: bearer.principal,
        allowance: Allowance::DEFAULT,
        life,
        from: [Vec::new(), networks],
    };
    let until_ms = bearer.expires.unix_ms();
    Ok(Some((Arc::clone(&workspace), holder, Some(until_ms))))
}

/// Whether the holder of a key may come now, and from there.
fn may_come(holder: &Holder, address: Option<IpAddr>) -> Result<(), Refusal> {
    if holder.life != Life::Active {
        return Err(suspended(&holder.principal));
    }
    for networks in holder.from.iter().filter(|networks| !networks.is_empty()) {
        if !address.is_some_and(|address| address::is_in(address, networks)) {
            return Err(Refusal::new(
                Code::Forbidden,
                "this API key is not taken from your address",
            )
            .hint("ask whoever looks after the relay from where it is"));
        }
    }
    Ok(())
}

/// Says why a key that counts is not taken, once that is recorded.
async fn turned_away(
    workspace: &Workspace,
    holder: &Holder,
    (refusal, address): (Refusal, Option<IpAddr>),
) -> Problem {
    if workspace.clients.is_news(&holder.id) {
        let address = address.map_or_else(|| "unknown".to_owned(), |one| one.to_string());
        let draft = Draft::new(workspace.state.now(), EventKind::ApiKeyRefused)
            .by(&holder.principal)
            .text("key", &holder.id)
            .text("address", &address)
            .refusal(&refusal);
        if let Err(error) = workspace.state.log().append(draft).await {
            tracing::error!(%error, "a key that was not taken could not be recorded");
        }
    }
    refusal.into()
}
