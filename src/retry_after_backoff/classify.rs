//! What an outcome means for a retry.

use std::{any::type_name, fmt, time::Duration};

use super::Attempts;
use crate::{BoxError, ErrorKind, RequestHead, ResponseHead};

/// Says whether a request should be repeated, having seen what became of it.
///
/// The default is [`ByStatus`](super::ByStatus). Closures are classifiers of requests and responses that have a
/// [head](ResponseHead); write out the types of their arguments:
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use tower_throttle::{BoxError, RetryAfterBackoffLayer, retry_after_backoff::Verdict};
///
/// let layer = RetryAfterBackoffLayer::new().classify(
///     |_: &Request<String>, outcome: Result<&Response<String>, &BoxError>| match outcome {
///         Ok(response) if response.status() == StatusCode::CONFLICT => Verdict::retry(),
///         Ok(_) => Verdict::Accept,
///         Err(_) => Verdict::Forbid,
///     },
/// );
/// # let _ = layer;
/// ```
///
/// For those that are not HTTP, wrap the closure in [`Plain`], or implement this trait and say in
/// [`record`](Classify::record) where the number of attempts goes.
pub trait Classify<Request, Response> {
    /// What `outcome` means for `request`, which is a clone of the request that was sent.
    fn classify(&self, request: &Request, outcome: Result<&Response, &BoxError>) -> Verdict;

    /// Notes in a response how many attempts it took. Called where it took more than one.
    ///
    /// Does nothing unless told otherwise.
    fn record(&self, response: &mut Response, attempts: Attempts) {
        let _ = (response, attempts);
    }

    /// Whether a last attempt, whose request is no longer there to be [classified](Classify::classify), was a success.
    ///
    /// If so the retry budget grows. No unless told otherwise.
    fn is_success(&self, outcome: Result<&Response, &BoxError>) -> bool {
        let _ = outcome;
        false
    }

    /// Where the request goes: the name of the budget that pays for its retries, where there is
    /// [one for each host](crate::RetryAfterBackoffLayer::budget_by_host).
    ///
    /// All requests for which this is `None` have one in common. `None` unless told otherwise.
    fn host<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let _ = request;
        None
    }
}

/// What a classifier says of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Verdict {
    /// The other side did what it should. The caller gets the outcome, and the retry budget grows.
    Accept,
    /// The request should be repeated.
    Retry {
        /// The wait that the other side asked for, if it did. A retry after such a wait is not paid for from the
        /// budget.
        after: Option<Duration>,
        /// What kind of failure it was: the budget may [take more](super::Budget::price) for some than for others. Where it
        /// is not told, an error is looked into.
        kind: Option<ErrorKind>,
    },
    /// A failure that must not be repeated, or would only fail again. The caller gets it.
    Forbid,
}

/// A closure as a classifier of responses that are not HTTP.
///
/// The number of attempts is not noted anywhere.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower_throttle::BoxError> {
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_throttle::{BoxError, RetryAfterBackoffLayer, retry_after_backoff::{Plain, Verdict}};
///
/// static TRIES: AtomicU32 = AtomicU32::new(0);
/// let second_time_lucky = service_fn(async |n: u32| match TRIES.fetch_add(1, Ordering::Relaxed) {
///     0 => Err("not yet"),
///     _ => Ok(n + 1),
/// });
/// let classifier = Plain::new(|_: &u32, outcome: Result<&u32, &BoxError>| match outcome {
///     Ok(_) => Verdict::Accept,
///     Err(_) => Verdict::retry(),
/// });
/// let service = RetryAfterBackoffLayer::new().classify(classifier).layer(second_time_lucky);
/// assert_eq!(service.oneshot(1).await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Plain<F>(F);

// ===== impl Plain =====

impl<F> Plain<F> {
    /// Takes `classify` for a classifier.
    pub const fn new(classify: F) -> Self {
        Self(classify)
    }
}

// ===== impl Verdict =====

impl Verdict {
    /// Repeat it, after a wait of our own choice.
    pub const fn retry() -> Self {
        Self::Retry {
            after: None,
            kind: None,
        }
    }

    /// Repeat it, after the wait that the other side asked for.
    pub const fn retry_after(wait: Duration) -> Self {
        Self::Retry {
            after: Some(wait),
            kind: None,
        }
    }

    /// Says what kind of failure it was. Nothing changes where it is not to be repeated.
    pub const fn because(self, kind: ErrorKind) -> Self {
        match self {
            Self::Retry { after, .. } => Self::Retry {
                after,
                kind: Some(kind),
            },
            Self::Accept | Self::Forbid => self,
        }
    }
}

// ===== closures =====

impl<F, Request, Response> Classify<Request, Response> for F
where
    F: Fn(&Request, Result<&Response, &BoxError>) -> Verdict,
    Request: RequestHead,
    Response: ResponseHead,
{
    fn classify(&self, request: &Request, outcome: Result<&Response, &BoxError>) -> Verdict {
        self(request, outcome)
    }

    fn record(&self, response: &mut Response, attempts: Attempts) {
        response.extensions_mut().insert(attempts);
    }

    fn host<'a>(&self, request: &'a Request) -> Option<&'a str> {
        request.authority()
    }
}

impl<F, Request, Response> Classify<Request, Response> for Plain<F>
where
    F: Fn(&Request, Result<&Response, &BoxError>) -> Verdict,
{
    fn classify(&self, request: &Request, outcome: Result<&Response, &BoxError>) -> Verdict {
        (self.0)(request, outcome)
    }
}

impl<F> fmt::Debug for Plain<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Plain").field(&type_name::<F>()).finish()
    }
}

/// Someone will want to choose one at run time, with a closure around it.
const _: fn(&dyn Classify<(), ()>) = |_| {};
