use super::{Count, Kind, Rate, Want, later};
#[cfg(feature = "redis")]
use super::{StoreLimit, UsedInStore};
use crate::{
    error::{LimitKind, Rejected},
    http::headers::rate_limit::standing::Standing,
    limit::{decision::Decision, engine::UntilResponse},
};

/// Two limits at once: a request takes from both at one instant, or from neither.
///
/// A pair may be one of the two.
impl<A: Rate, B: Rate> Kind for (A, B) {}

impl<A: Rate, B: Rate> Count for (A, B) {
    type Plan = (A::Plan, B::Plan);
    type Rule = (A::Rule, B::Rule);
    type Names = (A::Names, B::Names);
    type Left = (A::Left, B::Left);
    type Mark = (A::Mark, B::Mark);
    type Until = UntilResponse;

    const LIMIT: LimitKind = A::LIMIT;

    fn rule((a, b): Self::Plan, (a_names, b_names): Self::Names) -> Self::Rule {
        (A::rule(a, a_names), B::rule(b, b_names))
    }

    fn own((a, b): Self::Rule) -> Self::Rule {
        (A::own(a), B::own(b))
    }

    fn rename((first, _): &mut Self::Names, name: &'static str) {
        A::rename(first, name);
    }

    fn name((first, _): &Self::Rule) -> Option<&'static str> {
        A::name(first)
    }

    fn follows(&self, (a, b): &Self::Rule) -> bool {
        self.0.follows(a) && self.1.follows(b)
    }

    fn adopt(&mut self, (a, b): &Self::Rule, now: u64) {
        self.0.adopt(a, now);
        self.1.adopt(b, now);
    }

    fn decide(&self, (a, b): &Self::Rule, want: Want, now: u64) -> Decision {
        self.0.decide(a, want, now).max(self.1.decide(b, want, now))
    }

    fn room(&self, (a, b): &Self::Rule, want: Want, now: u64) -> Result<(), Rejected> {
        // The one that takes longer; the first, if it exceeds both.
        if self.0.decide(a, want, now) < self.1.decide(b, want, now) {
            self.1.room(b, want, now)
        } else {
            self.0.room(a, want, now)
        }
    }

    fn add(&mut self, (a, b): &Self::Rule, want: Want, now: u64) -> Self::Mark {
        (self.0.add(a, want, now), self.1.add(b, want, now))
    }

    fn give_back(&mut self, units: u64, (a, b): Self::Mark, now: u64) {
        self.0.give_back(units, a, now);
        self.1.give_back(units, b, now);
    }

    fn idle_at(&self) -> u64 {
        self.0.idle_at().max(self.1.idle_at())
    }

    fn given(&self) -> u64 {
        later(self.0.given(), self.1.given())
    }

    fn after(given: u64) -> Self {
        (A::after(given), B::after(given))
    }

    fn used(&self, now: u64) -> u64 {
        self.0.used(now).max(self.1.used(now))
    }

    fn capacity((a, b): &Self::Rule) -> u64 {
        A::capacity(a).min(B::capacity(b))
    }

    fn left(&self, (a, b): &Self::Rule, now: u64) -> Self::Left {
        (self.0.left(a, now), self.1.left(b, now))
    }

    fn standings((a, b): &Self::Left) -> impl Iterator<Item = Standing<'static>> {
        A::standings(a).chain(B::standings(b))
    }

    #[cfg(feature = "redis")]
    fn store_limits(
        (a, b): Self::Plan,
        (a_names, b_names): Self::Names,
    ) -> impl Iterator<Item = StoreLimit> {
        A::store_limits(a, a_names).chain(B::store_limits(b, b_names))
    }

    #[cfg(feature = "redis")]
    fn left_in_store((a, b): &Self::Rule, used: UsedInStore<'_>) -> Self::Left {
        (A::left_in_store(a, used), B::left_in_store(b, used))
    }
}

impl<A: Rate, B: Rate> Rate for (A, B) {
    fn settle(&mut self, (a, b): &Self::Rule, reserved: (u64, Self::Mark), real: u64, now: u64) {
        let (reserved, (a_mark, b_mark)) = reserved;
        self.0.settle(a, (reserved, a_mark), real, now);
        self.1.settle(b, (reserved, b_mark), real, now);
    }
}
