use std::marker::PhantomData;

#[cfg(feature = "redis")]
use super::UsedInStore;
use super::{Count, Kind, Want};
use crate::{
    error::LimitKind,
    http::headers::rate_limit::standing::Standing,
    limit::{decision::Decision, engine::UntilBodyEnd},
};

/// Limit of requests in flight, by default until the end of each response's body.
#[derive(Clone, Default)]
pub struct InFlight<H = UntilBodyEnd> {
    count: u64,
    until: PhantomData<fn() -> H>,
}

/// A limit of requests in flight, and its name.
#[derive(Debug, Clone, Copy)]
pub struct InFlightRule {
    name: Option<&'static str>,
    limit: u64,
}

crate::macros::debug!(impl<H> Debug for InFlight<H> |self| { count, .. });

impl<H: Clone + Default + 'static> Kind for InFlight<H> {}

impl<H: Clone + Default + 'static> Count for InFlight<H> {
    type Plan = usize;
    type Rule = InFlightRule;
    type Names = Option<&'static str>;
    type Left = ();
    type Mark = ();
    type Until = H;

    const LIMIT: LimitKind = LimitKind::Concurrency;
    const HELD: bool = true;

    fn rule(plan: usize, name: Option<&'static str>) -> InFlightRule {
        let limit = plan as u64;
        InFlightRule { name, limit }
    }

    fn rename(names: &mut Option<&'static str>, name: &'static str) {
        *names = Some(name);
    }

    fn name(rule: &InFlightRule) -> Option<&'static str> {
        rule.name
    }

    fn follows(&self, _: &InFlightRule) -> bool {
        true
    }

    fn adopt(&mut self, _: &InFlightRule, _: u64) {}

    fn decide(&self, rule: &InFlightRule, want: Want, _: u64) -> Decision {
        if want.cost > rule.limit {
            Decision::Never
        } else if want.units() > rule.limit.saturating_sub(self.count) {
            Decision::WAIT_FOR_OTHERS
        } else {
            Decision::Admit
        }
    }

    fn add(&mut self, _: &InFlightRule, want: Want, _: u64) {
        self.count += want.cost;
    }

    fn give_back(&mut self, units: u64, (): (), _: u64) {
        self.count -= units;
    }

    fn idle_at(&self) -> u64 {
        if self.count == 0 { 0 } else { u64::MAX }
    }

    fn used(&self, _: u64) -> u64 {
        self.count
    }

    fn capacity(rule: &InFlightRule) -> u64 {
        rule.limit
    }

    fn left(&self, _: &InFlightRule, _: u64) {}

    fn standings((): &()) -> impl Iterator<Item = Standing<'static>> {
        std::iter::empty()
    }

    #[cfg(feature = "redis")]
    fn left_in_store(_: &InFlightRule, _: UsedInStore<'_>) {}
}
