//! Limiters of what is in flight.

use std::time::Duration;

use super::{PerKeyLimiter, asked};
use crate::{
    error::Rejected,
    limit::{
        engine::{Limiter, acquire},
        key::ClientKey,
        per_key::{
            admitted::Admitted,
            kind::{InFlight, Kind},
        },
    },
};

impl PerKeyLimiter<InFlight> {
    /// A limit of `limit` in flight for each of up to 1,000,000 callers. With 0 every request is refused.
    ///
    /// ```
    /// use tower_throttle::per_key::PerKeyLimiter;
    ///
    /// let limiter = PerKeyLimiter::in_flight(1);
    /// let first = limiter.try_enter("ann".into())?;
    /// assert!(limiter.try_enter("ann".into()).is_err());
    /// drop(first);
    /// assert!(limiter.try_enter("ann".into()).is_ok());
    /// # Ok::<(), tower_throttle::Rejected>(())
    /// ```
    #[must_use]
    pub fn in_flight(limit: usize) -> Self {
        Self::from_plan(limit, None)
    }
}

impl<H> PerKeyLimiter<InFlight<H>>
where
    InFlight<H>: Kind,
{
    /// Takes a place of `caller` until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when as many are in flight as may be, or when some wait for that.
    pub fn try_enter(&self, caller: ClientKey) -> Result<Admitted<InFlight<H>>, Rejected> {
        let asked = asked(caller, 1);
        let entered = self.0.enter(&asked, Duration::ZERO);
        entered.inspect_err(|rejected| drop(self.0.refuse(&asked, rejected)))
    }

    /// Waits in the line of `caller` for a place, as long as it takes, and takes it until what is
    /// returned is dropped.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when the limit is 0.
    ///
    /// # Panics
    ///
    /// When it has to wait outside a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the line and takes nothing.
    pub async fn enter(&self, caller: ClientKey) -> Result<Admitted<InFlight<H>>, Rejected> {
        self.enter_within(caller, Duration::MAX).await
    }

    /// Waits in the line of `caller` for a place for up to `max_wait`. Otherwise like
    /// [`enter`](Self::enter).
    ///
    /// # Errors
    ///
    /// [`Rejected`] when it has waited for `max_wait`, or when the limit is 0.
    ///
    /// # Panics
    ///
    /// As [`enter`](Self::enter) does.
    pub async fn enter_within(
        &self,
        caller: ClientKey,
        max_wait: Duration,
    ) -> Result<Admitted<InFlight<H>>, Rejected> {
        acquire(&self.0, asked(caller, 1), max_wait).await
    }
}
