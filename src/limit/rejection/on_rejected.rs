//! A hook that observes rejections.

use std::{fmt, sync::Arc};

use super::Rejection;
use crate::{
    error::{BoxError, Rejected},
    http::RequestHead,
    limit::engine::LimitKey,
};

/// Calls a hook for each rejected request, and rejects as `F` does.
///
/// Made by `on_rejected` of the limiting layers, such as
/// [`TokenBucketLayer::on_rejected`](crate::TokenBucketLayer::on_rejected). Requests have to
/// implement [`RequestHead`].
#[derive(Clone)]
pub struct OnRejected<F> {
    pub(super) rejection: F,
    hook: Arc<Hook>,
}

type Hook = dyn Fn(&RejectedRequest<'_>) + Send + Sync;

/// A rejected request, as a hook sees it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RejectedRequest<'a> {
    /// The rejection, with the [name](Rejected::name) of the limit.
    pub rejected: &'a Rejected,
    /// The head of the request.
    pub request: &'a dyn RequestHead,
    /// The key that the request counts for, if the limit has one per key and the request has a key.
    #[cfg(feature = "per-key")]
    pub key: Option<crate::limit::key::ClientKey>,
    /// Whether the request passed all the same, because the limit is a
    #[cfg_attr(
        feature = "per-key",
        doc = "[shadow](crate::per_key::PerKeyLimiter::set_shadow)."
    )]
    #[cfg_attr(not(feature = "per-key"), doc = "shadow.")]
    pub passed: bool,
}

// ===== impl OnRejected =====

impl<F> OnRejected<F> {
    pub(crate) fn new(
        rejection: F,
        hook: impl Fn(&RejectedRequest<'_>) + Send + Sync + 'static,
    ) -> Self {
        let hook = Arc::new(hook);
        Self { rejection, hook }
    }
}

impl<F, Request, Response, Error> Rejection<Request, Response, Error> for OnRejected<F>
where
    F: Rejection<Request, Response, Error>,
    Request: RequestHead,
{
    type Error = F::Error;

    fn reject(&self, request: &Request, rejected: Rejected) -> Result<Response, F::Error> {
        self.rejection.reject(request, rejected)
    }

    fn observe(&self, request: &Request, rejected: &Rejected, key: Option<LimitKey>, passed: bool) {
        self.rejection.observe(request, rejected, key, passed);
        #[cfg(not(feature = "per-key"))]
        let _ = key;
        (self.hook)(&RejectedRequest {
            rejected,
            request,
            #[cfg(feature = "per-key")]
            key,
            passed,
        });
    }

    fn pass(error: Error) -> F::Error {
        F::pass(error)
    }

    fn as_boxed(error: &F::Error) -> Option<&BoxError> {
        F::as_boxed(error)
    }
}

crate::macros::debug!(impl<F: fmt::Debug> Debug for OnRejected<F> |self| { rejection, .. });

// ===== impl RejectedRequest =====

impl fmt::Debug for RejectedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RejectedRequest");
        debug
            .field("rejected", self.rejected)
            .field("method", self.request.method())
            .field("path", &self.request.path());
        #[cfg(feature = "per-key")]
        debug.field("key", &self.key);
        debug.field("passed", &self.passed).finish()
    }
}
