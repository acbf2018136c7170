//! Shapes of messages: a word of each of two groups within one sentence.
//!
//! Providers reword their messages without notice, so sentences are not compared. A group is a list
//! of words and phrases; one that ends in `*` is the beginning of a word.

use std::time::Duration;

use crate::http::headers::duration::duration;

/// What a model reads.
const PROMPT: &str = "prompt*|input*|message*|context*|conversation*";
/// What is sent or counted.
const REQUEST: &str = "request*|token*";
const BOUND: &str = "exceed*|too long|too large|too many|longer than|larger than|greater than|\
    more than|max|maximum|limit*|supports up to|reduce*|range|must be <*|>";
const SIZE: &str = "token*|length*|context*|long";
/// The output alone, unless the sentence is also about the prompt.
const OUTPUT: &str = "max tokens|max new tokens|max completion*|completion tokens|output tokens";
/// Other values than a prompt, other sizes, and the context of a call in Go.
const OTHER_SIZE: &str = "string|array|bytes|body|input should be|deadline|canceled";
const FUNDS: &str = "balance|credit|credits|funds|spend|spending|usage limit*";
const LACK: &str = "insufficient|not enough|low|exhausted|deplet*|used|reach*|exceed*|require more|\
    requires more|need more|recharge*|overdue|negative|run out|out of";
const RATE: &str = "rate limit*|per second|per sec|per minute|per min|rps|rpm|tpm";
const LIMIT: &str = "limit*|quota*|reach*|exceed*|too many";

/// Precedes a wait.
const AGAIN: [&str; 5] = ["again", "retry", "wait", "available", "reset"];

/// Returns `true` if some [`words`] contain one of a group.
pub(super) fn has_any(words: &str, group: &str) -> bool {
    group.split('|').any(|entry| match entry.strip_suffix('*') {
        Some(begin) => words.contains(&format!(" {begin}")),
        None => words.contains(&format!(" {entry} ")),
    })
}

/// Returns the words of a code or a sentence in lower case, with one space before and after each.
///
/// `context_length_exceeded` and `ContextLengthExceeded` have the same words.
pub(super) fn words(text: &str) -> String {
    let mut words = String::from(" ");
    let mut before = ' ';
    for c in text.chars().chain([' ']) {
        let is_next_word = before.is_ascii_lowercase() && c.is_ascii_uppercase();
        let is_word = c.is_alphanumeric() || matches!(c, '<' | '=' | '>');
        if (is_next_word || !is_word) && !words.ends_with(' ') {
            words.push(' ');
        }
        match c {
            '/' => words.push_str("per "),
            c if is_word => words.push(c.to_ascii_lowercase()),
            _ => {}
        }
        before = c;
    }
    words
}

/// Returns the words of each sentence, without links.
pub(super) fn sentences(message: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    for line in message.lines() {
        let parts = line.split_whitespace().filter(|part| !part.contains("://"));
        let parts: Vec<_> = parts.collect();
        for sentence in parts.split_inclusive(|part| part.ends_with(['.', '!', '?', ';'])) {
            // Google's term for the billing project is not about a limit.
            sentences.push(words(&sentence.join(" ")).replace(" quota project ", " "));
        }
    }
    sentences
}

/// Returns `true` if a prompt is too long for the model.
pub(super) fn is_context(sentence: &str) -> bool {
    let is_prompt = has_any(sentence, PROMPT);
    let is_input = is_prompt || (has_any(sentence, REQUEST) && !has_any(sentence, OUTPUT));
    let is_other = has_any(sentence, RATE) || has_any(sentence, OTHER_SIZE);
    is_input && has_any(sentence, BOUND) && has_any(sentence, SIZE) && !is_other
}

/// Returns `true` if money or credits are used up.
pub(super) fn is_money(sentence: &str) -> bool {
    has_any(sentence, FUNDS) && has_any(sentence, LACK) && !has_any(sentence, RATE)
}

/// Returns `true` if the first period that a message names is a day or longer. Later ones are
/// often about other plans.
///
/// A month may belong to a price, and so may a day if the response is not known to be about a
/// limit: then the sentence must name one.
pub(super) fn is_day(sentences: &[String], is_limit: bool) -> bool {
    for sentence in sentences {
        let names_limit = has_any(sentence, LIMIT);
        let mut before = "";
        for word in sentence.split_whitespace() {
            match (before, word) {
                (_, "rpd" | "tpd" | "daily") | ("per" | "a", "day") if is_limit || names_limit => {
                    return true;
                }
                (_, "weekly" | "monthly") | ("per" | "a", "week" | "month") if names_limit => {
                    return true;
                }
                (_, "rps" | "rpm" | "tpm")
                | ("per", "second" | "sec" | "minute" | "min" | "hour") => return false,
                _ => before = word,
            }
        }
    }
    false
}

