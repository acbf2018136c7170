//! What a process was granted and has not spent.

use tokio::time::Instant;

use crate::limit::algorithm::Mark;

/// The newest grant. There is never a second one: what is left of it goes back with the next call.
#[derive(Debug, Default)]
pub(super) struct Pot(Option<Grant>);

/// Units of one grant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    /// Its cost is the number of units that are left.
    pub(super) mark: Mark,
    /// When they were taken, by the clock of the store.
    pub(super) taken_at: u64,
    /// Until when they may be spent.
    pub(super) until: Instant,
    /// Whether they were taken without the store.
    pub(super) is_local: bool,
}

// ===== impl Pot =====

impl Pot {
    /// Replaces what is there, which must have been [emptied](Self::empty) before.
    pub(super) fn put(&mut self, grant: Grant) {
        debug_assert!(self.0.is_none(), "what is left would be lost");
        self.0 = Some(grant).filter(|grant| grant.mark.cost > 0);
    }

    /// Takes `cost` units, if as many are left and may still be spent.
    pub(super) fn spend(&mut self, cost: u64, now: Instant) -> Option<Mark> {
        let grant = self.0.as_mut().filter(|grant| now < grant.until)?;
        let left = grant.mark.cost.checked_sub(cost)?;
        let spent = Mark { cost, ..grant.mark };
        match left {
            0 => self.0 = None,
            left => grant.mark.cost = left,
        }
        Some(spent)
    }

    /// Returns whether `cost` units could be spent.
    pub(super) fn has(&self, cost: u64, now: Instant) -> bool {
        let grant = self.0.as_ref();
        grant.is_some_and(|grant| now < grant.until && cost <= grant.mark.cost)
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

    fn pot(units: u64) -> (Pot, Instant) {
        let until = Instant::now() + Duration::from_secs(1);
        let mark = Mark {
            cost: units,
            place: 7,
            at: 5,
            given: 3,
        };
        let mut pot = Pot::default();
        pot.put(Grant {
            mark,
            taken_at: 0,
            until,
            is_local: false,
        });
        (pot, until)
    }

    #[tokio::test(start_paused = true)]
    async fn units_are_spent_once_and_until_the_hold_ends() {
        let (mut pot, until) = pot(10);
        let now = Instant::now();
        assert_eq!(pot.spend(11, now), None);
        let spent = pot.spend(4, now).unwrap();
        assert_eq!(
            (spent.cost, spent.place, spent.at, spent.given),
            (4, 7, 5, 3)
        );
        assert!(pot.has(6, now) && !pot.has(7, now) && !pot.has(1, until));
        assert_eq!(pot.spend(1, until), None);
        assert_eq!(pot.empty().unwrap().mark.cost, 6);
        assert_eq!(pot.spend(0, now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_grant_that_is_spent_is_gone() {
        let (mut pot, _) = pot(3);
        assert!(pot.spend(3, Instant::now()).is_some());
        assert!(pot.empty().is_none() && pot.until().is_none());
    }
}
