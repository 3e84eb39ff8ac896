//! What a key has used, and how its holder is told: `RateLimit-Policy` and `RateLimit` with each answer
//! (draft-ietf-httpapi-ratelimit-headers-10), and 429 with `Retry-After` (RFC 9110, section 10.2.3) once
//! nothing is left. Kept in memory: a relay that starts anew begins with full buckets.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::time::Instant;

use crate::core::quota::{Allowance, Bucket};
use crate::relay::rest::problem::MEDIA;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The problem's type (RFC 9457), from the same draft.
const PROBLEM: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// The buckets of one key.
#[derive(Debug)]
pub(super) struct Meter {
    since: Instant,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    requests: Bucket,
    bytes: Bucket,
}

impl Meter {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self {
            since: Instant::now(),
            buckets: Mutex::new(Buckets {
                requests: Bucket::new(u64::from(allowance.per_minute)),
                bytes: Bucket::new(allowance.bytes_per_minute),
            }),
        }
    }

    /// Lets a request in, or gives the limit that it is over and the answer that it gets instead. One that is turned away uses nothing up.
    pub(super) fn admit(&self) -> Result<(), (&'static str, Box<Response>)> {
        let now = self.now_us();
        let mut buckets = self.lock();
        let over = [
            ("requests", buckets.requests.wait_us(now, 1)),
            ("bytes", buckets.bytes.wait_us(now, 0)),
        ];
        let over = over.into_iter();
        let over = over.filter_map(|(name, wait)| Some((name, wait?)));
        let Some((name, wait)) = over.max_by_key(|(_, wait)| *wait) else {
            buckets.requests.take(now, 1);
            return Ok(());
        };
        drop(buckets);
        Err((name, Box::new(self.told(refused(name, seconds(wait))))))
    }

    /// The answer with what is left. Its bytes are counted at once where their number is known, and else as they
    /// are fetched.
    pub(super) fn counted(self: &Arc<Self>, response: Response) -> Response {
        if let Some(bytes) = response.body().size_hint().exact() {
            self.count(bytes);
            return self.told(response);
        }
        let meter = Arc::clone(self);
        let count = move |bytes: &Bytes| meter.count(bytes.len() as u64);
        let counted = |body: Body| body.into_data_stream().inspect_ok(count).boxed();
        self.told(response.map(|body| Body::from_stream(counted(body))))
    }

    fn count(&self, bytes: u64) {
        let now = self.now_us();
        self.lock().bytes.take(now, bytes);
    }

    fn told(&self, mut response: Response) -> Response {
        let now = self.now_us();
        let Buckets { requests, bytes } = &*self.lock();
        let policy = format!(
            "\"requests\";q={};w=60, \"bytes\";q={};qu=\"content-bytes\";w=60",
            requests.per_minute(),
            bytes.per_minute()
        );
        let left = |bucket: &Bucket| {
            let full = seconds(bucket.full_in_us(now));
            format!("r={};t={full}", bucket.left(now))
        };
        let limit = format!("\"requests\";{}, \"bytes\";{}", left(requests), left(bytes));
        put(response.headers_mut(), POLICY, &policy);
        put(response.headers_mut(), LIMIT, &limit);
        response
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole seconds, so that whoever waits them does not come too early.
fn seconds(us: u64) -> u64 {
    us.div_ceil(1_000_000)
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The answer to whoever opens one more session than a key may have.
pub(super) fn too_many_sessions(most: usize) -> Response {
    let problem = json!({
        "type": PROBLEM,
        "title": "A quota of this API key is used up",
        "detail": format!("This key has {most} sessions open, and may have no more; end some of them (DELETE), or wait until idle ones lapse."),
        "violated-policies": ["sessions"],
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    let mut response =
        (StatusCode::TOO_MANY_REQUESTS, kind, format!("{problem}\n")).into_response();
    put(response.headers_mut(), header::RETRY_AFTER, "60");
    response
}

fn refused(policy: &str, wait: u64) -> Response {
    let problem = json!({
        "type": PROBLEM,
        "title": "A quota of this API key is used up",
        "status": StatusCode::TOO_MANY_REQUESTS.as_u16(),
        "code": "quota_exceeded",
        "detail": format!("The {policy} of a minute are used up; try again in {wait} seconds."),
        "violated-policies": [policy],
    });
    let kind = [(header::CONTENT_TYPE, MEDIA)];
    let mut response =
        (StatusCode::TOO_MANY_REQUESTS, kind, format!("{problem}\n")).into_response();
    put(
        response.headers_mut(),
        header::RETRY_AFTER,
        &wait.to_string(),
    );
    response
}
