//! The field `RateLimit` and its policies.

use std::time::Duration;

use super::{
    set::{Set, seconds},
    structured,
    structured::Member,
};
use crate::http::headers::rate_limit::limits::{Dimension, Reported};

/// Draft 08 and later: policies have names.
pub(super) fn by_name(field: &str, policies: &[Member]) -> Vec<Reported> {
    let left = structured::list(field).unwrap_or_default();
    let left = || left.iter().filter(|member| member.r.is_some());
    let policies = || policies.iter().filter(|policy| policy.q.is_some());
    let of_left = left().map(|left| {
        let policy = policies().find(|policy| policy.name == left.name);
        merged(policy, Some(left))
    });
    let is_other = |policy: &&Member| !left().any(|left| left.name == policy.name);
    let others = policies().filter(is_other);
    let others = others.map(|policy| merged(Some(policy), None));
    of_left.chain(others).flatten().collect()
}

/// Draft 07: one limit, and policies without names.
pub(super) fn in_one(field: &str, policies: &[Member]) -> Vec<Reported> {
    let set = structured::dictionary(field).map(Set::of);
    let known = set.filter(|set| set.reported(Dimension::Requests, None).is_some());
    known.map_or_else(Vec::new, |set| with_policies(set, policies))
}

/// Matches a limit without a name to its policy, which has the period. The other policies are
/// separate limits.
pub(super) fn with_policies<'a>(
    set: Set,
    policies: impl IntoIterator<Item = &'a Member>,
) -> Vec<Reported> {
    let mut period = None;
    let mut others = Vec::new();
    for policy in policies {
        let Some(limit) = policy.number else { continue };
        let window = policy.w.and_then(window);
        let of_this = set.limit.is_some() && set.limit == u64::try_from(limit).ok();
        if of_this && period.is_none() {
            period = window;
        } else {
            let other = Set::of([Some(limit), None, None]);
            others.extend(other.reported(Dimension::Requests, window));
        }
    }
    let this = set.reported(Dimension::Requests, period);
    this.into_iter().chain(others).collect()
}

fn merged(policy: Option<&Member>, left: Option<&Member>) -> Option<Reported> {
    let name = left.or(policy)?.name.as_deref()?;
    let dimension = dimension(name, policy.and_then(|policy| policy.qu.as_deref()))?;
    let limit = policy.and_then(|policy| policy.q);
    let remaining = left.and_then(|left| left.r);
    let reset = left.and_then(|left| left.t.or(left.w));
    let period = policy.and_then(|policy| policy.w).and_then(window);
    Set::of([limit, remaining, reset]).reported(dimension, period)
}

fn dimension(name: &str, unit: Option<&str>) -> Option<Dimension> {
    match unit {
        Some("requests") => Some(Dimension::Requests),
        Some("concurrent-requests") => Some(Dimension::Concurrency),
        Some(unit) => tokens(unit),
        None => Some(tokens(name).unwrap_or(Dimension::Requests)),
    }
}

fn tokens(text: &str) -> Option<Dimension> {
    let text = text.to_ascii_lowercase();
    if !text.contains("token") {
        None
    } else if text.contains("input") {
        Some(Dimension::InputTokens)
    } else if text.contains("output") {
        Some(Dimension::OutputTokens)
    } else {
        Some(Dimension::Tokens)
    }
}

fn window(number: i64) -> Option<Duration> {
    seconds(number).filter(|window| !window.is_zero())
}
