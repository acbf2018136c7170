use std::{fmt, sync::Arc, time::Duration};

use super::slots::{Permit, Slots};
use crate::{
    Limit, Reason, Rejected,
    limit::{Entry, Gate, Queued, acquire},
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
pub struct ConcurrencyLimiter(pub(super) Arc<Slots>);

// ===== impl ConcurrencyLimiter =====

impl ConcurrencyLimiter {
    /// A limiter that lets `limit` be in flight at a time.
    ///
    /// A limit of 0 refuses whoever asks, with [`Reason::NeverFits`]. One of over 2⁶¹ − 1 (on a machine of 64 bits)
    /// counts as that.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Slots::new(limit)))
    }

    /// The longest that anything waits for this limiter. For everyone who shares it and begins to wait after this.
    #[must_use]
    pub fn max_wait(self, max_wait: Duration) -> Self {
        self.0.turnstile().set_max_wait(max_wait);
        self
    }

    /// How many may wait for this limiter. One more is refused at once. For everyone who shares it.
    #[must_use]
    pub fn max_waiting(self, max_waiting: usize) -> Self {
        self.0.turnstile().set_max_waiting(max_waiting);
        self
    }

    /// How many may be in flight at a time.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit()
    }

    /// Changes the limit, for everyone who shares it, at once.
    ///
    /// A raised limit lets those who wait start. Under a lowered one nothing in flight is stopped: nothing new starts
    /// until enough of it has ended. With a limit of 0 those who wait go on waiting, and newcomers are refused.
    pub fn set_limit(&self, limit: usize) {
        self.0.set_limit(limit);
    }

    /// How many are in flight now. Over the limit for a while after it was lowered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    #[cfg(feature = "per-key")]
    pub(crate) fn turnstile(&self) -> &crate::limit::Turnstile {
        self.0.turnstile()
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.turnstile().waiting()
    }

    /// Takes a slot if one is free. Never overtakes those who wait.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when no slot is free, or when some are waiting for one.
    pub fn try_acquire(&self) -> Result<Permit, Rejected> {
        match self.0.enter(&1) {
            Entry::Pass(permit) => Ok(permit),
            Entry::Never(rejected) => Err(rejected),
            Entry::Wait(_) => {
                let max_wait = Duration::ZERO;
                let reason = Reason::WaitTooLong { max_wait };
                Err(Rejected::new(Limit::Concurrency, reason, None))
            }
        }
    }

    /// Waits in line for a slot, and takes it until the permit is dropped.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when it has waited for [`max_wait`](Self::max_wait), when [`max_waiting`](Self::max_waiting) are
    /// waiting, or when the limit is 0. Unless told, it waits as long as it takes.
    ///
    /// # Panics
    ///
    /// When it has to wait for a limited time outside a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue and takes nothing. A future that is kept but not polled keeps its place,
    /// and with it everyone behind it, waiting.
    pub async fn acquire(&self) -> Result<Permit, Rejected> {
        acquire(&self.0, 1).await
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
