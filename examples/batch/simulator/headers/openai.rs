//! `x-ratelimit-…`, with Go's durations.

use std::time::Duration;

use axum::http::HeaderMap;

use super::{Standing, millis, put_left};

/// What is left of requests and of tokens, and when all of it is there again.
pub(super) fn set(headers: &mut HeaderMap, standing: &Standing, rounding: u64) {
    let tokens = standing.tokens.map(|left| left.rounded(rounding));
    for (unit, left) in [("requests", standing.requests), ("tokens", tokens)] {
        let name = |what: &str| format!("x-ratelimit-{what}-{unit}");
        put_left(headers, left, name, go_duration);
    }
}

/// A duration as Go writes it, in whole milliseconds rounded up: `0s`, `17ms`, `1.5s`, `6m0s`,
/// `1h0m0.25s`.
pub(in super::super) fn go_duration(duration: Duration) -> String {
    let millis = millis(duration);
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let seconds = Duration::from_millis(millis % 60_000).as_secs_f64();
    match (hours, minutes) {
        (0, 0) if (1..1_000).contains(&millis) => format!("{millis}ms"),
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them_and_rounded_up() {
        for (nanos, expected) in [
            (0, "0s"),
            (1, "1ms"),
            (17_000_000, "17ms"),
            (999_000_001, "1s"),
            (1_500_000_000, "1.5s"),
            (59_999_999_999, "1m0s"),
            (60_000_000_000, "1m0s"),
            (360_000_000_000, "6m0s"),
            (179_560_000_000, "2m59.56s"),
            (3_600_250_000_000, "1h0m0.25s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), expected);
        }
    }
}
