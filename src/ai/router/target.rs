use std::{sync::Arc, time::Duration};

use super::weights::Weights;
use crate::{ai::provider::ProviderLimiter, circuit_breaker::circuit::Circuit};

/// A provider, optionally with a model, that requests can be routed to.
///
/// Pass it to a [`RouterLayer`](super::RouterLayer). See the [module docs](crate::router) for an
/// example.
#[must_use]
pub struct Target<Request> {
    pub(super) name: Arc<str>,
    pub(super) limiter: ProviderLimiter,
    pub(super) max_waiting: usize,
    pub(super) model: Option<Arc<str>>,
    pub(super) weight: u32,
    pub(super) circuit: Circuit,
    pub(super) map: Option<Map<Request>>,
}

/// The state shared by all services of a layer.
pub(super) struct Targets<Request> {
    pub(super) list: Vec<Target<Request>>,
    /// `None` if the targets are ranked.
    pub(super) weights: Option<Weights>,
    pub(super) takes_all: bool,
    pub(super) max_wait: Option<Duration>,
}

type Map<Request> = Arc<dyn Fn(Request) -> Request + Send + Sync>;

// ===== impl Target =====

impl<Request> Target<Request> {
    /// Creates a target with the limits of `limiter`, which may be shared. It sends requests with
    /// the model that they name.
    pub fn new(name: impl Into<Arc<str>>, limiter: ProviderLimiter) -> Self {
        Self {
            name: name.into(),
            limiter,
            max_waiting: usize::MAX,
            model: None,
            weight: 1,
            circuit: Circuit::new(),
            map: None,
        }
    }

    /// Sets the model of requests to this target: the member `model` of a JSON object body is
    /// replaced or added, and no other byte changes. By default the model is not changed.
    ///
    /// A body that can't be [peeked](crate::body::PeekBody) or
    /// [replaced](crate::body::ReplaceBody) is sent unchanged.
    pub fn model(mut self, model: impl Into<Arc<str>>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Sets a function that changes requests to this target, such as their URL and API key. It sees
    /// the replaced model.
    ///
    /// If it changes the host, replace the API key as well: otherwise the key of the original
    /// request is sent to another provider.
    pub fn map_request(mut self, map: impl Fn(Request) -> Request + Send + Sync + 'static) -> Self {
        self.map = Some(Arc::new(map));
        self
    }

    /// Sets how many requests may wait for its limiter; others go to another target. The default
    /// is no limit.
    pub fn max_waiting(mut self, max_waiting: usize) -> Self {
        self.max_waiting = max_waiting;
        self
    }

    /// Sets how many requests it gets for each that a target of weight 1 gets, if targets are
    /// [weighted](super::RouterLayer::weighted) and have room. The default is 1; with 0 it gets
    /// only the requests that no other target can take now.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the [circuit](crate::router#circuit-breakers), which may be shared. The default is a
    /// new [`Circuit`] with its default settings.
    pub fn circuit(mut self, circuit: Circuit) -> Self {
        self.circuit = circuit;
        self
    }
}

crate::macros::clone!(impl<Request> Clone for Target<Request> {
    name, limiter, max_waiting, model, weight, circuit, map
});

crate::macros::debug!(impl<Request> Debug for Target<Request> |self| {
    name,
    model,
    weight,
    limiter,
    circuit,
    maps_requests: self.map.is_some(),
    ..
});

// ===== impl Targets =====

impl<Request> Targets<Request> {
    /// Returns the indices of the targets for a request that names this model.
    pub(super) fn of(&self, model: Option<&str>) -> Vec<usize> {
        let which = |is_one: &dyn Fn(&Target<Request>) -> bool| -> Vec<usize> {
            let numbers = 0..self.list.len();
            numbers.filter(|it| is_one(&self.list[*it])).collect()
        };
        let model = model.filter(|_| !self.takes_all);
        let named = which(&|target| {
            let has =
                |model: &str| *target.name == *model || target.model.as_deref() == Some(model);
            model.is_none_or(has)
        });
        if named.is_empty() {
            return which(&|target| target.model.is_none());
        }
        named
    }
}

crate::macros::clone!(impl<Request> Clone for Targets<Request> {
    list, weights, takes_all, max_wait
});
