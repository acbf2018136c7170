//! A request that may be sent to several targets.

use std::{
    iter,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;
use tower_service::Service;

use super::{
    NoTargetAvailable, named,
    target::{Target, Targets},
};
use crate::{
    ai::{
        provider::{Lane, Reservation},
        tokens::Tokens,
    },
    circuit_breaker::circuit::CallGuard,
    error::{BoxError, Rejected},
    http::{PeekBody, ReplaceBody, TryClone},
    sync::unpoisoned,
};

/// The services to clone: one for all targets, or one for each. They are never polled themselves.
///
/// In a mutex, so that a service need not be `Sync`.
pub(super) type Services<S> = Arc<Mutex<Vec<S>>>;

/// The state of a request until a target has responded.
pub(super) struct Run<S, Request> {
    pub(super) services: Services<S>,
    pub(super) targets: Arc<Targets<Request>>,
    pub(super) tokens: Tokens,
    /// The end of the longest wait.
    pub(super) deadline: Option<Instant>,
    /// The request to send next.
    pub(super) request: Option<Request>,
    /// The model that the request names.
    pub(super) model: Option<String>,
    /// The targets that were not called yet.
    pub(super) left: Vec<usize>,
    /// The number of targets that were called.
    pub(super) tried: usize,
}

/// A request that a target has admitted and that must be sent now.
pub(super) struct Dispatch<S> {
    pub(super) target: usize,
    /// Polled ready.
    pub(super) service: S,
    pub(super) reservation: Reservation,
    /// `None` if its circuit is open.
    pub(super) watch: Option<CallGuard>,
}

// ===== impl Run =====

impl<S: Clone, Request> Run<S, Request> {
    pub(super) fn target(&self, number: usize) -> &Target<Request> {
        &self.targets.list[number]
    }

    /// Finds a target that admits the request now. Returns `None` if the request has to wait.
    ///
    /// # Errors
    ///
    /// Returns an error if no target accepts the request.
    pub(super) fn start_now(&self) -> Result<Option<Dispatch<S>>, BoxError>
    where
        S: Service<Request>,
    {
        let is_open = |number: &usize| self.target(*number).circuit.is_open();
        // If all circuits are open, one target is called all the same; but not after another
        // failure.
        let asks_all = self.left.iter().all(is_open);
        if asks_all && self.tried > 0 {
            return Err(self.no_target());
        }
        let has_room = |number: &usize| self.target(*number).limiter.can_start(self.tokens);
        let is_able = |number: &usize| has_room(number) && (asks_all || !is_open(number));
        let mut able = self.left.iter().copied().filter(is_able);
        Ok(match &self.targets.weights {
            None => able.find_map(|number| self.start(number, asks_all)),
            Some(weights) => {
                let able = able.map(|number| (number, self.target(number).weight));
                let mut able: Vec<_> = able.collect();
                let mut turns = iter::from_fn(|| weights.pick(&mut able));
                turns.find_map(|number| self.start(number, asks_all))
            }
        })
    }

    /// Returns the error if no target accepts the request, without a rejection to show.
    pub(super) fn no_target(&self) -> BoxError {
        NoTargetAvailable::new(self.model.as_deref()).into()
    }

    /// Takes from the target's limits, if there is room now.
    fn start(&self, number: usize, asks_all: bool) -> Option<Dispatch<S>>
    where
        S: Service<Request>,
    {
        let target = self.target(number);
        let watch = target.circuit.enter().ok();
        if watch.is_none() && !asks_all {
            return None;
        }
        // Poll ready before taking, so that the reservation is used at once.
        let mut service = self.service(number);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) else {
            return None;
        };
        Some(Dispatch {
            target: number,
            service,
            reservation: target.limiter.start(self.tokens)?,
            watch,
        })
    }

    /// Joins a target's queue.
    pub(super) fn queue(&self, number: usize, wait: Option<Duration>) -> Result<Lane<S>, Rejected> {
        let target = self.target(number);
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let max_wait = self.deadline.map_or(Duration::MAX, left);
        if max_wait.is_zero() || wait.is_some_and(|wait| wait > max_wait) {
            let max_wait = self.targets.max_wait.unwrap_or(Duration::MAX);
            return Err(target.limiter.too_long(self.tokens, wait).within(max_wait));
        }
        let service = self.service(number);
        let limiter = &target.limiter;
        limiter.queue(self.tokens, wait, target.max_waiting, service)
    }

    /// Returns a new clone of the target's service.
    fn service(&self, number: usize) -> S {
        // A clone that panicked has not changed the original.
        let services = unpoisoned(self.services.lock());
        services[number.min(services.len() - 1)].clone()
    }

    /// Returns the request mapped for the target, and keeps a clone for the next one.
    pub(super) fn take_request(&mut self, number: usize) -> Request
    where
        Request: PeekBody + ReplaceBody + TryClone,
    {
        let Some(mut request) = self.request.take() else {
            unreachable!("polled after it was done")
        };
        self.left.retain(|left| *left != number);
        self.tried += 1;
        if !self.left.is_empty() {
            self.request = request.try_clone();
        }
        let target = self.target(number);
        crate::telemetry::count!(TARGETS, "target" => target.name.clone());
        crate::macros::event!(
            target: "tower_throttle::router",
            target_name = &*target.name,
            attempt = self.tried,
            "sending to a target"
        );
        if let Some(model) = &target.model {
            let model = serde_json::Value::from(&**model).to_string();
            let replaced = request.peek(|body| named::with_model(body, &model));
            if let Some(body) = replaced.flatten() {
                // If the body can't be replaced, the request is sent unchanged.
                let _ = request.replace_body(body.into());
            }
        }
        match &target.map {
            Some(map) => map(request),
            None => request,
        }
    }
}
