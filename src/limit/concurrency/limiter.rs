use std::{fmt, sync::Arc, time::Duration};

use super::{Adaptive, Permit, Priority, slots::Slots};
use crate::{
    error::Rejected,
    limit::engine::{Limiter, acquire},
};

/// A limit on what is in flight, on its own. A clone is another handle to the same limit.
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
    /// A limiter that lets `limit` be in flight at a time.
    ///
    /// A limit of 0 refuses whoever asks, with [`Reason::ExceedsCapacity`](crate::Reason::ExceedsCapacity). One of over 2⁶¹ − 1 (on a machine of 64 bits)
    /// counts as that.
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
    /// Whoever takes a permit by hand [says](Permit::succeeded) what came of it, or nothing is learned from it.
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
    /// // The answer is there. The latency ends, and the work goes on.
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

    /// How many may be in flight at a time. What an adaptive limit has come to.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit()
    }

    /// Changes the limit, for everyone who shares it, at once.
    ///
    /// A raised limit lets those who wait start. Under a lowered one nothing in flight is stopped: nothing new starts
    /// until enough of it has ended. With a limit of 0 those who wait go on waiting, and newcomers are refused.
    ///
    /// An adaptive limit goes on from there, and never leaves its bounds.
    pub fn set_limit(&self, limit: usize) {
        self.0.set_limit(limit);
    }

    /// How many are in flight now. Over the limit for a while after it was lowered, and where some are
    /// [`Critical`](Priority::Critical).
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }

    /// Takes a slot if one is free. Never overtakes those who wait.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when no slot is free, or when some are waiting for one.
    pub fn try_acquire(&self) -> Result<Permit, Rejected> {
        self.try_acquire_as(Priority::High)
    }

    /// Takes a slot of the share of a priority if one is free. Never overtakes those who wait with the same priority.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when no slot is free for it, or when some with the same priority are waiting for one.
    pub fn try_acquire_as(&self, priority: Priority) -> Result<Permit, Rejected> {
        self.0.enter(&priority, Duration::ZERO).map(Permit::bare)
    }

    /// Waits in line for a slot, as long as it takes, and takes it until the permit is dropped.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when the limit is 0.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue and takes nothing. A future that is kept but not polled keeps its place,
    /// and with it everyone behind it, waiting.
    pub async fn acquire(&self) -> Result<Permit, Rejected> {
        self.acquire_as(Priority::High).await
    }

    /// Waits in line for a slot for up to `max_wait`. Otherwise like [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// [`Rejected`] when it has waited for `max_wait`, or when the limit is 0.
    ///
    /// # Panics
    ///
    /// When it has to wait outside a tokio runtime with time enabled.
    pub async fn acquire_within(&self, max_wait: Duration) -> Result<Permit, Rejected> {
        let acquired = acquire(&self.0, Priority::High, max_wait).await;
        acquired.map(Permit::bare)
    }

    /// Waits in the line of a priority for a slot of its share. Otherwise like [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire). [`Critical`](Priority::Critical) is never refused, and never waits.
    ///
    /// # Cancel safety
    ///
    /// That of [`acquire`](Self::acquire).
    pub async fn acquire_as(&self, priority: Priority) -> Result<Permit, Rejected> {
        let acquired = acquire(&self.0, priority, Duration::MAX).await;
        acquired.map(Permit::bare)
    }
}

impl fmt::Debug for ConcurrencyLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimiter")
            .field("limit", &self.limit())
            .field("in_flight", &self.in_flight())
            .field("waiting", &self.waiting())
            .finish()
    }
}
