//! The service of every limiter: decides in `call`, and waits in the future.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tower_service::Service;

use super::{
    future::{InLine, RequestContext, ResponseFuture, State},
    limiter::{Limiter, Measure},
    queued_call::QueuedCall,
    release_policy::ReleasePolicy,
    wait_queue::WaitLimits,
};
use crate::{
    error::Rejected,
    limit::{
        priority::Priority,
        rejection::{Rejection, Sealed},
    },
    telemetry::LimitTelemetry,
};

/// A service behind a [`Limiter`].
#[derive(Debug, Clone)]
pub(crate) struct Limited<S, G, C, F, H> {
    pub(crate) inner: S,
    pub(crate) gate: G,
    pub(crate) limits: WaitLimits,
    pub(crate) cost: C,
    pub(crate) refusal: F,
    pub(crate) hold: H,
    pub(crate) telemetry: LimitTelemetry,
}

impl<S, G, C, F, H, Request> Service<Request> for Limited<S, G, C, F, H>
where
    S: Service<Request> + Clone,
    G: Limiter,
    C: Measure<Request, G::Ask>,
    F: Rejection<Request, S::Response, S::Error> + Clone,
    H: ReleasePolicy<S::Response, G::Pass>,
{
    type Response = H::Output;
    type Error = F::Error;
    type Future = ResponseFuture<S, Request, G, F, H>;

    /// Passes through: the cost is in the request.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(F::pass)
    }

    #[inline(always)]
    fn call(&mut self, request: Request) -> Self::Future {
        let ask = self.cost.measure(&request);
        match self.gate.enter(&ask, self.max_wait()) {
            Ok(pass) => {
                match G::shadowed(&pass) {
                    None => self.telemetry.admitted(),
                    Some(rejected) => {
                        self.telemetry.shadowed(rejected);
                        let key = G::key(&ask);
                        self.refusal.observe(&request, rejected, key, true);
                    }
                }
                let future = self.inner.call(request);
                ResponseFuture::called(future, pass, self.refusal.clone(), self.hold.clone())
            }
            Err(rejected) => {
                let priority = self.cost.priority(&request);
                self.wait(request, ask, priority, rejected)
            }
        }
    }
}

impl<S, G, C, F, H> Limited<S, G, C, F, H>
where
    S: Clone,
    G: Limiter,
    F: Sealed + Clone,
    H: Clone,
{
    #[inline]
    fn max_wait(&self) -> Duration {
        self.limits.max_wait.unwrap_or(F::DEFAULT_MAX_WAIT)
    }

    /// Joins the queue at once, not when the future is first polled.
    #[cold]
    fn wait<Request>(
        &mut self,
        request: Request,
        ask: G::Ask,
        priority: Priority,
        rejected: Rejected,
    ) -> ResponseFuture<S, Request, G, F, H>
    where
        S: Service<Request>,
    {
        // Drops the instance that was polled ready and is not called: what it holds, such as the
        // only permit of an inner limit, would be held until this service is called again.
        self.inner = self.inner.clone();
        let (max_wait, max_waiting) = (self.max_wait(), self.limits.max_waiting);
        let context = RequestContext {
            request,
            name: self.limits.name,
            key: G::key(&ask),
        };
        let expected = rejected.retry_after();
        let waiting = self
            .gate
            .wait(ask, priority, rejected, max_wait, max_waiting);
        let waiting = waiting.inspect_err(|rejected| self.telemetry.rejected(rejected));
        let joined = waiting.and_then(|waiting| {
            let mut telemetry = self.telemetry.queued(expected);
            let queueing = QueuedCall::join(waiting, self.inner.clone());
            let queueing = queueing.inspect_err(|rejected| telemetry.rejected(rejected))?;
            Ok((queueing, telemetry))
        });
        let state = match joined {
            Ok((queueing, telemetry)) => State::QueuedCall {
                in_line: Box::new(InLine {
                    queueing,
                    request: Some(context),
                    telemetry,
                }),
            },
            Err(rejected) => {
                let rejection = Some(Box::new((context, rejected)));
                State::Rejected { rejection }
            }
        };
        ResponseFuture {
            state,
            refusal: self.refusal.clone(),
            hold: self.hold.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{Layer, ServiceExt, service_fn};

    use crate::{Quota, TokenBucketLayer, rejection::AsError};

    #[tokio::test(start_paused = true)]
    async fn requests_wait_for_an_error() {
        let layer = TokenBucketLayer::new(Quota::per_second(1)).respond_as(AsError);
        let service = layer
            .on_rejected(|_| ())
            .layer(service_fn(async |_| Ok::<_, Infallible>(())));
        for _ in 0..2 {
            let call = service.clone().oneshot(http::Request::new(()));
            assert!(call.await.is_ok());
        }
    }
}
