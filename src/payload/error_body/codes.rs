//! Words in the codes and messages of provider errors.
//!
//! The words of a code are compared like those of a message: `context_length_exceeded` and
//! `ContextLengthExceeded` contain "context length".

use std::time::Duration;

use crate::http::headers::duration;

/// Words in codes for exhausted credit. In messages, most of them are about other limits as well.
pub(super) const MONEY_CODES: &[&str] = &[
    "insufficient quota",
    "credit balance",
    "spend limit",
    "organization usage limit",
    "billing ",
];

/// Words for exhausted credit.
pub(super) const MONEY_WORDS: &[&str] = &[
    "credit balance is too low",
    "insufficient balance",
    "insufficient credit",
    "insufficient funds",
    "used all available credits",
];

/// Words for a prompt that exceeds the context window.
pub(super) const CONTEXT: &[&str] = &[
    "context length",
    "context window",
    "context limit",
    "context size",
    "max prompt tokens",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "maximum prompt length",
    "maximum number of tokens",
    "number of tokens in the prompt cannot exceed",
    "`max new tokens` must be <=",
];

/// Words for a prompt or a response that violates a policy.
pub(super) const POLICY: &[&str] = &[
    "content management policy",
    "content policy",
    "policy violation",
    "content filter",
    "data inspection",
    "moderation blocked",
    "our usage polic",
    "usage guidelines",
    "safety system",
    "safety settings",
    "content exists risk",
    "input was flagged",
    "prompt was flagged",
    "requires moderation",
];

/// Words for an overload.
pub(super) const CAPACITY_WORDS: &[&str] = &[
    "overloaded",
    "resource unavailable",
    "temporary reduced capacity",
    "capacity exceeded",
    "no capacity",
];

/// Words for any limit.
pub(super) const LIMIT_WORDS: &[&str] = &[
    "rate limit",
    "ratelimit",
    "too many requests",
    "throttl",
    "resource exhausted",
    "quota",
];

/// Returns `true` if `text` contains one of `words`.
pub(super) fn has_any(text: &str, words: &[&str]) -> bool {
    // Google's term for the billing project is not about a limit.
    let text = spaced(text).replace("quota project", "");
    words.iter().any(|word| text.contains(word))
}

/// Returns the words of a code or message in lower case, with spaces between them.
pub(super) fn spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        if before.is_ascii_lowercase() && c.is_ascii_uppercase() {
            spaced.push(' ');
        }
        spaced.push(match c {
            '_' | '-' => ' ',
            c => c.to_ascii_lowercase(),
        });
        before = c;
    }
    spaced
}

/// Returns the status that an error with this code has as a response.
pub(super) fn status(code: &str) -> Option<u16> {
    if has_any(code, MONEY_CODES) {
        return Some(if code == "billing_error" { 402 } else { 429 });
    }
    if has_any(code, CONTEXT) || has_any(code, POLICY) {
        return Some(400);
    }
    let name = spaced(code);
    Some(match name.strip_suffix(" error").unwrap_or(&name) {
        "invalid request"
        | "invalid prompt"
        | "invalid argument"
        | "failed precondition"
        | "out of range"
        | "bad request" => 400,
        "authentication" | "invalid api key" | "unauthenticated" => 401,
        "permission" | "permission denied" => 403,
        "not found" | "model not found" => 404,
        "request too large" => 413,
        "rate limit"
        | "rate limit exceeded"
        | "slow down"
        | "resource unavailable"
        | "too many requests"
        | "resource exhausted"
        | "throttling exception" => 429,
        "api" | "server" | "internal" | "internal server" | "data loss" => 500,
        "unimplemented" => 501,
        "service unavailable" | "engine overloaded" | "server overloaded" | "unavailable" => 503,
        "timeout" | "deadline exceeded" => 504,
        // Anthropic's. Others send `overloaded` with a 503.
        "overloaded" if code != "overloaded" => 529,
        _ => return None,
    })
}

