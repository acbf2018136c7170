//! Limits that are counted in a store, for several processes. The meters count what this process
//! takes, so that it can learn from responses, and admit no request.

use std::{sync::Arc, time::Duration};

use super::{
    Quotas,
    meter::{MOST, Meter},
};
use crate::{
    ai::{
        provider::{
            Accounting, LimitUsage, Provider, Shape, limits::DIMENSIONS, store::ProviderLink,
        },
        tokens::Tokens,
    },
    http::{Dimension, RateLimits, Reported},
    limit::{Quota, nanos, store::call::LimitSpec},
};

/// A limit that is counted in a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredLimit {
    pub(crate) dimension: Dimension,
    /// Includes the margin.
    pub(crate) period: u64,
    /// The limit as it was configured, which may be none.
    pub(crate) spec: LimitSpec,
}

// ===== impl StoredLimit =====

impl StoredLimit {
    /// Returns the configured limits of `provider`, and a limit per minute of each dimension that
    /// has none, so that one can be learned. Requests are counted in any case, so that a rejection
    /// has a number to set the limit from.
    pub(crate) fn of(provider: &Provider) -> Vec<Self> {
        let minute = Quota::new(0, provider.minute()).margin(provider.margin_or_default());
        let mut limits = Vec::new();
        for dimension in DIMENSIONS {
            let specs = provider.specs().filter(|spec| spec.dimension == dimension);
            let counting = provider.accounting().counting();
            let meters = specs.map(|spec| Meter::new(&spec, counting, false, 0));
            let configured = meters.map(|meter| Self {
                dimension,
                period: meter.period,
                spec: meter.spec(meter.shape()),
            });
            let configured: Vec<_> = configured.collect();
            let is_long = |limit: &Self| limit.period > minute.period_nanos();
            if configured.iter().all(is_long) {
                limits.push(Self::unknown(dimension, minute));
            }
            limits.extend(configured);
        }
        limits
    }

    /// Returns the limit on `dimension` that is not configured.
    fn unknown(dimension: Dimension, minute: Quota) -> Self {
        let most = Quota::new(MOST, minute.period());
        Self {
            dimension,
            period: minute.period_nanos(),
            spec: LimitSpec::window(match dimension {
                Dimension::Requests => &most,
                _ => &Quota::UNLIMITED,
            }),
        }
    }

    /// Returns the units that a request for `tokens` takes.
    pub(crate) fn cost(&self, tokens: Tokens) -> u64 {
        Accounting::reserved(self.dimension, tokens).min(MOST)
    }

    /// Returns whether the limit is known, which is not the one that only counts requests.
    pub(crate) fn is_known(applies: &LimitSpec) -> bool {
        applies.capacity() < MOST
    }

    /// Returns whether `usage` is about this limit in this process.
    pub(crate) fn is_shown_as(&self, usage: &LimitUsage) -> bool {
        let period = usage.period.map(nanos);
        self.dimension == usage.dimension && period == Some(self.period)
    }

    /// Returns the shape, which no response changes: the two shapes have states of their own, and
    /// processes could learn either. A window also keeps within a bucket of that size.
    fn shape(&self) -> Shape {
        match self.spec {
            LimitSpec::Bucket { .. } => Shape::Bucket,
            LimitSpec::Window { .. } => Shape::Window,
        }
    }

    fn is_of(&self, meter: &Meter, margin: u64) -> bool {
        let is_of_period = self.period.abs_diff(meter.period) <= margin;
        self.dimension == meter.dimension && is_of_period
    }
}

// ===== impl Quotas =====

impl Quotas {
    /// Leaves it to a store to count these limits.
    pub(crate) fn store(&mut self, store: ProviderLink) {
        self.store = Some(Arc::new(store));
        self.mark_stored();
    }

    fn mark_stored(&mut self) {
        for meter in &mut self.meters {
            let mut limits = stored(&self.store).iter();
            meter.is_stored = limits.any(|limit| limit.is_of(meter, self.margin));
        }
    }

    /// Returns the place of the meter that observes a stored limit.
    fn meter_of(&self, limit: &StoredLimit) -> Option<usize> {
        let mut meters = self.meters.iter();
        meters.position(|meter| limit.is_of(meter, self.margin))
    }

