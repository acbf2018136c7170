//! What the result of a call means for the circuit.

use crate::{BoxError, Classify, Outcome, circuit::Watch, error::OutcomeSet};

/// The outcomes that count as failures by default.
pub(crate) const FAILURES: [Outcome; 6] = [
    Outcome::NotSent,
    Outcome::Interrupted,
    Outcome::RateLimited,
    Outcome::Overloaded,
    Outcome::Timeout,
    Outcome::ServerError,
];

/// Reports a result to the circuit: one of `failures` as a failure, any other response as a success.
#[inline]
pub(crate) fn report<Response>(
    watch: Watch,
    result: Result<&Response, &BoxError>,
    classifier: &impl Classify<Response>,
    failures: OutcomeSet,
) {
    match (classifier.classify(result), result) {
        (Some(outcome), _) if failures.contains(outcome) => {
            let hint = result.ok().and_then(|it| classifier.hint(it).retry_after());
            watch.failed_as(Some(outcome), hint);
        }
        (Some(_), Ok(_)) => watch.succeeded(),
        _ => watch.ignored(),
    }
}
