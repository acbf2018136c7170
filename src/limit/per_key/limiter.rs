//! The limiter without a layer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    admission::enter,
    by_key::{Client, Demand},
    kind::{Bucket, InFlight, Kind, Rate, Window},
    permit::Permit,
    several::{DEFAULT, OneOfSeveral},
    state::PerKeyState,
    table::Table,
};
use crate::{
    error::Rejected,
    limit::{
        clock::Clock,
        engine::{Limiter, acquire},
        key::ClientKey,
        quota::Quota,
    },
};

/// The default of [`PerKeyLimiter::max_keys`].
const MAX_KEYS: usize = 1_000_000;

/// Limiter with one limit per key: by default a [`Bucket`]. Clones are handles to the same limiter.
///
/// ```
/// use tower_throttle::{Quota, key::ClientKey, per_key::PerKeyLimiter};
///
/// let limiter = PerKeyLimiter::new(Quota::per_minute(1));
/// limiter.try_acquire("ann".into(), 1)?;
/// assert!(limiter.try_acquire("ann".into(), 1).is_err());
/// limiter.try_acquire("bob".into(), 1)?;
///
/// limiter.set_limits(Quota::per_minute(2));
/// limiter.try_acquire("ann".into(), 1)?;
/// assert_eq!(limiter.top(1)[0].key, ClientKey::from("ann"));
/// # Ok::<(), tower_throttle::Rejected>(())
/// ```
#[derive(Clone)]
pub struct PerKeyLimiter<K: Kind = Bucket>(pub(super) Arc<PerKeyState<K>>);

/// What a client has used of its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientUsage {
    /// The key of the client.
    pub key: ClientKey,
    /// The units that it has taken and that are not available again; of several limits the most.
    pub used: u64,
}

// ===== impl PerKeyLimiter =====

impl PerKeyLimiter {
    /// Creates a limiter with a token bucket of `quota` for each key.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self::from_plan(quota, DEFAULT)
    }
}

impl PerKeyLimiter<Window> {
    /// Creates a limiter with a sliding window of `quota` for each key.
    ///
    /// ```
    /// use tower_throttle::{Quota, per_key::PerKeyLimiter};
    ///
    /// let limiter = PerKeyLimiter::window(Quota::per_minute(1));
    /// assert!(limiter.try_acquire("ann".into(), 1).is_ok());
    /// assert!(limiter.try_acquire("ann".into(), 1).is_err());
    /// ```
    #[must_use]
    pub fn window(quota: Quota) -> Self {
        Self::from_plan(quota, DEFAULT)
    }
}

impl PerKeyLimiter<InFlight> {
    /// Creates a limiter with a limit of `limit` requests in flight for each key. With 0 every
    /// request is rejected.
    ///
    /// ```
    /// use tower_throttle::per_key::PerKeyLimiter;
    ///
    /// let limiter = PerKeyLimiter::in_flight(1);
    /// let permit = limiter.try_acquire("ann".into(), 1)?;
    /// assert!(limiter.try_acquire("ann".into(), 1).is_err());
    /// drop(permit);
    /// assert!(limiter.try_acquire("ann".into(), 1).is_ok());
    /// # Ok::<(), tower_throttle::Rejected>(())
    /// ```
    #[must_use]
    pub fn in_flight(limit: usize) -> Self {
        Self::from_plan(limit, None)
    }
}

impl<K: Kind> PerKeyLimiter<K> {
    pub(super) fn from_plan(plan: K::Plan, names: K::Names) -> Self {
        let table = Table::new(plan, names, MAX_KEYS);
        Self(PerKeyState::new(table, Clock::tokio(), false))
    }

    /// Creates a limiter with the same settings, from which nothing has been taken yet.
    fn with<K2: Kind>(
        &self,
        (plan, names): (K2::Plan, K2::Names),
        max_keys: usize,
        clock: Clock,
    ) -> PerKeyLimiter<K2> {
        let table = Table::new(plan, names, max_keys);
        PerKeyLimiter(PerKeyState::new(table, clock, self.0.is_shadow()))
    }

    /// Returns a limiter like this one that keeps up to `max_keys` keys, by default 1,000,000, and
    /// from which nothing has been taken yet.
    ///
    /// If as many keys are in use, new ones share a few limits: see the
    /// [module docs](super#memory). With 0, all do.
    #[must_use]
    pub fn max_keys(&self, max_keys: usize) -> Self {
        let table = &self.0.table;
        let limits = (table.limits(), table.names());
        self.with(limits, max_keys, self.0.clock.clone())
    }

    /// Returns a limiter like this one that reads `clock`, and from which nothing has been taken
    /// yet.
    #[must_use]
    pub fn clock(&self, clock: Clock) -> Self {
        let table = &self.0.table;
        self.with((table.limits(), table.names()), table.max_keys, clock)
    }

    /// Takes `cost` units of `key` now. It never overtakes requests of the key that wait.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if they are not available, with the time until they are.
    pub fn try_acquire(&self, key: ClientKey, cost: u64) -> Result<Permit<K>, Rejected> {
        let demand = demand(key, cost);
        let refused = |rejected: &Rejected| drop(self.0.refuse(&demand, rejected));
        enter(&self.0, &demand, Duration::ZERO, refused)
    }

    /// Waits in the queue of `key` for `cost` units, as long as it takes, and takes them.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if `cost` exceeds the capacity, or if the limiter is [closed](Self::close).
    ///
    /// # Panics
    ///
    /// If it has to wait outside a Tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue and takes nothing.
    pub async fn acquire(&self, key: ClientKey, cost: u64) -> Result<Permit<K>, Rejected> {
        self.acquire_within(key, cost, Duration::MAX).await
    }

