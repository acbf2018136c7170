//! What a provider allows.

use std::time::Duration;

use super::{Accounting, quota::Spec};
use crate::{
    http::{Dimension, headers::rate_limit::limits::DAY},
    limit::{Quota, quota::MINUTE},
};

/// Longer than this, and a limit stands in the place of the limit a day.
const LONGEST_MINUTE: Duration = Duration::from_secs(60 * 60);

/// Which shape a limit has.
///
/// Whoever keeps within a window keeps within a bucket of the same size, too, if that starts full. The reverse does
/// not hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shape {
    /// In no period, wherever it begins, is more than the limit taken.
    #[default]
    Window,
    /// The limit may be taken at once, and refills evenly.
    Bucket,
}

/// What a provider allows, and how it counts.
///
/// The [constants](#impl-Provider-1) are a start; all of it can be changed:
///
/// ```
/// use tower_throttle::provider::{Provider, ProviderLayer};
///
/// let mine = Provider::OPENAI_TIER_1.rpm(800).concurrent(20);
/// let layer = ProviderLayer::new(mine);
/// # let _ = layer;
/// ```
///
/// # Values at the edge
///
/// As for a [`Quota`](crate::Quota#values-at-the-edge): 0 of anything means that nothing passes, and over a trillion
/// (2⁴⁰) counts as 2⁴⁰ − 1. A period counts as at most 146 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Provider {
    name: &'static str,
    limits: [Option<Given>; PLACES.len()],
    accounting: Accounting,
    shape: Shape,
    minute: Duration,
    margin: Option<Duration>,
}

/// A limit in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Given {
    /// So many a minute or a day, whichever its place is.
    Units(u64),
    Quota(Quota),
}

/// What is counted in each place, and whether it is counted by the day.
const PLACES: [(Dimension, bool); 7] = [
    (Dimension::Requests, false),
    (Dimension::Requests, true),
    (Dimension::Tokens, false),
    (Dimension::Tokens, true),
    (Dimension::InputTokens, false),
    (Dimension::OutputTokens, false),
    (Dimension::Concurrency, false),
];

const CONCURRENCY: usize = PLACES.len() - 1;

// ===== impl Provider =====

impl Provider {
    /// A provider without limits, to add them to. Tokens count at admission, as with OpenAI, unless
    /// [told](Self::counting). The name is for the eye, so it need not be that of a configuration.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            limits: [None; PLACES.len()],
            accounting: Accounting::OPENAI,
            shape: Shape::Window,
            minute: MINUTE,
            margin: None,
        }
    }

    /// Requests a minute.
    pub const fn rpm(self, requests: u64) -> Self {
        self.units(Dimension::Requests, false, requests)
    }

    /// Requests a day: in any 24 hours.
    pub const fn rpd(self, requests: u64) -> Self {
        self.units(Dimension::Requests, true, requests)
    }

    /// Tokens a minute, those of prompts and those of answers together.
    pub const fn tpm(self, tokens: u64) -> Self {
        self.units(Dimension::Tokens, false, tokens)
    }

    /// Tokens a day: in any 24 hours.
    pub const fn tpd(self, tokens: u64) -> Self {
        self.units(Dimension::Tokens, true, tokens)
    }

    /// Tokens of prompts a minute.
    pub const fn itpm(self, tokens: u64) -> Self {
        self.units(Dimension::InputTokens, false, tokens)
    }

    /// Tokens of answers a minute.
    pub const fn otpm(self, tokens: u64) -> Self {
        self.units(Dimension::OutputTokens, false, tokens)
    }

    /// Requests in flight, to the end of their answers.
    pub const fn concurrent(self, requests: u64) -> Self {
        self.units(Dimension::Concurrency, false, requests)
    }

    /// A limit with a period, a burst or a margin of its own.
    ///
    /// It takes the place of the one a minute, or, if its period is over an hour, of the one a day. Input and output
    /// tokens have one place each. A burst above the units is not kept. For [`Dimension::Concurrency`] the units of the quota are the limit.
    pub const fn limit(self, dimension: Dimension, quota: Quota) -> Self {
        if matches!(dimension, Dimension::Concurrency) {
            return self.concurrent(quota.units());
        }
        let is_long = quota.period().as_secs() > LONGEST_MINUTE.as_secs();
        self.set(dimension, is_long, Some(Given::Quota(quota)))
    }

    /// Without any limit on `dimension`.
    pub const fn unlimited(self, dimension: Dimension) -> Self {
        self.set(dimension, false, None).set(dimension, true, None)
    }

    /// What tokens count, and when.
    pub const fn counting(mut self, accounting: Accounting) -> Self {
        self.accounting = accounting;
        self
    }

    /// Its limits are buckets; those a day are windows in any case.
    pub const fn bucket(mut self) -> Self {
        self.shape = Shape::Bucket;
        self
    }

    /// Its limits are windows. The default.
    pub const fn window(mut self) -> Self {
        self.shape = Shape::Window;
        self
    }

    /// Lets everything that is said *a minute* be said of this period instead, in what is given here and in what the
    /// provider's headers say without a period.
    pub const fn with_minute(mut self, period: Duration) -> Self {
        self.minute = period;
        self
    }

    /// By how much longer we count than the provider does; see [`Quota::margin`]. Unless told, a 120th of a minute's
    /// period, and between 20 and 250 ms. A [`limit`](Self::limit) brings its own.
    pub const fn margin(mut self, margin: Duration) -> Self {
        self.margin = Some(margin);
        self
    }

    /// What it is called, such as in [`by_name`](Self::by_name).
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The shape of its limits.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// What tokens count, and when.
    pub const fn accounting(&self) -> Accounting {
        self.accounting
    }

    /// How many requests may be in flight.
    #[must_use]
    pub const fn concurrency(&self) -> Option<u64> {
        match self.limits[CONCURRENCY] {
            Some(Given::Units(requests)) => Some(requests),
            _ => None,
        }
    }

    /// Its limits but the one on concurrency: what is counted, and how much of it.
    pub fn limits(&self) -> impl Iterator<Item = (Dimension, Quota)> {
        self.specs().map(|spec| (spec.dimension, spec.quota))
    }

    pub(super) fn specs(&self) -> impl Iterator<Item = Spec> {
        let places = PLACES.into_iter().zip(self.limits).take(CONCURRENCY);
        let (shape, minute, margin) = (self.shape, self.minute, self.margin_or_default());
        places.filter_map(move |((dimension, is_daily), given)| {
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

    const fn units(self, dimension: Dimension, is_daily: bool, units: u64) -> Self {
        self.set(dimension, is_daily, Some(Given::Units(units)))
    }

    const fn set(mut self, dimension: Dimension, is_daily: bool, given: Option<Given>) -> Self {
        let place = match dimension {
            Dimension::Requests => is_daily as usize,
            Dimension::Tokens => 2 + is_daily as usize,
            Dimension::InputTokens => 4,
            Dimension::OutputTokens => 5,
            Dimension::Concurrency => CONCURRENCY,
        };
        self.limits[place] = given;
        self
    }
}
