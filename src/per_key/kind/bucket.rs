use std::time::Duration;

use super::{Kind, Rate, Short, Wait, Want, sealed::Sealed};
use crate::{
    Limit, Quota,
    algorithm::gcra::{LATENESS, Refill},
    limit::UntilResponse,
    rejected::Standing,
};

/// A token bucket, in three numbers.
///
/// It may change its quota: what was used stays used, in units.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// The instant at which it will be full.
    full_at: u64,
    /// What a unit took to refill when that was written.
    unit_nanos: u64,
    /// Since when it has not been full, less what has been given back meanwhile. It grows only when what was taken before counts no
    /// more: the bucket was full, or another quota came.
    origin: i64,
}

/// How a bucket refills, and what it is called.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    name: &'static str,
    refill: Refill,
}

/// What one request took, as far as it has not refilled.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// When that will have refilled, with all that was taken before it.
    refilled_at: u64,
    /// The bucket's, when that was said.
    origin: i64,
}

/// How a bucket stands.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    rule: Rule,
    /// Nanoseconds until it is full.
    debt: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            full_at: 0,
            unit_nanos: 1,
            origin: 0,
        }
    }
}

impl Sealed for Bucket {}

impl Kind for Bucket {
    type Plan = Quota;
    type Rule = Rule;
    type Names = &'static str;
    type Left = Left;
    type Mark = Mark;
    type Until = UntilResponse;

    const LIMIT: Limit = Limit::TokenBucket;
    const HELD: bool = false;

    fn rule(plan: Quota, name: &'static str) -> Rule {
        let refill = Refill::new(&plan);
        Rule { name, refill }
    }

    fn names(rule: &Rule) -> &'static str {
        rule.name
    }

    fn follows(&self, rule: &Rule) -> bool {
        self.unit_nanos == rule.refill.unit_nanos()
    }

    /// Says in the time of another quota what has been used in that of the last one, rounded up. It is no more than an
    /// empty bucket's worth, so that nobody is locked out for longer than the new quota takes to refill whole.
    fn adopt(&mut self, rule: &Rule, now: u64) {
        let unit_nanos = rule.refill.unit_nanos();
        if unit_nanos == self.unit_nanos {
            return;
        }
        let debt = u128::from(self.full_at.saturating_sub(now));
        let debt = (debt * u128::from(unit_nanos)).div_ceil(u128::from(self.unit_nanos));
        let most = rule.refill.burst_nanos();
        let debt = u64::try_from(debt).unwrap_or(u64::MAX).min(most);
        self.full_at = now.saturating_add(debt);
        self.unit_nanos = unit_nanos;
        self.origin = self.origin.max(signed(now));
    }

    #[inline]
    fn room(&self, rule: &Rule, want: Want, now: u64) -> Result<(), Short> {
        let refill = &rule.refill;
        let short = |wait| Short::new(Self::LIMIT, wait);
        let capacity = refill.capacity();
        if want.cost > capacity {
            return Err(short(Wait::Never { capacity }));
        }
        let full_at = refill.after(self.full_at, since(want, now), want.units());
        match full_at.saturating_sub(now.saturating_add(refill.burst_nanos())) {
            0 => Ok(()),
            nanos => Err(short(Wait::For(nanos))),
        }
    }

    #[inline]
    fn add(&mut self, _: &Rule, want: Want, now: u64) -> Mark {
        // By the quota that it follows, which may be a newer one than that of a request that is settled.
        let unit_nanos = self.unit_nanos;
        let since = since(want, now);
        if self.full_at <= since {
            self.origin = signed(since);
        }
        let taken = want.cost.saturating_mul(unit_nanos);
        self.full_at = self.full_at.max(since).saturating_add(taken);
        Mark {
            refilled_at: self.full_at,
            origin: self.origin,
        }
    }

    /// What was taken first refills first, and earlier by all that has been given back since: that may have been taken before.
    fn give_back(&mut self, units: u64, mark: Mark, now: u64) {
        if mark.origin < self.origin {
            return;
        }
        let earlier = mark.origin.abs_diff(self.origin);
        let missing = mark.refilled_at.saturating_sub(earlier).saturating_sub(now);
        let back = units.saturating_mul(self.unit_nanos).min(missing);
        self.full_at = self.full_at.saturating_sub(back);
        self.origin = self.origin.saturating_sub_unsigned(back);
    }

    fn idle_at(&self) -> u64 {
        self.full_at
    }

    fn used(&self, now: u64) -> u64 {
        self.full_at.saturating_sub(now).div_ceil(self.unit_nanos)
    }

    fn capacity(rule: &Rule) -> u64 {
        rule.refill.capacity()
    }

    #[inline]
    fn left(&self, rule: &Rule, now: u64) -> Left {
        let debt = self.full_at.saturating_sub(now);
        Left { rule: *rule, debt }
    }

    fn standings(left: &Left, show: &mut dyn FnMut(Standing<'static>)) {
        let Rule { name, refill } = left.rule;
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

impl Rate for Bucket {
    fn rename(names: &mut &'static str, name: &'static str) {
        *names = name;
    }
}

/// What the bucket would have refilled since the queue could have moved on is owed to the queue.
fn since(want: Want, now: u64) -> u64 {
    if want.in_turn {
        now.saturating_sub(LATENESS)
    } else {
        now
    }
}

fn signed(instant: u64) -> i64 {
    i64::try_from(instant).unwrap_or(i64::MAX)
}
