//! Conditions for a fallback.
//!
//! # Examples
//!
//! The functions of this module return conditions that can be combined:
//!
//! ```
//! use tower_throttle::fallback::predicate;
//!
//! // Our own limits, or the server's; never the errors of this type.
//! let overloaded = predicate::rejected().or(predicate::status([429, 529]));
//! let condition = overloaded.and(predicate::error::<std::io::Error>().not());
//! # let _ = tower_throttle::FallbackLayer::value(http::Response::new(())).when(condition);
//! ```
//!
//! A closure is a condition as well. Its argument needs a type:
//!
//! ```
//! use http::Response;
//! use tower_throttle::{BoxError, FallbackLayer};
//!
//! let layer = FallbackLayer::value(Response::new("sorry"))
//!     .when(|outcome: Result<&Response<&'static str>, &BoxError>| outcome.is_err());
//! # let _ = layer;
//! ```

mod kind;

use std::{any::type_name, error::Error, fmt};

pub use self::kind::{And, AnyError, ErrorIs, Failure, Not, Or, OutcomeIn, StatusIn};
use crate::error::{BoxError, Outcome, OutcomeSet, Rejected, find_source};

/// Decides whether the backup responds.
///
/// Implemented for closures and for the conditions that the functions of the [module](self) return.
pub trait Predicate<Response> {
    /// Returns whether the backup responds in place of this outcome.
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool;
}

/// A [`Predicate`] that can be combined with others.
#[derive(Clone, Copy, Default)]
#[must_use]
pub struct Condition<W>(W);

/// Matches any error, and responses with a status after which another service may succeed; see
/// [`Failure`]. This is the default of a layer.
pub const fn failure() -> Condition<Failure> {
    Condition(Failure)
}

/// Matches any error. The response can have any type.
pub const fn any_error() -> Condition<AnyError> {
    Condition(AnyError)
}

/// Matches a [`Rejected`] of one of this crate's limits, anywhere in the error's chain of sources.
///
/// A request rejected by a circuit breaker was not sent either: use
/// `predicate::error::<CircuitOpen>()`.
pub const fn rejected() -> Condition<ErrorIs> {
    error::<Rejected>()
}

/// Matches errors of a type, anywhere in the error's chain of sources.
pub const fn error<E: Error + 'static>() -> Condition<ErrorIs> {
    Condition(ErrorIs(|error| find_source::<E>(error).is_some()))
}

/// Matches responses with one of these statuses.
pub const fn status<const N: usize>(statuses: [u16; N]) -> Condition<StatusIn<N>> {
    Condition(StatusIn(statuses))
}

/// Matches responses and errors with one of these outcomes; see [`Outcome::of`].
///
/// Some outcomes are only in the body: a prompt that is too long is a 400 like any other bad
/// request. It is [`Outcome::ContextTooLong`] only if an inner layer inserts that into the
/// response's extensions.
///
/// A [`CircuitOpen`](crate::CircuitOpen) counts as [`Outcome::Overloaded`], and as the outcome that
/// [opened](crate::CircuitOpen::opened_by) the circuit. So a fallback for rate limits also responds
/// while the circuit is open because of them.
pub fn outcome(outcomes: impl IntoIterator<Item = Outcome>) -> Condition<OutcomeIn> {
    Condition(OutcomeIn(OutcomeSet::new(outcomes)))
}

/// Creates a [`Condition`] from a closure, so that it can be combined. The closure names the
/// response's type.
pub const fn predicate<Response, F>(f: F) -> Condition<F>
where
    F: Fn(Result<&Response, &BoxError>) -> bool,
{
    Condition(f)
}

// ===== impl Condition =====

impl<W> Condition<W> {
    /// Matches if this condition or `other` matches.
    pub fn or<W2>(self, other: W2) -> Condition<Or<W, W2>> {
        Condition(Or(self.0, other))
    }

    /// Matches if this condition and `other` match.
    pub fn and<W2>(self, other: W2) -> Condition<And<W, W2>> {
        Condition(And(self.0, other))
    }

    /// Matches if this condition does not.
    #[allow(
        clippy::should_implement_trait,
        reason = "reads as the other two do, and std's Not is rarely imported"
    )]
    pub fn not(self) -> Condition<Not<W>> {
        Condition(Not(self.0))
    }
}

impl<W> fmt::Debug for Condition<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&type_name::<W>()).finish()
    }
}

impl<W: Predicate<Response>, Response> Predicate<Response> for Condition<W> {
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool {
        self.0.when(outcome)
    }
}

impl<F, Response> Predicate<Response> for F
where
    F: Fn(Result<&Response, &BoxError>) -> bool,
{
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool {
        self(outcome)
    }
}
