//! How much retrying is affordable.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

use crate::{
    Quota,
    algorithm::{Algorithm, gcra::Gcra},
    quota::nanos,
    sync::{AtomicU64, Ordering},
};

/// What one retry costs, so that a success can put in a percentage of it.
const RETRY: u64 = 100;

/// A balance that successes pay into and retries are paid from.
///
/// A limit on the attempts of one request does not keep a client polite: when everything fails, five attempts each are
/// five times the load, just when the other side can bear it least. With a budget the retries are a share of the
/// requests that *succeed*. When none do, the balance runs out, and what is left is the reserve.
///
/// - Each success puts in a share of a retry: 20 % unless told otherwise. Up to 100 retries are
///   [saved](Budget::saved_at_most) for worse times.
/// - When nothing is saved there is a reserve, for clients that have just started or seldom send: 1 retry a second and
///   10 at once unless told otherwise.
///
/// A success is an outcome that the classifier accepts, such as a 200 or a 404. One of the last attempt that there may
/// be, or of a request that can't be cloned, is not looked at and puts in nothing.
///
/// A budget is shared by its clones. Give clones of one to several layers whose requests go to the same server.
/// A retry that waits as long as the server itself asked for is not paid for: it was invited.
///
/// ```
/// use tokio::time::Instant;
/// use tower_throttle::{Quota, retry_after_backoff::Budget};
///
/// let budget = Budget::new(50, Quota::per_second(1).burst(1));
/// let now = Instant::now();
/// assert!(budget.withdraw(now), "from the reserve");
/// assert!(!budget.withdraw(now));
///
/// budget.deposit();
/// budget.deposit();
/// assert!(budget.withdraw(now), "two successes at 50 % each");
/// assert!(!budget.withdraw(now));
/// ```
///
/// # What it costs
///
/// Two atomic numbers; no lock. A deposit is one read while as much is saved as may be.
///
/// # Values at the edge
///
/// At 0 % only the reserve is there. A percentage above 100 allows more than one retry for each success. A reserve of
/// `Quota::per_second(0)` is none. Nothing overflows.
#[derive(Clone)]
#[must_use]
pub struct Budget(Arc<Balance>);

struct Balance {
    percent: u32,
    saved_at_most: u64,
    reserve_quota: Quota,
    /// In hundredths of a retry.
    saved: AtomicU64,
    reserve: Gcra,
    start: Instant,
}

/// The price of a retry that has not been made yet; what was saved is given back when this is dropped before it was
/// [spent](Withdrawal::spend). The reserve comes back by itself.
#[derive(Debug)]
pub(super) struct Withdrawal(Option<Budget>);

/// What a retry was paid from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Savings,
    Reserve,
}

// ===== impl Budget =====

impl Budget {
    /// A budget into which each success puts `percent` of a retry, with a `reserve` for when nothing is saved.
    pub fn new(percent: u32, reserve: Quota) -> Self {
        Self::with(percent, reserve, 100 * RETRY)
    }

    /// How many retries may be saved up. 100 unless told otherwise.
    ///
    /// A client that sends much more than that in a second wants a larger one. This makes a new budget with nothing
    /// saved, so call it before the budget is cloned.
    pub fn saved_at_most(self, retries: u32) -> Self {
        let of = &self.0;
        Self::with(of.percent, of.reserve_quota, u64::from(retries) * RETRY)
    }

    /// Puts in the share of one success.
    pub fn deposit(&self) {
        self.put(self.0.percent.into());
    }

    /// Takes the price of one retry, if it is there at `now`, and says whether it was.
    #[must_use]
    pub fn withdraw(&self, now: Instant) -> bool {
        self.take(now).is_some()
    }

