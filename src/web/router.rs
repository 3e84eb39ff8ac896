//! The table of pages.

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};

use crate::web::answer::plain;
use crate::web::site::Site;
use crate::web::{assets, audit, enrol, enter, guard, inbox, request, review, trust, vote};

/// All pages, behind the guard.
pub fn router(site: Site) -> Router {
    Router::new()
        .route("/", get(inbox::inbox))
        .route("/history", get(inbox::history))
        .route("/requests/{id}", get(request::show))
        .route("/r/{id}", get(request::short))
        .route("/requests/{id}/verdict", post(vote::verdict))
        .route("/requests/{id}/vote", post(vote::vote))
        .route("/requests/{id}/review", post(review::review))
        .route("/requests/{id}/reviewed", post(review::reviewed))
        .route("/audit", get(audit::list))
        .route("/audit/verify", post(audit::verify))
        .route("/trust", get(trust::show))
        .route("/enrol/begin", post(enrol::begin))
        .route("/enrol/registered", post(enrol::registered))
        .route("/enrol/prove", post(enrol::prove))
        .route("/pulse", get(inbox::pulse))
        .route("/pulse/{id}", get(request::pulse))
        .route("/enter", get(enter::enter))
        .route("/style.css", get(assets::style))
        .route("/script.js", get(assets::script))
        .route("/icon.svg", get(assets::icon))
        .fallback(nothing)
        .layer(from_fn_with_state(site.clone(), guard::guard))
        .with_state(site)
}

async fn nothing() -> Response {
    plain(StatusCode::NOT_FOUND, "there is no such page")
}