    /// Waits in the queue of `key` for `cost` units for up to `max_wait`, and takes them. Otherwise
    /// like [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// [`Rejected`] also if it has waited for `max_wait`, or, at once, if it would wait longer.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire) does.
    pub async fn acquire_within(
        &self,
        key: ClientKey,
        cost: u64,
        max_wait: Duration,
    ) -> Result<Permit<K>, Rejected> {
        acquire(&self.0, demand(key, cost), max_wait).await
    }

    /// Returns the limits of each key that has none of its own.
    #[must_use]
    pub fn limits(&self) -> K::Plan {
        self.0.table.limits()
    }

    /// Sets the limits of each key that has none of its own, at once. What was used stays used, in
    /// units. A token bucket counts as empty if that is more than the new quota; the rest counts if
    /// the quota grows again. Reads every key in memory.
    pub fn set_limits(&self, plan: K::Plan) {
        self.0.table.set_limits(plan, self.0.clock.now());
    }

    /// Closes the limiter for all clones: queued and new requests of all keys are rejected with
    /// [`Reason::Closed`](crate::Reason::Closed). Requests that have started continue.
    ///
    /// ```
    /// use tower_throttle::{Quota, Reason, per_key::PerKeyLimiter};
    ///
    /// let limiter = PerKeyLimiter::new(Quota::per_second(10));
    /// limiter.close();
    ///
    /// let rejected = limiter.try_acquire("ann".into(), 1).unwrap_err();
    /// assert_eq!(rejected.reason(), Reason::Closed);
    /// ```
    pub fn close(&self) {
        self.0.table.close();
    }

    /// Returns whether the limiter was [closed](Self::close).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.table.is_closed()
    }

    /// Makes the limit a shadow, or stops that. A shadow lets requests pass that would be rejected,
    /// counts them, and calls the [hook](super::PerKeyLayer::on_rejected). They take nothing.
    ///
    /// A request that would wait passes, and takes in advance what it would get then. For requests
    /// [in flight](super::InFlight) that time is not known, so one that would wait is not counted:
    /// use a shadow without [`max_wait`](super::PerKeyLayer::max_wait) there.
    pub fn set_shadow(&self, shadow: bool) {
        self.0.shadow.store(shadow, Ordering::Relaxed);
    }

    /// Returns the number of requests that were rejected, or would have been in a shadow.
    #[must_use]
    pub fn rejections(&self) -> u64 {
        self.0.rejections.load(Ordering::Relaxed)
    }

    /// Returns the number of keys in memory, some of which may be idle.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.0.table.keys()
    }

    /// Returns the units that `key` has taken and that are not available again.
    #[must_use]
    pub fn used(&self, key: ClientKey) -> u64 {
        self.0.table.used(key, self.0.clock.now())
    }

    /// Returns the `most` clients that have used the most, in descending order. Reads the whole
    /// table, one part after the other.
    #[must_use]
    pub fn top(&self, most: usize) -> Vec<ClientUsage> {
        // Twice as many are kept before the smaller half goes, so that a million keys take little
        // memory.
        let mut top = Vec::new();
        let order = |usage: &ClientUsage| std::cmp::Reverse(usage.used);
        self.0.table.each(self.0.clock.now(), |key, used| {
            if used > 0 {
                top.push(ClientUsage { key, used });
            }
            if top.len() >= most.saturating_mul(2).max(1_024) {
                top.sort_by_key(order);
                top.truncate(most);
            }
        });
        top.sort_by_key(order);
        top.truncate(most);
        top
    }

    /// Sets the name of the first limit, for all handles of the limiter.
    pub(super) fn rename(&self, name: &'static str) {
        self.0.table.rename(|names| K::rename(names, name));
    }
}

impl<K: Rate> PerKeyLimiter<K> {
    /// Returns a limiter of this limit and another one, which responses call `name`: a request
    /// takes from both at one instant, or from neither. It has this one's settings, and nothing has
    /// been taken from it yet.
    ///
    /// ```
    /// use tower_throttle::{Quota, SlidingWindowLayer, per_key::PerKeyLimiter};
    ///
    /// let limiter = PerKeyLimiter::new(Quota::per_second(10))
    ///     .and("hour", SlidingWindowLayer::new(Quota::per_hour(12)));
    /// assert!(limiter.try_acquire("ann".into(), 10).is_ok());
    /// assert_eq!(limiter.limits(), (Quota::per_second(10), Quota::per_hour(12)));
    /// ```
    #[must_use]
    pub fn and<L: OneOfSeveral>(
        &self,
        name: &'static str,
        other: L,
    ) -> PerKeyLimiter<(K, L::Kind)> {
        let table = &self.0.table;
        let plan = (table.limits(), other.quota());
        let names = (table.names(), name);
        self.with((plan, names), table.max_keys, self.0.clock.clone())
    }
}

/// Returns the demand of a permit without a request. It may be refunded.
fn demand<Plan>(key: ClientKey, cost: u64) -> Demand<Plan> {
    Demand {
        settles: true,
        ..Demand::new(Client::Key(key), cost)
    }
}

crate::macros::debug!(impl<K: Kind> Debug for PerKeyLimiter<K> |self| {
    limits: self.limits(),
    keys: self.keys(),
    rejections: self.rejections(),
    ..
});
