use std::{sync::Arc, time::Duration};

use super::{
    Charge, Provider, Reservation, Usage, WHOLE, ask::TokenRequest, shared::ProviderState,
};
use crate::{
    ai::tokens::Tokens,
    error::Rejected,
    limit::{
        Clock, Priority,
        engine::{Limiter, QueuedCall, acquire},
    },
};

/// Limiter for all limits of a provider, without a service. Clones share the limits.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower_throttle::Rejected> {
/// use tower_throttle::{TokenUsage, Tokens, provider::{Accounting, Provider, ProviderLimiter}};
///
/// let provider = Provider::new("mine").rpm(60).tpm(1_000).counting(Accounting::SETTLED);
/// let limiter = ProviderLimiter::new(provider);
///
/// // a prompt of 100 tokens, and a response of at most 500
/// let reservation = limiter.acquire(Tokens::new(100, 500)).await?;
/// assert!(limiter.try_acquire(Tokens::new(100, 500)).is_err());
///
/// // the response had 50
/// reservation.settle(TokenUsage { input: 100, output: 50, ..TokenUsage::default() });
/// assert!(limiter.try_acquire(Tokens::new(100, 500)).is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ProviderLimiter(pub(super) Arc<ProviderState>);

/// A service with its place in the queue of one limiter.
pub(crate) type Lane<S> = QueuedCall<S, Arc<ProviderState>>;

// ===== impl ProviderLimiter =====

impl ProviderLimiter {
    /// Creates a limiter for `provider`, with nothing taken yet.
    #[must_use]
    pub fn new(provider: Provider) -> Self {
        Self::with_clock(provider, Clock::tokio())
    }

    /// Creates a limiter for `provider` that reads `clock`.
    #[must_use]
    pub fn with_clock(provider: Provider, clock: Clock) -> Self {
        Self(Arc::new(ProviderState::new(&provider, clock)))
    }