    /// Returns each stored limit as it is known here.
    fn known_limits(&self) -> Vec<LimitSpec> {
        let known = stored(&self.store).iter().map(|limit| {
            let meter = self.meter_of(limit);
            meter.map_or(limit.spec, |place| self.meters[place].spec(limit.shape()))
        });
        known.collect()
    }

    /// Adopts the limits that apply, and the number of requests that all processes have made.
    /// Returns what is known of each limit then.
    pub(crate) fn adopt(
        &mut self,
        limits: &[LimitSpec],
        requests: Option<u64>,
        now: u64,
    ) -> Vec<LimitSpec> {
        self.all_requests = requests;
        for (n, limit) in limits.iter().enumerate() {
            let place = stored(&self.store)
                .get(n)
                .and_then(|stored| self.meter_of(stored));
            let Some(place) = place.filter(|_| !limit.is_unlimited()) else {
                continue;
            };
            let shape = stored(&self.store)[n].shape();
            let meter = &mut self.meters[place];
            if meter.spec(shape) == *limit {
                continue;
            }
            let units = limit.units_per(meter.period);
            let is_new = units != meter.limit;
            meter.set_limit(units);
            if let Some(felt) = self
                .felt
                .as_mut()
                .filter(|felt| felt.place == place && is_new)
            {
                felt.changed = now;
            }
        }
        self.known_limits()
    }

    /// Returns the numbers and values of the limits that have changed with a response that reported
    /// `told`. `limits` applied before, and `known` is what was known then.
    pub(crate) fn learned(
        &mut self,
        known: &[LimitSpec],
        limits: &[LimitSpec],
        told: &RateLimits,
    ) -> Vec<(usize, LimitSpec)> {
        self.mark_stored();
        let told: Vec<_> = told.iter().filter_map(|it| self.stored_place(it)).collect();
        // Other processes may have told the store more.
        let is_ours = |n, limit| limit != known[n] || self.learns && told.contains(&n);
        let applied = self.known_limits().into_iter().enumerate();
        let learned = applied.filter(|&(n, limit)| limit != limits[n] && is_ours(n, limit));
        learned.collect()
    }

    /// Returns the number of the stored limit that a report is about.
    fn stored_place(&self, reported: &Reported) -> Option<usize> {
        let meter = &self.meters[self.place(reported)?];
        let mut limits = stored(&self.store).iter();
        limits.position(|limit| limit.is_of(meter, self.margin))
    }

    /// Returns the used units of each stored limit that a response reports.
    pub(crate) fn reported_use(&self, told: &RateLimits) -> Vec<(usize, u64)> {
        let used = told.iter().filter_map(|reported| {
            let n = self.stored_place(reported).filter(|_| self.learns)?;
            let meter = &self.meters[self.place(reported)?];
            let left = reported.remaining?;
            let limit = reported.limit.unwrap_or(meter.limit);
            Some((n, limit.checked_sub(left)?))
        });
        used.collect()
    }

    /// Returns the units of the stored limit `n` that a request gets back if the provider rejected
    /// it: `is_reported` is whether its response reported limits.
    pub(crate) fn returns_after_rejection(&self, n: usize, is_reported: bool) -> bool {
        let limit = &stored(&self.store)[n];
        let is_felt = || self.felt_place().is_some() && self.felt_place() == self.meter_of(limit);
        limit.dimension != Dimension::Requests || is_reported || is_felt()
    }
}

/// Returns the limits that are counted in a store.
fn stored(store: &Option<Arc<ProviderLink>>) -> &[StoredLimit] {
    store.as_ref().map_or(&[], |store| &store.limits)
}

// ===== impl Meter =====

impl Meter {
    /// Returns the limit as a store has it.
    fn spec(&self, shape: Shape) -> LimitSpec {
        let quota = Quota::new(self.limit, Duration::from_nanos(self.period));
        match shape {
            Shape::Window => LimitSpec::window(&quota),
            Shape::Bucket => LimitSpec::bucket(&quota.burst(self.capacity())),
        }
    }
}

// ===== impl LimitSpec =====

impl LimitSpec {
    /// Returns the units in a `period` of the limit, in nanoseconds.
    pub(crate) fn units_per(&self, period: u64) -> u64 {
        match *self {
            Self::Window { capacity, .. } => capacity,
            // The nearest, or the burst if that is larger.
            Self::Bucket {
                capacity,
                unit_nanos,
            } => capacity.max((period + unit_nanos / 2) / unit_nanos.max(1)),
        }
    }
}
