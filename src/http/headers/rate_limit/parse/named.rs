//! Limits in headers with self-describing names.

use http::HeaderValue;

use super::{
    name,
    name::{Family, RESET_AFTER, Subject},
    policy,
    set::Set,
    structured,
    structured::Member,
    value,
    value::Moment,
};
use crate::http::headers::rate_limit::limits::{RateLimits, Reported};

/// More than can be kept, since some are empty.
const MOST: usize = 2 * RateLimits::MOST;

/// The limits found so far, in order.
#[derive(Default)]
pub(super) struct Named {
    sets: [Option<(Subject, Set)>; MOST],
    /// The policies that follow a limit, as in `10, 10;w=1, 50;w=60`.
    policies: Vec<(Family, Member)>,
}

// ===== impl Named =====

impl Named {
    /// Reads one header, if its name is of this kind.
    pub(super) fn read(&mut self, name: &str, value: &HeaderValue, moment: &Moment<'_>) {
        let Some((subject, part)) = name::read(name) else {
            return;
        };
        let (Some(text), Some(set)) = (value::text(value), self.set(subject)) else {
            return;
        };
        match part {
            "limit" => match value::count(text) {
                None if subject == Subject::bare(subject.family) => {
                    let quotas = quotas(text);
                    let first = quotas.first().and_then(|quota| quota.number);
                    set.limit(first.map(i128::from));
                    let policies = quotas.into_iter().filter(|quota| quota.w.is_some());
                    self.policies
                        .extend(policies.map(|policy| (subject.family, policy)));
                }
                count => set.limit(count),
            },
            "remaining" => set.remaining(value::count(text)),
            RESET_AFTER => set.reset_after = set.reset_after.max(moment.reset(text)),
            _ => set.reset(moment.reset(text)),
        }
    }

    pub(super) fn of(&self, family: Family) -> impl Iterator<Item = Reported> {
        let sets = self.sets.iter().flatten();
        sets.filter(move |(subject, _)| subject.family == family)
            .filter_map(|(subject, set)| set.reported(subject.dimension, subject.period))
    }

    /// Returns the limit in three headers of a family, and its policies.
    pub(super) fn bare(&self, family: Family, policies: &[Member]) -> Vec<Reported> {
        let mut sets = self.sets.iter().flatten();
        let set = sets.find(|(subject, _)| *subject == Subject::bare(family));
        let own = self.policies.iter().filter(|(of, _)| *of == family);
        let policies = own.map(|(_, policy)| policy).chain(policies);
        policy::with_policies(set.map(|(_, set)| *set).unwrap_or_default(), policies)
    }

    fn set(&mut self, subject: Subject) -> Option<&mut Set> {
        let mut sets = self.sets.iter_mut();
        let place = sets.find(|place| place.is_none_or(|(other, _)| other == subject))?;
        let (_, set) = place.get_or_insert((subject, Set::default()));
        Some(set)
    }
}

/// Parses a limit followed by its policies. Two indistinguishable numbers are both ignored.
fn quotas(text: &str) -> Vec<Member> {
    let members = structured::list(text).unwrap_or_default();
    let is_quota =
        |(at, member): (usize, &Member)| member.number.is_some() && (at == 0 || member.w.is_some());
    let are_quotas = members.iter().enumerate().all(is_quota);
    if are_quotas { members } else { Vec::new() }
}
