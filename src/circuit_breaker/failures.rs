//! Reports the outcome of a call to the circuit.

#[cfg(feature = "provider")]
use super::late_failures::LateFailures;
use crate::{
    circuit_breaker::circuit::CallGuard,
    error::{BoxError, Classify, Outcome, OutcomeSet},
};

/// The outcomes that count as failures, and the classifier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failures<C> {
    pub(crate) classifier: C,
    pub(crate) outcomes: OutcomeSet,
}

/// The default outcomes.
pub(crate) const FAILURES: [Outcome; 6] = [
    Outcome::NotSent,
    Outcome::Interrupted,
    Outcome::RateLimited,
    Outcome::Overloaded,
    Outcome::Timeout,
    Outcome::ServerError,
];

// ===== impl Failures =====

impl<C> Failures<C> {
    /// Reports a result to the circuit. A response that is no failure is a success.
    #[inline]
    pub(crate) fn report<Response>(&self, result: Result<&Response, &BoxError>, watch: CallGuard)
    where
        C: Classify<Response>,
    {
        match (self.classifier.classify(result), result) {
            (Some(outcome), _) if self.outcomes.contains(outcome) => {
                let hint = result.ok().map(|response| self.classifier.hint(response));
                watch.failed_as(Some(outcome), hint.and_then(|hint| hint.retry_after()));
            }
            (Some(_), Ok(_)) => watch.succeeded(),
            _ => watch.ignored(),
        }
    }
    /// Lets an outer layer that reads a stream report how it ends.
    #[cfg(feature = "provider")]
    #[inline]
    pub(super) fn follow<Response>(&self, response: &mut Response, watch: &CallGuard)
    where
        C: Classify<Response>,
    {
        if let Some(extensions) = self.classifier.stream_extensions(response) {
            extensions.insert(LateFailures {
                circuit: watch.circuit().clone(),
                outcomes: self.outcomes,
            });
        }
    }
}
