//! The error that all limiters of this crate return.

use std::{fmt, sync::Arc, time::Duration};

use crate::error::find_source;
#[cfg(feature = "per-key")]
use crate::http::headers::rate_limit::standing::Standings;

/// A boxed error, as tower's own layers return it.
///
/// It is no [`Error`](std::error::Error) itself, so `?` can't make an `anyhow::Error` of it:
/// `.map_err(anyhow::Error::from_boxed)` does.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Error of a request that one of this crate's limiters rejected.
///
/// It is inside the layer's [`BoxError`]. It never means that the server rejected the request,
/// which was not sent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_throttle::BoxError> {
/// use std::{convert::Infallible, time::Duration};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_throttle::{Quota, Rejected, TokenBucketLayer};
///
/// let mut service = ServiceBuilder::new()
///     .layer(TokenBucketLayer::new(Quota::per_hour(1)).max_wait(Duration::ZERO))
///     .service(service_fn(async |_: &str| Ok::<_, Infallible>(())));
///
/// service.ready().await?.call("first").await?;
/// let error = service.ready().await?.call("second").await.unwrap_err();
/// let rejected = Rejected::of(&error).unwrap();
/// assert!(rejected.retry_after().unwrap() > Duration::from_secs(3_500));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    limit: LimitKind,
    reason: Reason,
    retry_after: Option<Duration>,
    details: Option<Arc<Details>>,
}

/// What only some rejections have, on the heap, so that the error is small.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Details {
    name: Option<&'static str>,
    /// The status of the response if the key is missing.
    #[cfg(feature = "per-key")]
    missing_key: Option<http::StatusCode>,
    /// The state of the client's limits, for the headers of the response.
    #[cfg(feature = "per-key")]
    standings: Option<Arc<Standings>>,
}

/// Kind of limit that rejected a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitKind {
    /// A [`TokenBucket`](crate::TokenBucket).
    TokenBucket,
    /// A [`SlidingWindow`](crate::SlidingWindow).
    SlidingWindow,
    /// A [`Concurrency`](crate::Concurrency).
    Concurrency,
    /// One of the limits of a provider's quota.
    #[cfg(feature = "provider")]
    Quota(crate::http::Dimension),
    /// A pause that the provider asked for.
    #[cfg(feature = "provider")]
    Pause,
}

/// Reason why a limiter rejected a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The request has waited for `max_wait`, or would have waited longer.
    WaitTooLong {
        /// The longest wait that is allowed; zero if requests do not wait.
        max_wait: Duration,
    },
    /// The queue is full: `max_waiting` requests are waiting.
    QueueFull {
        /// The most requests that may wait.
        max_waiting: usize,
    },
    /// The cost exceeds the capacity of the limit, so the request is never admitted.
    ExceedsCapacity {
        /// The cost of the request.
        cost: u64,
        /// The highest cost that the limit admits.
        capacity: u64,
    },
    /// The request has no key, such as an API key, and the limit per key rejects those.
    MissingKey,
    /// The server has not inserted the address of the peer into the request, which
    /// `PeerIp` or `ClientIp` needs: an error of the server.
    MissingPeer,
    /// The limiter was closed, as by
    /// [`TokenBucketLimiter::close`](crate::TokenBucketLimiter::close).
    Closed,
    /// The store of a limit that several processes share is unreachable, and the limit admits
    /// nothing meanwhile.
    #[cfg(feature = "redis")]
    Unreachable,
}

// ===== impl Rejected =====

impl Rejected {
    /// Returns the `Rejected` in this error's chain of sources, if there is one.
    ///
    /// Other errors become a [`BoxError`] by `into()`. An error that is a transparent wrapper, such
    /// as `OpenAIError::Boxed`, hides what it holds from the chain: pass what it holds.
    #[must_use]
    pub fn of(error: &BoxError) -> Option<&Self> {
        find_source(error)
    }

    pub(crate) const fn new(
        limit: LimitKind,
        reason: Reason,
        retry_after: Option<Duration>,
    ) -> Self {
        Self {
            limit,
            reason,
            retry_after,
            details: None,
        }
    }

    pub(crate) const fn too_long(limit: LimitKind, wait: Option<Duration>) -> Self {
        let max_wait = Duration::ZERO;
        Self::new(limit, Reason::WaitTooLong { max_wait }, wait)
    }

