//! The innermost service: a `reqwest::Client` whose attempts are counted.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use reqwest::{Client, Request, Response};
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

/// When the request of a response was sent; among its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent(pub(crate) Instant);

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
            let sent = Sent(Instant::now());
            let mut response = client.execute(request).await?;
            meter.arrive(response.status());
            response.extensions_mut().insert(sent);
            Ok(response)
        })
    }
}
