use std::{fmt, sync::Arc, time::Duration};

use super::weights::Weights;
use crate::{ai::provider::ProviderLimiter, circuit_breaker::circuit::Circuit};

/// A provider, and a model there, that requests can go to.
///
/// Built with the setters, and given to an [`RouterLayer`](super::RouterLayer). See the [module docs](crate::router) for an
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

/// What all services of a layer share.
pub(super) struct Targets<Request> {
    pub(super) list: Vec<Target<Request>>,
    /// `None` if they are ranked.
    pub(super) weights: Option<Weights>,
    pub(super) takes_all: bool,
    pub(super) max_wait: Option<Duration>,
}

type Map<Request> = Arc<dyn Fn(Request) -> Request + Send + Sync>;

// ===== impl Target =====

impl<Request> Target<Request> {
    /// A target that keeps the limits of `limiter`, which others may share, and that takes requests as they are.
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

    /// The model that requests name when they are sent there, whichever they named before: the member `model` of a body
    /// that is an object of JSON is exchanged, or added, and no other byte is touched.
    ///
    /// A body that can't be [peeked](crate::PeekBody) or [replaced](crate::ReplaceBody) is sent as it is. Unless told,
    /// all are.
    pub fn model(mut self, model: impl Into<Arc<str>>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// What a request needs to go there: another URL, another key. It sees the model already exchanged.
    ///
    /// With an address of its own, the target needs a key of its own, too: what the caller set is still there, and
    /// would be shown to somebody else.
    pub fn map_request(mut self, map: impl Fn(Request) -> Request + Send + Sync + 'static) -> Self {
        self.map = Some(Arc::new(map));
        self
    }

    /// How many requests may wait for its limiter. One more goes to another target. The default is no
    /// limit.
    pub fn max_waiting(mut self, max_waiting: usize) -> Self {
        self.max_waiting = max_waiting;
        self
    }

    /// How many requests it gets for each that a target of weight 1 gets, where targets are
    /// [weighted](super::RouterLayer::weighted) and have room. 1 unless told; 0 is for what no other can take now.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// When it is [left alone](crate::router#left-alone) because it fails. A [`Circuit`] of its own with the defaults unless
    /// told; one that is handed in may be shared with others.
    pub fn circuit(mut self, circuit: Circuit) -> Self {
        self.circuit = circuit;
        self
    }
}

impl<Request> Clone for Target<Request> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            limiter: self.limiter.clone(),
            max_waiting: self.max_waiting,
            model: self.model.clone(),
            weight: self.weight,
            circuit: self.circuit.clone(),
            map: self.map.clone(),
        }
    }
}

impl<Request> fmt::Debug for Target<Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("model", &self.model)
            .field("weight", &self.weight)
            .field("limiter", &self.limiter)
            .field("circuit", &self.circuit)
            .field("maps_requests", &self.map.is_some())
            .finish()
    }
}

// ===== impl Targets =====

impl<Request> Targets<Request> {
    /// The numbers of the targets for a request that names this model.
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

impl<Request> Clone for Targets<Request> {
    fn clone(&self) -> Self {
        Self {
            list: self.list.clone(),
            weights: self.weights.clone(),
            takes_all: self.takes_all,
            max_wait: self.max_wait,
        }
    }
}
