//! What the result of a call means: one vocabulary for every layer.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use http::{Extensions, HeaderName, StatusCode};

use super::{HeadResult, source_chain, transport};
use crate::{
    error::{
        circuit_open::CircuitOpen,
        rejected::{BoxError, Rejected},
    },
    http::{
        Hint, ResponseHead, headers::rate_limit::limits::RateLimits, keep_alives::is_event_stream,
    },
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What the result of a call says about the service, whichever provider it comes from.
///
/// Retries, fallbacks, circuit breakers, adaptive limits and routers decide by it. A [`Classify`]
/// returns it; [`Outcome::of`] is the default one.
///
/// A status alone says less than the body that comes with it: a 400 may be a prompt that is too
/// long or one that a policy forbids. A layer that has read the body inserts the outcome into the
/// response's extensions, which takes precedence over the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The service responded as it should.
    Success,
    /// The service did not act on the request and never will: there was no connection, an HTTP/2
    /// server refused the stream, or 421, 425.
    NotSent,
    /// The connection ended before the response did. The service may have acted.
    Interrupted,
    /// A limit of this client was reached: 429, and a 403 with a wait or with a limit that is used
    /// up.
    RateLimited,
    /// The service lacks capacity, which says nothing about this client's limits: 498, 503, 529,
    /// and a 413 with a wait.
    Overloaded,
    /// Money, credits or the quota of a day or longer are used up: 402, and a 429 with a wait of
    /// more than five hours.
    QuotaExhausted,
    /// The prompt does not fit the model's context.
    ContextTooLong,
    /// A policy forbids the prompt or the output.
    ContentPolicy,
    /// There was no response in time, on either side: 408, 504, 522, 524,
    /// [`TimedOut`](crate::TimedOut), and timeouts of tokio, tower and reqwest. The service may
    /// have acted.
    Timeout,
    /// The service or one of its dependencies failed: 424 and any other 5xx.
    ServerError,
    /// The request is too large, malformed or not allowed: 511 and any other 4xx.
    ClientError,
}

/// Returns what a result says about the service.
///
/// Implemented for [`HttpClassifier`], [`ErrorClassifier`], and closures. A closure that reads more
/// than the head of a response names the type of its argument:
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
    note = "a closure on the head of an HTTP response goes into `.classify_with(|result| ..)`",
    note = "any other names its argument's type: `|result: Result<&MyResponse, &BoxError>| ..`"
)]
pub trait Classify<Response> {
    /// Returns what this result says about the service; `None` if it says nothing, as for a request
    /// that this crate's own limits rejected.
    fn classify(&self, result: Result<&Response, &BoxError>) -> Option<Outcome>;

    /// Returns what the response says about trying again. By default nothing.
    fn hint(&self, response: &Response) -> Hint {
        let _ = response;
        Hint::default()
    }

    /// Returns the extensions of an event stream, which may end in an error.
    #[doc(hidden)]
    fn stream_extensions<'a>(&self, response: &'a mut Response) -> Option<&'a mut Extensions> {
        let _ = response;
        None
    }
}

/// Classifies HTTP responses and errors by [`Outcome::of`]. The default of every layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HttpClassifier;

/// Classifies errors by [`Outcome::of_error`]; every response, of any type, is a success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorClassifier;

/// Classifies HTTP responses and errors by a closure. Made by
/// [`classify_with`](crate::RetryAfterBackoffLayer::classify_with).
#[derive(Clone)]
pub struct ClassifierFn(Arc<ClassifyHead>);

type ClassifyHead = dyn Fn(HeadResult<'_, '_>) -> Option<Outcome> + Send + Sync;

/// Which requests may be sent again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// None: the same request would fail again.
    Never,
    /// Requests that do no harm if the service acts twice.
    Idempotent,
    /// Any, since the service did not act.
    Always,
}

/// Some of the outcomes, as one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutcomeSet(u16);

// ===== impl Outcome =====

impl Outcome {
    /// Returns the outcome of a result; `None` if it says nothing about the service.
    ///
    /// The first of these that there is decides: an outcome in the response's extensions, a
    /// [`Rejected`] in them, which is a response of this crate's own limits, and the status. If
    /// that is a success, the `grpc-status` of a gRPC response without a body decides.
    #[must_use]
    pub fn of<R: ResponseHead + ?Sized>(result: Result<&R, &BoxError>) -> Option<Self> {
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
        let outcome = Self::of_head(response).0;
        match response.headers().get(&GRPC_STATUS) {
            Some(status) if outcome == Self::Success => Some(Self::of_grpc(status.as_bytes())),
            _ => Some(outcome),
        }
    }

