use std::{error::Error, sync::Arc};

use super::ServedBy;
use crate::{
    error::{
        BoxError, CircuitOpen, HeadResult, Outcome, OutcomeSet, Rejected, Repeat, find_source,
    },
    http::ResponseHead,
};

/// Decides after which results of an HTTP service the backup responds.
///
/// # Examples
///
/// ```
/// use std::io;
/// use tower_throttle::{FallbackLayer, fallback::Condition};
///
/// // Our own limits, or the server's; never an I/O error.
/// let condition = Condition::status([429, 529])
///     .or(Condition::rejected())
///     .and(Condition::error::<io::Error>().not());
/// # let _ = FallbackLayer::value(http::Response::new(())).when(condition);
/// ```
///
/// A closure:
///
/// ```
/// use tower_throttle::{FallbackLayer, fallback::Condition};
///
/// let layer = FallbackLayer::value(http::Response::new("sorry")).when(Condition::from_fn(
///     |result| match result {
///         Ok(response) => response.headers().contains_key("x-degraded"),
///         Err(error) => error.to_string().contains("overloaded"),
///     },
/// ));
/// # let _ = layer;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Condition(Arc<Matches<dyn ResponseHead>>);

/// The condition of a fallback for responses of type `R`, which need not be HTTP. Made by
/// [`any_response`](crate::FallbackLayer::any_response).
#[must_use]
pub struct AnyResponse<R> {
    pub(super) condition: Arc<Matches<R>>,
}

type Matches<R> = dyn Fn(Result<&R, &BoxError>) -> bool + Send + Sync;

/// A condition on responses of one type.
pub trait Decide<Response> {
    /// Returns whether the backup responds after this result.
    fn matches(&self, result: Result<&Response, &BoxError>) -> bool;

    /// Notes in a backup's response who responded, if the response can hold that.
    fn note(&self, response: &mut Response, served_by: ServedBy);
}

// ===== impl Condition =====

impl Condition {
    /// Creates a condition from a closure.
    pub fn from_fn(f: impl Fn(HeadResult<'_, '_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    /// Matches any error, and the statuses after which another service may succeed: those after
    /// which a [retry](crate::retry::OutcomePolicy) sends a GET again, such as 429, 500 and 503, or
    /// a gRPC status or an outcome in the extensions that says the same. This is the default of a
    /// layer.
    pub fn failure() -> Self {
        Self::from_fn(|result| match result {
            Ok(response) => {
                let (of_head, repeat) = Outcome::of_head(response);
                let other = Outcome::of(result).filter(|outcome| *outcome != of_head);
                let is_failure = |outcome: Outcome| outcome.repeat(None, false) != Repeat::Never;
                repeat != Repeat::Never || other.is_some_and(is_failure)
            }
            Err(_) => true,
        })
    }

    /// Matches responses with one of these statuses.
    pub fn status<const N: usize>(statuses: [u16; N]) -> Self {
        Self::from_fn(move |result| {
            result.is_ok_and(|response| statuses.contains(&response.status().as_u16()))
        })
    }

    /// Matches responses and errors with one of these outcomes; see [`Outcome::of`].
    ///
    /// Some outcomes are only in the body: a prompt that is too long is a 400 like any other bad
    /// request. It is [`Outcome::ContextTooLong`] only if an inner layer inserts that into the
    /// response's extensions.
    ///
    /// A [`CircuitOpen`] counts as [`Outcome::Overloaded`], and as the outcome that
    /// [opened](CircuitOpen::opened_by) the circuit. So a fallback for rate limits also responds
    /// while the circuit is open because of them.
    pub fn outcome(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let outcomes = OutcomeSet::new(outcomes);
        let has = move |outcome| outcomes.contains(outcome);
        Self::from_fn(move |result| {
            match result.err().and_then(find_source::<CircuitOpen>) {
                // The service would fail as it did when the circuit opened.
                Some(open) => has(Outcome::Overloaded) || open.opened_by().is_some_and(has),
                None => Outcome::of(result).is_some_and(has),
            }
        })
    }

    /// Matches any error.
    pub fn any_error() -> Self {
        Self::from_fn(|result| result.is_err())
    }

    /// Matches errors of a type, anywhere in the error's chain of sources.
    pub fn error<E: Error + 'static>() -> Self {
        Self::from_fn(|result| result.is_err_and(|error| find_source::<E>(error).is_some()))
    }

    /// Matches a [`Rejected`] of one of this crate's limits: anywhere in the error's chain of
    /// sources, or in the extensions of a response after `.respond()`.
    ///
    /// A request rejected by a circuit breaker was not sent either: use
    /// `Condition::error::<CircuitOpen>()`.
    pub fn rejected() -> Self {
        Self::error::<Rejected>().or(Self::from_fn(|result| {
            result.is_ok_and(|response| response.extensions().get::<Rejected>().is_some())
        }))
    }

    /// Matches if this condition or `other` matches.
    pub fn or(self, other: Self) -> Self {
        Self::from_fn(move |result| self.matches(result) || other.matches(result))
    }

    /// Matches if this condition and `other` match.
    pub fn and(self, other: Self) -> Self {
        Self::from_fn(move |result| self.matches(result) && other.matches(result))
    }

    /// Matches if this condition does not.
    #[allow(
        clippy::should_implement_trait,
        reason = "reads as the other two do, and std's Not is rarely imported"
    )]
    pub fn not(self) -> Self {
        Self::from_fn(move |result| !self.matches(result))
    }

    /// Returns whether the backup responds after this result.
    #[must_use]
    pub fn matches(&self, result: HeadResult<'_, '_>) -> bool {
        (self.0)(result)
    }
}

impl<Response: ResponseHead + 'static> Decide<Response> for Condition {
    fn matches(&self, result: Result<&Response, &BoxError>) -> bool {
        (self.0)(result.map(|response| response as _))
    }

    fn note(&self, response: &mut Response, served_by: ServedBy) {
        served_by.note(response);
    }
}

crate::macros::debug!(impl Debug for Condition |self| { .. });

// ===== impl AnyResponse =====

impl<Response> Decide<Response> for AnyResponse<Response> {
    fn matches(&self, result: Result<&Response, &BoxError>) -> bool {
        (self.condition)(result)
    }

    fn note(&self, _: &mut Response, _: ServedBy) {}
}

crate::macros::clone!(impl<R> Clone for AnyResponse<R> { condition });

crate::macros::debug!(impl<R> Debug for AnyResponse<R> |self| { .. });
