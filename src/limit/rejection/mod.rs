//! Ways to reject a request: an error or a response.
//!
//! By default a limit rejects with [an error](AsError), which is for clients. In front of a server
//! it responds:
//!
//! ```
//! use tower_throttle::{Quota, TokenBucketLayer, rejection::Text};
//!
//! let layer = TokenBucketLayer::new(Quota::per_second(10)).respond_as(Text);
//! # let _ = layer;
//! ```
//!
//! | on the layer | response |
//! | --- | --- |
//! | `.respond()` | a status and `Retry-After`, without a body: [`AsResponse`] |
//! | `.respond_as(Text)` | the same, and the reason in plain text: [`Text`] |
//! | `.respond_as(Problem)` | the same, and the reason in JSON (RFC 9457): [`Problem`] |
#![cfg_attr(
    feature = "grpc",
    doc = "| `.respond_as(Grpc)` | a gRPC status with `RetryInfo`: [`Grpc`] |"
)]
//! | `.respond_with(closure)` | what the closure returns for the [`Rejected`]: [`AsResponseWith`] |
//! | `.respond_with_head(closure)` | the same, with the head of the request: [`AsResponseWithHead`] |
//!
//! [`OnRejected`] is a hook that observes rejections.
//!
//! Plain text and gRPC have the reason and the time to retry, but not the size of the limit.
//!
//! A `HEAD` is rejected like a `GET`. Axum's router, and hyper in HTTP/1, remove the body of its
//! response. In HTTP/2 hyper does not: put the limit inside the layer that removes it, or respond
//! without a body.

/// The error of a form that responds is the inner service's.
macro_rules! same_error {
    () => {
        type Error = Error;

        fn pass(error: Error) -> Error {
            error
        }
    };
}

#[cfg(feature = "grpc")]
mod grpc;
mod on_rejected;
mod problem;
#[cfg(feature = "grpc")]
mod protobuf;
mod text;

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};

#[cfg(feature = "grpc")]
pub use self::grpc::Grpc;
pub use self::{
    on_rejected::{OnRejected, RejectedRequest},
    problem::Problem,
    text::Text,
};
use crate::{
    error::{BoxError, LimitKind, Reason, Rejected},
    http::{RequestHead, headers::retry_after::seconds_begun},
    limit::engine::LimitKey,
};

/// Bodies of rejections.
pub mod body {
    pub use crate::http::TextBody;
}

/// Turns a rejection into the result of a limiter's service.
///
/// Sealed. For other responses, [`AsResponseWith`] takes a closure.
#[diagnostic::on_unimplemented(
    note = "`.respond()` and `.respond_as(..)` need an HTTP response whose body has a default: \
            for other responses use `.respond_with(..)`"
)]
pub trait Rejection<Request, Response, Error>: sealed::Sealed {
    /// The error of the service.
    type Error;

    /// Returns the result of a rejected request.
    #[doc(hidden)]
    fn reject(&self, request: &Request, rejected: Rejected) -> Result<Response, Self::Error>;

    /// Calls the hook, if there is one, for a request that is rejected or passes a shadow.
    #[doc(hidden)]
    fn observe(&self, _: &Request, _: &Rejected, _: Option<LimitKey>, _passed: bool) {}

    /// Converts an error of the inner service.
    #[doc(hidden)]
    fn pass(error: Error) -> Self::Error;

    /// Returns the error as a [`BoxError`] if it is one.
    #[doc(hidden)]
    #[must_use]
    fn as_boxed(_: &Self::Error) -> Option<&BoxError> {
        None
    }
}

/// Rejects with an error, a [`BoxError`] that holds a [`Rejected`]. By default requests wait as
/// long as it takes.
///
/// For clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AsError;

/// Rejects with an HTTP response; the error type stays the inner service's. By default requests do
/// not wait.
///
/// For servers: a 429, or a 503 for a [`Concurrency`](crate::Concurrency) limit, without a body. It
/// has a `Retry-After` in whole seconds, rounded up and never 0, and the [`Rejected`] in its
/// extensions. For concurrency the wait is not known, and `Retry-After` is 1, as it is for a closed
/// limiter: another server may answer then. There is none if a request exceeds the capacity. A
/// request without a key is a 401, or what `missing_key` of the layer says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AsResponse;

/// Rejects with the response that a closure makes of the [`Rejected`]. By default requests do not
/// wait.
#[derive(Clone, Copy)]
pub struct AsResponseWith<F>(pub(crate) F);

/// Rejects with the response that a closure makes of the request's head and the [`Rejected`]. By
/// default requests do not wait.
#[derive(Clone, Copy)]
pub struct AsResponseWithHead<F>(pub(crate) F);

mod sealed {
    use std::time::Duration;

    /// Keeps [`Rejection`](crate::Rejection) ours, so that it may grow.
    pub trait Sealed {
        /// How long a request waits by default.
        const DEFAULT_MAX_WAIT: Duration = Duration::ZERO;
    }

    /// A form that responds.
    pub trait Responds {}

    impl<F: Responds> Sealed for F {}
    impl Sealed for super::AsError {
        const DEFAULT_MAX_WAIT: Duration = Duration::MAX;
    }
    impl<F: Sealed> Sealed for super::OnRejected<F> {
        const DEFAULT_MAX_WAIT: Duration = F::DEFAULT_MAX_WAIT;
    }
}

