//! Codes and types of provider errors, and words for what has no shape: groups as in [`shapes`].

use super::shapes;

/// Codes for exhausted credit. In messages the same words are about other limits as well.
pub(super) const MONEY: &str = "insufficient quota|billing|arrearage";
/// Words for a prompt or a response that violates a policy.
pub(super) const POLICY: &str = "content management policy|content policy|policy violation|\
    aipolicy violation|content filter*|data inspection|moderation blocked|our usage polic*|\
    usage guidelines|safety system|safety settings|content exists risk|input was flagged|\
    prompt was flagged|requires moderation";
/// Words for an overload.
pub(super) const CAPACITY: &str = "overloaded|resource unavailable|insufficient system resource|\
    temporary reduced capacity|capacity exceeded|no capacity";
/// Words for any limit.
pub(super) const LIMIT: &str = "rate limit*|ratelimit*|too many requests|throttl*|\
    resource exhausted|quota*";
/// Words for load that rose too fast, and a code.
pub(super) const RAMP: &str = "acceleration";
pub(super) const RAMP_CODE: &str = "slow down";
/// Words for too many requests in flight.
pub(super) const CONCURRENCY: &str = "concurren*";

/// The statuses of errors as responses, and their codes with or without " error" at the end.
const STATUSES: [&str; 12] = [
    "400|invalid request|invalid prompt|invalid argument|failed precondition|out of range|\
        bad request",
    "401|authentication|invalid api key|unauthenticated",
    "402|billing",
    "403|permission|permission denied",
    "404|not found|model not found",
    "413|request too large",
    "429|rate limit|rate limit exceeded|slow down|resource unavailable|too many requests|\
        resource exhausted|throttling exception",
    "500|api|server|internal|internal server|data loss",
    "501|unimplemented",
    "503|service unavailable|engine overloaded|server overloaded|unavailable",
    "504|timeout|deadline exceeded",
    // Anthropic's. Others send `overloaded` with a 503.
    "529|overloaded error",
];

/// Returns the status that an error with this code has as a response.
pub(super) fn status(code: &str) -> Option<u16> {
    let words = shapes::words(code);
    let name = words.trim();
    let short = name.strip_suffix(" error").unwrap_or(name);
    let is_known = |known: &str| known == name || known == short;
    let entry = STATUSES
        .iter()
        .find(|entry| entry.split('|').skip(1).any(is_known))?;
    entry.split('|').next()?.parse().ok()
}

/// Returns `true` if `text` is a known code, and not a word like `timeout`.
pub(super) fn is_code(text: &str) -> bool {
    let is_word = text.bytes().all(|byte| byte.is_ascii_lowercase());
    !is_word && !text.contains(' ') && status(text).is_some()
}
