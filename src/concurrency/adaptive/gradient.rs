//! The limit at which latency begins to rise above what it is without a queue.
//!
//! By Little's law, what is too much in flight is to the limit as the time spent in a queue is to the time for which a slot is
//! held. So one step takes off all of the excess. What the latency is without a queue changes, too: a slower service can't be
//! told from a queue by its latency, but by what less load does to it.

use super::window::Seen;

/// No step takes off more than this part of the limit.
const MOST_DOWN: f64 = 0.5;
/// No step adds so much that latency would rise by more than this part, if all of it went into a queue.
const MOST_UP: f64 = 0.5;
/// But this part of the limit may be added where slots are held for much longer than the latency.
const LEAST_UP: f64 = 0.1;
/// So many steps down end any queue.
const MANY_STEPS: u32 = 5;
/// How many windows at the limit lie between two probes: after the baseline was raised, and in the long run.
const PROBE_EVERY: (u32, u32) = (4, 32);
/// The part of the limit that is left in a probe, in which there should be no queue.
const PROBE: f64 = 0.75;
/// A lower latency than this part of the baseline is no matter of chance.
const SURELY_LESS: f64 = 0.7;

#[derive(Debug, Clone)]
pub(super) struct Gradient {
    /// How much the latency may be over the baseline, as a factor.
    tolerance: f64,
    /// The latency without a queue, in nanoseconds.
    baseline: Option<f64>,
    /// How many steps upward went unhindered.
    streak: i32,
    /// Where it began to go down.
    descent: Option<Descent>,
    until_probe: u32,
    probe_every: u32,
    probing: Option<Probe>,
}

/// Where it began to go down.
#[derive(Debug, Clone, Copy)]
struct Descent {
    latency: f64,
    in_flight: f64,
    steps: u32,
}

/// Where a probe began.
#[derive(Debug, Clone, Copy)]
struct Probe {
    limit: f64,
    baseline: f64,
}

// ===== impl Gradient =====

impl Gradient {
    pub(super) const fn new(tolerance: f64) -> Self {
        Self {
            tolerance,
            baseline: None,
            streak: 0,
            descent: None,
            // The first latency may be that of an overload.
            until_probe: 0,
            probe_every: PROBE_EVERY.0,
            probing: None,
        }
    }

    pub(super) const fn baseline(&self) -> Option<f64> {
        self.baseline
    }

    /// The limit has been changed by something else.
    pub(super) fn interrupt(&mut self) {
        self.streak = 0;
        self.descent = None;
        self.probing = None;
    }

    pub(super) fn step(&mut self, limit: f64, is_least: bool, seen: &Seen) -> f64 {
        let Some(latency) = seen.latency else {
            return limit;
        };
        let baseline = self.baseline.unwrap_or(latency);
        if let Some(probe) = self.probing.take() {
            if latency < baseline * (1.0 + MOST_UP) {
                return self.probed(probe, limit, is_least, baseline, seen);
            }
        }
        let moved = self.learn(baseline, latency, is_least, seen);
        self.baseline = Some(moved);
        if seen.is_used {
            self.until_probe = self.until_probe.saturating_sub(1);
        }
        if moved > baseline && !is_least {
            self.probe_every = PROBE_EVERY.0;
            return self.probe(limit, moved);
        }
        let target = moved * self.tolerance.max(1.0 + 1.5 * seen.error);
        if latency > target {
            self.streak = 0;
            self.descent
                .get_or_insert(Descent {
                    latency,
                    in_flight: seen.in_flight,
                    steps: 0,
                })
                .steps += 1;
            return limit * (1.0 - ((latency - target) / seen.hold).min(MOST_DOWN));
        }
        self.descent = None;
        if !seen.is_used {
            self.streak = 0;
            return limit;
        }
        if self.until_probe == 0 && !is_least {
            return self.probe(limit, moved);
        }
        self.grow(limit, moved, target, latency, seen.hold)
    }

    fn grow(&mut self, limit: f64, baseline: f64, target: f64, latency: f64, hold: f64) -> f64 {
        let most = (MOST_UP * baseline / hold).max(LEAST_UP);
        let mut room = (target - latency) / hold;
        if latency < (baseline + target) / 2.0 {
            room = room.max(0.02) * 2_f64.powi(self.streak);
            self.streak = (self.streak + 1).min(30);
        } else {
            self.streak = 0;
        }
        limit * (1.0 + room.min(most))
    }

    fn probe(&mut self, limit: f64, baseline: f64) -> f64 {
        self.probing = Some(Probe { limit, baseline });
        self.until_probe = self.probe_every;
        self.probe_every = (self.probe_every * 2).min(PROBE_EVERY.1);
        self.streak = 0;
        limit * PROBE
    }

    /// The baseline, moved towards a latency as far as that says something of it.
    fn learn(&mut self, baseline: f64, latency: f64, is_least: bool, seen: &Seen) -> f64 {
        if latency < baseline * SURELY_LESS.min(1.0 - 3.0 * seen.error) {
            return latency;
        }
        if latency < baseline * (1.0 - seen.error) {
            return baseline + (latency - baseline) * 0.1;
        }
        if latency <= baseline * self.tolerance {
            return baseline;
        }
        // There is no less load to try.
        if is_least {
            return baseline + (latency - baseline) / 2.0;
        }
        // Less load has made no difference, so it was not a queue that made it slow.
        if self
            .descent
            .is_some_and(|descent| descent.is_vain(latency, seen.in_flight))
        {
            self.descent = None;
            return latency;
        }
        baseline
    }

    /// Learns from a window without a queue, and goes back.
    fn probed(
        &mut self,
        probe: Probe,
        limit: f64,
        is_least: bool,
        baseline: f64,
        seen: &Seen,
    ) -> f64 {
        self.streak = 0;
        let latency = seen.latency.unwrap_or(baseline);
        // Where less load was that much faster, still less may be faster yet.
        if latency < baseline * (1.0 - (1.5 * seen.error).max(0.07)) {
            self.baseline = Some(latency);
            if is_least {
                return limit;
            }
            self.probing = Some(probe);
            return limit * PROBE;
        }
        let learned = baseline + (latency - baseline) / 2.0;
        self.baseline = Some(learned);
        // What was too much by the old baseline is too much by that factor more.
        (probe.limit * (learned / probe.baseline).min(1.0)).max(limit)
    }
}

// ===== impl Descent =====

impl Descent {
    /// Whether the latency is not that of a queue: it has fallen by less than half as much as the load, or hardly after many
    /// steps, each of which should have ended the queue.
    fn is_vain(&self, latency: f64, in_flight: f64) -> bool {
        let left = in_flight / self.in_flight;
        let has_stayed = self.steps >= MANY_STEPS && latency > self.latency * 0.9;
        has_stayed || left < 0.8 && latency > self.latency * (1.0 + left) / 2.0
    }
}
