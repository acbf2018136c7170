//! A request on its way from target to target.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tower_service::Service;

use super::{
    Chosen, NoTarget, Target, named,
    services::Services,
    targets::Targets,
    waits::{self, Expected, Line},
};
use crate::{
    BoxError, IntoHttp, PeekBody, Rejected, ReplaceBody, ResponseHead, Tokens, TryClone,
    circuit::Watch,
    provider::{Reservation, WHOLE, future::ResponseFuture},
};

/// What is needed until a target has answered.
pub(super) struct Run<S, Request> {
    pub(super) services: Services<S>,
    pub(super) targets: Arc<Targets<Request>>,
    pub(super) tokens: Tokens,
    /// Until when it may wait.
    pub(super) deadline: Option<Instant>,
    /// What is sent next, if anything can be.
    request: Option<Request>,
    /// The model that it names.
    model: Option<String>,
    /// Those that were not called yet.
    left: Vec<usize>,
    tried: usize,
}

/// A request that a target has let in, and that must be sent now.
pub(super) struct Admitted<S> {
    pub(super) target: usize,
    /// Polled ready.
    pub(super) service: S,
    pub(super) reservation: Reservation,
    /// Where its circuit is closed.
    pub(super) watch: Option<Watch>,
}

/// A request that was sent.
pub(super) struct Sent<S: Service<Request, Response: IntoHttp>, Request> {
    pub(super) future: ResponseFuture<S, Request>,
    pub(super) target: usize,
    pub(super) watch: Option<Watch>,
}

// ===== impl Run =====

impl<S, Request> Run<S, Request> {
    pub(super) fn new(
        services: &Services<S>,
        targets: &Arc<Targets<Request>>,
        request: Request,
        tokens: Tokens,
    ) -> Self
    where
        Request: PeekBody,
    {
        let model = request.peek(named::model).flatten();
        let deadline = |max_wait| Instant::now().checked_add(max_wait);
        Self {
            services: services.clone(),
            left: targets.of(model.as_deref()),
            deadline: targets.max_wait.and_then(deadline),
            targets: targets.clone(),
            tokens,
            request: Some(request),
            model,
            tried: 0,
        }
    }

    /// Those that were not called yet, the best first.
    pub(super) fn left(&self) -> impl Iterator<Item = (usize, &Target<Request>)> {
        let list = &self.targets.list;
        self.left
            .iter()
            .filter_map(|number| Some((*number, list.get(*number)?)))
    }

    /// How much longer it may wait.
    pub(super) fn patience(&self) -> Duration {
        self.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        })
    }

    /// How long it would wait at each of those that were not called yet.
    pub(super) fn expected(&self) -> Vec<Expected> {
        let lines = self.left().map(|(_, target)| Line {
            limiter: &target.limiter,
            is_closed: target.circuit.is_open(),
        });
        waits::expected(&lines.collect::<Vec<_>>(), self.tokens)
    }

    /// How long it would wait at that one alone.
    pub(super) fn expected_at(&self, number: usize) -> Expected {
        let Some(target) = self.targets.list.get(number) else {
            return Ok(None);
        };
        target.limiter.outlook(self.tokens, WHOLE)
    }

    /// The refusal of one that would have to wait so long for a target.
    pub(super) fn too_long(&self, target: &Target<Request>, wait: Option<Duration>) -> Rejected {
        let max_wait = self.targets.max_wait.unwrap_or(Duration::MAX);
        target.limiter.too_long(self.tokens, max_wait, wait)
    }

    /// Whether another target could be called with the request.
    pub(super) fn can_go_on(&self) -> bool
    where
        Request: TryClone,
    {
        !self.left.is_empty() && self.request.as_ref().is_some_and(TryClone::take_over)
    }

    /// What is told where there is no target at all.
    pub(super) fn no_target(&self) -> NoTarget {
        NoTarget::new(self.model.as_deref())
    }

    /// How many it was sent to.
    pub(super) fn tried(&self) -> usize {
        self.tried
    }

    /// Leaves a note of who answers.
    pub(super) fn note<R: ResponseHead>(&self, target: usize, outcome: &mut Result<R, BoxError>) {
        if let (Some(target), Ok(response)) = (self.targets.list.get(target), outcome) {
            response.extensions_mut().insert(Chosen {
                target: target.name.clone(),
                model: target.model.as_ref().map(|model| model.name.clone()),
                tried: self.tried.saturating_sub(1),
            });
        }
    }

    /// That a target has let it in.
    pub(super) fn admitted(
        &self,
        target: usize,
        service: S,
        reservation: Reservation,
    ) -> Admitted<S> {
        let circuit = self.targets.list.get(target).map(|target| &target.circuit);
        Admitted {
            target,
            service,
            reservation,
            watch: circuit.and_then(|circuit| circuit.enter().ok()),
        }
    }

    /// Sends the request.
    pub(super) fn send(&mut self, admitted: Admitted<S>) -> Sent<S, Request>
    where
        S: Service<Request, Response: IntoHttp>,
        Request: PeekBody + ReplaceBody + TryClone,
    {
        let Admitted {
            target,
            mut service,
            reservation,
            watch,
        } = admitted;
        let Some(request) = self.request.take() else {
            unreachable!("polled after it was done")
        };
        self.left.retain(|left| *left != target);
        self.tried += 1;
        if !self.left.is_empty() {
            self.request = request.try_clone();
        }
        #[cfg(feature = "tracing")]
        if let Some(to) = self.targets.list.get(target) {
            tracing::debug!(
                target_name = &*to.name,
                attempt = self.tried,
                "sending to a target"
            );
        }
        let request = self.prepare(target, request);
        Sent {
            future: ResponseFuture::called(service.call(request), reservation),
            target,
            watch,
        }
    }

    /// What the target needs in place of the request.
    fn prepare(&self, target: usize, mut request: Request) -> Request
    where
        Request: PeekBody + ReplaceBody,
    {
        let Some(target) = self.targets.list.get(target) else {
            return request;
        };
        if let Some(model) = &target.model {
            let put = |body: &[u8]| named::with_model(body, &model.json);
            if let Some(body) = request.peek(put).flatten() {
                // Where it can't be replaced, it is sent as it was.
                let _ = request.replace_body(body.into());
            }
        }
        target.map(request)
    }
}