    /// Returns what a status says by itself.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        Self::in_table(status, || None, RateLimits::default).0
    }

    /// Returns what the status and the headers say.
    #[inline]
    pub(crate) fn of_head<R: ResponseHead + ?Sized>(response: &R) -> (Self, Repeat) {
        let status = response.status();
        let limits = || RateLimits::from_headers(response.headers());
        Self::in_table(status, || Hint::of(response).retry_after(), limits)
    }

    /// Returns which requests may be sent again after this outcome.
    pub(crate) fn repeat(self, status: Option<StatusCode>, has_hint: bool) -> Repeat {
        let wait = || has_hint.then_some(Duration::ZERO);
        let in_table = |status| Self::in_table(status, wait, RateLimits::default);
        match (status.map(in_table), self) {
            (Some((outcome, repeat)), _) if outcome == self => repeat,
            // An error does not say that the service did not act.
            (None, Self::RateLimited) => Repeat::Idempotent,
            (_, Self::NotSent | Self::RateLimited) => Repeat::Always,
            (_, Self::Overloaded) if has_hint => Repeat::Always,
            (_, Self::Overloaded | Self::Interrupted | Self::Timeout | Self::ServerError) => {
                Repeat::Idempotent
            }
            _ => Repeat::Never,
        }
    }

    /// Returns what a status means, in the one table that all layers read.
    ///
    /// `wait` returns when to try again, and `limits` the limits that the response reports.
    #[inline]
    pub(crate) fn in_table(
        status: StatusCode,
        wait: impl Fn() -> Option<Duration>,
        limits: impl Fn() -> RateLimits,
    ) -> (Self, Repeat) {
        use Repeat::{Always, Idempotent, Never};
        let has_hint = || wait().is_some();
        match status.as_u16() {
            402 => (Self::QuotaExhausted, Never),
            // GitHub's limits.
            403 if has_hint() || limits().used_up().next().is_some() => (Self::RateLimited, Always),
            // 522 and 524 are Cloudflare's: the origin did not respond in time.
            408 | 504 | 522 | 524 => (Self::Timeout, Idempotent),
            // A misdirected request, and one that is too early.
            421 | 425 => (Self::NotSent, Always),
            429 if limits().is_daily(wait(), false) => (Self::QuotaExhausted, Never),
            429 => (Self::RateLimited, Always),
            // Groq's: not processed.
            498 => (Self::Overloaded, Always),
            // 529 is Anthropic's. Such a 413 is temporary (RFC 9110 §15.5.14).
            413 | 503 | 529 if has_hint() => (Self::Overloaded, Always),
            503 | 529 => (Self::Overloaded, Idempotent),
            // 424 is a dependency that failed, and 520 to 530 Cloudflare's, an origin that failed.
            424 | 500 | 502 | 520 | 521 | 523 | 527 | 530 => (Self::ServerError, Idempotent),
            // 511: the client has to sign in to its network.
            400..=499 | 511 => (Self::ClientError, Never),
            500..=599 => (Self::ServerError, Never),
            _ => (Self::Success, Never),
        }
    }

    /// Returns what a gRPC status says by itself.
    fn of_grpc(status: &[u8]) -> Self {
        match status {
            b"0" => Self::Success,
            // CANCELLED.
            b"1" => Self::Interrupted,
            // DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED.
            b"4" => Self::Timeout,
            b"8" => Self::RateLimited,
            // UNAVAILABLE.
            b"14" => Self::Overloaded,
            // INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION,
            // ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, UNAUTHENTICATED.
            b"3" | b"5" | b"6" | b"7" | b"9" | b"10" | b"11" | b"12" | b"16" => Self::ClientError,
            // UNKNOWN, INTERNAL, DATA_LOSS, and numbers that are not registered.
            _ => Self::ServerError,
        }
    }

    /// Returns what an error says, by all errors in its chain of sources.
    ///
    /// `None` if there is a [`Rejected`] or a [`CircuitOpen`] in the chain, or an error of hyper or
    /// reqwest which says that the request's own body failed; and if no error in it is known.
    ///
    /// The errors of hyper and hyper-util need the feature `hyper`, and errors of reqwest the
    /// feature `reqwest`. If one of them is missing, the feature `tracing` logs a warning, once per
    /// process.
    #[must_use]
    pub fn of_error(error: &BoxError) -> Option<Self> {
        let mut outcome = None;
        for source in source_chain(error) {
            if source.is::<Rejected>() || source.is::<CircuitOpen>() {
                return None;
            }
            if let Some(outcome) = source.downcast_ref() {
                return Some(*outcome);
            }
            outcome = match (outcome, transport::read(source).transpose().ok()?) {
                // That there was no connection explains every error around it.
                (_, Some(Self::NotSent)) => Some(Self::NotSent),
                (None | Some(Self::Interrupted), Some(source)) => Some(source),
                (outcome, _) => outcome,
            };
        }
        #[cfg(feature = "tracing")]
        if outcome.is_none() {
            transport::warn_of_missing_feature(source_chain(error));
        }
        outcome
    }

    /// Returns a stable label, as for metrics: the variant's name in snake case, such as
    /// `not_sent`.
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
        let hint = Hint::of(response);
        // A known reset is the wait, but not one that a server in trouble happens to report.
        if hint.retry_after().is_none() && Outcome::of(Ok(response)) == Some(Outcome::RateLimited) {
            let reset = RateLimits::from_headers(response.headers()).reset();
            return Hint::new(reset, hint.should_retry());
        }
        hint
    }

    fn stream_extensions<'a>(&self, response: &'a mut Response) -> Option<&'a mut Extensions> {
        let is_stream = is_event_stream(response.headers());
        is_stream.then(|| response.extensions_mut())
    }
}

