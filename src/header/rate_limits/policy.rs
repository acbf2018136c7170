//! The field `RateLimit` and the policies that it stands on.

use std::time::Duration;

use super::{
    set::{Count, Set},
    structured::{self, Head, Member},
};
use crate::{Dimension, Reported};

/// Draft 08 and later: policies have names, and what is left is told by name.
pub(super) fn by_name(field: &str, policies: &[Member<'_>]) -> Vec<Reported> {
    let left = structured::list(field).unwrap_or_default();
    let left: Vec<_> = left.iter().filter(|member| is_left(member)).collect();
    let policy_of = |name| policies.iter().find(|policy| is_policy(policy, name));
    let mut reported = Vec::new();
    for member in &left {
        let Some(name) = name(member) else { continue };
        reported.extend(merged(name, policy_of(name), Some(member)));
    }
    for policy in policies {
        let Some(name) = name(policy) else { continue };
        let is_told = left.iter().any(|member| member.head == policy.head);
        if policy.q.is_some() && !is_told {
            reported.extend(merged(name, Some(policy), None));
        }
    }
    reported
}

/// Draft 07: one limit, and policies without names.
pub(super) fn in_one(field: &str, policies: &[Member<'_>]) -> Vec<Reported> {
    let Some(trio) = structured::dictionary(field) else {
        return Vec::new();
    };
    let mut set = Set::default();
    set.limit(trio.limit.map(Count::from));
    set.remaining(trio.remaining.map(Count::from));
    set.reset(trio.reset.and_then(seconds));
    if set.reported(Dimension::Requests, None).is_none() {
        return Vec::new();
    }
    with_policies(set, policies)
}

/// A limit without a name, and policies without names: the one of that limit tells its period, and the others are
/// limits of their own.
pub(super) fn with_policies<'a>(
    set: Set,
    policies: impl IntoIterator<Item = &'a Member<'a>>,
) -> Vec<Reported> {
    let mut period = None;
    let mut others = Vec::new();
    for policy in policies {
        let Head::Number(limit) = policy.head else {
            continue;
        };
        let window = policy.w.and_then(window);
        let of_this = set.told_limit().is_some() && set.told_limit() == u64::try_from(limit).ok();
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

fn merged(name: &str, policy: Option<&Member<'_>>, left: Option<&Member<'_>>) -> Option<Reported> {
    let dimension = dimension(name, policy.and_then(|policy| policy.qu.as_deref()))?;
    let mut set = Set::default();
    set.limit(policy.and_then(|policy| policy.q).map(Count::from));
    if let Some(left) = left {
        set.remaining(left.r.or(left.a).map(Count::from));
        set.reset(left.t.or(left.w).and_then(seconds));
    }
    set.reported(
        dimension,
        policy.and_then(|policy| policy.w).and_then(window),
    )
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

fn name<'a>(member: &'a Member<'_>) -> Option<&'a str> {
    match &member.head {
        Head::Name(name) => Some(name),
        _ => None,
    }
}

fn is_left(member: &Member<'_>) -> bool {
    name(member).is_some() && member.r.or(member.a).is_some()
}

fn is_policy(member: &Member<'_>, named: &str) -> bool {
    name(member) == Some(named) && member.q.is_some()
}

fn seconds(number: i64) -> Option<Duration> {
    Some(Duration::from_secs(number.try_into().ok()?))
}

fn window(number: i64) -> Option<Duration> {
    seconds(number).filter(|window| !window.is_zero())
}
