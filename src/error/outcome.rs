//! What the result of a call means: one vocabulary for every layer.

use std::{error::Error, fmt};

use http::StatusCode;

use super::{source_chain, transport};
use crate::{
    error::{
        circuit_open::CircuitOpen,
        rejected::{BoxError, Rejected},
    },
    http::{Hint, ResponseHead},
};

/// What the result of a call says about the service, whichever provider it comes from.
///
/// Retries, fallbacks, circuit breakers, adaptive limits and routers decide by it. A [`Classify`]
/// returns it; [`Outcome::of`] is the default one.
///
/// A status alone says less than the body that comes with it: a 400 may be a prompt that is too long or
/// one that a policy forbids. A layer that has read the body inserts the outcome into the response's
/// extensions, which takes precedence over the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The service responded as it should.
    Success,
    /// The service did not act on the request and never will: there was no connection, or an HTTP/2
    /// server refused the stream.
    NotSent,
    /// The connection ended before the response did. The service may have acted.
    Interrupted,
    /// A limit of this client was reached: 429.
    RateLimited,
    /// The service lacks capacity, which says nothing about this client's limits: 503 and 529.
    Overloaded,
    /// Money, credits or the quota of a day or longer are used up: 402.
    QuotaExhausted,
    /// The prompt does not fit the model's context.
    ContextTooLong,
    /// A policy forbids the prompt or the output.
    ContentPolicy,
    /// There was no response in time, on either side: 408, 504, [`TimedOut`](crate::TimedOut), and
    /// timeouts of tokio, tower and reqwest. The service may have acted.
    Timeout,
    /// The service or one of its dependencies failed: any other 5xx.
    ServerError,
    /// The request is wrong, too large or not allowed: any other 4xx.
    ClientError,
}

/// Returns what a result says about the service.
///
/// Implemented for [`HttpClassifier`], [`ErrorClassifier`], and closures. A closure names the type of its
/// argument:
///
/// ```
/// use http::Response;
/// use tower_throttle::{BoxError, CircuitBreakerLayer, Outcome};
///
/// let layer = CircuitBreakerLayer::new().classify(
///     |result: Result<&Response<String>, &BoxError>| match result {
///         Ok(response) if response.body().is_empty() => Some(Outcome::ServerError),
///         result => Outcome::of(result),
///     },
/// );
/// # let _ = layer;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't classify responses of type `{Response}`",
    note = "responses that are not HTTP need `ErrorClassifier`, or a closure",
    note = "a closure names its argument's type: `|result: Result<&MyResponse, &BoxError>| ..`"
)]
pub trait Classify<Response> {
    /// Returns what this result says about the service; `None` if it says nothing, as for a request that
    /// this crate's own limits rejected.
    fn classify(&self, result: Result<&Response, &BoxError>) -> Option<Outcome>;

    /// Returns what the response says about trying again. By default nothing.
    fn hint(&self, response: &Response) -> Hint {
        let _ = response;
        Hint::default()
    }
}

/// Classifies HTTP responses and errors by [`Outcome::of`]. The default of every layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HttpClassifier;

/// Classifies errors by [`Outcome::of_error`]; every response, of any type, is a success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorClassifier;

/// Some of the outcomes, as one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutcomeSet(u16);

// ===== impl Outcome =====

impl Outcome {
    /// Returns the outcome of a result; `None` if it says nothing about the service.
    ///
    /// The first of these that there is decides: an outcome in the response's extensions, a [`Rejected`]
    /// in them, which is a response of this crate's own limits, and the status.
    #[must_use]
    pub fn of<R: ResponseHead>(result: Result<&R, &BoxError>) -> Option<Self> {
        let response = match result {
            Ok(response) => response,
            Err(error) => return Self::of_error(error),
        };
        let extensions = response.extensions();
        if let Some(outcome) = extensions.get() {
            return Some(*outcome);
        }
        if extensions.get::<Rejected>().is_some() {
            return None;
        }
        Some(Self::of_status(response.status()))
    }

