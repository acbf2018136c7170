//! How much is allowed, and over how long.

use std::{fmt, time::Duration};

pub(crate) use crate::backoff::nanos;

const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// An amount of units per period of time, such as 500 requests a minute.
///
/// The limiter's cost says what a unit is: a request by default, or a token, a byte, a cent.
///
/// ```
/// use std::time::Duration;
/// use tower_throttle::Quota;
///
/// let quota = Quota::per_minute(500).burst(20);
/// assert_eq!(quota.units(), 500);
/// assert_eq!(quota.period(), Duration::from_secs(60));
/// assert_eq!(quota.burst_size(), 20);
/// ```
///
/// # Burst sizes
///
/// A [`TokenBucket`](crate::TokenBucket) lets `burst` units start at one instant and then one every
/// `period / units`. By default the burst is the whole quota, so in the first period after an idle
/// time up to twice the quota can start: half of it at once, half of it as the bucket refills. Set
/// a small [`burst`](Quota::burst) if the server counts in windows, or use a
/// [`SlidingWindow`](crate::SlidingWindow), which has no burst beside its limit and ignores this
/// setting.
///
/// # Values at the edge
///
/// These constructors never fail, so that they work in constants:
///
/// | given | means |
/// | --- | --- |
/// | 0 units, or a burst of 0 | nothing passes; every request is rejected with [`Reason::ExceedsCapacity`](crate::Reason::ExceedsCapacity) |
/// | a period of 0 | a period of one nanosecond |
/// | a period over 584 years | a period of 584 years |
/// | a burst, or a unit, that takes over 146 years to refill | a burst or a unit that takes 146 years |
/// | more than 10 million units a second | a [`TokenBucket`](crate::TokenBucket) gives each unit a whole number of nanoseconds, so up to one unit a nanosecond, and at most half of a rate in between, is lost |
/// | over a trillion (2⁴⁰) units | a [`SlidingWindow`](crate::SlidingWindow) counts up to 2⁴⁰ − 1 |
///
/// Numbers that come from a person or a file are better given to [`Quota::try_new`], which says
/// what is wrong with them.
#[doc(alias("rate limit", "throttle"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Quota {
    units: u64,
    period: Duration,
    burst: u64,
    pub(crate) margin: Duration,
}

/// A quota that makes no sense, with the value at fault. Returned by [`Quota::try_new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidQuota {
    /// No units at all: nothing would ever pass.
    ZeroUnits,
    /// No time at all: the rate would be infinite.
    ZeroPeriod,
    /// A period that is too long to count in nanoseconds.
    PeriodTooLong(Duration),
    /// More than one unit per nanosecond.
    RateTooHigh {
        /// The units asked for.
        units: u64,
        /// In this period.
        period: Duration,
    },
}

// ===== impl Quota =====

impl Quota {
    /// No limit, so that configuration can disable one without another type.
    ///
    /// A single request may still cost at most 2⁴⁰ − 1 units.
    ///
    /// ```
    /// use tower_throttle::{Quota, TokenBucketLayer};
    ///
    /// let configured: Option<u64> = None;
    /// let layer = TokenBucketLayer::new(configured.map_or(Quota::UNLIMITED, Quota::per_second));
    /// # let _ = layer;
    /// ```
    pub const UNLIMITED: Self = Self::new(u64::MAX, Duration::from_nanos(1));

    /// Creates a quota of `units` in every `period`, for periods that have no constructor of their
    /// own.
    pub const fn new(units: u64, period: Duration) -> Self {
        Self {
            units,
            period,
            burst: units,
            margin: Duration::ZERO,
        }
    }

    /// Like [`Quota::new`], for numbers that were not checked yet.
    ///
    /// # Errors
    ///
    /// Returns an error if the quota would let nothing pass, or is more than can be counted: see
    /// [`InvalidQuota`]. Very high rates and very long periods are still kept as closely as [said
    /// above](#values-at-the-edge).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_throttle::{InvalidQuota, Quota};
    ///
    /// let error = Quota::try_new(0, Duration::from_secs(1)).unwrap_err();
    /// assert_eq!(error, InvalidQuota::ZeroUnits);
    /// assert_eq!(error.to_string(), "a quota of 0 units lets nothing pass: give at least 1");
    /// ```
    pub const fn try_new(units: u64, period: Duration) -> Result<Self, InvalidQuota> {
        if units == 0 {
            return Err(InvalidQuota::ZeroUnits);
        }
        if period.is_zero() {
            return Err(InvalidQuota::ZeroPeriod);
        }
        if period.as_nanos() > u64::MAX as u128 {
            return Err(InvalidQuota::PeriodTooLong(period));
        }
        if (units as u128) > period.as_nanos() {
            return Err(InvalidQuota::RateTooHigh { units, period });
        }
        Ok(Self::new(units, period))
    }

