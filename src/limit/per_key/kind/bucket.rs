use super::{Count, Kind, OWN, Rate, RateState, Want};
#[cfg(feature = "redis")]
use super::{StoreLimit, UsedInStore};
#[cfg(feature = "redis")]
use crate::limit::store::call::LimitSpec;
use crate::{
    error::LimitKind,
    http::headers::rate_limit::standing::Standing,
    limit::{
        algorithm::{Mark, gcra::Refill},
        decision::Decision,
        engine::UntilResponse,
        quota::Quota,
    },
};

/// Token bucket. If its quota changes, what was used stays used, in units, except for what would
/// take more than 584 years to refill.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    /// The instant at which all that was used has refilled.
    full_at: u64,
    /// The time in which a unit refills by the quota of that instant, [`OWN`] and [`OVERDRAWN`]. No
    /// unit takes as long as these bits.
    unit: u64,
    /// The nanoseconds that were given back, and the number of changes of the quota: [`ERA`]. If
    /// the bucket is [`OVERDRAWN`], its ceiling instead of what was given back.
    given: u64,
}

/// Bit of a bucket from which more was taken, by an earlier quota, than its quota now. It was empty
/// at that change, when it had used its ceiling. Since then it has as much room as it is below the
/// ceiling, up to the burst. Nothing is given back to it.
const OVERDRAWN: u64 = 1 << 62;

/// The ceiling counts in units of so many nanoseconds, so that it fits into an [`ERA`].
const CEILING: u64 = 1 << 10;

/// Once this much is given back, about 208 days, nothing more of what was taken until then is. A
/// change of the quota adds as much, because marks are in the time of the last quota.
const ERA: u64 = 1 << 54;

/// How a bucket refills, and its name.
#[derive(Debug, Clone, Copy)]
pub struct BucketRule {
    name: &'static str,
    refill: Refill,
    unit: u64,
}

impl Bucket {
    fn unit_nanos(&self) -> u64 {
        // A bucket that was not used yet has no unit.
        (self.unit & !(OWN | OVERDRAWN)).max(1)
    }

    fn is_overdrawn(&self) -> bool {
        self.unit & OVERDRAWN != 0
    }

    /// Returns the ceiling in nanoseconds, or 0 if it has none.
    fn ceiling(&self) -> u64 {
        match self.is_overdrawn() {
            true => (self.given % ERA) * CEILING,
            false => 0,
        }
    }

    /// Sets the ceiling, unless a burst is as large.
    fn set_ceiling(&mut self, nanos: u64, refill: &Refill) {
        if nanos > refill.burst_nanos() {
            self.unit |= OVERDRAWN;
            self.given = self.given / ERA * ERA + nanos / CEILING;
        } else if self.is_overdrawn() {
            self.unit &= !OVERDRAWN;
            self.begin_era();
        }
    }

    /// Returns when it has refilled as far as its quota holds.
    fn full_by(&self, refill: &Refill) -> u64 {
        let excess = self.ceiling().saturating_sub(refill.burst_nanos());
        self.full_at.saturating_sub(excess)
    }

    /// From now on nothing of what was taken before is given back.
    fn begin_era(&mut self) {
        self.given = (self.given | (ERA - 1)).wrapping_add(1);
    }
}

impl Kind for Bucket {}

impl Count for Bucket {
    type Plan = Quota;
    type Rule = BucketRule;
    type Names = &'static str;
    type Left = RateState;
    type Mark = Mark;
    type Until = UntilResponse;

    const LIMIT: LimitKind = LimitKind::TokenBucket;

    fn rule(plan: Quota, name: &'static str) -> BucketRule {
        let refill = Refill::new(&plan);
        let unit = refill.unit_nanos;
        BucketRule { name, refill, unit }
    }

    fn own(rule: BucketRule) -> BucketRule {
        let unit = rule.unit | OWN;
        BucketRule { unit, ..rule }
    }

    fn rename(names: &mut &'static str, name: &'static str) {
        *names = name;
    }

