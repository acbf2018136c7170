//! Finds the limit above which latency exceeds the baseline, the latency without a queue.
//!
//! As in Envoy's gradient controller, a step multiplies the limit by the tolerated latency divided
//! by the measured one. A lower limit measures the baseline again at intervals.

use super::window::Answers;

/// No step changes the limit by more than these factors.
const STEP: (f64, f64) = (0.5, 2.0);
/// The number of windows between two probes, and the part of the limit that a probe leaves.
const PROBE: (u32, f64) = (32, 0.75);

#[derive(Debug, Clone)]
pub(super) struct Gradient {
    /// How much the latency may be over the baseline, as a factor.
    tolerance: f64,
    /// The latency without a queue, in nanoseconds.
    pub(super) baseline: Option<f64>,
    /// The number of windows until the next probe.
    until_probe: u32,
    /// Removed if something else changes the limit.
    pub(super) descent: Option<Descent>,
}

/// The limit was lowered from `limit`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descent {
    limit: f64,
    /// The window to compare with. `None` for the window in which latency rose, which includes the
    /// time before.
    from: Option<Answers>,
}

/// The cause of a higher latency.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Unknown,
    Queue,
    /// The service, not the load, so the limit can return to this value.
    Service(f64),
}

// ===== impl Gradient =====

impl Gradient {
    pub(super) const fn new(tolerance: f64) -> Self {
        Self {
            tolerance,
            baseline: None,
            // The first latency may include a queue.
            until_probe: 2,
            descent: None,
        }
    }

    pub(super) fn step(&mut self, limit: f64, is_least: bool, answers: Answers) -> f64 {
        let latency = answers.latency;
        let known = self.baseline.unwrap_or(latency);
        let verdict = self.judge(answers);
        let is_lower = latency * self.tolerance < known;
        // There is no queue at the minimum limit.
        let is_baseline = is_lower || is_least || matches!(verdict, Verdict::Service(_));
        let baseline = if is_baseline { latency } else { known };
        self.baseline = Some(baseline);
        if let Verdict::Service(back) = verdict {
            return back;
        }
        if !answers.is_used {
            return limit;
        }
        self.until_probe = self.until_probe.saturating_sub(1);
        // If less load was that much faster, even less may be faster still.
        let is_probe = is_lower || verdict == Verdict::Queue || self.until_probe == 0;
        if is_probe && !is_least {
            self.until_probe = PROBE.0;
            let from = Some(answers);
            self.descent = Some(Descent { limit, from });
            return limit * PROBE.1;
        }
        let target = baseline * self.tolerance;
        if latency > target {
            self.descent.get_or_insert(Descent { limit, from: None });
            return limit * (1.0 - (latency - target) / answers.hold).max(STEP.0);
        }
        self.descent = None;
        (limit * (target / latency).min(STEP.1)).max(limit + 1.0)
    }

    /// Returns whether a queue is the cause: the latency of a queue falls with the load.
    fn judge(&mut self, answers: Answers) -> Verdict {
        let Some(descent) = &mut self.descent else {
            return Verdict::Unknown;
        };
        let from = *descent.from.get_or_insert(answers);
        let left = answers.in_flight / from.in_flight;
        if left > (1.0 + PROBE.1) / 2.0 {
            return Verdict::Unknown;
        }
        if answers.latency * left > from.latency {
            // Less load does not make a service slower, so something else has changed.
            descent.from = Some(answers);
            return Verdict::Unknown;
        }
        let back = descent.limit;
        self.descent = None;
        if answers.latency < from.latency * (1.0 + left) / 2.0 {
            Verdict::Queue
        } else {
            Verdict::Service(back)
        }
    }
}
