//! One limit in three headers: `RateLimit-Limit` and its companions, with or without `X-`.

use super::{policy, set::Set, structured, structured::Member, value, value::Moment};
use crate::http::headers::rate_limit::limits::Reported;

/// The IETF's drafts up to 06.
pub(super) const IETF: [&str; 3] = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];

/// All other servers.
pub(super) const LEGACY: [&str; 3] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// Like the legacy reset, always as a wait. If it is present, no clock is needed.
const RESET_AFTER: &str = "x-ratelimit-reset-after";

pub(super) fn is_legacy(name: &str) -> bool {
    LEGACY.contains(&name) || name == RESET_AFTER
}

pub(super) fn read(
    names: [&'static str; 3],
    moment: &Moment<'_>,
    policies: &[Member],
) -> Vec<Reported> {
    let [limit, remaining, reset] = names;
    let texts = |name: &'static str| {
        let values = moment.headers.get_all(name).iter();
        values.filter_map(value::text)
    };
    let mut set = Set::default();
    let mut own = Vec::new();
    for text in texts(limit) {
        match value::count(text) {
            Some(count) => set.limit(Some(count)),
            None => own.extend(quotas(text, &mut set)),
        }
    }
    for text in texts(remaining) {
        set.remaining(value::count(text));
    }
    let waits = texts(RESET_AFTER).filter(|_| names == LEGACY);
    for text in waits {
        set.reset(moment.reset(text));
    }
    if set.reset.is_none() {
        for text in texts(reset) {
            set.reset(moment.reset(text));
        }
    }
    policy::with_policies(set, own.iter().chain(policies))
}

/// Parses a limit followed by its policies, as in `10, 10;w=1, 50;w=60`. Two indistinguishable
/// numbers are both ignored.
fn quotas(text: &str, set: &mut Set) -> Vec<Member> {
    let mut members = structured::list(text).unwrap_or_default();
    let is_policy = |member: &Member| member.number.is_some() && member.w.is_some();
    let limit = members.first().and_then(|first| first.number);
    if limit.is_none() || !members.iter().skip(1).all(is_policy) {
        return Vec::new();
    }
    set.limit(limit.map(i128::from));
    members.retain(is_policy);
    members
}
