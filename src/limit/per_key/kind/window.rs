use super::{Count, Kind, OWN, Rate, RateState, UNLIMITED, Want};
#[cfg(feature = "redis")]
use super::{StoreLimit, UsedInStore};
#[cfg(feature = "redis")]
use crate::limit::store::call::LimitSpec;
use crate::{
    error::LimitKind,
    http::headers::rate_limit::standing::Standing,
    limit::{
        algorithm::{window as plain_window, window::Period},
        decision::Decision,
        engine::UntilResponse,
        quota::Quota,
    },
};

/// Up to this many units, each start is stored and the window is exact.
const LARGEST_LOG: u64 = 256;

/// Sliding window: in no period, wherever it starts, do more than the quota's units start.
///
/// Quotas of up to 256 units are exact. With larger ones a unit counts for up to a 256th of the
/// period too long.
#[derive(Debug, Clone, Default)]
pub struct Window {
    starts: plain_window::RefundableWindow,
    /// How long a start counts, and [`OWN`]. A period as long as that bit is forever.
    lasts: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct WindowRule {
    name: &'static str,
    units: u64,
    period: Period,
    lasts: u64,
}

// ===== impl Window =====

impl Window {
    #[cfg(all(test, not(throttle_loom)))]
    pub(super) fn starts(&self) -> usize {
        self.starts.starts()
    }

    fn period(&self) -> u64 {
        self.lasts & !OWN
    }
}

impl Kind for Window {}

impl Count for Window {
    type Plan = Quota;
    type Rule = WindowRule;
    type Names = &'static str;
    type Left = RateState;
    /// When it counts as started.
    type Mark = u64;
    type Until = UntilResponse;

    const LIMIT: LimitKind = LimitKind::SlidingWindow;

    fn rule(plan: Quota, name: &'static str) -> WindowRule {
        let units = plan.units().min(UNLIMITED);
        let nanos = plan.period_nanos();
        WindowRule {
            name,
            units,
            period: Period::of(nanos, units <= LARGEST_LOG),
            lasts: nanos.min(OWN - 1),
        }
    }

    fn own(rule: WindowRule) -> WindowRule {
        let lasts = rule.lasts | OWN;
        WindowRule { lasts, ..rule }
    }

    fn rename(names: &mut &'static str, name: &'static str) {
        *names = name;
    }

    fn name(rule: &WindowRule) -> Option<&'static str> {
        Some(rule.name)
    }

    fn follows(&self, rule: &WindowRule) -> bool {
        self.lasts == rule.lasts
    }

    fn adopt(&mut self, rule: &WindowRule, now: u64) {
        self.lasts = rule.lasts;
        self.starts.advance(rule.period.nanos, now);
    }

    fn decide(&self, rule: &WindowRule, want: Want, now: u64) -> Decision {
        if want.cost > rule.units {
            return Decision::Never;
        }
        let (units, period) = (want.units(), &rule.period);
        Decision::after(self.starts.wait(rule.units, period, units, now))
    }

    fn add(&mut self, rule: &WindowRule, want: Want, now: u64) -> u64 {
        let at = self.starts.start(&rule.period, now);
        self.starts.take(at, want.cost);
        at
    }

    fn give_back(&mut self, units: u64, mark: u64, _: u64) {
        self.starts.give_back(mark, units);
    }

    fn idle_at(&self) -> u64 {
        self.starts.empty_at(self.period())
    }

    fn used(&self, now: u64) -> u64 {
        self.starts.used_at(self.period(), now)
    }

    fn capacity(rule: &WindowRule) -> u64 {
        rule.units
    }

    fn left(&self, rule: &WindowRule, now: u64) -> RateState {
        RateState {
            name: rule.name,
            quota: rule.units,
            window_nanos: rule.period.nanos,
            used: self.starts.used(),
            unit: 1,
            reset_nanos: self.idle_at().saturating_sub(now),
        }
    }

    fn standings(left: &RateState) -> impl Iterator<Item = Standing<'static>> {
        left.standing().into_iter()
    }

    #[cfg(feature = "redis")]
    fn store_limits(plan: Quota, name: &'static str) -> impl Iterator<Item = StoreLimit> {
        std::iter::once(StoreLimit {
            spec: LimitSpec::window(&plan),
            limit: Self::LIMIT,
            name,
        })
    }

    #[cfg(feature = "redis")]
    fn left_in_store(rule: &WindowRule, used: UsedInStore<'_>) -> RateState {
        Self::default().left(rule, 0).after(used)
    }
}

impl Rate for Window {}
