//! Retry budget: limits retries to a share of the successful requests.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    error::Outcome,
    limit::{
        Quota,
        algorithm::{Algorithm, gcra::Gcra},
        nanos,
    },
    sync::{AtomicU64, Ordering},
};

/// The cost of one retry. A success adds a percentage of it.
const RETRY: u64 = 100;

/// Retry budget: successes add to it, and each retry takes from it.
///
/// A limit on the attempts of one request does not protect a server that is down: if everything
/// fails, five attempts each are five times the load. With a budget, retries are a share of the
/// requests that *succeed*. If none do, the savings run out, and only the reserve is left.
///
/// # Examples
///
/// ```
/// use tokio::time::Instant;
/// use tower_throttle::{Quota, retry::Budget};
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
/// # How it works
///
/// - Each success adds a share of a retry. Default: 20 %. Up to 100 retries are
///   [saved](Budget::saved_at_most).
/// - If nothing is saved, retries are taken from a reserve, for clients that have just started or
///   seldom send requests. Default: 30 retries a minute, and 10 at once.
/// - A retry after a timeout costs two, because the server may still be working on the first
///   attempt; any other costs one. [`price`](Budget::price) changes that.
/// - A retry after the wait that the server asked for is free, unless the server asked for less
///   than a tenth of the first backoff. So is one after a circuit breaker was open.
///
/// A success is an outcome that the classifier accepts, such as a 200 or a 404. The success of a
/// request that can't be cloned adds nothing.
///
/// Clones share the budget. Give clones to all layers whose requests go to the same server, or use
/// a [`BudgetRegistry`](super::BudgetRegistry), which has one budget for each server.
///
/// # Performance
///
/// Two atomic numbers; no lock. A deposit is one read once the maximum is saved.
///
/// # Edge cases
///
/// At 0 % there is only the reserve. A percentage above 100 allows more than one retry for each
/// success. `Quota::per_second(0)` is no reserve. Nothing overflows.
#[derive(Debug, Clone)]
#[must_use]
pub struct Budget(Arc<Balance>);

#[derive(Debug)]
struct Balance {
    terms: BudgetSettings,
    /// In hundredths of a retry.
    saved: AtomicU64,
    reserve: Gcra,
    start: Instant,
}

/// The settings of a budget.
#[derive(Debug, Clone, Copy)]
struct BudgetSettings {
    percent: u32,
    saved_at_most: u64,
    reserve: Quota,
    price: Price,
}

/// The cost of a retry after this outcome, in retries.
type Price = fn(Option<Outcome>) -> u32;

/// The cost of a retry that has not been made yet.
///
/// If it is dropped before it is [spent](Withdrawal::spend), the savings get it back. The reserve
/// refills with time. By default, the retry is free.
#[derive(Debug, Default)]
pub(super) struct Withdrawal(Option<(Budget, u64)>);

// ===== impl Budget =====

impl Budget {
    /// Creates a budget to which each success adds `percent` of a retry, with a `reserve` that is
    /// used if nothing is saved.
    pub fn new(percent: u32, reserve: Quota) -> Self {
        Self::on(BudgetSettings {
            percent,
            saved_at_most: 100 * RETRY,
            reserve,
            price: by_outcome,
        })
    }

    /// Sets how many retries may be saved. Default: 100.
    ///
    /// A client that sends much more than that in a second needs a larger number. This returns a
    /// new budget with nothing saved: call it before the budget is cloned.
    pub fn saved_at_most(self, retries: u32) -> Self {
        let saved_at_most = u64::from(retries) * RETRY;
        let terms = self.0.terms;
        Self::on(BudgetSettings {
            saved_at_most,
            ..terms
        })
    }

    /// Sets the cost of a retry after an outcome, in retries. Default: 2 after a timeout, otherwise
    /// 1, also for `None`. 0 is free.
    ///
    /// A cost above what may be saved, or above the reserve's burst, is lowered to that. This
    /// returns a new budget with nothing saved: call it before the budget is cloned.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_throttle::{Outcome, retry::Budget};
    ///
    /// let budget = Budget::default().price(|outcome| match outcome {
    ///     Some(Outcome::Overloaded) => 3,
    ///     _ => 1,
    /// });
    /// # let _ = budget;
    /// ```
    pub fn price(self, price: fn(Option<Outcome>) -> u32) -> Self {
        let terms = self.0.terms;
        Self::on(BudgetSettings { price, ..terms })
    }

    /// Adds the share of one success.
    pub fn deposit(&self) {
        self.put(self.0.terms.percent.into());
    }

    /// Takes the cost of one retry. Returns `false` if there is not enough at `now`.
    #[must_use]
    pub fn withdraw(&self, now: Instant) -> bool {
        self.take(1, now).is_some()
    }

    /// Adds the cost of one retry that was paid for and not made.
    ///
    /// It is added to the savings. Do not call this if the retry was paid from the reserve, which
    /// refills with time.
    pub fn give_back(&self) {
        self.put(RETRY);
    }

    /// Returns how many whole retries are saved, without the reserve.
    #[must_use]
    pub fn saved(&self) -> u64 {
        self.0.saved.load(Ordering::Relaxed) / RETRY
    }

    /// Returns the number of retries that the budget allows now: the saved ones and the reserve.
    #[must_use]
    pub fn left(&self) -> u64 {
        let reserve = &self.0.reserve;
        let used = reserve.used(self.since_start(Instant::now()));
        self.saved() + reserve.capacity().saturating_sub(used)
    }

    /// Returns a budget with the same settings, with nothing saved and a full reserve.
    pub(super) fn like_new(&self) -> Self {
        Self::on(self.0.terms)
    }