    fn name(rule: &BucketRule) -> Option<&'static str> {
        Some(rule.name)
    }

    fn follows(&self, rule: &BucketRule) -> bool {
        self.unit & !OVERDRAWN == rule.unit
    }

    /// Converts what was used into the time of another quota, rounded up. If that is more than the
    /// quota, the bucket counts as empty, so that no key is locked out for longer than the new
    /// quota takes to refill. The rest counts if the quota grows again.
    fn adopt(&mut self, rule: &BucketRule, now: u64) {
        if self.follows(rule) {
            return;
        }
        let before = self.unit_nanos();
        self.unit = rule.unit | self.unit & OVERDRAWN;
        if self.unit_nanos() == before {
            return;
        }
        let used = self.full_at.saturating_sub(now);
        // If it was overdrawn before, it has as much room as before.
        let ceiling = self.ceiling().max(used);
        if used > 0 {
            self.begin_era();
        }
        let convert = |nanos| rule.refill.convert(nanos, before);
        self.full_at = now.saturating_add(convert(used));
        self.set_ceiling(convert(ceiling), &rule.refill);
    }

    #[inline]
    fn decide(&self, rule: &BucketRule, want: Want, now: u64) -> Decision {
        let refill = &rule.refill;
        if want.cost > refill.capacity {
            return Decision::Never;
        }
        let full_at = self.full_by(refill);
        Decision::after(refill.wait(full_at, Refill::start(now, want.in_turn), want.units(), now))
    }

    #[inline]
    fn add(&mut self, rule: &BucketRule, want: Want, now: u64) -> Mark {
        // By its own quota, which may be newer than the one of a request that is settled.
        let taken = want.cost.saturating_mul(self.unit_nanos());
        let since = Refill::start(now, want.in_turn);
        if self.is_overdrawn() && self.follows(rule) {
            // What refilled while there was room for a whole burst adds none.
            let full_for = since.saturating_sub(self.full_by(&rule.refill));
            let ceiling = self.ceiling().saturating_sub(full_for);
            self.set_ceiling(ceiling, &rule.refill);
        }
        self.full_at = self.full_at.max(since).saturating_add(taken);
        Mark {
            cost: want.cost,
            place: self.full_at,
            at: since.saturating_add(taken),
            given: self.given,
        }
    }

    /// What was taken first refills first, and earlier by all that was given back since then, which
    /// may have been taken before. If the bucket was full meanwhile, no such instant is in the
    /// future.
    fn give_back(&mut self, units: u64, mark: Mark, now: u64) {
        if self.is_overdrawn() || mark.given / ERA != self.given / ERA {
            return;
        }
        let missing = mark.missing(self.given, now);
        let back = units.saturating_mul(self.unit_nanos()).min(missing);
        self.full_at = self.full_at.saturating_sub(back);
        self.given = self.given.wrapping_add(back);
    }

    fn given(&self) -> u64 {
        match self.is_overdrawn() {
            true => self.given | (ERA - 1),
            false => self.given,
        }
    }

    fn after(given: u64) -> Self {
        Self {
            given,
            ..Self::default()
        }
    }

    fn idle_at(&self) -> u64 {
        self.full_at
    }

    fn used(&self, now: u64) -> u64 {
        self.full_at.saturating_sub(now).div_ceil(self.unit_nanos())
    }

    fn capacity(rule: &BucketRule) -> u64 {
        rule.refill.capacity
    }

    #[inline]
    fn left(&self, rule: &BucketRule, now: u64) -> RateState {
        let refill = &rule.refill;
        let used = self.full_by(refill).saturating_sub(now);
        RateState {
            name: rule.name,
            quota: refill.capacity,
            window_nanos: refill.burst_nanos(),
            used,
            unit: refill.unit_nanos,
            reset_nanos: used,
        }
    }

    fn standings(left: &RateState) -> impl Iterator<Item = Standing<'static>> {
        left.standing().into_iter()
    }

    #[cfg(feature = "redis")]
    fn store_limits(plan: Quota, name: &'static str) -> impl Iterator<Item = StoreLimit> {
        std::iter::once(StoreLimit {
            spec: LimitSpec::bucket(&plan),
            limit: Self::LIMIT,
            name,
        })
    }

    #[cfg(feature = "redis")]
    fn left_in_store(rule: &BucketRule, used: UsedInStore<'_>) -> RateState {
        Self::default().left(rule, 0).after(used)
    }
}

impl Rate for Bucket {}
