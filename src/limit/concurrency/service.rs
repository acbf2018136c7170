use std::sync::Arc;

use tower_service::Service;

use super::{
    ConcurrencyLimiter, Permit, Prioritize, UniformPriority, future::ResponseFuture,
    hold::ReportingRelease, slots::Slots,
};
use crate::limit::{
    engine::{Limited, ReleasePolicy, UntilBodyEnd},
    rejection::{AsError, Rejection},
};

/// Concurrency limit middleware. See the [module docs](crate::concurrency) for examples.
///
/// Clones share the limit.
#[doc(alias("bulkhead", "semaphore", "load shedding", "backpressure"))]
#[derive(Clone)]
pub struct Concurrency<S, F = AsError, H = UntilBodyEnd, P = UniformPriority>(
    pub(super) Limited<S, Arc<Slots>, P, F, ReportingRelease<H>>,
);

// ===== impl Concurrency =====

impl<S, F, H, P> Concurrency<S, F, H, P> {
    crate::macros::inner!(0.inner);

    /// Returns the limiter, which this service shares with its clones.
    #[must_use]
    pub fn limiter(&self) -> ConcurrencyLimiter {
        ConcurrencyLimiter(self.0.gate.clone())
    }
}

impl<S, F, H, P, Request> Service<Request> for Concurrency<S, F, H, P>
where
    S: Service<Request> + Clone,
    F: Rejection<Request, S::Response, S::Error> + Clone,
    ReportingRelease<H>: ReleasePolicy<S::Response, Permit>,
    P: Prioritize<Request>,
{
    type Response = <ReportingRelease<H> as ReleasePolicy<S::Response, Permit>>::Output;
    type Error = F::Error;
    type Future = ResponseFuture<S, Request, F, H>;

    crate::limit::engine::forward!();
}

crate::macros::debug!(impl<S: std::fmt::Debug, F, H, P> Debug for Concurrency<S, F, H, P> |self| {
    inner: self.0.inner,
    limiter: self.limiter(),
    ..
});