    /// Creates a quota of `units` a second.
    pub const fn per_second(units: u64) -> Self {
        Self::new(units, SECOND)
    }

    /// Creates a quota of `units` a minute.
    pub const fn per_minute(units: u64) -> Self {
        Self::new(units, MINUTE)
    }

    /// Creates a quota of `units` an hour.
    pub const fn per_hour(units: u64) -> Self {
        Self::new(units, HOUR)
    }

    /// Creates a quota of `units` in 24 hours.
    pub const fn per_day(units: u64) -> Self {
        Self::new(units, Duration::from_secs(24 * 60 * 60))
    }

    /// Sets how many units may start at one instant after an idle time. The default is the whole
    /// quota.
    ///
    /// A request that costs more than this never fits. Of requests that had to wait, as many more
    /// may start as a [late timer](crate::token_bucket#what-it-promises) has missed.
    ///
    /// ```
    /// use tower_throttle::{Quota, TokenBucketLimiter};
    ///
    /// let limiter = TokenBucketLimiter::new(Quota::per_minute(600).burst(5));
    /// assert!(limiter.try_acquire(5).is_ok());
    /// assert!(limiter.try_acquire(1).is_err());
    /// ```
    pub const fn burst(mut self, units: u64) -> Self {
        self.burst = units;
        self
    }

    /// Counts over a period that is longer by `margin`.
    ///
    /// The server counts a request when it arrives, not when it is sent. Two requests sent a whole
    /// period apart arrive closer together when the first one travelled slower, and then the server
    /// sees one too many. A margin of the largest such difference, some tens of milliseconds on the
    /// open internet, makes up for it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_throttle::Quota;
    ///
    /// let quota = Quota::per_minute(500).margin(Duration::from_millis(50));
    /// assert_eq!(quota.period(), Duration::from_millis(60_050));
    /// ```
    pub const fn margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Returns the units allowed in each [`period`](Quota::period).
    #[must_use]
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// Returns the period, including the margin.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period.saturating_add(self.margin)
    }

    /// Returns how many units may start at one instant.
    #[must_use]
    pub const fn burst_size(&self) -> u64 {
        if self.units == 0 { 0 } else { self.burst }
    }

    /// The counted period in nanoseconds: at least one, at most what fits.
    pub(crate) fn period_nanos(&self) -> u64 {
        nanos(self.period()).max(1)
    }
}

// ===== impl InvalidQuota =====

impl fmt::Display for InvalidQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroUnits => f.write_str("a quota of 0 units lets nothing pass: give at least 1"),
            Self::ZeroPeriod => {
                f.write_str("a quota over a period of 0 s has no rate: give at least 1 ns")
            }
            Self::PeriodTooLong(period) => write!(
                f,
                "a quota over {period:?} is too long to count: give at most 584 years"
            ),
            Self::RateTooHigh { units, period } => write!(
                f,
                "a quota of {units} units in {period:?} is over 1 a nanosecond: \
                 give fewer units or a longer period"
            ),
        }
    }
}

impl std::error::Error for InvalidQuota {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constructors_read_aloud() {
        assert_eq!(Quota::per_second(7).period(), Duration::from_secs(1));
        assert_eq!(Quota::per_hour(7).period(), Duration::from_secs(3_600));
        assert_eq!(Quota::per_day(7).period(), Duration::from_secs(86_400));
        assert_eq!(Quota::per_second(7).burst_size(), 7);
    }

    #[test]
    fn each_senseless_quota_has_its_own_error() {
        let second = Duration::from_secs(1);
        assert_eq!(Quota::try_new(0, second), Err(InvalidQuota::ZeroUnits));
        assert_eq!(
            Quota::try_new(1, Duration::ZERO),
            Err(InvalidQuota::ZeroPeriod)
        );
        assert_eq!(
            Quota::try_new(1, Duration::MAX),
            Err(InvalidQuota::PeriodTooLong(Duration::MAX))
        );
        assert_eq!(
            Quota::try_new(u64::MAX, second),
            Err(InvalidQuota::RateTooHigh {
                units: u64::MAX,
                period: second
            })
        );
        assert!(Quota::try_new(1_000_000_000, second).is_ok());
    }

    #[test]
    fn edges_saturate() {
        assert_eq!(Quota::new(1, Duration::ZERO).period_nanos(), 1);
        assert_eq!(Quota::new(1, Duration::MAX).period_nanos(), u64::MAX);
        let huge = Quota::per_second(1).margin(Duration::MAX);
        assert_eq!(huge.period(), Duration::MAX);
        assert_eq!(Quota::per_second(0).burst(9).burst_size(), 0);
    }
}
