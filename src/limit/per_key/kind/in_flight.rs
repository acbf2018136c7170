use std::{fmt, marker::PhantomData};

use super::{Kind, Want, sealed::Sealed};
use crate::{
    error::LimitKind,
    http::headers::rate_limit::standing::Standing,
    limit::{decision::Decision, engine::UntilBodyEnd},
};

/// How many requests of a caller are in flight: to the end of each response's body, or until the response, as `H` says.
#[derive(Clone)]
pub struct InFlight<H = UntilBodyEnd> {
    count: u64,
    until: PhantomData<fn() -> H>,
}

impl<H> Default for InFlight<H> {
    fn default() -> Self {
        let (count, until) = (0, PhantomData);
        Self { count, until }
    }
}

impl<H> fmt::Debug for InFlight<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.count).finish()
    }
}

impl<H> Sealed for InFlight<H> {}

impl<H: Clone + Default + 'static> Kind for InFlight<H> {
    type Plan = usize;
    type Rule = u64;
    type Names = ();
    type Left = ();
    type Mark = ();
    type Until = H;

    const LIMIT: LimitKind = LimitKind::Concurrency;
    const HELD: bool = true;

    fn rule(plan: usize, (): ()) -> u64 {
        plan as u64
    }

    fn names(_: &u64) {}

    fn follows(&self, _: &u64) -> bool {
        true
    }

    fn adopt(&mut self, _: &u64, _: u64) {}

    fn decide(&self, limit: &u64, want: Want, _: u64) -> Decision {
        if want.cost > *limit {
            Decision::Never
        } else if want.units() > limit.saturating_sub(self.count) {
            Decision::WAIT_FOR_OTHERS
        } else {
            Decision::Admit
        }
    }

    fn add(&mut self, _: &u64, want: Want, _: u64) {
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

    fn capacity(limit: &u64) -> u64 {
        *limit
    }

    fn left(&self, _: &u64, _: u64) {}

    fn standings((): &(), _: &mut dyn FnMut(Standing<'static>)) {}
}
