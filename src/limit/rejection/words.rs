//! The text of a rejection for the client.

use crate::error::{LimitKind, Reason, Rejected};

use super::wait;
use crate::http::headers::retry_after::seconds_begun;

/// Returns the reason and the time to retry, in printable ASCII, without the size of the limit.
pub(super) fn words(rejected: &Rejected) -> String {
    let why = match (rejected.reason(), rejected.limit()) {
        (Reason::MissingKey, _) => "missing API key",
        (Reason::MissingPeer, _) => "internal server error",
        (Reason::ExceedsCapacity { .. }, _) => "request exceeds the limit",
        (Reason::Closed, _) => "service unavailable",
        #[cfg(feature = "redis")]
        (Reason::Unreachable, _) => "service unavailable",
        (_, LimitKind::Concurrency) => "too many concurrent requests",
        _ => "too many requests",
    };
    match wait(rejected).map(seconds_begun) {
        None => why.to_owned(),
        Some(1) => format!("{why}, retry in 1 second"),
        Some(seconds) => format!("{why}, retry in {seconds} seconds"),
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
                "too many requests, retry in 3 seconds",
                "too many requests, retry in 3 seconds",
                "too many concurrent requests, retry in 1 second",
                "request exceeds the limit",
                "missing API key",
            ]
        );
        let [soon, ..] = all(Duration::ZERO);
        assert_eq!(words(&soon), "too many requests, retry in 1 second");
    }
}
