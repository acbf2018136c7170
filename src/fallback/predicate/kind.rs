//! The types of the conditions.

use super::Predicate;
use crate::{
    error::{BoxError, CircuitOpen, Outcome, OutcomeSet, Repeat, find_source},
    http::ResponseHead,
};

/// Any error, and the statuses after which another service may succeed: those after which a
/// [retry](crate::retry::OutcomePolicy) sends a GET again, such as 429, 500 and 503.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failure;

/// Any error. See [`any_error`](super::any_error).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnyError;

/// Errors of one type. See [`error`](super::error).
#[derive(Debug, Clone, Copy)]
pub struct ErrorIs(pub(super) fn(&BoxError) -> bool);

/// Responses with one of several statuses. See [`status`](super::status).
#[derive(Debug, Clone, Copy)]
pub struct StatusIn<const N: usize>(pub(super) [u16; N]);

/// Results with one of several outcomes. See [`outcome`](super::outcome).
#[derive(Debug, Clone, Copy)]
pub struct OutcomeIn(pub(super) OutcomeSet);

/// Either of two conditions. See [`Condition::or`](super::Condition::or).
#[derive(Debug, Clone, Copy)]
pub struct Or<A, B>(pub(super) A, pub(super) B);

/// Both of two conditions. See [`Condition::and`](super::Condition::and).
#[derive(Debug, Clone, Copy)]
pub struct And<A, B>(pub(super) A, pub(super) B);

/// The opposite of a condition. See [`Condition::not`](super::Condition::not).
#[derive(Debug, Clone, Copy)]
pub struct Not<W>(pub(super) W);

// ===== the conditions =====

impl<Response: ResponseHead> Predicate<Response> for Failure {
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool {
        match outcome {
            Ok(response) => Outcome::of_head(response).1 != Repeat::Never,
            Err(_) => true,
        }
    }
}

impl<Response> Predicate<Response> for AnyError {
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool {
        outcome.is_err()
    }
}

impl<Response> Predicate<Response> for ErrorIs {
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool {
        outcome.is_err_and(self.0)
    }
}

impl<const N: usize, Response: ResponseHead> Predicate<Response> for StatusIn<N> {
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool {
        outcome.is_ok_and(|response| self.0.contains(&response.status().as_u16()))
    }
}

impl<Response: ResponseHead> Predicate<Response> for OutcomeIn {
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool {
        let has = |outcome| self.0.contains(outcome);
        match outcome.err().and_then(find_source::<CircuitOpen>) {
            // The service would fail as it did when the circuit opened.
            Some(open) => has(Outcome::Overloaded) || open.opened_by().is_some_and(has),
            None => Outcome::of(outcome).is_some_and(has),
        }
    }
}

impl<A: Predicate<Response>, B: Predicate<Response>, Response> Predicate<Response> for Or<A, B> {
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool {
        self.0.when(outcome) || self.1.when(outcome)
    }
}

impl<A: Predicate<Response>, B: Predicate<Response>, Response> Predicate<Response> for And<A, B> {
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool {
        self.0.when(outcome) && self.1.when(outcome)
    }
}

impl<W: Predicate<Response>, Response> Predicate<Response> for Not<W> {
    fn when(&self, outcome: Result<&Response, &BoxError>) -> bool {
        !self.0.when(outcome)
    }
}
