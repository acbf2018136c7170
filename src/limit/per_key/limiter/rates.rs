//! Limiters of rates: one, or several at once.

use std::time::Duration;

use super::{DEFAULT, PerKeyLimiter, asked};
use crate::{
    error::Rejected,
    limit::{
        decision::Decision,
        engine::acquire,
        key::ClientKey,
        per_key::{
            kind::{Joint, Rate, Want, Window},
            several::OneOfSeveral,
        },
        quota::Quota,
    },
};

impl PerKeyLimiter {
    /// A token bucket of `quota` for each of up to 1,000,000 callers.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self::from_plan(quota, DEFAULT)
    }
}

impl PerKeyLimiter<Window> {
    /// A sliding window of `quota` for each of up to 1,000,000 callers.
    ///
    /// ```
    /// use tower_throttle::{Quota, per_key::PerKeyLimiter};
    ///
    /// let limiter = PerKeyLimiter::window(Quota::per_minute(1));
    /// assert!(limiter.try_acquire("ann".into(), 1).is_admit());
    /// assert!(!limiter.try_acquire("ann".into(), 1).is_admit());
    /// ```
    #[must_use]
    pub fn window(quota: Quota) -> Self {
        Self::from_plan(quota, DEFAULT)
    }
}

impl<K: Rate> PerKeyLimiter<K> {
    /// A limiter of this limit and another one at once, called `name` in answers: a request takes from both at one instant, or from
    /// neither. Its settings are this one's, and nothing has been taken from it yet.
    ///
    /// ```
    /// use tower_throttle::{Quota, SlidingWindowLayer, per_key::PerKeyLimiter};
    ///
    /// let limiter = PerKeyLimiter::new(Quota::per_second(10))
    ///     .and("hour", SlidingWindowLayer::new(Quota::per_hour(12)));
    /// assert!(limiter.try_acquire("ann".into(), 10).is_admit());
    /// assert_eq!(limiter.limits(), (Quota::per_second(10), Quota::per_hour(12)));
    /// ```
    #[must_use]
    pub fn and<L: OneOfSeveral>(
        &self,
        name: &'static str,
        other: L,
    ) -> PerKeyLimiter<Joint<K, L::Kind>> {
        let table = &self.0.table;
        let plan = (table.limits(), other.quota());
        let names = (table.names(), name);
        self.with((plan, names), table.max_callers(), self.0.clock.clone())
    }

    /// Takes `cost` units of `caller` now, or says how long it would take. Never overtakes those of its requests that wait.
    pub fn try_acquire(&self, caller: ClientKey, cost: u64) -> Decision {
        match self.0.take(caller, None, Want::at_once(cost)).mark {
            Ok(_) => Decision::Admit,
            Err(rejected) => rejected
                .retry_after()
                .map_or(Decision::Never, Decision::Wait),
        }
    }

    /// Waits in the line of `caller` for `cost` units, as long as it takes, and takes them.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when `cost` never fits.
    ///
    /// # Panics
    ///
    /// When it has to wait outside a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the line and takes nothing.
    pub async fn acquire(&self, caller: ClientKey, cost: u64) -> Result<(), Rejected> {
        self.acquire_within(caller, cost, Duration::MAX).await
    }

    /// Waits in the line of `caller` for `cost` units for up to `max_wait`, and takes them. Otherwise
    /// like [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// [`Rejected`] when `cost` never fits, or, at once, when it would wait longer than `max_wait`.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire) does.
    pub async fn acquire_within(
        &self,
        caller: ClientKey,
        cost: u64,
        max_wait: Duration,
    ) -> Result<(), Rejected> {
        let acquired = acquire(&self.0, asked(caller, cost), max_wait).await;
        acquired.map(drop)
    }
}
