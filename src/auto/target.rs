use std::{fmt, sync::Arc};

use crate::{Circuit, provider::ProviderLimiter};

/// A provider, and a model there, that requests can go to.
///
/// Built with the setters, and given to an [`AutoLayer`](super::AutoLayer). See the [module docs](crate::auto) for an
/// example.
#[must_use]
pub struct Target<Request> {
    pub(super) name: Arc<str>,
    pub(super) limiter: ProviderLimiter,
    pub(super) model: Option<Model>,
    pub(super) weight: u32,
    pub(super) circuit: Circuit,
    map: Option<Map<Request>>,
}

/// The model's name, and how it is written in JSON.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) name: Arc<str>,
    pub(super) json: Arc<str>,
}

type Map<Request> = Arc<dyn Fn(Request) -> Request + Send + Sync>;

// ===== impl Target =====

impl<Request> Target<Request> {
    /// A target that keeps the limits of `limiter`, which others may share, and that takes requests as they are.
    pub fn new(name: impl Into<Arc<str>>, limiter: ProviderLimiter) -> Self {
        Self {
            name: name.into(),
            limiter,
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
        let name = model.into();
        let json = serde_json::Value::from(&*name).to_string().into();
        self.model = Some(Model { name, json });
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

    /// How many requests it gets for each that a target of weight 1 gets, where targets are
    /// [weighted](super::AutoLayer::weighted) and have room. 1 unless told; 0 is for what no other can take now.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// When it is [left alone](crate::auto#left-alone) because it fails. A [`Circuit`] of its own with the defaults unless
    /// told; one that is handed in may be shared with others.
    pub fn circuit(mut self, circuit: Circuit) -> Self {
        self.circuit = circuit;
        self
    }

    pub(super) fn map(&self, request: Request) -> Request {
        match &self.map {
            Some(map) => map(request),
            None => request,
        }
    }

    /// Whether a request that names `model` means this one.
    pub(super) fn is_called(&self, model: &str) -> bool {
        *self.name == *model || self.model.as_ref().is_some_and(|own| *own.name == *model)
    }
}

impl<Request> Clone for Target<Request> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            limiter: self.limiter.clone(),
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
            .field("model", &self.model.as_ref().map(|model| &model.name))
            .field("weight", &self.weight)
            .field("limiter", &self.limiter)
            .field("circuit", &self.circuit)
            .field("maps_requests", &self.map.is_some())
            .finish()
    }
}
