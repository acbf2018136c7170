//! The limits of a provider.

use std::time::Duration;

use super::{Accounting, quota::Spec};
use crate::{
    http::{Dimension, headers::rate_limit::limits::DAY},
    limit::{Quota, quota::MINUTE},
};

/// A limit with a longer period takes the place of the limit per day.
const LONGEST_MINUTE: Duration = Duration::from_secs(60 * 60);

/// The shape of a limit.
///
/// Requests that stay within a window also stay within a bucket of the same size, if the bucket
/// starts full. The reverse does not hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shape {
    /// A sliding window: at most the limit is taken in any period, wherever it begins.
    #[default]
    Window,
    /// A token bucket: the limit may be taken at once and refills evenly.
    Bucket,
}

/// The limits of a provider and how it counts tokens.
///
/// The [constants](#impl-Provider-1) are defaults that can be changed:
///
/// ```
/// use tower_throttle::provider::{Provider, ProviderLayer};
///
/// let mine = Provider::OPENAI_TIER_1.rpm(800).concurrent(20);
/// let layer = ProviderLayer::new(mine);
/// # let _ = layer;
/// ```
///
/// # Edge cases
///
/// As for a [`Quota`](crate::Quota#values-at-the-edge): 0 rejects everything, and values over a
/// trillion (2⁴⁰) count as 2⁴⁰ − 1. A period counts as at most 146 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Provider {
    name: &'static str,
    /// The limit per minute and the limit per day of each dimension but concurrency.
    limits: [[Option<Given>; 2]; DIMENSIONS.len()],
    concurrency: Option<u64>,
    accounting: Accounting,
    shape: Shape,
    minute: Duration,
    margin: Option<Duration>,
}

/// A limit as it was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Given {
    /// Units per minute or per day.
    Units(u64),
    Quota(Quota),
}

/// What may be limited per minute and per day, in the order of the variants.
pub(super) const DIMENSIONS: [Dimension; 4] = [
    Dimension::Requests,
    Dimension::Tokens,
    Dimension::InputTokens,
    Dimension::OutputTokens,
];

// ===== impl Provider =====

impl Provider {
    /// Creates a provider without limits. By default tokens count at admission, as with OpenAI; see
    /// [`counting`](Self::counting). The name is used for display only.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            limits: [[None; 2]; DIMENSIONS.len()],
            concurrency: None,
            accounting: Accounting::OPENAI,
            shape: Shape::Window,
            minute: MINUTE,
            margin: None,
        }
    }

    /// Sets the requests per minute.
    pub const fn rpm(self, requests: u64) -> Self {
        self.units(Dimension::Requests, false, requests)
    }

    /// Sets the requests per day: in any 24 hours.
    pub const fn rpd(self, requests: u64) -> Self {
        self.units(Dimension::Requests, true, requests)
    }

    /// Sets the tokens per minute, input and output together.
    pub const fn tpm(self, tokens: u64) -> Self {
        self.units(Dimension::Tokens, false, tokens)
    }

    /// Sets the tokens per day: in any 24 hours.
    pub const fn tpd(self, tokens: u64) -> Self {
        self.units(Dimension::Tokens, true, tokens)
    }

    /// Sets the input tokens per minute.
    pub const fn itpm(self, tokens: u64) -> Self {
        self.units(Dimension::InputTokens, false, tokens)
    }

    /// Sets the output tokens per minute.
    pub const fn otpm(self, tokens: u64) -> Self {
        self.units(Dimension::OutputTokens, false, tokens)
    }

    /// Sets the number of concurrent requests. A request is in flight until its response body has
    /// ended.
    pub const fn concurrent(mut self, requests: u64) -> Self {
        self.concurrency = Some(requests);
        self
    }

    /// Sets a limit with its own period, burst or margin.
    ///
    /// Each dimension has one limit per minute and one per day. This replaces the former, or, if
    /// its period is over an hour, the latter, and the other stays. A burst above the units is
    /// ignored. For [`Dimension::Concurrency`] the units of the quota are the limit, and the period
    /// does not matter.
    pub const fn limit(mut self, dimension: Dimension, quota: Quota) -> Self {
        if matches!(dimension, Dimension::Concurrency) {
            return self.concurrent(quota.units());
        }
        let is_long = quota.period().as_secs() > LONGEST_MINUTE.as_secs();
        self.limits[dimension as usize][is_long as usize] = Some(Given::Quota(quota));
        self
    }

    /// Removes every limit on `dimension`.
    pub const fn unlimited(mut self, dimension: Dimension) -> Self {
        match dimension {
            Dimension::Concurrency => self.concurrency = None,
            _ => self.limits[dimension as usize] = [None; 2],
        }
        self
    }

    /// Sets how tokens are counted, and when.
    pub const fn counting(mut self, accounting: Accounting) -> Self {
        self.accounting = accounting;
        self
    }

    /// Makes the limits token buckets. Limits per day remain windows.
    pub const fn bucket(mut self) -> Self {
        self.shape = Shape::Bucket;
        self
    }

    /// Makes the limits sliding windows. This is the default.
    pub const fn window(mut self) -> Self {
        self.shape = Shape::Window;
        self
    }

    /// Sets the period of limits per minute, both for the limits set here and for the provider's
    /// headers that name no period.
    pub const fn with_minute(mut self, period: Duration) -> Self {
        self.minute = period;
        self
    }

    /// Sets the time added to each period to allow for clock differences; see [`Quota::margin`].
    /// The default is 1/120 of the period, between 20 and 250 ms. A [`limit`](Self::limit) has its
    /// own margin.
    pub const fn margin(mut self, margin: Duration) -> Self {
        self.margin = Some(margin);
        self
    }

    /// Returns the name, as used by [`by_name`](Self::by_name).
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the shape of the limits.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns how tokens are counted, and when.
    pub const fn accounting(&self) -> Accounting {
        self.accounting
    }

    /// Returns the limit on concurrent requests, if there is one.
    #[must_use]
    pub const fn concurrency(&self) -> Option<u64> {
        self.concurrency
    }

    /// Returns the limits except the one on concurrency, each with its dimension.
    pub fn limits(&self) -> impl Iterator<Item = (Dimension, Quota)> {
        self.specs().map(|spec| (spec.dimension, spec.quota))
    }

    pub(super) fn specs(&self) -> impl Iterator<Item = Spec> {
        let (shape, minute, margin) = (self.shape, self.minute, self.margin_or_default());
        let dimensions = DIMENSIONS.into_iter().zip(self.limits);
        let limits = dimensions.flat_map(|(dimension, [minute, day])| {
            [(dimension, false, minute), (dimension, true, day)]
        });
        limits.filter_map(move |(dimension, is_daily, given)| {
            let period = if is_daily { DAY } else { minute };
            let quota = match given? {
                Given::Units(units) => Quota::new(units, period).margin(margin),
                Given::Quota(quota) => quota,
            };
            let shape = if is_daily { Shape::Window } else { shape };
            Some(Spec {
                dimension,
                quota,
                shape,
            })
        })
    }

    pub(super) fn minute(&self) -> Duration {
        self.minute
    }

    pub(super) fn margin_or_default(&self) -> Duration {
        let (least, most) = (Duration::from_millis(20), Duration::from_millis(250));
        self.margin
            .unwrap_or_else(|| (self.minute / 120).clamp(least, most))
    }

    /// Replaces the limit per minute or per day, also one that was set with its own period.
    const fn units(mut self, dimension: Dimension, is_daily: bool, units: u64) -> Self {
        self.limits[dimension as usize][is_daily as usize] = Some(Given::Units(units));
        self
    }
}
