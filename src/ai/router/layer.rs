use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_layer::Layer;

use super::{
    Router,
    target::{Target, Targets},
    weights::Weights,
};
use crate::ai::provider::ByLength;

/// Sends each request to whichever of several targets can answer soonest. See the [module docs](crate::router) for an
/// example.
#[must_use]
pub struct RouterLayer<Request, E = ByLength> {
    targets: Arc<Targets<Request>>,
    estimate: E,
}

// ===== impl RouterLayer =====

impl<Request> RouterLayer<Request> {
    /// The first target that has room, in the order in which they are added.
    pub fn ranked() -> Self {
        Self::new(None)
    }

    /// The targets that have room take turns, by their [weight](Target::weight).
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

    /// Lets every target take every request, whichever model it names. Unless told, one that names a model goes only
    /// [where it can be had](crate::router#which-requests).
    pub fn always(self) -> Self {
        self.change(|targets| targets.takes_all = true)
    }

    /// The longest that a request waits, for whichever target, give or take the 10 ms that a timer may be late. One that
    /// would wait longer everywhere is refused at once. Unless told, it waits as long as it takes.
    pub fn max_wait(self, max_wait: Duration) -> Self {
        self.change(|targets| targets.max_wait = Some(max_wait))
    }

    /// How many tokens a request may use: a closure that names its type, such as `|request: &reqwest::Request|`, or any
    /// other [`Estimate`](crate::provider::Estimate). By the [length](ByLength) of its texts, unless told. The same at
    /// each target, and of the request as it came.
    pub fn estimate<E2>(self, estimate: E2) -> RouterLayer<Request, E2> {
        RouterLayer {
            targets: self.targets,
            estimate,
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Targets<Request>)) -> Self {
        // What was made from it so far keeps its own settings, and shares the limiters.
        change(Arc::make_mut(&mut self.targets));
        self
    }
}

impl<Request, E: Clone> RouterLayer<Request, E> {
    /// A service of which each target has its own, made from its name: for targets that need other clients, or other
    /// layers. Services of different types become one with tower's `BoxCloneService`.
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
    /// # let client = service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::new(String::new())));
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

    /// All targets use clones of `inner`.
    fn layer(&self, inner: S) -> Self::Service {
        self.over(vec![inner])
    }
}

impl<Request, E: Clone> Clone for RouterLayer<Request, E> {
    fn clone(&self) -> Self {
        Self {
            targets: self.targets.clone(),
            estimate: self.estimate.clone(),
        }
    }
}

impl<Request, E> fmt::Debug for RouterLayer<Request, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterLayer")
            .field("targets", &self.targets.list)
            .finish_non_exhaustive()
    }
}
