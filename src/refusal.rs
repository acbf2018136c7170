//! The two faces of a refusal: an error, or an answer.

use std::{any::type_name, fmt, time::Duration};

use http::{HeaderValue, StatusCode, header::RETRY_AFTER};

use crate::{BoxError, Limit, Reason, Rejected};

/// How a limiter's service tells the caller that it refused.
///
/// Sealed: [`Fail`], [`Respond`] and [`RespondWith`] are all there are. [`RespondWith`] takes a closure for everything
/// else.
pub trait Refusal<Response, Error>: sealed::Sealed {
    /// The error of the service.
    type Error;

    /// What the caller gets.
    #[doc(hidden)]
    fn refuse(&self, rejected: Rejected) -> Result<Response, Self::Error>;

    /// An error of the inner service.
    #[doc(hidden)]
    fn pass(error: Error) -> Self::Error;

    /// The same error, where it can be looked into.
    #[doc(hidden)]
    #[must_use]
    fn as_boxed(_: &Self::Error) -> Option<&BoxError> {
        None
    }
}

/// A refusal is an error: a [`BoxError`] that holds a [`Rejected`]. Requests wait, without a bound unless told.
///
/// The face of a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Fail;

/// A refusal is an HTTP response, and the error type is the inner service's own. Nothing waits unless told.
///
/// The face of a server: 429, or 503 for a [`Concurrency`](crate::Concurrency) limit, with an empty body, a
/// `Retry-After` in whole seconds, rounded up and never 0, and the [`Rejected`] in the response's extensions. A request
/// that never fits is told no `Retry-After`, and one without the key of a limit by caller is a 400. Concurrency can't know when others finish, and says 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Respond;

/// A refusal is whatever response a closure makes of the [`Rejected`]. Nothing waits unless told.
#[derive(Clone, Copy)]
pub struct RespondWith<F>(pub(crate) F);

mod sealed {
    use std::time::Duration;

    /// Keeps [`Refusal`](super::Refusal) ours, so that it may grow.
    pub trait Sealed {
        /// How long a request waits where its limiter was not told.
        fn default_max_wait(&self) -> Duration {
            Duration::ZERO
        }
    }
}

pub(crate) use sealed::Sealed;

// ===== impl Fail =====

impl Sealed for Fail {
    fn default_max_wait(&self) -> Duration {
        Duration::MAX
    }
}

impl<Response, Error> Refusal<Response, Error> for Fail
where
    Error: Into<BoxError>,
{
    type Error = BoxError;

    fn refuse(&self, rejected: Rejected) -> Result<Response, BoxError> {
        Err(rejected.into())
    }

    fn pass(error: Error) -> BoxError {
        error.into()
    }

    fn as_boxed(error: &BoxError) -> Option<&BoxError> {
        Some(error)
    }
}

// ===== impl Respond =====

impl Sealed for Respond {}

impl<B: Default, Error> Refusal<http::Response<B>, Error> for Respond {
    type Error = Error;

    fn refuse(&self, rejected: Rejected) -> Result<http::Response<B>, Error> {
        let mut response = http::Response::new(B::default());
        *response.status_mut() = status(&rejected);
        if !rejected.never_fits() {
            let seconds = whole_seconds(rejected.retry_after().unwrap_or_default());
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(rejected);
        Ok(response)
    }

    fn pass(error: Error) -> Error {
        error
    }
}

/// The status that says what was refused.
fn status(rejected: &Rejected) -> StatusCode {
    match (rejected.reason(), rejected.limit()) {
        (Reason::NoKey, _) => StatusCode::BAD_REQUEST,
        (_, Limit::Concurrency) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::TOO_MANY_REQUESTS,
    }
}

/// Rounded up, so that whoever obeys is admitted, and never 0, which means at once.
fn whole_seconds(wait: Duration) -> u64 {
    seconds_begun(wait).max(1)
}

/// Whole seconds, rounded up, so that whoever waits them out has waited long enough.
pub(crate) fn seconds_begun(time: Duration) -> u64 {
    let part = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(part)
}

// ===== impl RespondWith =====

impl<F> Sealed for RespondWith<F> {}

impl<F, Response, Error> Refusal<Response, Error> for RespondWith<F>
where
    F: Fn(&Rejected) -> Response,
{
    type Error = Error;

    fn refuse(&self, rejected: Rejected) -> Result<Response, Error> {
        Ok((self.0)(&rejected))
    }

    fn pass(error: Error) -> Error {
        error
    }
}

impl<F> fmt::Debug for RespondWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RespondWith")
            .field(&type_name::<F>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_never_zero() {
        for (millis, seconds) in [
            (0, 1),
            (1, 1),
            (999, 1),
            (1_000, 1),
            (1_001, 2),
            (59_001, 60),
        ] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