/// Returns `true` if `text` is a known code, and not a word like `timeout`.
pub(super) fn is_code(text: &str) -> bool {
    let is_word = text.bytes().all(|byte| byte.is_ascii_lowercase());
    !is_word && !text.contains(' ') && status(text).is_some()
}

/// Matches the beginning of OpenAI's message for a request that is too large.
pub(super) fn is_too_large(text: &str) -> bool {
    let text = text.trim_start().to_ascii_lowercase();
    text.starts_with("request too large")
}

/// Returns `true` if the first period in a message is a day or a month. Later ones are often about
/// other plans and their price per month.
pub(super) fn is_day(text: &str) -> bool {
    let text = text.to_ascii_lowercase().replace('/', " per ");
    let mut before = "";
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    for word in words.filter(|word| !word.is_empty()) {
        match (before, word) {
            (_, "rpd" | "tpd" | "daily")
            | ("per" | "a", "day")
            | (
                "monthly",
                "limit" | "quota" | "usage" | "spend" | "spending" | "requests" | "tokens",
            ) => return true,
            (_, "rpm" | "tpm" | "rps") | ("per", "minute" | "min" | "second" | "sec" | "hour") => {
                return false;
            }
            _ => before = word,
        }
    }
    false
}

/// Returns the wait in a message: "try again in 1.5s", "retry after 5 seconds".
pub(super) fn wait(text: &str) -> Option<Duration> {
    let text = text.to_ascii_lowercase();
    ["try again in ", "retry in ", "retry after "]
        .iter()
        .find_map(|phrase| {
            let (_, after) = text.split_once(phrase)?;
            let mut words = after.split_whitespace();
            let number = words.next()?.trim_end_matches(['.', ',', ';', ')', '!']);
            duration(number).or_else(|| {
                let unit = words.next()?;
                let unit = unit.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
                duration(&format!("{number}{}", short(unit)?))
            })
        })
}

fn short(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "ms" | "millisecond" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hour" | "hours" => "h",
        "day" | "days" => "d",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_period_of_a_message_counts() {
        for (text, expected) in [
            (
                "Rate limit reached on requests per day (RPD): Limit 200",
                true,
            ),
            ("on tokens per day (TPD): Limit 100000, try in 1 min", true),
            ("TPD exhausted", true),
            ("free-models-per-day. Add 10 credits for 1000 a day", true),
            ("the daily limit of :free models", true),
            ("50 requests/day", true),
            ("200 requests a day", true),
            ("reached its Monthly spending limit", true),
            ("a monthly plan has 99 per day", true),
            ("a monthly plan has 99 per minute", false),
            ("$9 per month, monthly", false),
            ("on tokens per min (TPM): Limit 6000 of 9000 per day", false),
            ("RPM is 3, RPD is 200", false),
            ("10 requests/minute, 200 requests/day", false),
            ("per, day", true),
            ("one day", false),
            ("rapdily, dailyish", false),
            ("", false),
        ] {
            assert_eq!(is_day(text), expected, "{text:?}");
        }
    }

    #[test]
    fn waits_are_found_in_words() {
        for (text, expected) in [
            ("Please try again in 1.5s. Visit us.", Some(1_500)),
            ("Please try again in 6m0s.", Some(360_000)),
            ("PLEASE TRY AGAIN IN 250ms", Some(250)),
            ("Please retry in 37.25s.", Some(37_250)),
            ("Please retry after 5 seconds.", Some(5_000)),
            ("retry after 1 minute, or so", Some(60_000)),
            ("try again in 2 hours!", Some(7_200_000)),
            ("retry after 100 milliseconds", Some(100)),
            ("try again in a while", None),
            ("try again in -5s", None),
            ("try again in 5", None),
            ("try again in 5 apples", None),
            ("try again in ", None),
            ("try again", None),
            ("", None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(wait(text), expected, "{text:?}");
        }
    }
}
