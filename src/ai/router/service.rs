use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    future::ResponseFuture,
    named,
    run::{Run, Services},
    target::{Target, Targets},
    weights::Weights,
};
use crate::{
    ai::provider::{ByLength, Estimate, body::ResponseBody, future::SettlingResponse},
    error::BoxError,
    http::{IntoHttp, PeekBody, ReplaceBody, ResponseHead, TryClone, WithBody},
};

/// Layer that sends each request to the first of several targets that admits it. See the [module
/// docs](crate::router) for an example.
#[must_use]
pub struct RouterLayer<Request, E = ByLength> {
    targets: Arc<Targets<Request>>,
    estimate: E,
}

/// Service that sends each request to the first of several targets that admits it. Created by a
/// [`RouterLayer`].
///
/// Clones share the targets and their limits.
pub struct Router<S, Request, E = ByLength> {
    pub(super) services: Services<S>,
    pub(super) targets: Arc<Targets<Request>>,
    pub(super) estimate: E,
}

// ===== impl RouterLayer =====

impl<Request> RouterLayer<Request> {
    /// Creates a layer that prefers targets in the order in which they are added.
    pub fn ranked() -> Self {
        Self::new(None)
    }

    /// Creates a layer that rotates between the targets by their [weight](Target::weight).
    pub fn weighted() -> Self {
        Self::new(Some(Weights::default()))
    }

    fn new(weights: Option<Weights>) -> Self {
        Self {
            targets: Arc::new(Targets {
                list: Vec::new(),
                weights,
                takes_all: false,
                max_wait: None,
            }),
            estimate: ByLength::new(),
        }
    }
}

impl<Request, E> RouterLayer<Request, E> {
    /// Adds a target.
    pub fn target(self, target: Target<Request>) -> Self {
        self.change(|targets| targets.list.push(target))
    }

    /// Lets every target accept every request, whatever model it names. By default the model
    /// decides, see [which requests](crate::router#which-requests).
    pub fn always(self) -> Self {
        self.change(|targets| targets.takes_all = true)
    }

    /// Sets the longest wait for a target, plus up to 10 ms of timer lateness. A request that would
    /// wait longer at every target is rejected at once. By default there is no limit.
    pub fn max_wait(self, max_wait: Duration) -> Self {
        self.change(|targets| targets.max_wait = Some(max_wait))
    }

    /// Sets the token estimate: a closure with an explicit type, such as
    /// `|request: &reqwest::Request|`, or any other [`Estimate`](crate::provider::Estimate). The
    /// default is [`ByLength`]. It is the same for each target and sees the original request.
    pub fn estimate<E2>(self, estimate: E2) -> RouterLayer<Request, E2> {
        RouterLayer {
            targets: self.targets,
            estimate,
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Targets<Request>)) -> Self {
        // Layers cloned before keep their settings, and share the limiters.
        change(Arc::make_mut(&mut self.targets));
        self
    }
}

impl<Request, E: Clone> RouterLayer<Request, E> {
    /// Creates a router whose targets have different services, created from the target's name: for
    /// other clients or layers per target. Use tower's `BoxCloneService` for services of different
    /// types.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// use http::{Request, Response};
    /// use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};
    /// use tower_throttle::{
    ///     BoxError, ConcurrencyLayer,
    ///     router::{RouterLayer, Target},
    ///     provider::{Provider, ProviderLimiter},
    /// };
    ///
    /// # let limiter = || ProviderLimiter::new(Provider::new("mine").rpm(60));
    /// # let client = service_fn(async |_: Request<String>| {
    /// #     Ok::<_, Infallible>(Response::new(String::new()))
    /// # });
    /// let few = ConcurrencyLayer::new(2).until_response();
    /// let service = RouterLayer::ranked()
    ///     .target(Target::new("at home", limiter()))
    ///     .target(Target::new("abroad", limiter()))
    ///     .services(|name| match name {
    ///         "at home" => BoxCloneService::new(few.layer(client.clone())),
    ///         _ => BoxCloneService::new(client.clone().map_err(BoxError::from)),
    ///     });
    /// # let _ = service.oneshot(Request::new(String::new()));
    /// ```
    pub fn services<S>(&self, service: impl FnMut(&str) -> S) -> Router<S, Request, E> {
        let names = self.targets.list.iter().map(|target| &*target.name);
        self.over(names.map(service).collect())
    }

    fn over<S>(&self, services: Vec<S>) -> Router<S, Request, E> {
        Router {
            services: Arc::new(Mutex::new(services)),
            targets: self.targets.clone(),
            estimate: self.estimate.clone(),
        }
    }
}

impl<S, Request, E: Clone> Layer<S> for RouterLayer<Request, E> {
    type Service = Router<S, Request, E>;

    /// Creates a router whose targets all use clones of `inner`.
    fn layer(&self, inner: S) -> Self::Service {
        self.over(vec![inner])
    }
}

crate::macros::clone!(impl<Request, E: Clone> Clone for RouterLayer<Request, E> {
    targets, estimate
});

crate::macros::debug!(impl<Request, E> Debug for RouterLayer<Request, E> |self| {
    targets: self.targets.list,
    ..
});

// ===== impl Router =====

impl<S, Request, E> Service<Request> for Router<S, Request, E>
where
    S: Service<Request> + Clone,
    S::Response: WithBody<ResponseBody<<S::Response as IntoHttp>::Body>>,
    S::Error: Into<BoxError>,
    SettlingResponse<S::Response>: ResponseHead,
    E: Estimate<Request>,
    Request: PeekBody + ReplaceBody + TryClone,
{
    type Response = SettlingResponse<S::Response>;
    type Error = BoxError;
    type Future = ResponseFuture<S, Request>;

    /// Always ready: the request decides which service is used, so none is polled ready before.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let model = request.peek(named::model).flatten();
        let deadline = |max_wait| Instant::now().checked_add(max_wait);
        ResponseFuture::start(Box::new(Run {
            services: self.services.clone(),
            targets: self.targets.clone(),
            tokens: self.estimate.estimate(&request),
            deadline: self.targets.max_wait.and_then(deadline),
            left: self.targets.of(model.as_deref()),
            request: Some(request),
            model,
            tried: 0,
        }))
    }
}

crate::macros::clone!(impl<S, Request, E: Clone> Clone for Router<S, Request, E> {
    services, targets, estimate
});

crate::macros::debug!(impl<S, Request, E> Debug for Router<S, Request, E> |self| {
    targets: self.targets.list,
    ..
});