    pub(super) fn pay(&self, outcome: Option<Outcome>, now: Instant) -> Option<Withdrawal> {
        let retries = (self.0.terms.price)(outcome);
        let saved = match retries {
            0 => 0,
            _ => self.take(retries, now)?,
        };
        Some(Withdrawal((saved > 0).then(|| (self.clone(), saved))))
    }

    /// Returns whether the reserve is full at `now`.
    pub(super) fn is_reserve_full(&self, now: Instant) -> bool {
        let reserve = &self.0.reserve;
        reserve.wait(reserve.capacity(), self.since_start(now)) == 0
    }

    /// Returns whether there is no other clone.
    pub(super) fn is_lone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Takes the cost of `retries`, and returns how much of it came from the savings.
    fn take(&self, retries: u32, now: Instant) -> Option<u64> {
        let of = &*self.0;
        let price = u64::from(retries) * RETRY;
        let price = price.min(of.terms.saved_at_most).max(RETRY);
        // Relaxed: an independent counter.
        let relaxed = Ordering::Relaxed;
        let less = |saved: u64| saved.checked_sub(price);
        if of.saved.fetch_update(relaxed, relaxed, less).is_ok() {
            return Some(price);
        }
        let units = u64::from(retries).min(of.reserve.capacity()).max(1);
        let reserve = of.reserve.take(units, self.since_start(now));
        reserve.is_ok().then_some(0)
    }

    fn since_start(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.0.start))
    }

    fn on(terms: BudgetSettings) -> Self {
        Self(Arc::new(Balance {
            saved: AtomicU64::new(0),
            reserve: Gcra::new(&terms.reserve),
            start: Instant::now(),
            terms,
        }))
    }

    fn put(&self, amount: u64) {
        let most = self.0.terms.saved_at_most;
        // Relaxed: as in `take`. Nothing is written once the maximum is saved, so that threads do
        // not compete for the cache line.
        let relaxed = Ordering::Relaxed;
        let more = |saved: u64| {
            (saved < most && amount > 0).then(|| saved.saturating_add(amount).min(most))
        };
        let _ = self.0.saved.fetch_update(relaxed, relaxed, more);
    }
}

/// Records `tower_throttle_retry_budget_left`.
#[cfg(feature = "metrics")]
impl crate::telemetry::metrics::Publish for Budget {
    fn publish(&self, name: &'static str) {
        let left = ::metrics::gauge!(crate::telemetry::metrics::BUDGET_LEFT, "name" => name);
        left.set(self.left() as f64);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(20, Quota::per_minute(30).burst(10))
    }
}

fn by_outcome(outcome: Option<Outcome>) -> u32 {
    match outcome {
        Some(Outcome::Timeout) => 2,
        _ => 1,
    }
}

// ===== impl Withdrawal =====

impl Withdrawal {
    /// Marks the retry as made.
    pub(super) fn spend(&mut self) {
        self.0 = None;
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if let Some((budget, price)) = &self.0 {
            budget.put(*price);
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
        // The remaining four fifths of a retry are still saved.
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
        assert_eq!(withdrawn(&budget, now + Duration::from_millis(1_999)), 0);
        assert_eq!(withdrawn(&budget, now + Duration::from_secs(6)), 3);
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
        // An instant before the budget was created counts as the first.
        assert!(Budget::default().withdraw(now.checked_sub(Duration::from_secs(9)).unwrap_or(now)));
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_an_unspent_withdrawal_returns_it() {
        let budget = Budget::new(100, NONE);
        budget.clone().deposit();
        let now = Instant::now();
        let withdrawal = budget.pay(None, now).unwrap();
        assert!(budget.pay(None, now).is_none());
        drop(withdrawal);
        budget.pay(None, now).unwrap().spend();
        assert!(budget.pay(None, now).is_none());
        drop(Withdrawal::default());
        assert_eq!(budget.saved(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn price_depends_on_the_outcome() {
        let now = Instant::now();
        let budget = Budget::new(100, NONE);
        (0..5).for_each(|_| budget.deposit());
        let timeout = budget.pay(Some(Outcome::Timeout), now).unwrap();
        assert_eq!(budget.saved(), 3);
        budget.pay(Some(Outcome::ServerError), now).unwrap().spend();
        budget.pay(Some(Outcome::Overloaded), now).unwrap().spend();
        assert_eq!(budget.saved(), 1);
        assert!(budget.pay(Some(Outcome::Timeout), now).is_none());
        drop(timeout);
        assert_eq!(budget.saved(), 3);

        let told = Budget::new(100, NONE).price(|kind| 3 * u32::from(kind.is_some()));
        assert!(told.pay(None, now).is_some(), "free");
        assert!(told.pay(Some(Outcome::ServerError), now).is_none());
        (0..3).for_each(|_| told.deposit());
        assert!(told.pay(Some(Outcome::ServerError), now).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn no_price_is_above_what_there_can_ever_be() {
        let now = Instant::now();
        let dear = |saved, reserve| {
            Budget::new(100, reserve)
                .saved_at_most(saved)
                .price(|_| u32::MAX)
        };
        let reserve = dear(0, Quota::per_second(1).burst(3));
        assert!(reserve.is_reserve_full(now));
        reserve.pay(None, now).unwrap().spend();
        assert!(reserve.pay(None, now).is_none());
        assert!(!reserve.is_reserve_full(now + Duration::from_millis(2_999)));
        assert!(reserve.is_reserve_full(now + Duration::from_secs(3)));
        let saved = dear(2, NONE);
        (0..2).for_each(|_| saved.deposit());
        saved.pay(None, now).unwrap().spend();
        assert_eq!(saved.saved(), 0);
        assert!(saved.pay(None, now).is_none());
        assert!(dear(0, NONE).pay(None, now).is_none());
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