    fn take(&self, now: Instant) -> Option<Source> {
        // Relaxed: a lone counter, nothing is read through it.
        let saved = self
            .0
            .saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
                saved.checked_sub(RETRY)
            });
        if saved.is_ok() {
            return Some(Source::Savings);
        }
        let since_start = nanos(now.saturating_duration_since(self.0.start));
        let reserve = self.0.reserve.take(1, since_start);
        reserve.is_admit().then_some(Source::Reserve)
    }

    /// Puts back the price of a retry that was paid for and then not made.
    ///
    /// It counts as saved. Do not give back what came from the reserve: that comes back by itself.
    pub fn give_back(&self) {
        self.put(RETRY);
    }

    /// How many whole retries are saved, the reserve not counted.
    #[must_use]
    pub fn saved(&self) -> u64 {
        self.0.saved.load(Ordering::Relaxed) / RETRY
    }

    pub(super) fn pay(&self, now: Instant) -> Option<Withdrawal> {
        let source = self.take(now)?;
        Some(Withdrawal(
            (source == Source::Savings).then(|| self.clone()),
        ))
    }

    fn with(percent: u32, reserve: Quota, saved_at_most: u64) -> Self {
        Self(Arc::new(Balance {
            percent,
            saved_at_most,
            reserve_quota: reserve,
            saved: AtomicU64::new(0),
            reserve: Gcra::new(&reserve),
            start: Instant::now(),
        }))
    }

    fn put(&self, amount: u64) {
        let most = self.0.saved_at_most;
        // Relaxed: as in `withdraw`. Nothing is written while the most is saved, so that clients that do well do not
        // fight for a cache line.
        let _ = self
            .0
            .saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
                (saved < most && amount > 0).then(|| saved.saturating_add(amount).min(most))
            });
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(20, Quota::per_second(1).burst(10))
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("percent", &self.0.percent)
            .field("reserve", &self.0.reserve_quota)
            .field("saved_at_most", &(self.0.saved_at_most / RETRY))
            .field("saved", &self.saved())
            .finish()
    }
}

// ===== impl Withdrawal =====

impl Withdrawal {
    /// For a retry that is not paid for.
    pub(super) const fn free() -> Self {
        Self(None)
    }

    /// The retry is being made.
    pub(super) fn spend(&mut self) {
        self.0 = None;
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if let Some(budget) = &self.0 {
            budget.give_back();
        }
    }
}

#[cfg(all(test, not(throttle_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    const NONE: Quota = Quota::per_second(0);

    fn withdrawn(budget: &Budget, now: Instant) -> usize {
        std::iter::from_fn(|| budget.withdraw(now).then_some(())).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_of_the_successes_may_be_retried() {
        let budget = Budget::new(20, NONE);
        let now = Instant::now();
        assert_eq!(withdrawn(&budget, now), 0);
        for _ in 0..54 {
            budget.deposit();
        }
        assert_eq!(budget.saved(), 10);
        assert_eq!(withdrawn(&budget, now), 10);
        // The four fifths of a retry that were left are still there.
        budget.deposit();
        assert_eq!(withdrawn(&budget, now), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_saved_than_may_be() {
        let budget = Budget::new(250, NONE).saved_at_most(3);
        for _ in 0..9 {
            budget.deposit();
        }
        assert_eq!(budget.saved(), 3);
        budget.give_back();
        assert_eq!(withdrawn(&budget, Instant::now()), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserve_refills_with_time_and_is_touched_last() {
        let budget = Budget::default();
        let now = Instant::now();
        for _ in 0..5 {
            budget.deposit();
        }
        assert_eq!(withdrawn(&budget, now), 11);
        assert_eq!(withdrawn(&budget, now + Duration::from_millis(999)), 0);
        assert_eq!(withdrawn(&budget, now + Duration::from_secs(3)), 3);
        assert_eq!(withdrawn(&budget, now + Duration::from_secs(3_600)), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn edges_saturate() {
        let now = Instant::now();
        let nothing = Budget::new(0, NONE);
        nothing.deposit();
        assert_eq!(withdrawn(&nothing, now), 0);
        let unsaved = Budget::new(100, NONE).saved_at_most(0);
        unsaved.deposit();
        assert_eq!(withdrawn(&unsaved, now), 0);
        let huge = Budget::new(u32::MAX, NONE).saved_at_most(u32::MAX);
        for _ in 0..200 {
            huge.deposit();
        }
        assert_eq!(huge.saved(), u64::from(u32::MAX));
        // An instant before the budget was made counts as its first.
        assert!(Budget::default().withdraw(now.checked_sub(Duration::from_secs(9)).unwrap_or(now)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clone_shares_and_an_unspent_withdrawal_is_given_back() {
        let budget = Budget::new(100, NONE);
        budget.clone().deposit();
        let now = Instant::now();
        let withdrawal = budget.pay(now).unwrap();
        assert!(budget.pay(now).is_none());
        drop(withdrawal);
        budget.pay(now).unwrap().spend();
        assert!(budget.pay(now).is_none());
        drop(Withdrawal::free());
        assert_eq!(budget.saved(), 0);
    }

    #[test]
    fn threads_that_deposit_and_withdraw_lose_nothing() {
        let budget = Budget::new(100, NONE).saved_at_most(u32::MAX);
        let now = Instant::now();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..10_000)
                            .filter(|_| {
                                budget.deposit();
                                budget.withdraw(now)
                            })
                            .count()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(taken as u64 + budget.saved(), 40_000);
    }
}