    /// Shares the limits with all processes that use the same `name` in the same Redis or Valkey;
    /// see [`Redis`](crate::Redis).
    ///
    /// Requests and tokens are counted by all processes together, and what one learns applies to
    /// all, as does a pause. The limit on concurrent requests holds per process. The limits start
    /// anew, with the provider of this limiter, which all processes should have. See
    /// [shared limits](crate::guide::shared#providers).
    ///
    /// ```no_run
    /// use tower_throttle::{Redis, Tokens, provider::{Provider, ProviderLimiter}};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), tower_throttle::BoxError> {
    /// let redis = Redis::new("redis://127.0.0.1")?;
    /// let limiter = ProviderLimiter::new(Provider::OPENAI_TIER_1).shared(&redis, "openai");
    /// let reservation = limiter.acquire(Tokens::new(100, 500)).await?;
    /// # drop(reservation);
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
        Self(Arc::new(self.0.in_store(store, name)))
    }

    /// Sets whether to [learn](crate::provider#learning) from [observed](Reservation::observe)
    /// limits. Applies to everything that shares this limiter. The default is `true`.
    ///
    /// If no limits are known, one request may be in flight at first, and twice as many after each
    /// response.
    #[must_use]
    pub fn learn(self, learns: bool) -> Self {
        let (mut quotas, now) = self.0.quotas();
        quotas.learn(learns, now);
        drop(quotas);
        self.0.wait_queue.wake_head();
        self
    }

    /// Sets what a request costs if its [`Reservation`] is dropped before it is settled. Applies to
    /// everything that shares this limiter. The default is [`Charge::Reserved`].
    #[must_use]
    pub fn on_drop(self, charge: Charge) -> Self {
        self.0.lock().on_drop = charge;
        self
    }

    /// Returns the usage of each limit.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let usage = self.0.usage();
        #[cfg(feature = "redis")]
        if let Some(store) = &self.0.lock().store {
            return store.shown(usage);
        }
        usage
    }

    /// Closes the limiter for all clones: queued and new requests are rejected with
    /// [`Reason::Closed`](crate::Reason::Closed). Requests in flight continue. A
    /// [`Router`](crate::Router) uses its other targets.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_throttle::{Reason, Tokens, provider::{Provider, ProviderLimiter}};
    ///
    /// let limiter = ProviderLimiter::new(Provider::new("mine").rpm(60));
    /// limiter.close();
    ///
    /// let rejected = limiter.try_acquire(Tokens::new(100, 500)).unwrap_err();
    /// assert_eq!(rejected.reason(), Reason::Closed);
    /// ```
    pub fn close(&self) {
        self.0.close();
    }

    /// Returns whether the limiter was [closed](Self::close).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.wait_queue.is_closed()
    }

    /// Takes from all limits now, or from none. Never overtakes queued requests.
    ///
    /// # Errors
    ///
    /// Returns [`Rejected`] if it does not fit into a limit, if requests are queued, or if the
    /// limiter is closed.
    #[inline]
    pub fn try_acquire(&self, tokens: Tokens) -> Result<Reservation, Rejected> {
        let ask = TokenRequest::plain(tokens);
        let entered = self.0.enter(&ask, Duration::ZERO);
        // Not by `inspect_err`, which moves the reservation.
        if let Err(rejected) = &entered {
            drop(self.0.refuse(&ask, rejected));
        }
        entered
    }

    /// Waits in the queue until the request fits into all limits, and takes from them.
    ///
    /// # Errors
    ///
    /// Returns [`Rejected`] if it never fits into one of them, or if the limiter is closed.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait outside a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue and takes nothing. If the future is kept without being
    /// polled, the requests behind it wait, each for its own longest wait at most.
    pub async fn acquire(&self, tokens: Tokens) -> Result<Reservation, Rejected> {
        self.acquire_within(tokens, Duration::MAX).await
    }

    /// Waits in the queue for up to `max_wait` until the request fits into all limits. Otherwise
    /// like [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// Returns [`Rejected`] if it never fits into one of them, if the limiter is closed, or if it
    /// would wait longer than `max_wait`: at once if that is known.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait outside a tokio runtime with time enabled.
    pub async fn acquire_within(
        &self,
        tokens: Tokens,
        max_wait: Duration,
    ) -> Result<Reservation, Rejected> {
        let ask = TokenRequest::plain(tokens);
        acquire(&self.0, ask, Priority::High, max_wait).await
    }

    /// Waits ahead of requests with a lower priority. Otherwise like [`acquire`](Self::acquire),
    /// whose requests have the [highest](Priority::High).
    ///
    /// # Errors
    ///
    /// Like [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// Like [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// Like [`acquire`](Self::acquire).
    pub async fn acquire_as(
        &self,
        priority: Priority,
        tokens: Tokens,
    ) -> Result<Reservation, Rejected> {
        let ask = TokenRequest::plain(tokens);
        acquire(&self.0, ask, priority, Duration::MAX).await
    }
}

/// For a router, which compares limiters before it takes from one of them.
impl ProviderLimiter {
    /// Returns `true` if a request for `tokens` would be admitted now.
    pub(crate) fn can_start(&self, tokens: Tokens) -> bool {
        if self.is_closed() {
            return false;
        }
        let (mut quotas, now) = self.0.quotas();
        quotas.can_start(tokens, now)
    }

    /// Takes from all limits if there is room now.
    pub(crate) fn start(&self, tokens: Tokens) -> Option<Reservation> {
        let ask = TokenRequest::plain(tokens);
        self.0.enter(&ask, Duration::ZERO).ok()
    }

    /// Returns the expected wait of a new request if `share` parts of [`WHOLE`] of the queue are
    /// served by this limiter and the others elsewhere; `None` if it is unknown.
    ///
    /// # Errors
    ///
    /// Returns an error if the request never fits, or if the limiter is closed.
    pub(crate) fn outlook(&self, tokens: Tokens, share: u64) -> Result<Option<Duration>, Rejected> {
        if self.is_closed() {
            return Err(self.too_long(tokens, None).closed());
        }
        let (mut quotas, now) = self.0.quotas();
        quotas.outlook(tokens, share, now)
    }

    /// Returns the rejection of a request that would wait too long.
    pub(crate) fn too_long(&self, tokens: Tokens, wait: Option<Duration>) -> Rejected {
        let (mut quotas, now) = self.0.quotas();
        let limit = quotas.due(tokens, now, Some(WHOLE)).1;
        Rejected::too_long(limit, wait)
    }

