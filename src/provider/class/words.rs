//! Codes and words by which providers tell what they refuse for.

use std::time::Duration;

use crate::header::duration;

/// Codes that say that the money is spent.
const MONEY: [&str; 9] = [
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

/// Codes of everything else.
const OTHERS: [&str; 8] = [
    "slow_down",
    "resource_unavailable",
    "overloaded_error",
    "rate_limit_exceeded",
    "rate_limit_error",
    "RESOURCE_EXHAUSTED",
    "request_too_large",
    "timeout_error",
];

/// Codes that say that the prompt does not fit.
const CONTEXT: [&str; 5] = [
    "context_length_exceeded",
    "context_window_exceeded",
    "ContextWindowExceededError",
    "exceed_context_size_error",
    "model_max_prompt_tokens_exceeded",
];

/// Codes that say that a policy forbids the prompt, or the answer.
const POLICY: [&str; 9] = [
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

/// What a body that can't be parsed is searched for.
pub(super) fn codes() -> impl Iterator<Item = &'static str> {
    let codes = [&MONEY[..], &CONTEXT, &POLICY, &OTHERS];
    codes.into_iter().flatten().copied()
}

pub(super) fn is_context_code(code: &str) -> bool {
    CONTEXT.contains(&code)
}

pub(super) fn is_policy_code(code: &str) -> bool {
    POLICY.contains(&code)
}

/// Whether a message says that the prompt does not fit into what the model can read.
pub(super) fn is_context(text: &str) -> bool {
    [
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
    ]
    .iter()
    .any(|word| has(text, word))
}

/// Whether a message says that a policy forbids the prompt, or the answer.
pub(super) fn is_policy(text: &str) -> bool {
    [
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
    ]
    .iter()
    .any(|word| has(text, word))
}

/// Whether a message says that the money is spent. Of billing alone messages about other limits speak, too.
pub(super) fn is_no_money(text: &str) -> bool {
    [
        "credit balance is too low",
        "insufficient balance",
        "insufficient credit",
        "insufficient funds",
        "used all available credits",
    ]
    .iter()
    .any(|word| has(text, word))
}

pub(super) fn is_money(code: &str) -> bool {
    MONEY.contains(&code)
}

/// As OpenAI begins the message of such a refusal.
pub(super) fn is_too_large(text: &str) -> bool {
    const WORDS: &str = "request too large";
    text.trim_start()
        .get(..WORDS.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(WORDS))
}

pub(super) fn is_ramp(text: &str) -> bool {
    text == "slow_down" || has(text, "acceleration")
}

pub(super) fn is_capacity(text: &str) -> bool {
    [
        "overloaded",
        "resource unavailable",
        "resource_unavailable",
        "temporary-reduced-capacity",
        "capacity exceeded",
        "no capacity",
    ]
    .iter()
    .any(|word| has(text, word))
}

pub(super) fn is_concurrency(text: &str) -> bool {
    has(text, "concurren")
}

/// Whether a code or a message is about a limit at all.
pub(super) fn is_limit(text: &str) -> bool {
    let is_quota = |at: usize| !starts_with(&text.as_bytes()[at..], "quota project");
    [
        "rate limit",
        "rate_limit",
        "ratelimit",
        "rate-limit",
        "too many requests",
        "throttl",
        "resource_exhausted",
    ]
    .iter()
    .any(|word| has(text, word))
        // Google's word for the project that pays speaks of no limit.
        || found(text, "quota").any(is_quota)
}

/// Whether the first period that a message names is a day, or a month. What follows is often what another plan would
/// allow, and what it costs a month.
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

/// The wait that a message asks for: "try again in 1.5s", "retry after 5 seconds".
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

/// Whether `text` has the lower-case `word` in it, in letters of any case.
fn has(text: &str, word: &str) -> bool {
    found(text, word).next().is_some()
}

/// Where it has it.
fn found(text: &str, word: &str) -> impl Iterator<Item = usize> {
    let windows = text.as_bytes().windows(word.len()).enumerate();
    windows
        .filter_map(move |(at, window)| window.eq_ignore_ascii_case(word.as_bytes()).then_some(at))
}

fn starts_with(text: &[u8], word: &str) -> bool {
    text.get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
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
