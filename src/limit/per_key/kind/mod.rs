//! What is counted for a key, and by which rule: arithmetic without a clock or a lock.

mod bucket;
mod in_flight;
mod joint;
mod window;

#[cfg(all(test, not(throttle_loom)))]
mod tests;

use std::{fmt::Debug, time::Duration};

#[cfg(feature = "redis")]
use crate::limit::{nanos, store::call::LimitSpec};
use crate::{
    error::{LimitKind, Rejected},
    http::headers::rate_limit::standing::Standing,
    limit::decision::Decision,
};

pub use self::{bucket::Bucket, in_flight::InFlight, window::Window};

/// Bit of a count that follows a plan of the key's own, which the plan for all does not replace.
const OWN: u64 = 1 << 63;

/// The most units that are counted, so that a sum of a few cannot overflow. A quota of as many is
/// no limit, and is not shown.
const UNLIMITED: u64 = u64::MAX / 4;

/// What a limit per key counts: a [`Bucket`], a [`Window`], requests [`InFlight`], or a pair of
/// rates.
///
/// The limits of a key, its `Plan`, are a [`Quota`](crate::Quota), a number of requests in flight,
/// or a pair.
///
/// Sealed.
pub trait Kind: Count {}

/// What is counted for a key.
pub trait Count: Clone + Default + Send + 'static {
    /// The limits of a key: a [`Quota`](crate::Quota), a number of requests in flight, or a pair.
    type Plan: Copy + Debug + Send + Sync + 'static;

    /// A plan and its names, prepared for arithmetic.
    type Rule: Copy + Send + Sync;

    /// The names of the limits in a response.
    type Names: Copy + Send + Sync;

    /// What is left, for the headers of a response.
    type Left: Copy + Debug + Send + Sync;

    /// Where the units of one request were taken, to give them back.
    type Mark: Copy + Debug + Send + Sync;

    /// How long an admitted request holds what it took.
    type Until: Clone + Default;

    /// The kind of limit that rejects, if it is not one of several.
    const LIMIT: LimitKind;

    /// Whether units are available again only when they are given back.
    const HELD: bool = false;

    fn rule(plan: Self::Plan, names: Self::Names) -> Self::Rule;

    /// Returns the rule for a key with a plan of its own.
    fn own(rule: Self::Rule) -> Self::Rule {
        rule
    }

    /// Sets the name of the first of the limits.
    fn rename(names: &mut Self::Names, name: &'static str);

    /// Returns the name of the first of the limits.
    fn name(rule: &Self::Rule) -> Option<&'static str>;

    /// Returns whether it was last counted by this rule.
    fn follows(&self, rule: &Self::Rule) -> bool;

    /// Counts by `rule` from now on. What was used stays used.
    fn adopt(&mut self, rule: &Self::Rule, now: u64);

    /// Returns whether there is room by `rule`.
    fn decide(&self, rule: &Self::Rule, want: Want, now: u64) -> Decision;

    /// Returns the rejection of the limit that has no room.
    #[inline]
    fn room(&self, rule: &Self::Rule, want: Want, now: u64) -> Result<(), Rejected> {
        let decision = self.decide(rule, want, now);
        let admitted = decision.or_reject(Self::LIMIT, want.cost, Self::capacity(rule));
        admitted.map_err(|rejected| rejected.named(Self::name(rule)))
    }

    /// Takes `units`, whether there is room or not.
    fn add(&mut self, rule: &Self::Rule, want: Want, now: u64) -> Self::Mark;

    /// Gives back `units` of what was taken at `mark`, unless they are available already.
    fn give_back(&mut self, units: u64, mark: Self::Mark, now: u64);

    /// Returns from when on it is as if unused, except for what was [given](Self::given) back.
    fn idle_at(&self) -> u64;

    /// Returns what was given back so far, which only [grows](later). The next count of a key whose
    /// row was removed continues from there or later, so that an old mark is not taken for a new
    /// one.
    fn given(&self) -> u64 {
        0
    }

    /// Returns the count of a key without a row.
    #[must_use]
    fn after(_given: u64) -> Self {
        Self::default()
    }

    /// Returns the units in use.
    fn used(&self, now: u64) -> u64;

    /// Returns the most that it admits at once.
    fn capacity(rule: &Self::Rule) -> u64;

    fn left(&self, rule: &Self::Rule, now: u64) -> Self::Left;

    /// Returns the state of each of the limits.
    fn standings(left: &Self::Left) -> impl Iterator<Item = Standing<'static>>;

    /// Returns each of the limits of a plan. Only rates are in a store.
    #[cfg(feature = "redis")]
    fn store_limits(_: Self::Plan, _: Self::Names) -> impl Iterator<Item = StoreLimit> {
        std::iter::empty()
    }

    /// Returns what is left if this is used of each limit.
    #[cfg(feature = "redis")]
    fn left_in_store(rule: &Self::Rule, used: UsedInStore<'_>) -> Self::Left;

    /// Takes what is wanted if there is room.
    #[inline]
    fn take(&mut self, rule: &Self::Rule, want: Want, now: u64) -> Result<Self::Mark, Rejected> {
        self.adopt(rule, now);
        // Most requests fit.
        if want.cost > 0 && !(want.ahead == 0 && self.decide(rule, want, now).is_admit()) {
            self.room(rule, want, now)?;
            let wait = Some(Duration::from_nanos(1));
            let rejected = Rejected::too_long(Self::LIMIT, wait);
            return Err(rejected.named(Self::name(rule)));
        }
        Ok(self.add(rule, want, now))
    }
}

/// A kind that limits the rate at which requests start. It can be one of several, and be settled
/// and shared.
#[diagnostic::on_unimplemented(
    message = "limits of requests in flight cannot be joint, settled or shared per client"
)]
pub trait Rate: Kind {
    /// Replaces the `reserved` units at a mark by the real cost. What exceeds them counts from now
    /// on, until twice the capacity is in use, so that no key is locked out forever.
    fn settle(&mut self, rule: &Self::Rule, reserved: (u64, Self::Mark), real: u64, now: u64) {
        let (reserved, mark) = reserved;
        if self.follows(rule) {
            self.adopt(rule, now);
        }
        if real < reserved {
            self.give_back(reserved - real, mark, now);
        } else {
            let most = Self::capacity(rule).saturating_mul(2);
            let over = (real - reserved).min(most.saturating_sub(self.used(now)));
            self.add(rule, Want::at_once(over), now);
        }
    }
}

