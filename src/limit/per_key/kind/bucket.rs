use std::time::Duration;

use super::{Kind, OWN, Rate, Want, sealed::Sealed};
use crate::{
    error::LimitKind,
    http::headers::rate_limit::standing::Standing,
    limit::{
        algorithm::gcra::Refill,
        clock::TIMER_LATENESS,
        decision::Decision,
        engine::UntilResponse,
        quota::{Quota, nanos},
    },
};

/// Token bucket. If its quota changes, what was used stays used, in units.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// The instant at which it is full.
    full_at: u64,
    /// The time in which a unit refills by the quota of that instant, and [`OWN`]. No unit takes as
    /// long as that bit.
    unit: u64,
    /// The nanoseconds that were given back, and the number of changes of the quota: [`ERA`].
    given: u64,
}

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

/// Where the units of one request were taken.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// When they have refilled, with everything that was taken before.
    refilled_at: u64,
    /// The same if the bucket had been full before.
    alone_at: u64,
    /// What had been given back by then.
    given: u64,
}

/// The state of a bucket.
#[derive(Debug, Clone, Copy)]
pub struct BucketState {
    rule: BucketRule,
    /// Nanoseconds until it is full.
    debt: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            full_at: 0,
            unit: 1,
            given: 0,
        }
    }
}

impl Bucket {
    fn unit_nanos(&self) -> u64 {
        self.unit & !OWN
    }
}

impl Sealed for Bucket {}

impl Kind for Bucket {
    type Plan = Quota;
    type Rule = BucketRule;
    type Names = &'static str;
    type Left = BucketState;
    type Mark = Mark;
    type Until = UntilResponse;

    const LIMIT: LimitKind = LimitKind::TokenBucket;
    const HELD: bool = false;

    fn rule(plan: Quota, name: &'static str) -> BucketRule {
        let refill = Refill::new(&plan);
        let unit = refill.unit_nanos();
        BucketRule { name, refill, unit }
    }

    fn own(rule: BucketRule) -> BucketRule {
        let unit = rule.unit | OWN;
        BucketRule { unit, ..rule }
    }

    fn names(rule: &BucketRule) -> &'static str {
        rule.name
    }

    fn rename(names: &mut &'static str, name: &'static str) {
        *names = name;
    }

    fn name(rule: &BucketRule) -> Option<&'static str> {
        Some(rule.name)
    }

    fn follows(&self, rule: &BucketRule) -> bool {
        self.unit == rule.unit
    }

    /// Converts what was used into the time of another quota, rounded up. It is at most an empty
    /// bucket, so that no key is locked out for longer than the new quota takes to refill.
    fn adopt(&mut self, rule: &BucketRule, now: u64) {
        if rule.unit == self.unit {
            return;
        }
        let (before, unit_nanos) = (self.unit_nanos(), rule.refill.unit_nanos());
        self.unit = rule.unit;
        if unit_nanos == before {
            return;
        }
        let debt = u128::from(self.full_at.saturating_sub(now));
        if debt > 0 {
            self.given = (self.given | (ERA - 1)).wrapping_add(1);
        }
        let debt = (debt * u128::from(unit_nanos)).div_ceil(u128::from(before));
        let most = rule.refill.burst_nanos();
        let debt = u64::try_from(debt).unwrap_or(u64::MAX).min(most);
        self.full_at = now.saturating_add(debt);
    }

    #[inline]
    fn decide(&self, rule: &BucketRule, want: Want, now: u64) -> Decision {
        let refill = &rule.refill;
        if want.cost > refill.capacity() {
            return Decision::Never;
        }
        Decision::after(refill.wait(self.full_at, since(want, now), want.units(), now))
    }

    #[inline]
    fn add(&mut self, _: &BucketRule, want: Want, now: u64) -> Mark {
        // By its own quota, which may be newer than the one of a request that is settled.
        let taken = want.cost.saturating_mul(self.unit_nanos());
        let since = since(want, now);
        self.full_at = self.full_at.max(since).saturating_add(taken);
        Mark {
            refilled_at: self.full_at,
            alone_at: since.saturating_add(taken),
            given: self.given,
        }
    }

    /// What was taken first refills first, and earlier by all that was given back since then, which
    /// may have been taken before. If the bucket was full meanwhile, no such instant is in the
    /// future.
    fn give_back(&mut self, units: u64, mark: Mark, now: u64) {
        if mark.given / ERA != self.given / ERA {
            return;
        }
        let earlier = self.given.saturating_sub(mark.given);
        let refilled_at = mark.refilled_at.saturating_sub(earlier).max(mark.alone_at);
        let missing = refilled_at.saturating_sub(now);
        let back = units.saturating_mul(self.unit_nanos()).min(missing);
        self.full_at = self.full_at.saturating_sub(back);
        self.given = self.given.wrapping_add(back);
    }

    fn given(&self) -> u64 {
        self.given
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
        rule.refill.capacity()
    }

    #[inline]
    fn left(&self, rule: &BucketRule, now: u64) -> BucketState {
        let debt = self.full_at.saturating_sub(now);
        BucketState { rule: *rule, debt }
    }

    fn standings(left: &BucketState, show: &mut dyn FnMut(Standing<'static>)) {
        let BucketRule { name, refill, .. } = left.rule;
        let quota = refill.capacity();
        let used = left.debt.div_ceil(refill.unit_nanos());
        show(Standing {
            name,
            quota,
            window: Duration::from_nanos(refill.burst_nanos()),
            remaining: quota.saturating_sub(used),
            reset: Duration::from_nanos(left.debt),
        });
    }
}

impl Rate for Bucket {}

/// Returns the instant from which a request takes. The head of a queue may take what has refilled
/// since it should have been woken.
fn since(want: Want, now: u64) -> u64 {
    if want.in_turn {
        now.saturating_sub(nanos(TIMER_LATENESS))
    } else {
        now
    }
}
