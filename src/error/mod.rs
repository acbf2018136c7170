//! Errors of this crate, and what the result of a call means.

mod circuit_open;
mod outcome;
mod rejected;
mod source_chain;
mod timed_out;
mod transport;

pub use self::{
    circuit_open::CircuitOpen,
    outcome::{ClassifierFn, Classify, ErrorClassifier, HttpClassifier, Outcome},
    rejected::{BoxError, LimitKind, Reason, Rejected},
    timed_out::TimedOut,
};
pub(crate) use self::{
    outcome::{OutcomeSet, Repeat},
    source_chain::{find_source, source_chain},
    transport::is_permanent,
};

/// The head of an HTTP response, or an error, for a closure to classify.
pub(crate) type HeadResult<'r, 'e> =
    Result<&'r (dyn crate::http::ResponseHead + 'static), &'e BoxError>;
