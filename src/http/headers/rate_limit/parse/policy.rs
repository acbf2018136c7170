//! The field `RateLimit` and its policies.

use std::time::Duration;

use super::{set::Set, structured, structured::Member};
use crate::http::headers::rate_limit::limits::{Dimension, Reported};

/// Draft 08 and later: policies have names.
pub(super) fn by_name(field: &str, policies: &[Member]) -> Vec<Reported> {
    let left = structured::list(field).unwrap_or_default();
    let left = || left.iter().filter(|member| member.r.is_some());
    let policies = || policies.iter().filter(|policy| policy.q.is_some());
    let of_left = left().map(|left| {
        let policy = policies().find(|policy| policy.name == left.name);
        (policy, Some(left))
    });
    let others = policies()
        .filter(|policy| !left().any(|left| left.name == policy.name))
        .map(|policy| (Some(policy), None));
    let all = of_left.chain(others);
    all.filter_map(|(policy, left)| merged(policy, left))
        .collect()
}

/// Draft 07: one limit, and policies without names.
pub(super) fn in_one(field: &str, policies: &[Member]) -> Vec<Reported> {
    let Some([limit, remaining, reset]) = structured::dictionary(field) else {
        return Vec::new();
    };
    let mut set = Set::default();
    set.limit(limit.map(i128::from));
    set.remaining(remaining.map(i128::from));
    set.reset(reset.and_then(seconds));
    if set.reported(Dimension::Requests, None).is_none() {
        return Vec::new();
    }
    with_policies(set, policies)
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
            let mut other = Set::default();
            other.limit(Some(limit.into()));
            others.extend(other.reported(Dimension::Requests, window));
        }
    }
    let this = set.reported(Dimension::Requests, period);
    this.into_iter().chain(others).collect()
}

fn merged(policy: Option<&Member>, left: Option<&Member>) -> Option<Reported> {
    let name = left.or(policy)?.name.as_deref()?;
    let dimension = dimension(name, policy.and_then(|policy| policy.qu.as_deref()))?;
    let mut set = Set::default();
    set.limit(policy.and_then(|policy| policy.q).map(i128::from));
    if let Some(left) = left {
        set.remaining(left.r.map(i128::from));
        set.reset(left.t.or(left.w).and_then(seconds));
    }
    let period = policy.and_then(|policy| policy.w).and_then(window);
    set.reported(dimension, period)
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

fn seconds(number: i64) -> Option<Duration> {
    Some(Duration::from_secs(number.try_into().ok()?))
}

fn window(number: i64) -> Option<Duration> {
    seconds(number).filter(|window| !window.is_zero())
}
