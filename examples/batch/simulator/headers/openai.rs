//! `x-ratelimit-…`, with Go's durations.

use std::time::Duration;

use axum::http::HeaderMap;

use super::{Left, Standing, millis, put};

/// What is left of requests and of tokens, and when all of it is there again.
pub(super) fn set(headers: &mut HeaderMap, standing: &Standing) {
    for (unit, left) in [("requests", standing.requests), ("tokens", standing.tokens)] {
        let Some(Left {
            limit,
            remaining,
            reset,
        }) = left
        else {
            continue;
        };
        let reset = go_duration(reset);
        put(headers, &format!("x-ratelimit-limit-{unit}"), limit);
        put(headers, &format!("x-ratelimit-remaining-{unit}"), remaining);
        put(headers, &format!("x-ratelimit-reset-{unit}"), reset);
    }
}

/// A duration as Go writes it, in whole milliseconds rounded up: `0s`, `17ms`, `1.5s`, `6m0s`,
/// `1h0m0.25s`.
pub(in super::super) fn go_duration(duration: Duration) -> String {
    let millis = millis(duration);
    if millis == 0 {
        return "0s".to_owned();
    }
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let seconds = millis % 60_000;
    let mut text = match (hours, minutes) {
        (0, 0) => String::new(),
        (0, _) => format!("{minutes}m"),
        (_, _) => format!("{hours}h{minutes}m"),
    };
    text += &(seconds / 1_000).to_string();
    if seconds % 1_000 > 0 {
        let fraction = format!(".{:03}", seconds % 1_000);
        text += fraction.trim_end_matches('0');
    }
    text + "s"
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
