//! `anthropic-ratelimit-…`, with dates.

use std::time::Duration;

use axum::http::HeaderMap;

use super::{Left, Standing, date, put_left};

/// What is left of requests and of tokens, and when all of it is there again. `now` is the time
/// since 1970.
pub(super) fn set(headers: &mut HeaderMap, standing: &Standing, rounding: u64, now: Duration) {
    let rounded = |left: Left| left.rounded(rounding);
    for (unit, left) in [
        ("requests", standing.requests),
        ("tokens", all_tokens(standing).map(rounded)),
        ("input-tokens", standing.input_tokens.map(rounded)),
        ("output-tokens", standing.output_tokens.map(rounded)),
    ] {
        let name = |what: &str| format!("anthropic-ratelimit-{unit}-{what}");
        let date = |reset| date::rfc3339(now.saturating_add(reset));
        put_left(headers, left, name, date);
    }
}

/// The limit of all tokens, or else the sum of the limits of input and output tokens.
fn all_tokens(standing: &Standing) -> Option<Left> {
    standing.tokens.or_else(|| {
        let (input, output) = (standing.input_tokens?, standing.output_tokens?);
        Some(Left {
            limit: input.limit.saturating_add(output.limit),
            remaining: input.remaining.saturating_add(output.remaining),
            reset: input.reset.max(output.reset),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(limit: u64, remaining: u64) -> Left {
        Left {
            limit,
            remaining,
            reset: Duration::from_millis(1_500),
        }
    }

    fn told(standing: &Standing) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        set(
            &mut headers,
            standing,
            1_000,
            Duration::from_secs(1_000_000_000),
        );
        let mut told: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        told.sort();
        told
    }

    #[test]
    fn each_limit_has_three_headers_and_many_tokens_are_told_in_thousands() {
        let told = told(&Standing {
            requests: Some(left(60_000, 59_499)),
            input_tokens: Some(left(50_000, 49_499)),
            output_tokens: Some(left(50_001, 49_500)),
            tokens: None,
        });
        let reset = "2001-09-09T01:46:42Z";
        let expected = [
            ("input-tokens-limit", "50000"),
            ("input-tokens-remaining", "49499"),
            ("input-tokens-reset", reset),
            ("output-tokens-limit", "50001"),
            ("output-tokens-remaining", "50000"),
            ("output-tokens-reset", reset),
            ("requests-limit", "60000"),
            ("requests-remaining", "59499"),
            ("requests-reset", reset),
            ("tokens-limit", "100001"),
            ("tokens-remaining", "99000"),
            ("tokens-reset", reset),
        ]
        .map(|(name, value)| (format!("anthropic-ratelimit-{name}"), value.to_owned()));
        assert_eq!(told, expected);
    }

    #[test]
    fn a_limit_of_all_tokens_is_told_instead_of_the_sum() {
        let told = told(&Standing {
            tokens: Some(left(70, 7)),
            input_tokens: Some(left(50, 5)),
            output_tokens: Some(left(50, 5)),
            requests: None,
        });
        let limit = ("anthropic-ratelimit-tokens-limit", "70");
        assert!(told.contains(&(limit.0.to_owned(), limit.1.to_owned())));
        assert_eq!(told.len(), 9);
    }
}
