//! One limit in three headers: `RateLimit-Limit` and its like, with an `X-` or without.

use super::{
    policy,
    set::{Count, Set},
    structured::{self, Head, Member},
    value::{self, Moment},
};
use crate::Reported;

/// The names of the three.
struct Names {
    limit: &'static str,
    remaining: &'static str,
    reset: &'static str,
}

const IETF: Names = Names {
    limit: "ratelimit-limit",
    remaining: "ratelimit-remaining",
    reset: "ratelimit-reset",
};

const LEGACY: Names = Names {
    limit: "x-ratelimit-limit",
    remaining: "x-ratelimit-remaining",
    reset: "x-ratelimit-reset",
};

/// The same as the reset, always as a wait: where it is there, it needs no clock.
const RESET_AFTER: &str = "x-ratelimit-reset-after";

pub(super) fn is_legacy(name: &str) -> bool {
    [LEGACY.limit, LEGACY.remaining, LEGACY.reset, RESET_AFTER].contains(&name)
}

/// The IETF's drafts up to 06.
pub(super) fn ietf(moment: &Moment<'_>, policies: &[Member<'_>]) -> Vec<Reported> {
    read(&IETF, moment, policies)
}

/// Everybody else.
pub(super) fn legacy(moment: &Moment<'_>) -> Vec<Reported> {
    read(&LEGACY, moment, &[])
}

fn read(names: &Names, moment: &Moment<'_>, policies: &[Member<'_>]) -> Vec<Reported> {
    let texts = |name: &'static str| {
        let values = moment.headers.get_all(name).iter();
        values.filter_map(value::text)
    };
    let mut set = Set::default();
    let mut own = Vec::new();
    for text in texts(names.limit) {
        match value::count(text) {
            Some(count) => set.limit(Some(count)),
            None => own.extend(quotas(text, &mut set)),
        }
    }
    for text in texts(names.remaining) {
        set.remaining(value::count(text));
    }
    let waits = texts(RESET_AFTER).filter(|_| names.limit == LEGACY.limit);
    for text in waits {
        set.reset(moment.reset(text));
    }
    if !set.has_reset() {
        for text in texts(names.reset) {
            set.reset(moment.reset(text));
        }
    }
    policy::with_policies(set, own.iter().chain(policies))
}

/// A limit with its policies behind it, as in `10, 10;w=1, 50;w=60`. Two numbers with nothing to tell them apart are
/// neither.
fn quotas<'a>(text: &'a str, set: &mut Set) -> Vec<Member<'a>> {
    let members = structured::list(text).unwrap_or_default();
    let is_policy =
        |member: &Member<'_>| matches!(member.head, Head::Number(_)) && member.w.is_some();
    let Some((first, rest)) = members.split_first() else {
        return members;
    };
    if let Head::Number(limit) = first.head {
        if rest.iter().all(is_policy) {
            set.limit(Some(Count::from(limit)));
            return members.into_iter().filter(is_policy).collect();
        }
    }
    Vec::new()
}
