//! Adapts layers to middleware of the `reqwest-middleware` crate.

mod error;

use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};
use tower_layer::Layer;
use tower_service::Service;

use self::error::{into_layers, out_of_layers};
use crate::{error::BoxError, sync::unpoisoned};

pub use self::error::LayerError;

/// Adapts a tower layer, or a stack of them, to a [`Middleware`].
///
/// A service is created around the rest of the middleware for each request, so the layer must keep
/// its state in itself, as all layers of this crate do. A layer whose state is in its service, such
/// as tower's `RateLimitLayer`, would start anew for each request.
///
/// # Extensions
///
/// The [`Extensions`] of the outer middleware are available to the inner middleware at each
/// attempt, and their changes to the outer middleware afterwards. If a layer has two concurrent
/// attempts, the first has the extensions.
///
/// # Errors
///
/// Errors of the inner middleware and of reqwest are returned unchanged. A rejection is an
/// `Error::Middleware` that can be downcast to [`Rejected`](crate::Rejected) or, with the feature
/// `provider`, to `QuotaExhausted`. Any other error of a layer is an `Error::Middleware` with a
/// [`LayerError`].
///
/// # Examples
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use tower::ServiceBuilder;
/// use tower_throttle::{
///     LayerMiddleware, Quota, RetryAfterBackoffLayer, TokenBucketLayer,
/// };
///
/// # rustls::crypto::ring::default_provider().install_default().ok();
/// let layers = ServiceBuilder::new()
///     .layer(RetryAfterBackoffLayer::new())
///     .layer(TokenBucketLayer::new(Quota::per_minute(500).burst(20)));
/// let client = ClientBuilder::new(reqwest::Client::new())
///     .with(LayerMiddleware::new(layers))
///     .build();
/// # let _ = client;
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct LayerMiddleware<L> {
    layer: L,
}

/// The rest of a client's middleware as a service: the inner service of the layer in a
/// [`LayerMiddleware`].
#[derive(Clone)]
pub struct NextService<'a> {
    next: Next<'a>,
    extensions: SharedExtensions,
}

/// Response future of [`NextService`].
pub struct NextFuture<'a>(
    Pin<Box<dyn Future<Output = std::result::Result<Response, BoxError>> + Send + 'a>>,
);

/// The extensions while no attempt has them.
type SharedExtensions = Arc<Mutex<Extensions>>;

/// The client's extensions, which are returned on drop.
struct Borrowed<'a> {
    extensions: &'a mut Extensions,
    shared: SharedExtensions,
}

/// The extensions of one attempt, which are returned on drop.
struct AttemptExtensions {
    extensions: Extensions,
    shared: SharedExtensions,
}

// ===== impl LayerMiddleware =====

impl<L> LayerMiddleware<L> {
    /// Creates a middleware from `layer`.
    pub const fn new(layer: L) -> Self {
        Self { layer }
    }
}

#[async_trait::async_trait]
impl<L> Middleware for LayerMiddleware<L>
where
    L: Send + Sync + 'static,
    L: for<'a> Layer<NextService<'a>>,
    for<'a> <L as Layer<NextService<'a>>>::Service: Service<Request, Response = Response> + Send,
    for<'a> <<L as Layer<NextService<'a>>>::Service as Service<Request>>::Error: Into<BoxError>,
    for<'a> <<L as Layer<NextService<'a>>>::Service as Service<Request>>::Future: Send,
{
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let shared = SharedExtensions::new(Mutex::new(mem::take(extensions)));
        let _borrowed = Borrowed {
            extensions,
            shared: shared.clone(),
        };
        let mut service = self.layer.layer(NextService {
            next,
            extensions: shared,
        });
        let ready = poll_fn(|cx| service.poll_ready(cx)).await;
        ready.map_err(|error| out_of_layers(error.into()))?;
        let result = service.call(request).await;
        result.map_err(|error| out_of_layers(error.into()))
    }
}

// ===== impl NextService =====

impl<'a> Service<Request> for NextService<'a> {
    type Response = Response;
    type Error = BoxError;
    type Future = NextFuture<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> NextFuture<'a> {
        let (next, shared) = (self.next.clone(), self.extensions.clone());
        // `Next` returns a boxed future that borrows the extensions.
        NextFuture(Box::pin(async move {
            let extensions = mem::take(&mut *unpoisoned(shared.lock()));
            let mut own = AttemptExtensions { extensions, shared };
            let result = next.run(request, &mut own.extensions).await;
            result.map_err(into_layers)
        }))
    }
}

crate::macros::debug!(impl Debug for NextService<'_> |self| { extensions, .. });

// ===== impl NextFuture =====

impl Future for NextFuture<'_> {
    type Output = std::result::Result<Response, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

crate::macros::debug!(impl Debug for NextFuture<'_> |self| { .. });

// ===== impl Borrowed =====

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        *self.extensions = mem::take(&mut *unpoisoned(self.shared.lock()));
    }
}

// ===== impl AttemptExtensions =====

impl Drop for AttemptExtensions {
    fn drop(&mut self) {
        unpoisoned(self.shared.lock()).extend(mem::take(&mut self.extensions));
    }
}