    /// Joins the queue, if fewer than `max_waiting` wait, for as long as it takes, to call
    /// `service` in its turn. Nothing is taken before that.
    pub(crate) fn queue<S>(
        &self,
        tokens: Tokens,
        expected: Option<Duration>,
        max_waiting: usize,
        service: S,
    ) -> Result<Lane<S>, Rejected> {
        let (ask, patience) = (TokenRequest::plain(tokens), Duration::MAX);
        let rejected = self.too_long(tokens, expected);
        let waiting = self
            .0
            .wait(ask, Priority::High, rejected, patience, max_waiting)?;
        QueuedCall::join(waiting, service)
    }

    /// Returns the number of queued requests.
    pub(crate) fn waiting(&self) -> usize {
        self.0.wait_queue.waiting()
    }
}

/// Records `tower_throttle_limit`, `tower_throttle_used` and `tower_throttle_reserved` for each
/// limit, `tower_throttle_in_flight`, `tower_throttle_waiting`, `tower_throttle_paused_seconds`,
/// and the tokens that were reserved, used and returned.
#[cfg(feature = "metrics")]
impl crate::telemetry::metrics::Publish for ProviderLimiter {
    fn publish(&self, name: &'static str) {
        use ::metrics::{counter, gauge};

        use crate::telemetry::metrics::{
            IN_FLIGHT, LIMIT, PAUSED, RESERVED, TOKENS_RESERVED, TOKENS_RETURNED, TOKENS_USED,
            USED, WAITING, set,
        };

        let (usage, totals) = (self.0.usage(), self.0.lock().totals);
        for limit in usage.limits() {
            let period = limit.period.map_or(0, |period| period.as_secs());
            let labels = [
                ("layer", "provider".to_owned()),
                ("name", name.to_owned()),
                ("dimension", limit.dimension.as_str().to_owned()),
                ("period", format!("{period}s")),
            ];
            gauge!(LIMIT, &labels).set(limit.limit as f64);
            gauge!(USED, &labels).set(limit.used as f64);
            gauge!(RESERVED, &labels).set(limit.reserved as f64);
        }
        set(IN_FLIGHT, "provider", name, usage.in_flight);
        set(WAITING, "provider", name, usage.waiting);
        gauge!(PAUSED, "name" => name).set(usage.paused_for.as_secs_f64());
        counter!(TOKENS_RESERVED, "name" => name).absolute(totals.reserved);
        counter!(TOKENS_USED, "name" => name).absolute(totals.used);
        counter!(TOKENS_RETURNED, "name" => name).absolute(totals.returned);
    }
}

crate::macros::debug!(impl Debug for ProviderLimiter |self| { usage: self.usage(), .. });

#[cfg(all(test, feature = "quanta"))]
mod tests {
    use super::*;
    use crate::{
        ai::provider::{Accounting, Counting},
        http::Dimension,
        limit::Quota,
    };

    #[tokio::test(start_paused = true)]
    async fn can_start_grants_what_start_does() {
        let accounting = Accounting::new(Counting::Completion);
        let provider = Provider::new("a").counting(accounting).bucket();
        let limiter =
            ProviderLimiter::new(provider.limit(Dimension::Tokens, Quota::per_second(1_000)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let _whole = limiter.start(Tokens::new(1_000, 0));
        // Only the head of the queue, if its timer is late, may take more.
        let ask = TokenRequest::plain(Tokens::new(1, 0));
        assert!(limiter.0.look(&ask).is_ok());
        assert!(!limiter.can_start(ask.tokens));
        assert!(limiter.start(ask.tokens).is_none());
    }

    #[test]
    fn quotas_continue_if_the_counter_goes_back() {
        let (clock, mock) = quanta::Clock::mock();
        mock.increment(Duration::from_secs(1_000));
        let provider = Provider::new("a").rpm(1);
        let limiter = ProviderLimiter::with_clock(provider, Clock::of_counter(clock));
        mock.increment(Duration::from_secs(500));
        for _ in 0..5 {
            assert!(limiter.try_acquire(Tokens::default()).is_ok());
            mock.decrement(Duration::from_secs(200));
            assert!(limiter.try_acquire(Tokens::default()).is_err());
            mock.increment(Duration::from_secs(62));
        }
    }
}