/// The units that are used of each limit, and the time until none are.
#[cfg(feature = "redis")]
pub(in crate::limit::per_key) type UsedInStore<'a> = &'a mut dyn Iterator<Item = (u64, Duration)>;

/// A limit as a store counts it.
#[cfg(feature = "redis")]
#[derive(Debug, Clone, Copy)]
pub struct StoreLimit {
    pub(in crate::limit::per_key) spec: LimitSpec,
    pub(in crate::limit::per_key) limit: LimitKind,
    pub(in crate::limit::per_key) name: &'static str,
}

/// What one request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    pub(in crate::limit::per_key) cost: u64,
    /// The cost of the requests that wait ahead of it.
    pub(in crate::limit::per_key) ahead: u64,
    /// Whether it is the head of the queue, and may be late because a timer was.
    pub(in crate::limit::per_key) in_turn: bool,
}

impl Want {
    pub(in crate::limit::per_key) fn at_once(cost: u64) -> Self {
        Self {
            cost,
            ahead: 0,
            in_turn: false,
        }
    }

    /// Returns all units that have to fit before it does.
    fn units(&self) -> u64 {
        self.ahead.saturating_add(self.cost)
    }
}

/// The state of a rate after a request.
#[derive(Debug, Clone, Copy)]
pub struct RateState {
    name: &'static str,
    quota: u64,
    window_nanos: u64,
    /// The units in use, times `unit`.
    used: u64,
    unit: u64,
    reset_nanos: u64,
}

impl RateState {
    /// The same limit after the next of some uses.
    #[cfg(feature = "redis")]
    fn after(self, used: UsedInStore<'_>) -> Self {
        let (used, reset) = used.next().unwrap_or_default();
        Self {
            used,
            unit: 1,
            reset_nanos: nanos(reset),
            ..self
        }
    }

    fn standing(&self) -> Option<Standing<'static>> {
        (self.quota < UNLIMITED).then(|| Standing {
            name: self.name,
            quota: self.quota,
            window: Duration::from_nanos(self.window_nanos),
            remaining: self.quota.saturating_sub(self.used.div_ceil(self.unit)),
            reset: Duration::from_nanos(self.reset_nanos),
        })
    }
}

/// Returns the later of two counts that wrap around.
pub(in crate::limit::per_key) fn later(one: u64, other: u64) -> u64 {
    if other.wrapping_sub(one) < 1 << 63 {
        other
    } else {
        one
    }
}
