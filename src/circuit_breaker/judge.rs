//! What an attempt says of the service that it was sent to.

use std::{fmt, time::Duration};

use crate::{BoxError, CircuitOpen, ErrorKind, Hint, Rejected, ResponseHead, causes::causes};

/// What came of an attempt, as far as the service's health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Judgement {
    /// The service works.
    Success,
    /// It does not.
    Failure {
        /// How long it asked to be left alone for.
        retry_after: Option<Duration>,
    },
    /// Nobody knows, as where the request was never sent.
    Nothing,
}

/// Says what an outcome means for the health of a service.
///
/// Implemented for [`ByKind`], [`ErrorsByKind`], and closures. A closure names the type that it looks at, since nothing else
/// does:
///
/// ```
/// use tower_throttle::{BoxError, CircuitBreakerLayer, circuit_breaker::Judgement};
///
/// let layer = CircuitBreakerLayer::new().judge(|outcome: Result<&usize, &BoxError>| match outcome {
///     Ok(_) => Judgement::Success,
///     Err(_) => Judgement::Failure { retry_after: None },
/// });
/// # let _ = layer;
/// ```
#[diagnostic::on_unimplemented(
    message = "this circuit breaker can't judge responses of the type `{Response}`",
    note = "a response that is not HTTP needs `.any_response()`, or `.judge(..)` with a closure",
    note = "a closure names its argument's type: `|outcome: Result<&MyResponse, &BoxError>| ..`"
)]
pub trait Judge<Response> {
    /// What this outcome means.
    fn judge(&self, outcome: Result<&Response, &BoxError>) -> Judgement;

    /// What kind of failure it is, where it is one: [`CircuitOpen::opened_by`] tells it. Of an error what that says, unless told
    /// otherwise.
    fn kind(&self, outcome: Result<&Response, &BoxError>) -> Option<ErrorKind> {
        outcome.err().and_then(ErrorKind::of_error)
    }
}

/// Judges by the [`ErrorKind`]: some kinds are failures, any other response is a success, and any other error says nothing.
///
/// The kinds are [`Overload`](ErrorKind::Overload), [`Server`](ErrorKind::Server), [`Timeout`](ErrorKind::Timeout),
/// [`Connection`](ErrorKind::Connection) and [`RateLimit`](ErrorKind::RateLimit) unless told otherwise. A refusal by a limiter of
/// this crate or by another circuit says nothing, whatever the kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct ByKind {
    // A bit for each.
    kinds: u32,
}

/// [`ByKind`] for responses of any type, which all are successes: only errors are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct ErrorsByKind(ByKind);

// ===== impl ByKind =====

impl ByKind {
    /// These kinds are failures, and no others.
    pub fn new(kinds: impl IntoIterator<Item = ErrorKind>) -> Self {
        let kinds = kinds.into_iter().fold(0, |all, kind| all | bit(kind));
        Self { kinds }
    }

    /// The same kinds, for responses of any type.
    pub const fn errors(self) -> ErrorsByKind {
        ErrorsByKind(self)
    }

    fn has(self, kind: Option<ErrorKind>) -> bool {
        kind.is_some_and(|kind| self.kinds & bit(kind) != 0)
    }

    fn error(self, error: &BoxError) -> Judgement {
        let is_ours = |cause: &(dyn std::error::Error + 'static)| {
            cause.is::<Rejected>() || cause.is::<CircuitOpen>()
        };
        if causes(error).any(is_ours) || !self.has(ErrorKind::of_error(error)) {
            return Judgement::Nothing;
        }
        Judgement::Failure { retry_after: None }
    }
}

const fn bit(kind: ErrorKind) -> u32 {
    1 << kind as u32
}

impl Default for ByKind {
    fn default() -> Self {
        Self::new([
            ErrorKind::Overload,
            ErrorKind::Server,
            ErrorKind::Timeout,
            ErrorKind::Connection,
            ErrorKind::RateLimit,
        ])
    }
}

impl<Response: ResponseHead> Judge<Response> for ByKind {
    #[inline]
    fn judge(&self, outcome: Result<&Response, &BoxError>) -> Judgement {
        match outcome {
            Err(error) => self.error(error),
            Ok(response) if self.has(ErrorKind::of(Ok(response))) => Judgement::Failure {
                retry_after: Hint::from_headers(response.headers()).retry_after(),
            },
            Ok(_) => Judgement::Success,
        }
    }

    fn kind(&self, outcome: Result<&Response, &BoxError>) -> Option<ErrorKind> {
        ErrorKind::of(outcome)
    }
}

impl<Response> Judge<Response> for ErrorsByKind {
    fn judge(&self, outcome: Result<&Response, &BoxError>) -> Judgement {
        match outcome {
            Ok(_) => Judgement::Success,
            Err(error) => self.0.error(error),
        }
    }
}

impl<F, Response> Judge<Response> for F
where
    F: Fn(Result<&Response, &BoxError>) -> Judgement,
{
    fn judge(&self, outcome: Result<&Response, &BoxError>) -> Judgement {
        self(outcome)
    }
}

impl fmt::Debug for ByKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByKind")
            .field(&format_args!("{:#b}", self.kinds))
            .finish()
    }
}