impl ClassifierFn {
    pub(crate) fn new<F>(f: F) -> Self
    where
        F: Fn(HeadResult<'_, '_>) -> Option<Outcome> + Send + Sync + 'static,
    {
        Self(Arc::new(f))
    }
}

impl<Response: ResponseHead + 'static> Classify<Response> for ClassifierFn {
    fn classify(&self, result: Result<&Response, &BoxError>) -> Option<Outcome> {
        (self.0)(result.map(|response| response as _))
    }

    fn hint(&self, response: &Response) -> Hint {
        HttpClassifier.hint(response)
    }

    fn stream_extensions<'a>(&self, response: &'a mut Response) -> Option<&'a mut Extensions> {
        HttpClassifier.stream_extensions(response)
    }
}

crate::macros::debug!(impl Debug for ClassifierFn |self| { .. });

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
    use std::io;

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

    #[test]
    fn grpc_statuses() {
        use Outcome::*;
        let of = |http: u16, grpc: &str| {
            let response = http::Response::builder().status(http);
            let response = response.header("grpc-status", grpc).body(()).unwrap();
            Outcome::of(Ok(&response)).unwrap()
        };
        for (statuses, expected) in [
            (&["0"][..], Success),
            (&["1"], Interrupted),
            (&["4"], Timeout),
            (&["8"], RateLimited),
            (&["14"], Overloaded),
            (&["2", "13", "15", "17", "-1", "08", ""], ServerError),
            (
                &["3", "5", "6", "7", "9", "10", "11", "12", "16"],
                ClientError,
            ),
        ] {
            for status in statuses {
                assert_eq!(of(200, status), expected, "{status}");
            }
        }
        // A status other than 200 is one of HTTP.
        assert_eq!(of(503, "0"), Overloaded);
    }

    #[test]
    fn statuses() {
        use Outcome::*;
        use Repeat::*;
        let of = |status: u16, hint: Option<&'static str>| {
            let mut response = http::Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(hint) = hint {
                let headers = response.headers_mut();
                headers.insert("retry-after", http::HeaderValue::from_static(hint));
            }
            Outcome::of_head(&response)
        };
        for status in 100..1_000 {
            let expected = match status {
                402 => (QuotaExhausted, Never),
                408 | 504 | 522 | 524 => (Timeout, Idempotent),
                421 | 425 => (NotSent, Always),
                429 => (RateLimited, Always),
                498 => (Overloaded, Always),
                503 | 529 => (Overloaded, Idempotent),
                424 | 500 | 502 | 520 | 521 | 523 | 527 | 530 => (ServerError, Idempotent),
                511 | 400..500 => (ClientError, Never),
                500..600 => (ServerError, Never),
                _ => (Success, Never),
            };
            assert_eq!(of(status, None), expected, "{status}");
            assert_eq!(of(status, Some("soon")), expected, "{status}");
            let with_hint = match status {
                403 => (RateLimited, Always),
                413 | 503 | 529 => (Overloaded, Always),
                _ => expected,
            };
            assert_eq!(of(status, Some("2")), with_hint, "{status}");
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Outcome::of_status(status), expected.0, "{status}");
        }
    }

    #[test]
    fn outcomes_that_are_not_of_the_status() {
        let status = |status| StatusCode::from_u16(status).ok();
        for (outcome, status, has_hint, expected) in [
            (Outcome::Overloaded, status(500), false, Repeat::Idempotent),
            (Outcome::Overloaded, status(500), true, Repeat::Always),
            (Outcome::Overloaded, None, false, Repeat::Idempotent),
            (Outcome::RateLimited, status(500), false, Repeat::Always),
            (Outcome::RateLimited, None, false, Repeat::Idempotent),
            (Outcome::ServerError, None, false, Repeat::Idempotent),
            (Outcome::ServerError, status(501), false, Repeat::Never),
            (Outcome::ClientError, status(500), true, Repeat::Never),
            (Outcome::QuotaExhausted, status(429), true, Repeat::Never),
            (Outcome::ContextTooLong, status(500), true, Repeat::Never),
        ] {
            assert_eq!(outcome.repeat(status, has_hint), expected, "{outcome}");
        }
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
