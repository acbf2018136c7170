//! How long a request would wait at each of several targets, and what it is told if that is too long.

use std::time::Duration;

use crate::{
    BoxError, Reason, Rejected, Tokens,
    provider::{ProviderLimiter, WHOLE},
};

/// How long a wait is expected to be; `None` where nobody knows. An error if it would be for ever.
pub(super) type Expected = Result<Option<Duration>, Rejected>;

/// What one may wait for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) limiter: &'a ProviderLimiter,
    /// Nobody knows until when.
    pub(super) is_closed: bool,
}

/// Why no target takes the request: of all refusals the one that tells most.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    rejected: Option<Rejected>,
    error: Option<BoxError>,
}

/// How long one would wait in each of `lines`.
///
/// Those who wait for several targets wait in the line of each, and leave all lines when it is their turn in one. So each
/// target serves a part of its line alone: the larger, the sooner it would be done with all.
pub(super) fn expected(lines: &[Line<'_>], tokens: Tokens) -> Vec<Expected> {
    let alone: Vec<_> = lines.iter().map(|line| line.wait(tokens, WHOLE)).collect();
    if lines.len() < 2 || lines.iter().all(|line| line.limiter.waiting() == 0) {
        return alone;
    }
    let speed = |wait: &Expected| match wait {
        Ok(Some(wait)) => u128::from(u64::MAX) / wait.as_nanos().max(1),
        Ok(None) | Err(_) => 0,
    };
    let all = alone.iter().map(speed).sum::<u128>().max(1);
    let shared = lines.iter().zip(&alone).map(|(line, alone)| {
        let share = (u128::from(WHOLE) * speed(alone)).div_ceil(all);
        line.wait(tokens, share.min(u128::from(WHOLE)) as u64)
    });
    shared.collect()
}

// ===== impl Line =====

impl Line<'_> {
    /// Behind so many parts of those who wait there.
    fn wait(&self, tokens: Tokens, share: u64) -> Expected {
        let wait = self.limiter.outlook(tokens, share)?;
        Ok(wait.filter(|_| !self.is_closed))
    }
}

// ===== impl Refusals =====

impl Refusals {
    pub(super) fn add(&mut self, rejected: Rejected) {
        let is_better = |old: &Rejected| match (old.reason(), rejected.reason()) {
            (Reason::NeverFits { capacity: old, .. }, Reason::NeverFits { capacity: new, .. }) => {
                new > old
            }
            _ if old.never_fits() != rejected.never_fits() => old.never_fits(),
            _ => match (old.retry_after(), rejected.retry_after()) {
                (Some(old), Some(new)) => new < old,
                (old, _) => old.is_none(),
            },
        };
        if self.rejected.as_ref().is_none_or(is_better) {
            self.rejected = Some(rejected);
        }
    }

    /// A service did not become ready.
    pub(super) fn add_error(&mut self, error: BoxError) {
        self.error.get_or_insert(error);
    }

    /// `None` where nothing was added.
    pub(super) fn into_error(self) -> Option<BoxError> {
        self.rejected.map(Into::into).or(self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limit;

    fn never(capacity: u64) -> Rejected {
        let reason = Reason::NeverFits { cost: 9, capacity };
        Rejected::new(Limit::Pause, reason, None)
    }

    fn late(seconds: Option<u64>) -> Rejected {
        let max_wait = Duration::ZERO;
        let wait = seconds.map(Duration::from_secs);
        Rejected::new(Limit::Pause, Reason::WaitTooLong { max_wait }, wait)
    }

    fn told(refusals: &[Rejected]) -> Rejected {
        let mut all = Refusals::default();
        all.add_error("closed".into());
        refusals.iter().cloned().for_each(|one| all.add(one));
        *all.into_error().unwrap().downcast().unwrap()
    }

    #[test]
    fn the_shortest_wait_is_told_or_else_the_largest_limit() {
        assert_eq!(told(&[never(1), never(3), never(2)]), never(3));
        assert_eq!(told(&[never(3), late(Some(9))]), late(Some(9)));
        assert_eq!(told(&[late(None), never(3)]), late(None));
        assert_eq!(
            told(&[late(Some(9)), late(None), late(Some(2)), late(Some(5))]),
            late(Some(2))
        );
        assert_eq!(told(&[late(None), late(Some(5))]), late(Some(5)));
    }

    #[test]
    fn an_error_is_told_where_nobody_refused() {
        let mut all = Refusals::default();
        all.add_error("first".into());
        all.add_error("second".into());
        assert_eq!(all.into_error().unwrap().to_string(), "first");
        assert!(Refusals::default().into_error().is_none());
    }
}
