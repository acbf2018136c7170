//! What a process was granted and has not spent.

use std::ops::Deref;

use tokio::time::Instant;

use super::call::LimitSpec;
use crate::limit::algorithm::Mark;

/// What a request took of each limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Marks {
    One(Mark),
    Several(Box<[Mark]>),
}

/// The newest grant. There is never a second one: what is left of it goes back with the next call.
#[derive(Debug, Default)]
pub(super) struct Pot(Option<Grant>);

/// Units of one grant.
#[derive(Debug)]
pub(super) struct Grant {
    /// Their costs are the units that are left.
    pub(super) marks: Marks,
    /// When they were taken, by the clock of the store.
    pub(super) taken_at: u64,
    /// Until when they may be spent.
    pub(super) until: Instant,
    /// Whether they were taken without the store.
    pub(super) is_local: bool,
}

// ===== impl Marks =====

impl Marks {
    /// Returns the marks of a request that took nothing of `limits` limits.
    fn of_nothing(limits: usize) -> Self {
        match limits {
            1 => Self::One(Mark::default()),
            _ => Self::Several(vec![Mark::default(); limits].into()),
        }
    }

    fn as_mut(&mut self) -> &mut [Mark] {
        match self {
            Self::One(mark) => std::slice::from_mut(mark),
            Self::Several(marks) => marks,
        }
    }

    /// Returns whether anything was taken.
    pub(super) fn have_units(&self) -> bool {
        self.iter().any(|mark| mark.cost > 0)
    }
}

impl Deref for Marks {
    type Target = [Mark];

    fn deref(&self) -> &[Mark] {
        match self {
            Self::One(mark) => std::slice::from_ref(mark),
            Self::Several(marks) => marks,
        }
    }
}

impl From<Vec<Mark>> for Marks {
    fn from(marks: Vec<Mark>) -> Self {
        match marks.as_slice() {
            [mark] => Self::One(*mark),
            _ => Self::Several(marks.into()),
        }
    }
}

// ===== impl Pot =====

impl Pot {
    /// Replaces what is there, which must have been [emptied](Self::empty) before.
    pub(super) fn put(&mut self, grant: Grant) {
        debug_assert!(self.0.is_none(), "what is left would be lost");
        self.0 = Some(grant).filter(|grant| grant.marks.have_units());
    }

    /// Takes `cost` units, if as many are left and may still be spent. An unlimited limit has
    /// enough.
    pub(super) fn spend(
        &mut self,
        limits: &[LimitSpec],
        cost: &[u64],
        now: Instant,
    ) -> Option<Marks> {
        if !self.has(limits, cost.iter().copied(), now) {
            return None;
        }
        let Some(grant) = &mut self.0 else {
            return Some(Marks::of_nothing(limits.len()));
        };
        let mut spent = grant.marks.clone();
        let both = spent.as_mut().iter_mut().zip(grant.marks.as_mut());
        for ((spent, left), (limit, cost)) in both.zip(limits.iter().zip(cost)) {
            spent.cost = limit.cost(*cost);
            left.cost = left.cost.saturating_sub(spent.cost);
        }
        if !grant.marks.have_units() {
            self.0 = None;
        }
        Some(spent)
    }

    /// Returns whether `cost` units could be spent.
    pub(super) fn has(
        &self,
        limits: &[LimitSpec],
        cost: impl Iterator<Item = u64>,
        now: Instant,
    ) -> bool {
        let mut cost = limits
            .iter()
            .zip(cost)
            .map(|(limit, cost)| limit.cost(cost));
        match self.0.as_ref().filter(|grant| now < grant.until) {
            Some(grant) => cost
                .zip(&*grant.marks)
                .all(|(cost, mark)| cost <= mark.cost),
            None => cost.all(|cost| cost == 0),
        }
    }

    /// Returns the units that are left of a limit.
    pub(super) fn units(&self, limit: usize) -> u64 {
        let mark = self.0.as_ref().and_then(|grant| grant.marks.get(limit));
        mark.map_or(0, |mark| mark.cost)
    }

    /// Returns until when what is there may be spent.
    pub(super) fn until(&self) -> Option<Instant> {
        Some(self.0.as_ref()?.until)
    }

    /// Removes what is left.
    pub(super) fn empty(&mut self) -> Option<Grant> {
        self.0.take()
    }
}

#[cfg(all(test, not(throttle_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limit::Quota;

    /// A pot with `units`, and limits which are all lower than unlimited.
    fn pot(units: &[u64]) -> (Pot, Vec<LimitSpec>, Instant) {
        let until = Instant::now() + Duration::from_secs(1);
        let mark = |units: &u64| Mark {
            cost: *units,
            place: 7,
            at: 5,
            given: 3,
        };
        let marks: Vec<_> = units.iter().map(mark).collect();
        let mut pot = Pot::default();
        pot.put(Grant {
            marks: marks.into(),
            taken_at: 0,
            until,
            is_local: false,
        });
        let limit = LimitSpec::window(&Quota::per_second(100));
        (pot, vec![limit; units.len()], until)
    }

    #[tokio::test(start_paused = true)]
    async fn units_are_spent_once_and_until_the_hold_ends() {
        let (mut pot, limits, until) = pot(&[10]);
        let now = Instant::now();
        assert_eq!(pot.spend(&limits, &[11], now), None);
        let spent = pot.spend(&limits, &[4], now).unwrap();
        assert_eq!(
            (spent[0].cost, spent[0].place, spent[0].at, spent[0].given),
            (4, 7, 5, 3)
        );
        let has = |units, at| pot.has(&limits, [units].into_iter(), at);
        assert!(has(6, now) && !has(7, now) && !has(1, until));
        assert_eq!(pot.spend(&limits, &[1], until), None);
        assert_eq!(pot.empty().unwrap().marks[0].cost, 6);
        assert_eq!(pot.spend(&limits, &[1], now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_grant_that_is_spent_is_gone() {
        let (mut pot, limits, _) = pot(&[3]);
        assert!(pot.spend(&limits, &[3], Instant::now()).is_some());
        assert!(pot.empty().is_none() && pot.until().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn all_limits_are_spent_or_none() {
        let (mut pot, mut limits, _) = pot(&[3, 100]);
        let now = Instant::now();
        assert_eq!(pot.spend(&limits, &[1, 101], now), None);
        assert_eq!(pot.spend(&limits, &[4, 1], now), None);
        let spent = pot.spend(&limits, &[3, 60], now).unwrap();
        assert_eq!((spent[0].cost, spent[1].cost), (3, 60));
        assert_eq!((pot.units(0), pot.units(1)), (0, 40));
        // One that is lifted has enough.
        limits[0] = LimitSpec::window(&Quota::UNLIMITED);
        let spent = pot.spend(&limits, &[9, 40], now).unwrap();
        assert_eq!((spent[0].cost, spent[1].cost), (0, 40));
        assert!(pot.until().is_none());
        assert_eq!(pot.spend(&limits, &[9, 1], now), None);
        assert!(pot.spend(&limits, &[9, 0], now).is_some());
    }
}
