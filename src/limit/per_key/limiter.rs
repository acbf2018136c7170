//! The limiter without a layer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    by_key::{Client, Demand},
    kind::{Bucket, InFlight, Kind, Rate, Window},
    layer::{DEFAULT, OneOfSeveral},
    permit::Permit,
    state::PerKeyState,
    table::Table,
};
#[cfg(feature = "redis")]
use crate::limit::store::handle::Handle;
use crate::{
    error::Rejected,
    limit::{
        clock::Clock,
        engine::{Limiter, acquire},
        key::ClientKey,
        priority::Priority,
        quota::Quota,
        usage::LimiterUsage,
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
        Self(Arc::new(PerKeyState::new(table, Clock::tokio(), false)))
    }

    /// Creates a limiter with the same settings, from which nothing has been taken yet. If this one
    /// is shared, so is that.
    fn with<K2: Kind>(
        &self,
        (plan, names): (K2::Plan, K2::Names),
        max_keys: usize,
        clock: Clock,
    ) -> PerKeyLimiter<K2> {
        let table = Table::new(plan, names, max_keys);
        let state = PerKeyState::new(table, clock, self.0.is_shadow());
        #[cfg(feature = "redis")]
        let state = match &self.0.shared {
            Some(shared) => state.in_store(shared.place()),
            None => state,
        };
        PerKeyLimiter(Arc::new(state))
    }

    /// Returns a limiter like this one that keeps up to `max_keys` keys, by default 1,000,000, and
    /// from which nothing has been taken yet.
    ///
    /// If as many keys are in use, new ones share a few limits: see the
    /// [module docs](super#memory). With 0, all do.
    #[must_use]
    pub fn max_keys(&self, max_keys: usize) -> Self {
        let limits = self.0.table.limits_and_names();
        self.with(limits, max_keys, self.0.clock.clone())
    }

    /// Returns a limiter like this one that reads `clock`, and from which nothing has been taken
    /// yet. A limit that several processes share uses tokio's clock.
    #[must_use]
    pub fn clock(&self, clock: Clock) -> Self {
        let table = &self.0.table;
        self.with(table.limits_and_names(), table.max_keys, clock)
    }

    /// Takes `cost` units of `key` now. It never overtakes requests of the key that wait.
    ///
    /// If processes share the limit, it takes what this process was granted before. Otherwise it
    /// rejects, and asks in the background.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if they are not available, with the time until they are.
    pub fn try_acquire(&self, key: ClientKey, cost: u64) -> Result<Permit<K>, Rejected> {
        let demand = demand(key, cost);
        let entered = self.0.enter(&demand, Duration::ZERO);
        if let Err(rejected) = &entered {
            drop(self.0.refuse(&demand, rejected));
        }
        entered
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
        acquire(&self.0, demand(key, cost), Priority::High, max_wait).await
    }

    /// Waits for `cost` units of `key` ahead of requests of the key with a lower priority.
    /// Otherwise like [`acquire`](Self::acquire), whose requests have the
    /// [highest](Priority::High).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire) does.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire) does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue and takes nothing.
    pub async fn acquire_as(
        &self,
        priority: Priority,
        key: ClientKey,
        cost: u64,
    ) -> Result<Permit<K>, Rejected> {
        acquire(&self.0, demand(key, cost), priority, Duration::MAX).await
    }

    /// Returns the limits of each key that has none of its own.
    #[must_use]
    pub fn limits(&self) -> K::Plan {
        self.0.table.limits_and_names().0
    }

    /// Sets the limits of each key that has none of its own, at once. What was used stays used, in
    /// units. A token bucket counts as empty if that is more than the new quota; the rest counts if
    /// the quota grows again. Reads every key in memory.
    pub fn set_limits(&self, plan: K::Plan) {
        self.0.change_plan(|current, _| *current = plan);
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
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.0.shared {
            shared.close();
        }
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
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.0.shared {
            return shared.keys();
        }
        self.0.table.keys()
    }

    /// Returns the units that `key` has taken and that are not available again. Without a limit, as
    /// by [`Quota::UNLIMITED`](crate::Quota::UNLIMITED), nothing is counted.
    #[must_use]
    pub fn used(&self, key: ClientKey) -> u64 {
        self.usage(key).used
    }

    /// Returns how much of its limit a key uses, and how many of its requests wait.
    ///
    /// The limit is the one for all keys, whatever
    /// [`limits_for`](super::PerKeyLayer::limits_for) returns for this one. Of several limits it is
    /// the smallest, and the most that is used of one.
    #[must_use]
    pub fn usage(&self, key: ClientKey) -> LimiterUsage {
        let usage = self.0.table.usage(key, self.0.clock.now());
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.0.shared {
            let (used, waiting) = shared.usage(key);
            return LimiterUsage {
                used,
                waiting,
                ..usage
            };
        }
        usage
    }

    /// Returns the `most` clients that have used the most, in descending order. Reads the whole
    /// table, one part after the other.
    #[must_use]
    pub fn top(&self, most: usize) -> Vec<ClientUsage> {
        // Twice as many are kept before the smaller half goes, so that a million keys take little
        // memory.
        let mut top = Vec::new();
        let order = |usage: &ClientUsage| std::cmp::Reverse(usage.used);
        self.0.each(|key, used| {
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
        self.0.change_plan(|_, names| K::rename(names, name));
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
        let (plan, names) = table.limits_and_names();
        let limits = ((plan, other.quota()), (names, name));
        self.with(limits, table.max_keys, self.0.clock.clone())
    }
}

#[cfg(feature = "redis")]
impl<K: Rate> PerKeyLimiter<K> {
    /// Returns a limiter with these limits and settings that shares what clients take with all
    /// processes that use the same `name` in the same Redis or Valkey: see
    /// [limits of clients](crate::guide::shared#clients).
    ///
    /// All processes should set the same limits. Limits of requests [in flight](InFlight) cannot be
    /// shared:
    ///
    /// ```compile_fail,E0277
    /// use tower_throttle::{Redis, per_key::PerKeyLimiter};
    ///
    /// # fn limiter(redis: Redis) {
    /// PerKeyLimiter::in_flight(1).shared(&redis, "api");
    /// # }
    /// ```
    ///
    /// A process that crashes would hold the slots of its clients, and to renew the slots of each
    /// client costs more calls than the requests do.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tower_throttle::{Quota, Redis, key::ClientKey, per_key::PerKeyLimiter};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), tower_throttle::BoxError> {
    /// let redis = Redis::new("redis://127.0.0.1")?;
    /// let limiter = PerKeyLimiter::new(Quota::per_minute(60)).shared(&redis, "api");
    /// limiter.acquire(ClientKey::from("ann"), 1).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn shared(&self, redis: &crate::limit::store::redis::Redis, name: &str) -> Self {
        self.in_store(redis.handle(), name.into())
    }

    pub(crate) fn in_store(&self, store: Arc<Handle>, name: Arc<str>) -> Self {
        let PerKeyState { table, clock, .. } = &*self.0;
        let (plan, names) = table.limits_and_names();
        let table = Table::new(plan, names, table.max_keys);
        let state = PerKeyState::new(table, clock.clone(), self.0.is_shadow());
        Self(Arc::new(state.in_store((store, name))))
    }
}

/// Returns the demand of a permit without a request. It may be refunded.
fn demand<Plan>(key: ClientKey, cost: u64) -> Demand<Plan> {
    Demand {
        settles: true,
        ..Demand::new(Client::Key(key), cost)
    }
}

/// Records `tower_throttle_keys` and `tower_throttle_waiting`, of all keys together.
#[cfg(feature = "metrics")]
impl<K: Kind> crate::telemetry::metrics::Publish for PerKeyLimiter<K> {
    fn publish(&self, name: &'static str) {
        use crate::telemetry::metrics::{KEYS, WAITING, set};

        let waiting = self.0.table.waiting();
        #[cfg(feature = "redis")]
        let waiting = waiting + self.0.shared.as_ref().map_or(0, |shared| shared.waiting());
        set(KEYS, "per_key", name, self.keys() as u64);
        set(WAITING, "per_key", name, waiting as u64);
    }
}

crate::macros::debug!(impl<K: Kind> Debug for PerKeyLimiter<K> |self| {
    limits: self.limits(),
    keys: self.keys(),
    rejections: self.rejections(),
    ..
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_takes_little_memory() {
        let limiter = PerKeyLimiter::new(Quota::per_hour(9));
        for number in 0..5_000 {
            let cost = 1 + u64::from(number == 77);
            assert!(
                limiter
                    .try_acquire(format!("{number}").into(), cost)
                    .is_ok()
            );
        }
        let top = limiter.top(1);
        assert_eq!((top[0].key, top[0].used), ("77".into(), 2));
        assert!(top.capacity() <= 1_024);
    }
}
