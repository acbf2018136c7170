//! What is counted of a caller, and by which rule: the sums, without a clock or a lock.

mod bucket;
mod in_flight;
mod joint;
mod want;
mod window;

#[cfg(all(test, not(throttle_loom)))]
mod tests;

use std::{fmt::Debug, time::Duration};

use crate::{
    error::{LimitKind, Rejected},
    http::headers::rate_limit::standing::Standing,
    limit::decision::Decision,
};

pub(in crate::limit::per_key) use self::want::Want;
pub use self::{bucket::Bucket, in_flight::InFlight, joint::Joint, window::Window};

/// The bit of a count that says that it is by a plan of the caller's own, which no plan for all takes the place of.
const OWN: u64 = 1 << 63;

/// What a limit by caller counts: a [`Bucket`], a [`Window`], what is [`InFlight`], or two of them [at once](Joint).
///
/// Sealed: these are all there are.
pub trait Kind: Clone + Default + Send + sealed::Sealed + 'static {
    /// What a caller is allowed: a [`Quota`](crate::Quota), or how many requests in flight.
    type Plan: Copy + Debug + Send + Sync + 'static;

    /// A plan and its names, made ready for sums.
    #[doc(hidden)]
    type Rule: Copy + Send + Sync;

    /// What an answer calls the limits.
    #[doc(hidden)]
    type Names: Copy + Send + Sync;

    /// What is left, to be told in an answer.
    #[doc(hidden)]
    type Left: Copy + Debug + Send + Sync;

    /// Where that which one request took is found again.
    #[doc(hidden)]
    type Mark: Copy + Debug + Send + Sync;

    /// How long an admitted request holds what it took.
    #[doc(hidden)]
    type Until: Clone + Default;

    /// Which limit refuses, where it is not one of several.
    #[doc(hidden)]
    const LIMIT: LimitKind;

    /// Whether what was taken is there again only when it is given back.
    #[doc(hidden)]
    const HELD: bool;

    #[doc(hidden)]
    fn rule(plan: Self::Plan, names: Self::Names) -> Self::Rule;

    /// The same rule as that of a plan of the caller's own.
    #[doc(hidden)]
    fn own(rule: Self::Rule) -> Self::Rule {
        rule
    }

    #[doc(hidden)]
    fn names(rule: &Self::Rule) -> Self::Names;

    /// Gives the first of the limits another name.
    #[doc(hidden)]
    fn rename(names: &mut Self::Names, name: &'static str);

    /// Returns the name of the first of the limits.
    #[doc(hidden)]
    fn name(rule: &Self::Rule) -> Option<&'static str>;

    /// Whether it was last counted by a rule like this.
    #[doc(hidden)]
    fn follows(&self, rule: &Self::Rule) -> bool;

    /// Counts by `rule` from now on. What was used stays used.
    #[doc(hidden)]
    fn adopt(&mut self, rule: &Self::Rule, now: u64);

    /// Whether there is room, once it counts by `rule`.
    #[doc(hidden)]
    fn decide(&self, rule: &Self::Rule, want: Want, now: u64) -> Decision;

    /// The same, and which limit has none.
    #[doc(hidden)]
    #[inline]
    fn room(&self, rule: &Self::Rule, want: Want, now: u64) -> Result<(), Rejected> {
        let decision = self.decide(rule, want, now);
        let admitted = decision.or_reject(Self::LIMIT, want.cost, Self::capacity(rule));
        admitted.map_err(|rejected| rejected.named(Self::name(rule)))
    }

    /// Takes `units`, whether there is room or not.
    #[doc(hidden)]
    fn add(&mut self, rule: &Self::Rule, want: Want, now: u64) -> Self::Mark;

    /// Gives back `units` of what was taken at `mark`, as far as they are not back already.
    #[doc(hidden)]
    fn give_back(&mut self, units: u64, mark: Self::Mark, now: u64);

    /// From when on it is as if nobody had ever come, but for what it has [given](Self::given) back.
    #[doc(hidden)]
    fn idle_at(&self) -> u64;

    /// What was given back so far, and comes [after](later) all that before. A caller that comes anew goes on from there or later, so that
    /// a mark of before is not taken for one of since.
    #[doc(hidden)]
    fn given(&self) -> u64 {
        0
    }

    /// What is counted of one who comes anew.
    #[doc(hidden)]
    #[must_use]
    fn after(_given: u64) -> Self {
        Self::default()
    }

    /// The units in use.
    #[doc(hidden)]
    fn used(&self, now: u64) -> u64;

    /// The most that it ever admits at once.
    #[doc(hidden)]
    fn capacity(rule: &Self::Rule) -> u64;

    #[doc(hidden)]
    fn left(&self, rule: &Self::Rule, now: u64) -> Self::Left;

    #[doc(hidden)]
    fn standings(left: &Self::Left, show: &mut dyn FnMut(Standing<'static>));

    /// Takes what is wanted if there is room.
    #[doc(hidden)]
    #[inline]
    fn take(&mut self, rule: &Self::Rule, want: Want, now: u64) -> Result<Self::Mark, Rejected> {
        self.adopt(rule, now);
        // Most requests fit. Why one does not is found afterwards.
        if want.cost > 0 && !(want.ahead == 0 && self.decide(rule, want, now).is_admit()) {
            self.room(rule, want, now)?;
            let wait = Some(Duration::from_nanos(1));
            let rejected = Rejected::too_long(Self::LIMIT, Duration::ZERO, wait);
            return Err(rejected.named(Self::name(rule)));
        }
        Ok(self.add(rule, want, now))
    }
}

/// A kind that limits the rate at which requests start: it can be one of several, and settled.
pub trait Rate: Kind {
    /// Makes of the `reserved` units at a mark what it really was. What is over that counts from now on, until twice as much is in
    /// use as the limit holds, so that nobody is locked out for ever.
    #[doc(hidden)]
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

/// Which of two counts that go round and round is further on.
pub(in crate::limit::per_key) fn later(one: u64, other: u64) -> u64 {
    if other.wrapping_sub(one) < 1 << 63 {
        other
    } else {
        one
    }
}

mod sealed {
    /// Keeps [`Kind`](super::Kind) ours, so that it may grow.
    pub trait Sealed {}
}