    /// Returns what a status says by itself.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            402 => Self::QuotaExhausted,
            408 | 504 => Self::Timeout,
            429 => Self::RateLimited,
            503 | 529 => Self::Overloaded,
            400..=499 => Self::ClientError,
            500..=599 => Self::ServerError,
            _ => Self::Success,
        }
    }

    /// Whether the same request would get this status at any other time.
    pub(crate) fn is_permanent(status: StatusCode) -> bool {
        match status.as_u16() {
            413 => true,
            status => (500..600).contains(&status) && !matches!(status, 500 | 502..=504 | 529),
        }
    }

    /// Returns what a gRPC status says by itself.
    pub(crate) fn of_grpc(status: &[u8]) -> Self {
        match status {
            b"0" => Self::Success,
            // DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE.
            b"4" => Self::Timeout,
            b"8" => Self::RateLimited,
            b"14" => Self::Overloaded,
            _ => Self::ServerError,
        }
    }

    /// Returns what an error says, by all errors in its chain of sources.
    ///
    /// `None` if there is a [`Rejected`] or a [`CircuitOpen`] in the chain, or an error of hyper or reqwest
    /// which says that the request's own body failed; and if no error in it is known.
    #[must_use]
    pub fn of_error(error: &BoxError) -> Option<Self> {
        let mut outcome = None;
        for source in source_chain(error) {
            let is_own = source.is::<Rejected>() || source.is::<CircuitOpen>();
            if is_own || transport::is_request_body(source) {
                return None;
            }
            if let Some(outcome) = source.downcast_ref() {
                return Some(*outcome);
            }
            outcome = match (outcome, transport::outcome(source)) {
                // That there was no connection explains every error around it.
                (_, Some(Self::NotSent)) => Some(Self::NotSent),
                (None | Some(Self::Interrupted), Some(source)) => Some(source),
                (outcome, _) => outcome,
            };
        }
        outcome
    }

    /// Returns a stable label, as for metrics: the variant's name in snake case, such as `not_sent`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::NotSent => "not_sent",
            Self::Interrupted => "interrupted",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::QuotaExhausted => "quota_exhausted",
            Self::ContextTooLong => "context_too_long",
            Self::ContentPolicy => "content_policy",
            Self::Timeout => "timeout",
            Self::ServerError => "server_error",
            Self::ClientError => "client_error",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str().replace('_', " "))
    }
}

/// An error that says no more than its outcome: the last source of one that says more.
impl Error for Outcome {}

// ===== impl Classify =====

impl<Response: ResponseHead> Classify<Response> for HttpClassifier {
    #[inline]
    fn classify(&self, result: Result<&Response, &BoxError>) -> Option<Outcome> {
        Outcome::of(result)
    }

    fn hint(&self, response: &Response) -> Hint {
        Hint::from_headers(response.headers())
    }
}

impl<Response> Classify<Response> for ErrorClassifier {
    fn classify(&self, result: Result<&Response, &BoxError>) -> Option<Outcome> {
        match result {
            Ok(_) => Some(Outcome::Success),
            Err(error) => Outcome::of_error(error),
        }
    }
}

impl<F, Response> Classify<Response> for F
where
    F: Fn(Result<&Response, &BoxError>) -> Option<Outcome>,
{
    fn classify(&self, result: Result<&Response, &BoxError>) -> Option<Outcome> {
        self(result)
    }
}

/// It is object safe, so that a classifier can be chosen at run time.
const _: fn(&dyn Classify<()>) = |_| {};

// ===== impl OutcomeSet =====

impl OutcomeSet {
    pub(crate) fn new(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let bits = outcomes.into_iter().map(|outcome| 1 << outcome as u16);
        Self(bits.fold(0, |all, bit| all | bit))
    }

    #[inline]
    pub(crate) const fn contains(self, outcome: Outcome) -> bool {
        self.0 & (1 << outcome as u16) != 0
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::*;
    use crate::error::{
        rejected::{LimitKind, Reason},
        timed_out::TimedOut,
    };

    #[test]
    fn extensions_take_precedence_over_the_status() {
        let mut response = http::Response::new(());
        assert_eq!(Outcome::of(Ok(&response)), Some(Outcome::Success));
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(Outcome::of(Ok(&response)), Some(Outcome::RateLimited));
        response.extensions_mut().insert(rejected());
        assert_eq!(Outcome::of(Ok(&response)), None);
        response.extensions_mut().insert(Outcome::QuotaExhausted);
        assert_eq!(Outcome::of(Ok(&response)), Some(Outcome::QuotaExhausted));
    }

    fn rejected() -> Rejected {
        let max_wait = Duration::ZERO;
        Rejected::new(
            LimitKind::TokenBucket,
            Reason::WaitTooLong { max_wait },
            None,
        )
    }

    #[test]
    fn errors() {
        let of = |error: BoxError| Outcome::of_error(&error);
        let timed_out = TimedOut::Attempt(Duration::from_secs(1));
        assert_eq!(of(timed_out.into()), Some(Outcome::Timeout));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let around = io::Error::new(io::ErrorKind::ConnectionReset, refused);
        assert_eq!(of(around.into()), Some(Outcome::NotSent));
        let stalled = io::Error::new(io::ErrorKind::ConnectionReset, timed_out);
        assert_eq!(of(stalled.into()), Some(Outcome::Timeout));
        let inside = io::Error::other(Outcome::ContextTooLong);
        assert_eq!(of(inside.into()), Some(Outcome::ContextTooLong));
        let own = io::Error::new(io::ErrorKind::ConnectionReset, rejected());
        assert_eq!(of(own.into()), None);
        assert_eq!(of(CircuitOpen::new(None, None).into()), None);
        assert_eq!(of("other".into()), None);
    }
}
