//! The innermost service: a client such as `reqwest::Client` whose attempts are counted.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use reqwest::{Request, Response};
use tokio::time::Instant;
use tower::{Service, ServiceExt};
use tower_throttle::{
    BoxError, IntoHttp,
    body::{GuardedBody, WithBody},
};

use crate::{meter::Meter, stack::Boxed};

tokio::task_local! {
    /// The providers that the prompt at hand was sent to, a bit for each.
    static SENT_TO: Cell<u64>;
}

/// Sends each request once, and counts it.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    /// The bit of the provider at the other end.
    bit: u64,
    client: Boxed,
    meter: Arc<Meter>,
}

/// When the request of a response was sent; among its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent(pub(crate) Instant);

/// Has one prompt answered, so that its retries can be told from what is sent first.
pub(crate) async fn one_prompt<T>(asking: impl Future<Output = T>) -> T {
    SENT_TO.scope(Cell::new(0), asking).await
}

// ===== impl Wire =====

impl Wire {
    /// The wire to the provider of this `number`, of which there may be 64.
    pub(crate) fn new<S>(number: u8, client: S, meter: Arc<Meter>) -> Self
    where
        S: Service<Request, Response = Response> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        let bit = 1 << (number % 64);
        let client = Boxed::new(client.map_err(Into::into));
        Self { bit, client, meter }
    }

    /// Whether the prompt at hand was sent here before.
    fn is_retry(&self) -> bool {
        let sent = SENT_TO.try_with(|sent_to| sent_to.replace(sent_to.get() | self.bit));
        sent.is_ok_and(|sent_to| sent_to & self.bit != 0)
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
        let is_retry = self.is_retry();
        let Self { client, meter, .. } = self.clone();
        Box::pin(async move {
            if meter.is_stopped() {
                // The task that polls this is dropped when all that is on the wire has arrived.
                std::future::pending::<()>().await;
            }
            let in_flight = meter.depart(is_retry);
            let sent = Sent(Instant::now());
            let mut response = client.oneshot(request).await?;
            meter.arrive(response.status());
            response.extensions_mut().insert(sent);
            // To the end of the body, whichever layer it is that reads it.
            let response = response.into_http();
            let response = response.map(|body| GuardedBody::new(body, in_flight));
            Ok(Response::from_http(response))
        })
    }
}
