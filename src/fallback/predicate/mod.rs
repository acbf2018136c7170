//! Which outcomes a fallback is for.
//!
//! The functions of this module make conditions that combine:
//!
//! ```
//! use tower_throttle::fallback::predicate;
//!
//! // Our own limits, or the other side's; never the errors of this type.
//! let overloaded = predicate::rejected().or(predicate::status([429, 529]));
//! let condition = overloaded.and(predicate::error::<std::io::Error>().not());
//! # let _ = tower_throttle::FallbackLayer::value(http::Response::new(())).when(condition);
//! ```
//!
//! A closure is a condition as well. It names the type that it looks at, since nothing else does:
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

/// Says which outcomes a fallback is for.
///
/// Implemented for what the functions of the [module](self) return, and for closures.
pub trait Predicate<Response> {
    /// Whether the fallback is to answer instead of this outcome.
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool;
}

/// A [`Predicate`] that combines with others.
#[derive(Clone, Copy, Default)]
#[must_use]
pub struct Condition<W>(W);

/// Any error, and the responses that say that another try elsewhere may go better; see [`Failure`]. The condition of a
/// layer that was told no other.
pub const fn failure() -> Condition<Failure> {
    Condition(Failure)
}

/// Any error, whatever the response's type.
pub const fn any_error() -> Condition<AnyError> {
    Condition(AnyError)
}

/// A [`Rejected`] of one of this crate's limiters, wherever in the error's chain of sources.
///
/// A request that a circuit turned away was not sent either: that is `predicate::error::<CircuitOpen>()`.
pub const fn rejected() -> Condition<ErrorIs> {
    error::<Rejected>()
}

/// An error of this type, wherever in the error's chain of sources.
pub const fn error<E: Error + 'static>() -> Condition<ErrorIs> {
    Condition(ErrorIs(|error| find_source::<E>(error).is_some()))
}

/// A response that has one of these statuses.
pub const fn status<const N: usize>(statuses: [u16; N]) -> Condition<StatusIn<N>> {
    Condition(StatusIn(statuses))
}

/// A response or an error with one of these outcomes; see [`Outcome::of`].
///
/// Some outcomes can be told only from the body: a prompt that is too long is a 400 as any mistake is, and
/// [`Outcome::ContextTooLong`] only if a layer further in has inserted that into the response's extensions.
///
/// A [`CircuitOpen`](crate::CircuitOpen) counts as [`Outcome::Overloaded`], and as the outcome that
/// [opened](crate::CircuitOpen::opened_by) the circuit: a fallback for rate limits stays one while the
/// circuit is open because of them.
pub fn outcome(outcomes: impl IntoIterator<Item = Outcome>) -> Condition<OutcomeIn> {
    Condition(OutcomeIn(OutcomeSet::new(outcomes)))
}

/// A result that the closure accepts, as a [`Condition`], so that it combines. The closure names the
/// response's type.
pub const fn predicate<Response, F>(f: F) -> Condition<F>
where
    F: Fn(Result<&Response, &BoxError>) -> bool,
{
    Condition(f)
}

// ===== impl Condition =====

impl<W> Condition<W> {
    /// Or this or `other`.
    pub fn or<W2>(self, other: W2) -> Condition<Or<W, W2>> {
        Condition(Or(self.0, other))
    }

    /// And this and `other`.
    pub fn and<W2>(self, other: W2) -> Condition<And<W, W2>> {
        Condition(And(self.0, other))
    }

    /// Whenever this is not.
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
