//! The innermost service: a `reqwest::Client` whose attempts are counted.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body_util::BodyExt;
use reqwest::{Body, Client, Request, Response, StatusCode, header::HeaderValue};
use serde_json::Value;
use tokio::time::Instant;
use tower::Service;
use tower_throttle::BoxError;

use crate::meter::Meter;

/// Sends each request once, and counts it.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    client: Client,
    meter: Arc<Meter>,
}

// ===== impl Wire =====

impl Wire {
    pub(crate) fn new(client: Client, meter: Arc<Meter>) -> Self {
        Self { client, meter }
    }
}

impl Service<Request> for Wire {
    type Response = Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { client, meter } = self.clone();
        Box::pin(async move {
            if meter.is_stopped() {
                // Whoever waits for this is dropped as soon as all that is on the wire has arrived.
                std::future::pending::<()>().await;
            }
            let _in_flight = meter.depart();
            let sent = Instant::now();
            let response = client.execute(request).await?;
            meter.arrive(response.status(), sent.elapsed());
            if response.status() == StatusCode::TOO_MANY_REQUESTS {
                return if_it_helps(response).await;
            }
            Ok(response)
        })
    }
}

/// The codes of a 429 that means that the money is spent, not that it is too soon.
const UNPAID: [&str; 7] = [
    "insufficient_quota",
    "billing_hard_limit_reached",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "project_spend_limit_exceeded",
    "enforced_spend_limit_reached",
];

/// Says in the head what only the body of a 429 tells: that no wait will help. The layers read heads only.
async fn if_it_helps(response: Response) -> Result<Response, BoxError> {
    let (mut parts, body) = http::Response::<Body>::from(response).into_parts();
    let body = body.collect().await?.to_bytes();
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let codes = ["code", "type"].map(|field| told["error"][field].as_str().unwrap_or_default());
    if codes.iter().any(|code| UNPAID.contains(code)) {
        let never = HeaderValue::from_static("false");
        parts.headers.insert("x-should-retry", never);
    }
    Ok(http::Response::from_parts(parts, body).into())
}
