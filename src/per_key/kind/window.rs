use std::{collections::VecDeque, time::Duration};

use super::{Kind, OWN, Rate, Want, sealed::Sealed};
use crate::{Decision, Limit, Quota, limit::UntilResponse, rejected::Standing};

/// Up to so many units each start is kept, and the window is exact.
const LARGEST_LOG: u64 = 256;

/// More than that are told apart by the part of the period in which they started.
const PARTS: u64 = 256;

/// More units than that are not counted, so that no sum of a few can overflow.
const MOST_UNITS: u64 = u64::MAX / 4;

/// A sliding window: in no period, at whatever offset, do more than the quota's units start.
///
/// Quotas of up to 256 units are exact. Of larger ones a unit is held for up to a 256th of the period too long, never too short.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// The oldest first.
    starts: VecDeque<Start>,
    used: u64,
    /// How long a start counts, and whether by a plan of its own: [`OWN`]. As long as that bit is as good as for ever.
    lasts: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    at: u64,
    units: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct Rule {
    name: &'static str,
    units: u64,
    period: u64,
    /// Starts are rounded up to a multiple of that.
    part: u64,
    lasts: u64,
}

/// How a window stands.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    rule: Rule,
    used: u64,
    reset: u64,
}

// ===== impl Window =====

impl Window {
    #[cfg(test)]
    pub(super) fn starts(&self) -> usize {
        self.starts.len()
    }

    fn period(&self) -> u64 {
        self.lasts & !OWN
    }

    /// How long until `units` more have all started, each as early as it can.
    fn wait(&self, rule: &Rule, units: u64, now: u64) -> u64 {
        let Some(before_last) = units.checked_sub(1) else {
            return 0;
        };
        // A unit starts a period after the one that is as many units before it as the quota has.
        let laps = rule.period.saturating_mul(before_last / rule.units);
        let units = before_last % rule.units + 1;
        let mut missing = units.saturating_sub(rule.units.saturating_sub(self.used));
        // Over its quota it is where a plan has shrunk, or more was settled than reserved.
        missing = missing.saturating_add(self.used.saturating_sub(rule.units));
        let mut free_at = now;
        for start in &self.starts {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(start.units);
            free_at = start.at.saturating_add(rule.period);
        }
        free_at.saturating_sub(now).saturating_add(laps)
    }
}

impl Sealed for Window {}

impl Kind for Window {
    type Plan = Quota;
    type Rule = Rule;
    type Names = &'static str;
    type Left = Left;
    /// When it is said to have started.
    type Mark = u64;
    type Until = UntilResponse;

    const LIMIT: Limit = Limit::SlidingWindow;
    const HELD: bool = false;

    fn rule(plan: Quota, name: &'static str) -> Rule {
        let units = plan.units().min(MOST_UNITS);
        let period = plan.period_nanos();
        let part = if units <= LARGEST_LOG {
            1
        } else {
            period.div_ceil(PARTS)
        };
        Rule {
            name,
            units,
            period,
            part,
            lasts: period.min(OWN - 1),
        }
    }

    fn own(rule: Rule) -> Rule {
        let lasts = rule.lasts | OWN;
        Rule { lasts, ..rule }
    }

    fn names(rule: &Rule) -> &'static str {
        rule.name
    }

    fn follows(&self, rule: &Rule) -> bool {
        self.lasts == rule.lasts
    }

    fn adopt(&mut self, rule: &Rule, now: u64) {
        self.lasts = rule.lasts;
        while let Some(first) = self.starts.front() {
            if first.at.saturating_add(rule.period) > now {
                break;
            }
            self.used -= first.units;
            self.starts.pop_front();
        }
    }

    fn decide(&self, rule: &Rule, want: Want, now: u64) -> Decision {
        if want.cost > rule.units {
            return Decision::Never;
        }
        Decision::after(self.wait(rule, want.units(), now))
    }

    fn add(&mut self, rule: &Rule, want: Want, now: u64) -> u64 {
        let at = now.div_ceil(rule.part).saturating_mul(rule.part);
        let units = want.cost.min(MOST_UNITS * 2 - self.used);
        // In order, though the parts were larger a moment ago.
        let last = self.starts.back_mut().filter(|last| last.at >= at);
        let mark = last.as_ref().map_or(at, |last| last.at);
        match last {
            Some(last) => last.units += units,
            None if units > 0 => self.starts.push_back(Start { at, units }),
            None => {}
        }
        self.used += units;
        mark
    }

    fn give_back(&mut self, units: u64, mark: u64, _: u64) {
        let Ok(found) = self.starts.binary_search_by_key(&mark, |start| start.at) else {
            // A period old, and back already.
            return;
        };
        let start = &mut self.starts[found];
        let back = units.min(start.units);
        start.units -= back;
        self.used -= back;
        if start.units == 0 {
            self.starts.remove(found);
        }
    }

    fn idle_at(&self) -> u64 {
        let last = self.starts.back();
        last.map_or(0, |last| last.at.saturating_add(self.period()))
    }

    fn used(&self, now: u64) -> u64 {
        let counts = |start: &&Start| start.at.saturating_add(self.period()) > now;
        self.starts
            .iter()
            .filter(counts)
            .map(|start| start.units)
            .sum()
    }

    fn capacity(rule: &Rule) -> u64 {
        rule.units
    }

    fn left(&self, rule: &Rule, now: u64) -> Left {
        let reset = self.idle_at().saturating_sub(now);
        let used = self.used;
        let rule = *rule;
        Left { rule, used, reset }
    }

    fn standings(left: &Left, show: &mut dyn FnMut(Standing<'static>)) {
        let rule = &left.rule;
        show(Standing {
            name: rule.name,
            quota: rule.units,
            window: Duration::from_nanos(rule.period),
            remaining: rule.units.saturating_sub(left.used),
            reset: Duration::from_nanos(left.reset),
        });
    }
}

impl Rate for Window {
    fn rename(names: &mut &'static str, name: &'static str) {
        *names = name;
    }
}
