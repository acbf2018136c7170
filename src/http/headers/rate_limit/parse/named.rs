//! Limits in headers with self-describing names.

use http::HeaderValue;

use super::{
    name,
    name::{Family, Subject},
    set::Set,
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
            "limit" => set.limit(value::count(text)),
            "remaining" => set.remaining(value::count(text)),
            _ => set.reset(moment.reset(text)),
        }
    }

    pub(super) fn of(&self, family: Family) -> impl Iterator<Item = Reported> {
        let sets = self.sets.iter().flatten();
        sets.filter(move |(subject, _)| subject.family == family)
            .filter_map(|(subject, set)| set.reported(subject.dimension, subject.period))
    }

    fn set(&mut self, subject: Subject) -> Option<&mut Set> {
        let place = self
            .sets
            .iter_mut()
            .find(|place| place.is_none_or(|(other, _)| other == subject))?;
        let (_, set) = place.get_or_insert((subject, Set::default()));
        Some(set)
    }
}
