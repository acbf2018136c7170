//! Codes and words of provider errors.
//!
//! Words are in lower case and match any case.

use std::time::Duration;

use crate::http::headers::duration;

/// Codes for exhausted credit.
pub(super) const MONEY: &[&str] = &[
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "enforced_spend_limit_reached",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
];

/// All other codes that text is searched for.
pub(super) const OTHERS: &[&str] = &[
    "slow_down",
    "resource_unavailable",
    "overloaded_error",
    "rate_limit_exceeded",
    "rate_limit_error",
    "RESOURCE_EXHAUSTED",
    "request_too_large",
    "timeout_error",
];

/// Codes for a prompt that is too long.
pub(super) const CONTEXT: &[&str] = &[
    "context_length_exceeded",
    "context_window_exceeded",
    "ContextWindowExceededError",
    "exceed_context_size_error",
    "model_max_prompt_tokens_exceeded",
];

/// Codes for a prompt or a response that violates a policy.
pub(super) const POLICY: &[&str] = &[
    "content_policy_violation",
    "ContentPolicyViolationError",
    "content_filter",
    "content_policy",
    "ResponsibleAIPolicyViolation",
    "moderation_blocked",
    "cyber_policy_violation",
    "data_inspection_failed",
    "DataInspectionFailed",
];

/// Words for a prompt that exceeds the context window.
pub(super) const CONTEXT_WORDS: &[&str] = &[
    "context length",
    "context window",
    "context limit",
    "context size",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "maximum prompt length",
    "maximum number of tokens",
    "number of tokens in the prompt cannot exceed",
    "`max_new_tokens` must be <=",
];

/// Words for a prompt or a response that violates a policy.
pub(super) const POLICY_WORDS: &[&str] = &[
    "content management policy",
    "content policy",
    "content filter",
    "our usage polic",
    "usage guidelines",
    "safety system",
    "safety settings",
    "content exists risk",
    "input was flagged",
    "prompt was flagged",
    "requires moderation",
];

/// Words for exhausted credit. "Billing" alone is not among them, since messages about other limits
/// contain it as well.
pub(super) const MONEY_WORDS: &[&str] = &[
    "credit balance is too low",
    "insufficient balance",
    "insufficient credit",
    "insufficient funds",
    "used all available credits",
];

/// Words for an overload.
pub(super) const CAPACITY_WORDS: &[&str] = &[
    "overloaded",
    "resource unavailable",
    "resource_unavailable",
    "temporary-reduced-capacity",
    "capacity exceeded",
    "no capacity",
];

/// Words for a load that rose too fast.
pub(super) const RAMP_WORDS: &[&str] = &["slow_down", "acceleration"];

/// Words for too many concurrent requests.
pub(super) const CONCURRENCY_WORDS: &[&str] = &["concurren"];

/// Words for any limit.
pub(super) const LIMIT_WORDS: &[&str] = &[
    "rate limit",
    "rate_limit",
    "ratelimit",
    "rate-limit",
    "too many requests",
    "throttl",
    "resource_exhausted",
    "quota",
];

/// Returns `true` if `text` contains one of `words`.
pub(super) fn has_any(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    // Google's term for the billing project is not about a limit.
    let text = text.replace("quota project", "");
    words.iter().any(|word| text.contains(word))
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
