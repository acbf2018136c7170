//! What a layer was told about outcomes: which of them are failures, and whether an answer says who gave it.

use std::fmt;

use super::{
    AnsweredBy,
    when::{Condition, Failure, When},
};
use crate::{BoxError, ResponseHead};

/// When a fallback answers, and whether its answer says so.
///
/// `T` is [`Told`], unless the layer is for [responses of any type](super::FallbackLayer::any_response).
#[derive(Clone, Copy)]
pub struct Rule<W = Condition<Failure>, T = Told> {
    pub(super) when: W,
    pub(super) told: T,
}

/// A fallback's answer has an [`AnsweredBy`] in its extensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told;

/// A fallback's answer is left as it is, whatever its type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Untold;

/// A [`Rule`] that can judge a type of responses. Sealed.
#[diagnostic::on_unimplemented(
    message = "this fallback can't judge responses of the type `{Response}`",
    note = "a response that is not HTTP needs `.any_response()`, and a condition that does not look at a status",
    note = "a closure as condition names its argument's type: `|outcome: Result<&MyResponse, &BoxError>| ..`"
)]
pub trait Judge<Response>: sealed::Sealed {
    /// Whether the next one is to answer instead.
    #[doc(hidden)]
    fn fails(&self, outcome: Result<&Response, &BoxError>) -> bool;

    /// Leaves a note of who answered.
    #[doc(hidden)]
    fn tell(&self, response: &mut Response, by: AnsweredBy);
}

/// Whether a note of who answered can be left in a response. Sealed.
pub trait Tell<Response>: sealed::Sealed {
    /// Leaves the note.
    #[doc(hidden)]
    fn tell(&self, response: &mut Response, by: AnsweredBy);
}

mod sealed {
    pub trait Sealed {}
    impl<W, T> Sealed for super::Rule<W, T> {}
    impl Sealed for super::Told {}
    impl Sealed for super::Untold {}
}

/// All that a layer was told. It does not change once a service is made.
#[derive(Clone)]
pub(super) struct Plan<B, R> {
    pub(super) backup: B,
    pub(super) rule: R,
}

// ===== impl Rule =====

impl<W, T, Response> Judge<Response> for Rule<W, T>
where
    W: When<Response>,
    T: Tell<Response>,
{
    #[inline]
    fn fails(&self, outcome: Result<&Response, &BoxError>) -> bool {
        self.when.when(outcome)
    }

    fn tell(&self, response: &mut Response, by: AnsweredBy) {
        self.told.tell(response, by);
    }
}

impl<W, T: fmt::Debug> fmt::Debug for Rule<W, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("when", &std::any::type_name::<W>())
            .field("told", &self.told)
            .finish()
    }
}

// ===== impl Told, Untold =====

impl<Response: ResponseHead> Tell<Response> for Told {
    fn tell(&self, response: &mut Response, by: AnsweredBy) {
        by.note(response);
    }
}

impl<Response> Tell<Response> for Untold {
    fn tell(&self, _: &mut Response, _: AnsweredBy) {}
}
