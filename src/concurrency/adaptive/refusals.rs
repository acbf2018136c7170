//! Whether refusals are of load at all.
//!
//! One machine of ten that is broken refuses a tenth of what it gets, however little that is. Less in flight mends nothing then, and as
//! each refusal lowers the limit, the other nine would have hardly anything to do.

/// So many requests tell how large a part of them is refused.
const ENOUGH: u64 = 100;
/// How much less in flight shows what refusals are of.
const LESS: f64 = 2.0 / 3.0;

/// What is known of refusals.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refusals {
    /// The part that is refused whatever is in flight. No more than a half.
    usual: f64,
    recent: Part,
    descent: Option<Descent>,
}

/// How much was refused.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    of: u64,
    refused: u64,
}

/// What came of it that refusals lowered the limit.
#[derive(Debug, Clone, Copy)]
struct Descent {
    /// Where it began.
    from: f64,
    /// Of the requests until the limit was so much [less](LESS).
    above: Part,
    /// And since then.
    below: Part,
}

// ===== impl Refusals =====

impl Refusals {
    /// Takes in what became of a request under a limit.
    pub(super) fn count(&mut self, limit: f64, refused: bool) {
        self.recent.count(refused);
        if self.recent.of == 2 * ENOUGH {
            if self.recent.share() < self.usual / 3.0 {
                self.usual = self.recent.share();
            }
            self.recent = Part::default();
        }
        if let Some(descent) = &mut self.descent {
            if limit > descent.from * LESS {
                descent.above.count(refused);
            } else {
                descent.below.count(refused);
            }
        }
    }

    /// Whether so many are surely more than there always are.
    pub(super) fn are_many(&self, refused: usize, of: usize) -> bool {
        if self.usual == 0.0 {
            return refused > 0;
        }
        let most = (3.0 * self.usual).min(0.5 + self.usual / 2.0);
        refused as f64 > most * of as f64 + 1.0
    }

    /// Whether there always are some.
    pub(super) fn are_usual(&self) -> bool {
        self.usual > 0.0
    }

    /// The limit has been changed by something else.
    pub(super) fn interrupt(&mut self) {
        self.descent = None;
    }

    /// Hears of a step, before it is done. Returns the limit to go back to where all those before were in vain.
    pub(super) fn step(&mut self, limit: f64, are_many: bool) -> Option<f64> {
        let Some(descent) = self.descent else {
            self.descent = are_many.then(|| Descent::new(limit));
            return None;
        };
        let has_come_back = !are_many && limit >= descent.from;
        if has_come_back || descent.below.of >= ENOUGH {
            self.descent = None;
        }
        if has_come_back || !descent.is_vain() {
            return None;
        }
        self.usual = descent.above.share().max(descent.below.share());
        Some(descent.from)
    }
}

// ===== impl Descent =====

impl Descent {
    fn new(from: f64) -> Self {
        let (above, below) = Default::default();
        Self { from, above, below }
    }

    /// Of up to a half, two thirds of the load would have left less than half, had it been of load.
    fn is_vain(&self) -> bool {
        let (before, after) = (self.above.share(), self.below.share());
        let is_part = before.max(after) <= 0.5 && after > 0.0;
        self.below.of >= ENOUGH && is_part && after >= before / 2.0
    }
}

// ===== impl Part =====

impl Part {
    fn count(&mut self, refused: bool) {
        self.of += 1;
        self.refused += u64::from(refused);
    }

    fn share(&self) -> f64 {
        self.refused as f64 / self.of.max(1) as f64
    }
}