#[cfg(feature = "per-key")]
pub(crate) use sealed::Responds;
pub(crate) use sealed::Sealed;

// ===== impl AsError =====

impl<Request, Response, Error> Rejection<Request, Response, Error> for AsError
where
    Error: Into<BoxError>,
{
    type Error = BoxError;

    fn reject(&self, _: &Request, rejected: Rejected) -> Result<Response, BoxError> {
        Err(rejected.into())
    }

    fn pass(error: Error) -> BoxError {
        error.into()
    }

    fn as_boxed(error: &BoxError) -> Option<&BoxError> {
        Some(error)
    }
}

// ===== impl AsResponse =====

impl sealed::Responds for AsResponse {}

impl<Request, B: Default, Error> Rejection<Request, http::Response<B>, Error> for AsResponse {
    same_error!();

    fn reject(&self, _: &Request, rejected: Rejected) -> Result<http::Response<B>, Error> {
        Ok(respond(rejected, None, B::default()))
    }
}

/// Returns an HTTP response with a body, and with the type of its content if it has any.
fn respond<B>(rejected: Rejected, kind: Option<&'static str>, body: B) -> http::Response<B> {
    let mut response = http::Response::new(body);
    *response.status_mut() = status(&rejected);
    let headers = response.headers_mut();
    if let Some(wait) = wait(&rejected) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_begun(wait)));
    }
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response.extensions_mut().insert(rejected);
    response
}

/// Returns the status of a rejection.
fn status(rejected: &Rejected) -> StatusCode {
    #[cfg(feature = "per-key")]
    if let Some(status) = rejected.missing_key_status() {
        return status;
    }
    match (rejected.reason(), rejected.limit()) {
        (Reason::MissingKey, _) => StatusCode::UNAUTHORIZED,
        (Reason::MissingPeer, _) => StatusCode::INTERNAL_SERVER_ERROR,
        (Reason::Closed, _) | (_, LimitKind::Concurrency) => StatusCode::SERVICE_UNAVAILABLE,
        #[cfg(feature = "redis")]
        (Reason::Unreachable, _) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::TOO_MANY_REQUESTS,
    }
}

/// Returns the time until a retry may succeed, never 0; `None` if it never does.
fn wait(rejected: &Rejected) -> Option<Duration> {
    // When other requests finish is not known. Another server may stand in for one that stops.
    let known = rejected.retry_after().unwrap_or(Duration::from_secs(1));
    (!rejected.exceeds_capacity()).then(|| known.max(Duration::from_millis(1)))
}

// ===== impl AsResponseWith =====

impl<F> sealed::Responds for AsResponseWith<F> {}

impl<F, Request, Response, Error> Rejection<Request, Response, Error> for AsResponseWith<F>
where
    F: Fn(&Rejected) -> Response,
{
    same_error!();

    fn reject(&self, _: &Request, rejected: Rejected) -> Result<Response, Error> {
        Ok((self.0)(&rejected))
    }
}

crate::macros::debug!(impl<F> Debug for AsResponseWith<F> |self| { .. });

// ===== impl AsResponseWithHead =====

impl<F> sealed::Responds for AsResponseWithHead<F> {}

impl<F, Request, Response, Error> Rejection<Request, Response, Error> for AsResponseWithHead<F>
where
    F: Fn(&dyn RequestHead, &Rejected) -> Response,
    Request: RequestHead,
{
    same_error!();

    fn reject(&self, request: &Request, rejected: Rejected) -> Result<Response, Error> {
        Ok((self.0)(request, &rejected))
    }
}

crate::macros::debug!(impl<F> Debug for AsResponseWithHead<F> |self| { .. });

#[cfg(test)]
mod tests {
    use super::*;

    /// A rejection of each kind, with this wait if it is known.
    pub(super) fn all(wait: Duration) -> [Rejected; 5] {
        let (max_wait, max_waiting) = (Duration::ZERO, 7);
        let never = Reason::ExceedsCapacity {
            cost: 41,
            capacity: 40,
        };
        let too_long = Reason::WaitTooLong { max_wait };
        let full = Reason::QueueFull { max_waiting };
        [
            Rejected::new(LimitKind::TokenBucket, too_long, Some(wait)),
            Rejected::new(LimitKind::SlidingWindow, full, Some(wait)),
            Rejected::new(LimitKind::Concurrency, too_long, None),
            Rejected::new(LimitKind::Concurrency, never, None),
            Rejected::new(LimitKind::TokenBucket, Reason::MissingKey, None),
        ]
    }

    #[test]
    fn seconds_are_rounded_up_and_never_zero() {
        for (millis, seconds) in [
            (0, "1"),
            (1, "1"),
            (999, "1"),
            (1_000, "1"),
            (1_001, "2"),
            (59_001, "60"),
        ] {
            let [rejected, ..] = all(Duration::from_millis(millis));
            let response = respond(rejected, None, ());
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds);
        }
        let [longest, ..] = all(Duration::MAX);
        let response = respond(longest, None, ());
        assert_eq!(
            response.headers()[header::RETRY_AFTER],
            u64::MAX.to_string().as_str()
        );
    }
}
