//! What the result of a call means, and where in an error that is found.

mod outcome;
pub(crate) mod source_chain;
mod transport;

pub use self::outcome::{Classify, ErrorClassifier, HttpClassifier, Outcome};
pub(crate) use self::{
    outcome::OutcomeSet,
    source_chain::{find_source, source_chain},
};
