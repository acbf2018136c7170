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
    /// Reports a result to the circuit. A response that is no failure is a success; the error that
    /// its stream may end in is reported by the layer that reads the stream.
    #[inline]
    pub(crate) fn report<Response>(&self, result: &mut Result<Response, BoxError>, watch: CallGuard)
    where
        C: Classify<Response>,
    {
        #[cfg(feature = "provider")]
        if let Ok(response) = result {
            if let Some(extensions) = self.classifier.stream_extensions(response) {
                let late = extensions.get_or_insert_default::<LateFailures>();
                late.add(watch.circuit.clone(), self.outcomes);
            }
        }
        let result = (*result).as_ref();
        match (self.classifier.classify(result), result) {
            (Some(outcome), _) if self.outcomes.contains(outcome) => {
                let hint = result.ok().map(|response| self.classifier.hint(response));
                watch.failed_as(Some(outcome), hint.and_then(|hint| hint.retry_after()));
            }
            (Some(_), Ok(_)) => watch.succeeded(),
            _ => watch.ignored(),
        }
    }
}
