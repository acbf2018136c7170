//! The service around every limiter: decides in `call`, and leaves the waiting to the future.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{
    future::ResponseFuture,
    gate::{Entry, Gate},
    hold::Hold,
};
use crate::{Cost, refusal::Refusal};

/// A service behind a [`Gate`].
#[derive(Debug, Clone)]
pub(crate) struct Limited<S, G, C, F, H> {
    pub(crate) inner: S,
    pub(crate) gate: G,
    pub(crate) cost: C,
    pub(crate) refusal: F,
    pub(crate) hold: H,
}

impl<S, G, C, F, H, Request> Service<Request> for Limited<S, G, C, F, H>
where
    S: Service<Request> + Clone,
    G: Gate,
    C: Cost<Request>,
    F: Refusal<H::Output, S::Error> + Clone,
    H: Hold<S::Response, G::Pass>,
{
    type Response = H::Output;
    type Error = F::Error;
    type Future = ResponseFuture<S, Request, G, F, H>;

    /// Passes through: what a request costs is in the request.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(F::pass)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let cost = self.cost.cost(&request);
        let (refusal, hold) = (self.refusal.clone(), self.hold);
        let expected = match self.gate.enter(cost) {
            Entry::Pass(pass) => {
                return ResponseFuture::called(self.inner.call(request), pass, refusal, hold);
            }
            Entry::Never(rejected) => return ResponseFuture::refused(rejected, refusal, hold),
            Entry::Wait(expected) => expected,
        };
        match self.gate.wait(cost, expected, refusal.default_max_wait()) {
            Err(rejected) => ResponseFuture::refused(rejected, refusal, hold),
            Ok(turn) => {
                let fresh = self.inner.clone();
                // The instance that was polled ready is let go of: what it holds, such as the only permit of a limit
                // further in, would be held for as long as this request sleeps.
                self.inner = fresh.clone();
                ResponseFuture::waiting(turn, fresh, request, refusal, hold)
            }
        }
    }
}
