use std::{fmt, sync::Arc, time::Duration};

use super::{Charge, Provider, Reservation, Usage, ask::TokenRequest, shared::ProviderState};
use crate::{
    ai::tokens::Tokens,
    error::Rejected,
    limit::{
        Clock,
        engine::{Limiter, acquire},
    },
};

/// All limits of a provider, on their own. A clone is another handle to the same ones.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower_throttle::Rejected> {
/// use tower_throttle::{TokenUsage, Tokens, provider::{Accounting, Provider, ProviderLimiter}};
///
/// let provider = Provider::new("mine").rpm(60).tpm(1_000).counting(Accounting::SETTLED);
/// let limiter = ProviderLimiter::new(provider);
///
/// // 100 tokens of prompt, at most 500 of the answer
/// let reservation = limiter.acquire(Tokens::new(100, 500)).await?;
/// assert!(limiter.try_acquire(Tokens::new(100, 500)).is_err());
///
/// // the answer had 50
/// reservation.settle(TokenUsage { input: 100, output: 50, ..TokenUsage::default() });
/// assert!(limiter.try_acquire(Tokens::new(100, 500)).is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ProviderLimiter(pub(super) Arc<ProviderState>);

// ===== impl ProviderLimiter =====

impl ProviderLimiter {
    /// A limiter that keeps `provider`'s limits, with nothing taken from them yet.
    #[must_use]
    pub fn new(provider: Provider) -> Self {
        Self::with_clock(provider, Clock::tokio())
    }

    /// A limiter of `provider` that reads `clock`.
    #[must_use]
    pub fn with_clock(provider: Provider, clock: Clock) -> Self {
        Self(Arc::new(ProviderState::new(&provider, clock)))
    }

    /// Whether to learn from what is [observed](Reservation::observe), for everyone who shares it: see
    /// [what is learned](crate::provider#learning). No, unless told.
    ///
    /// Knowing no limits at all it lets one request through, twice as many with each answer, and as many as fit as soon
    /// as an answer tells the limits.
    #[must_use]
    pub fn learn(self, learns: bool) -> Self {
        let (mut quotas, now) = self.0.quotas();
        quotas.learn(learns, now);
        drop(quotas);
        self.0.tell();
        self
    }

    /// What a request costs if its [`Reservation`] is dropped before it is settled. Applies to
    /// everything that shares this limiter. The default is [`Charge::Reserved`].
    #[must_use]
    pub fn on_drop(self, charge: Charge) -> Self {
        self.0.lock().on_drop = charge;
        self
    }

    /// How it stands with each limit.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let (mut quotas, now) = self.0.quotas();
        quotas.usage(now)
    }

    /// Takes from all limits now, or from none. Never overtakes those who wait.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when it does not fit into one of them, or when some are waiting.
    #[inline]
    pub fn try_acquire(&self, tokens: Tokens) -> Result<Reservation, Rejected> {
        let ask = TokenRequest::plain(tokens);
        let entered = self.0.enter(&ask, Duration::ZERO);
        entered.inspect_err(|rejected| drop(self.0.refuse(&ask, rejected)))
    }

    /// Waits in line until it fits into all limits, as long as it takes, and takes from them.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when it never fits into one of them.
    ///
    /// # Panics
    ///
    /// When it has to wait outside a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue and takes nothing. A future that is kept but not polled keeps its place, and
    /// with it everyone behind it, waiting.
    pub async fn acquire(&self, tokens: Tokens) -> Result<Reservation, Rejected> {
        self.acquire_within(tokens, Duration::MAX).await
    }

    /// Waits in line for up to `max_wait` until it fits into all limits. Otherwise like
    /// [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// [`Rejected`] when it never fits into one of them, or, at once where that is known, when it would
    /// wait longer than `max_wait`.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire) does.
    pub async fn acquire_within(
        &self,
        tokens: Tokens,
        max_wait: Duration,
    ) -> Result<Reservation, Rejected> {
        acquire(&self.0, TokenRequest::plain(tokens), max_wait).await
    }
}

impl fmt::Debug for ProviderLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderLimiter")
            .field("usage", &self.usage())
            .finish()
    }
}