/// Returns the wait in a message: "try again in 1m2.5s", "wait 38 seconds", "retry after: 5 s".
///
/// At most two words stand between the two parts.
pub(super) fn wait(message: &str) -> Option<Duration> {
    let text = message.to_ascii_lowercase();
    let words = text.split_whitespace().map(|word| {
        let word = word.trim_start_matches(['(', '[', '"', '\'', '`', '~']);
        word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
    });
    let words: Vec<_> = words.collect();
    let is_again = |word: &str| AGAIN.iter().any(|again| word.starts_with(again));
    let places = (0..words.len()).filter(|place| is_again(words[*place]));
    let mut nearby = places.flat_map(|place| place + 1..=place + 3);
    nearby.find_map(|place| {
        let mut rest = words.get(place..)?;
        let mut sum = None;
        while let Some((more, after)) = amount(rest) {
            sum = Some(sum.unwrap_or(Duration::ZERO).saturating_add(more));
            rest = after.strip_prefix(&["and"]).unwrap_or(after);
        }
        sum
    })
}

/// Returns the number with a unit at the beginning of some words, and the other words.
fn amount<'a, 'b>(words: &'a [&'b str]) -> Option<(Duration, &'a [&'b str])> {
    let (first, rest) = words.split_first()?;
    if let Some(amount) = duration(first) {
        return Some((amount, rest));
    }
    let (unit, rest) = rest.split_first()?;
    Some((duration(&format!("{first}{unit}"))?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_daily(text: &str) -> bool {
        is_day(&sentences(text), true)
    }

    #[test]
    fn words_of_codes_and_messages() {
        for (text, expected) in [
            ("context_length_exceeded", " context length exceeded "),
            ("ContextLengthExceeded", " context length exceeded "),
            ("`a` + b <= 4.5/day.", " a b <= 4 5 per day "),
            ("RATE-LIMIT", " rate limit "),
            ("a/b", " a per b "),
            ("", " "),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
        let expected = [" one 1 5s ", " two ", " three four "];
        let text = "One 1.5s. Two!\nthree https://a.b/two/balance four";
        assert_eq!(sentences(text), expected);
    }

    #[test]
    fn long_prompts_are_no_other_sizes() {
        for text in [
            "max_tokens is too large: 100000",
            "This model supports at most 16384 completion tokens, whereas you provided 100000",
            "maxOutputTokens must be less than 8193 tokens",
            "Invalid 'messages[0].name': string too long. Expected a string with maximum length 64",
            "Invalid 'messages': array too long. Expected an array with maximum length 2048",
            "messages.0.image.source: image exceeds 5 MB maximum: 6000000 bytes > 5242880 bytes",
            "Request exceeds the maximum size",
            "Number of request tokens has exceeded your per-minute rate limit",
            "Limit of 50,000 input tokens per minute exceeded",
            "messages: roles must alternate",
            "Invalid value for temperature: maximum is 2",
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
            "max_tokens: Input should be greater than or equal to 1",
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            "rpc error: context canceled: request too long",
        ] {
            assert!(
                !sentences(text).iter().any(|text| is_context(text)),
                "{text}"
            );
        }
    }

    #[test]
    fn money_is_no_other_word() {
        for (text, expected) in [
            ("Your account has an overdue balance", true),
            ("You have exceeded your monthly included credits", true),
            ("usage limit reached", true),
            ("not enough credits to run this request", true),
            ("credit_balance_exhausted", true),
            ("organization_usage_limit_exceeded", true),
            ("the load balancer has reached its limit", false),
            (
                "You exceeded your current quota, please check your plan and billing details",
                false,
            ),
            ("Rate limit reached. Add credits to raise it.", false),
            (
                "Rate limit exceeded, see https://a.b/balance for more",
                false,
            ),
            ("Limit 3, Used 3, Requested 1", false),
            ("You used all of your 1000 credits per minute", false),
        ] {
            assert_eq!(
                sentences(text).iter().any(|text| is_money(text)),
                expected,
                "{text}"
            );
        }
    }

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
            ("limited to 1000 API calls / month", true),
            ("weekly quota exceeded", true),
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
            assert_eq!(is_daily(text), expected, "{text:?}");
        }
        assert!(is_day(&sentences("daily limit reached"), false));
        assert!(!is_day(&sentences("the daily report failed"), false));
    }

    #[test]
    fn waits_are_found_in_words() {
        for (text, expected) in [
            ("Please try again in 1.5s. Visit us.", Some(1_500)),
            ("Please try again in 6m0s.", Some(360_000)),
            ("PLEASE TRY AGAIN IN 250ms", Some(250)),
            ("Please retry in 37.25s.", Some(37_250)),
            ("Please retry after 5 seconds.", Some(5_000)),
            ("try again after 9 seconds", Some(9_000)),
            ("Please wait 38 seconds before retrying", Some(38_000)),
            ("Retry after: 21 seconds.", Some(21_000)),
            ("available again in 3 hrs", Some(10_800_000)),
            ("Your limit resets in 5 mins", Some(300_000)),
            ("wait for about 10seconds", Some(10_000)),
            ("try again in 1 minute and 30 seconds", Some(90_000)),
            ("wait (12 sec)", Some(12_000)),
            ("retry after 1 minute, or so", Some(60_000)),
            ("try again in 2 hours!", Some(7_200_000)),
            ("retry after 100 milliseconds", Some(100)),
            ("10 per 60s exceeded. Please wait 38 seconds", Some(38_000)),
            ("wait, then try again in 7 s", Some(7_000)),
            ("Rate limit of 10 per 60s exceeded", None),
            ("retry limit of 10 per 60s", None),
            ("please wait before trying again", None),
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
