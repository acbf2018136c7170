//! What a refused caller is told in words.

use crate::error::{LimitKind, Reason, Rejected};

use super::wait;
use crate::http::headers::retry_after::seconds_begun;

/// Why the request was refused, and when to come back, in printable ASCII. Nothing of how large the limit is.
pub(super) fn words(rejected: &Rejected) -> String {
    let why = match (rejected.reason(), rejected.limit()) {
        (Reason::MissingKey, _) => "missing API key",
        #[cfg(feature = "per-key")]
        (Reason::MissingPeer, _) => "internal server error",
        (Reason::ExceedsCapacity { .. }, _) => {
            "The request asks for more than is ever allowed at once."
        }
        (_, LimitKind::Concurrency) => "Too many requests at the same time.",
        _ => "Too many requests.",
    };
    match wait(rejected).map(seconds_begun) {
        None => why.to_owned(),
        Some(1) => format!("{why} Try again in 1 second."),
        Some(seconds) => format!("{why} Try again in {seconds} seconds."),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::all;
    use super::*;

    #[test]
    fn a_caller_is_told_why_and_when_and_no_numbers_of_the_limit() {
        let told = all(Duration::from_millis(2_300)).map(|rejected| words(&rejected));
        assert_eq!(
            told,
            [
                "Too many requests. Try again in 3 seconds.",
                "Too many requests. Try again in 3 seconds.",
                "Too many requests at the same time. Try again in 1 second.",
                "The request asks for more than is ever allowed at once.",
                "missing API key",
            ]
        );
        let [soon, ..] = all(Duration::ZERO);
        assert_eq!(words(&soon), "Too many requests. Try again in 1 second.");
    }
}