    pub(crate) const fn never(limit: LimitKind, cost: u64, capacity: u64) -> Self {
        Self::new(limit, Reason::ExceedsCapacity { cost, capacity }, None)
    }

    /// The same for a request that was allowed to wait for so long.
    pub(crate) fn within(self, max_wait: Duration) -> Self {
        match self.reason {
            Reason::WaitTooLong { .. } => self.because(Reason::WaitTooLong { max_wait }),
            _ => self,
        }
    }

    /// The same for a limiter that is closed.
    pub(crate) fn closed(mut self) -> Self {
        self.retry_after = None;
        self.because(Reason::Closed)
    }

    /// The same for another reason.
    pub(crate) fn because(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    #[cfg(feature = "per-key")]
    pub(crate) fn missing_key(limit: LimitKind, status: http::StatusCode) -> Self {
        let mut rejected = Self::new(limit, Reason::MissingKey, None);
        rejected.details_mut().missing_key = Some(status);
        rejected
    }

    /// Returns the status of the response if the key is missing.
    #[cfg(feature = "per-key")]
    pub(crate) fn missing_key_status(&self) -> Option<http::StatusCode> {
        self.details.as_ref()?.missing_key
    }

    #[cfg(feature = "per-key")]
    pub(crate) fn standing_at(mut self, standings: Standings) -> Self {
        self.details_mut().standings = Some(Arc::new(standings));
        self
    }

    #[cfg(feature = "per-key")]
    pub(crate) fn standings(&self) -> Option<Arc<Standings>> {
        self.details.as_ref()?.standings.clone()
    }

    /// Returns the names of the limits that had no room for the request.
    #[cfg(feature = "per-key")]
    pub(crate) fn violated(&self) -> Vec<&'static str> {
        let standings = self.standings();
        let all = standings.iter().flat_map(|standings| &standings.all);
        let cost = standings.as_ref().map_or(0, |standings| standings.cost);
        let violated = all.filter(|standing| standing.remaining < cost);
        violated.map(|standing| standing.name).collect()
    }

    /// Sets the name of the limit, if it has one.
    pub(crate) fn named(mut self, name: Option<&'static str>) -> Self {
        if name.is_some() {
            self.details_mut().name = name;
        }
        self
    }

    fn details_mut(&mut self) -> &mut Details {
        Arc::make_mut(self.details.get_or_insert_default())
    }

    /// Returns the kind of limit that rejected the request.
    #[must_use]
    pub const fn limit(&self) -> LimitKind {
        self.limit
    }

    /// Returns the name of the limit: what [`name`](crate::TokenBucketLayer::name) of its layer
    /// set.
    ///
    /// Limits per key have the name that their `RateLimit` headers have, which is `default` if none
    /// is set.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        self.details.as_ref()?.name
    }

    /// Returns the reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the time from the rejection until the request would have been admitted, after the
    /// requests ahead of it. It may be somewhat longer if requests with a cost above 1 wait.
    ///
    /// `None` if it is not known: for a [`Concurrency`](crate::Concurrency) limit, which frees up
    /// when others finish, for a request that [never fits](Rejected::exceeds_capacity), and if the
    /// limiter is [closed](Reason::Closed).
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns whether the same request would be rejected at any other time, as long as the limit
    /// stays the same.
    #[must_use]
    pub const fn exceeds_capacity(&self) -> bool {
        match self.reason {
            Reason::ExceedsCapacity { .. } | Reason::MissingKey | Reason::MissingPeer => true,
            Reason::WaitTooLong { .. } | Reason::QueueFull { .. } | Reason::Closed => false,
            #[cfg(feature = "redis")]
            Reason::Unreachable => false,
        }
    }

    /// Returns whether a reply of a store may say how long the request waits.
    #[cfg(feature = "redis")]
    pub(crate) fn needs_reply(&self) -> bool {
        self.retry_after.is_none() && !self.is_final()
    }

    /// Returns whether the request is rejected however long it waits.
    pub(crate) const fn is_final(&self) -> bool {
        self.exceeds_capacity() || matches!(self.reason, Reason::Closed)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rejected by the {} limit: ", self.limit)?;
        match self.reason {
            Reason::WaitTooLong { max_wait } => match self.retry_after {
                Some(wait) if max_wait.is_zero() => write!(f, "retry in {wait:.3?}"),
                Some(wait) => write!(
                    f,
                    "a wait of {wait:.3?} exceeds the max_wait of {max_wait:?}"
                ),
                None if max_wait.is_zero() => f.write_str("no capacity is free: retry later"),
                None => write!(f, "no capacity was free within {max_wait:?}: retry later"),
            },
            Reason::QueueFull { max_waiting } => write!(
                f,
                "the queue is full: {max_waiting} requests are waiting, \
                 retry later or raise max_waiting"
            ),
            Reason::ExceedsCapacity { cost, capacity } => write!(
                f,
                "a cost of {cost} exceeds the capacity of {capacity}: \
                 lower the cost or raise the limit"
            ),
            Reason::MissingKey => f.write_str("missing API key"),
            Reason::Closed => f.write_str("the limiter is closed"),
            #[cfg(feature = "redis")]
            Reason::Unreachable => f.write_str("the store of the limit is unreachable"),
            Reason::MissingPeer => f.write_str(
                "missing peer address: start axum with `into_make_service_with_connect_info` and \
                 enable the feature `axum`, or insert a `PeerAddr`; \
                 for a proxy on a unix socket use `ClientIp` with `unix_socket_proxy`",
            ),
        }
    }
}

