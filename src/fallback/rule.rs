//! What a layer was told about outcomes: which of them are failures, whether an answer says who gave it, and whether they
//! are remembered.

use std::fmt;

use super::{
    AnsweredBy,
    when::{Condition, Failure, When},
};
use crate::{BoxError, Circuit, ResponseHead};

/// When a fallback answers, and whether its answer says so.
///
/// `T` is [`Told`], unless the layer is for [responses of any type](super::FallbackLayer::any_response), and `M` is
/// [`Forgets`], unless it [remembers](super::FallbackLayer::remember).
#[derive(Clone, Copy)]
pub struct Rule<W = Condition<Failure>, T = Told, M = Forgets> {
    pub(super) when: W,
    pub(super) told: T,
    pub(super) memory: M,
}

/// A fallback's answer has an [`AnsweredBy`] in its extensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told;

/// A fallback's answer is left as it is, whatever its type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Untold;

/// The primary is asked every time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgets;

/// The primary is left alone while its circuit is open.
#[derive(Debug, Clone)]
pub struct Remembers(pub(super) Circuit);

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

/// Whether a primary of the type `S` can be left alone. Sealed.
///
/// One that is to be left alone has to be [`Clone`], so that the instance that was polled ready is not held meanwhile.
pub trait Memory<S>: sealed::Sealed {
    /// What is looked at before the primary is asked.
    #[doc(hidden)]
    fn circuit(&self) -> Option<&Circuit>;

    /// Lets go of what the primary that was polled ready holds.
    #[doc(hidden)]
    fn let_go(&self, primary: &mut S);
}

mod sealed {
    pub trait Sealed {}
    impl<W, T, M> Sealed for super::Rule<W, T, M> {}
    impl Sealed for super::Told {}
    impl Sealed for super::Untold {}
    impl Sealed for super::Forgets {}
    impl Sealed for super::Remembers {}
}

/// All that a layer was told. It does not change once a service is made.
#[derive(Clone)]
pub(super) struct Plan<B, R> {
    pub(super) backup: B,
    pub(super) rule: R,
}

// ===== impl Rule =====

impl<W, T, M, Response> Judge<Response> for Rule<W, T, M>
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

impl<W, T, M: Memory<S>, S> Memory<S> for Rule<W, T, M> {
    #[inline]
    fn circuit(&self) -> Option<&Circuit> {
        self.memory.circuit()
    }

    fn let_go(&self, primary: &mut S) {
        self.memory.let_go(primary);
    }
}

impl<W, T: fmt::Debug, M: fmt::Debug> fmt::Debug for Rule<W, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("when", &std::any::type_name::<W>())
            .field("told", &self.told)
            .field("memory", &self.memory)
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

// ===== impl Forgets, Remembers =====

impl<S> Memory<S> for Forgets {
    #[inline]
    fn circuit(&self) -> Option<&Circuit> {
        None
    }

    fn let_go(&self, _: &mut S) {}
}

impl<S: Clone> Memory<S> for Remembers {
    #[inline]
    fn circuit(&self) -> Option<&Circuit> {
        Some(&self.0)
    }

    fn let_go(&self, primary: &mut S) {
        *primary = primary.clone();
    }
}
