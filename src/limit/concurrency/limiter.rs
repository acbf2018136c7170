use std::{sync::Arc, time::Duration};

use super::{Adaptive, Permit, Priority, slots::Slots};
use crate::{
    error::Rejected,
    limit::{
        LimiterUsage,
        engine::{Limiter, acquire},
    },
};

/// A concurrency limit without a service. Clones share the limit.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_throttle::Rejected> {
/// use tower_throttle::ConcurrencyLimiter;
///
/// let limiter = ConcurrencyLimiter::new(1);
/// let permit = limiter.acquire().await?;
/// assert!(limiter.try_acquire().is_err());
///
/// limiter.set_limit(2);
/// assert!(limiter.try_acquire().is_ok());
/// # drop(permit);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConcurrencyLimiter(pub(crate) Arc<Slots>);

// ===== impl ConcurrencyLimiter =====

impl ConcurrencyLimiter {
    /// Creates a limiter that admits `limit` permits at a time.
    ///
    /// A limit of 0 rejects every request with
    /// [`Reason::ExceedsCapacity`](crate::Reason::ExceedsCapacity). A limit of over 2⁶¹ − 1 (on
    /// 64-bit machines) counts as that.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Slots::new(limit)))
    }

    /// A limiter without a limit, so that configuration can disable one without another type.
    ///
    /// [`set_limit`](Self::set_limit) sets one later.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// A limiter that finds its limit by itself: see [`Adaptive`].
    ///
    /// Report the outcome of each permit with [`Permit::succeeded`] or [`Permit::overloaded`]; the
    /// limit ignores permits without one.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_throttle::Rejected> {
    /// use tower_throttle::{ConcurrencyLimiter, concurrency::Adaptive};
    ///
    /// let limiter = ConcurrencyLimiter::adaptive(Adaptive::gradient().initial(30).max(200));
    /// assert_eq!(limiter.limit(), 30);
    ///
    /// let mut permit = limiter.acquire().await?;
    /// // The response has arrived. The latency ends, and the work goes on.
    /// permit.succeeded();
    /// assert_eq!(limiter.in_flight(), 1);
    /// drop(permit);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn adaptive(adaptive: Adaptive) -> Self {
        Self(Arc::new(Slots::adaptive(&adaptive)))
    }

    /// Shares the limit with all processes that use the same `name` in the same Redis or Valkey:
    /// in all of them together at most as many requests are in flight.
    ///
    /// Each process leases slots, and yields some if others wait; see [`Redis`](crate::Redis). The
    /// slots of a process that has crashed are free after
    /// [`slot_ttl`](crate::Redis::slot_ttl). An adaptive limit is not shared: its value at this
    /// time becomes the limit.
    ///
    /// ```no_run
    /// use tower_throttle::{ConcurrencyLimiter, Redis};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), tower_throttle::BoxError> {
    /// let redis = Redis::new("redis://127.0.0.1")?;
    /// let limiter = ConcurrencyLimiter::new(50).shared(&redis, "backend");
    /// let permit = limiter.acquire().await?;
    /// # drop(permit);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn shared(self, redis: &crate::limit::store::redis::Redis, name: &str) -> Self {
        self.in_store(redis.handle(), name)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn in_store(
        &self,
        store: Arc<crate::limit::store::handle::Handle>,
        name: &str,
    ) -> Self {
        Self(Slots::shared(self.limit(), store, name))
    }

    /// How many may be in flight at a time. What an adaptive limit has come to. If the limit is
    /// shared, in all processes together.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.total()
    }

    /// Sets the limit for all clones at once.
    ///
    /// A higher limit lets waiting requests start. A lower one does not stop requests in flight:
    /// new ones start after enough of them have ended. With a limit of 0, waiting requests go on
    /// waiting, and new ones are rejected.
    ///
    /// An adaptive limit continues from this value, clamped to its bounds.
    pub fn set_limit(&self, limit: usize) {
        self.0.set_limit(limit);
    }

    /// Returns the number of permits in use. It can exceed the limit after the limit was lowered,
    /// or with [`Critical`](Priority::Critical) requests.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    /// Returns the number of waiting requests.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lanes.iter().map(|lane| lane.waiting()).sum()
    }

    /// Returns how much of the limit is used: by the requests in flight.
    #[must_use]
    pub fn usage(&self) -> LimiterUsage {
        LimiterUsage {
            limit: self.limit() as u64,
            used: self.in_flight() as u64,
            waiting: self.waiting(),
        }
    }

    /// Closes the limiter for all clones: queued and new requests of every priority are rejected
    /// with [`Reason::Closed`](crate::Reason::Closed). Requests in flight continue.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_throttle::Rejected> {
    /// use tower_throttle::{ConcurrencyLimiter, Reason};
    ///
    /// let limiter = ConcurrencyLimiter::new(1);
    /// let in_flight = limiter.acquire().await?;
    /// limiter.close();
    ///
    /// let rejected = limiter.acquire().await.unwrap_err();
    /// assert_eq!(rejected.reason(), Reason::Closed);
    /// # drop(in_flight);
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) {
        self.0.lanes.iter().for_each(|lane| lane.close());
    }

    /// Returns whether the limiter was [closed](Self::close).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Takes a permit if one is free and no request is waiting.
    ///
    /// # Errors
    ///
    /// Returns [`Rejected`] if no permit is free, if requests are waiting for one, or if the
    /// limiter is closed.
    pub fn try_acquire(&self) -> Result<Permit, Rejected> {
        self.try_acquire_as(Priority::High)
    }

    /// Takes a permit from a priority's share if one is free and no request with that priority is
    /// waiting.
    ///
    /// # Errors
    ///
    /// Returns [`Rejected`] if no permit is free for the priority, if requests with the same
    /// priority are waiting, or if the limiter is closed.
    pub fn try_acquire_as(&self, priority: Priority) -> Result<Permit, Rejected> {
        self.0.enter(&priority, Duration::ZERO).map(Permit::bare)
    }

    /// Waits in line for a slot, as long as it takes, and takes it until the permit is dropped.
    ///
    /// # Errors
    ///
    /// Returns [`Rejected`] if the limit is 0, or if the limiter is closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the request leaves the queue and takes no permit. If the future is
    /// kept without being polled, the requests behind it wait, each for its own longest wait at
    /// most.
    pub async fn acquire(&self) -> Result<Permit, Rejected> {
        self.acquire_as(Priority::High).await
    }

    /// Waits in line for a slot for up to `max_wait`. Otherwise like [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// Returns [`Rejected`] if it has waited for `max_wait`, if the limit is 0, or if the limiter
    /// is closed.
    ///
    /// # Panics
    ///
    /// When it has to wait outside a tokio runtime with time enabled.
    pub async fn acquire_within(&self, max_wait: Duration) -> Result<Permit, Rejected> {
        let acquired = acquire(&self.0, Priority::High, Priority::High, max_wait).await;
        acquired.map(Permit::bare)
    }

    /// Waits in the line of a priority for a slot of its share. Otherwise like
    /// [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// Like [`acquire`](Self::acquire). [`Critical`](Priority::Critical) never waits, and is only
    /// rejected if the limiter is closed.
    ///
    /// # Cancel safety
    ///
    /// Like [`acquire`](Self::acquire).
    pub async fn acquire_as(&self, priority: Priority) -> Result<Permit, Rejected> {
        let acquired = acquire(&self.0, priority, priority, Duration::MAX).await;
        acquired.map(Permit::bare)
    }
}

/// Records `tower_throttle_limit`, `tower_throttle_used`, `tower_throttle_waiting` and
/// `tower_throttle_in_flight`. An adaptive limit has the value of now.
#[cfg(feature = "metrics")]
impl crate::telemetry::metrics::Publish for ConcurrencyLimiter {
    fn publish(&self, name: &'static str) {
        use crate::telemetry::metrics::{IN_FLIGHT, set};

        self.usage().publish("concurrency", name);
        set(IN_FLIGHT, "concurrency", name, self.in_flight() as u64);
    }
}

crate::macros::debug!(impl Debug for ConcurrencyLimiter |self| {
    limit: self.limit(),
    in_flight: self.in_flight(),
    waiting: self.waiting(),
    ..
});