impl std::error::Error for Rejected {}

// ===== impl LimitKind =====

impl LimitKind {
    /// Returns a stable label, as for metrics: `token_bucket`, `sliding_window`, `concurrency`,
    /// `quota` or `pause`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenBucket => "token_bucket",
            Self::SlidingWindow => "sliding_window",
            Self::Concurrency => "concurrency",
            #[cfg(feature = "provider")]
            Self::Quota(_) => "quota",
            #[cfg(feature = "provider")]
            Self::Pause => "pause",
        }
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "provider")]
            Self::Quota(dimension) => write!(f, "provider's {dimension}"),
            #[cfg(feature = "provider")]
            Self::Pause => f.write_str("provider's pause"),
            limit => f.write_str(&limit.as_str().replace('_', " ")),
        }
    }
}

// ===== impl Reason =====

impl Reason {
    /// All that [`as_str`](Self::as_str) returns.
    #[cfg(feature = "metrics")]
    pub(crate) const LABELS: &[&str] = &[
        "wait_too_long",
        "queue_full",
        "exceeds_capacity",
        "missing_key",
        "closed",
        #[cfg(feature = "redis")]
        "unreachable",
        "missing_peer",
    ];

    /// Returns a stable label, as for metrics: `wait_too_long`, `queue_full`, `exceeds_capacity`,
    /// `missing_key`, `missing_peer`, `closed` or `unreachable`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitTooLong { .. } => "wait_too_long",
            Self::QueueFull { .. } => "queue_full",
            Self::ExceedsCapacity { .. } => "exceeds_capacity",
            Self::MissingKey => "missing_key",
            Self::Closed => "closed",
            #[cfg(feature = "redis")]
            Self::Unreachable => "unreachable",
            Self::MissingPeer => "missing_peer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_found_in_its_wrappers() {
        let rejected = Rejected::never(LimitKind::Concurrency, 1, 0);
        let wrapped = std::io::Error::other(std::io::Error::other(rejected.clone()));
        assert_eq!(Rejected::of(&wrapped.into()), Some(&rejected));
        assert_eq!(Rejected::of(&rejected.clone().into()), Some(&rejected));
        assert_eq!(Rejected::of(&"other".into()), None);
        assert_eq!(rejected.limit().as_str(), "concurrency");
        assert_eq!(rejected.reason().as_str(), "exceeds_capacity");
    }

    #[test]
    fn a_wait_is_told_in_no_more_digits_than_anybody_reads() {
        let reason = Reason::WaitTooLong {
            max_wait: Duration::from_secs(2),
        };
        let wait = Duration::from_nanos(60_479_839_591);
        let rejected = Rejected::new(LimitKind::Pause, reason, Some(wait)).to_string();
        assert!(
            rejected.ends_with("a wait of 60.480s exceeds the max_wait of 2s"),
            "{rejected}"
        );
    }
}
