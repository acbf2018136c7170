//! Whether refusals are of load at all.
//!
//! One machine of ten that is broken refuses a tenth of what it gets, however little that is. Less in flight mends nothing then, and as
//! each refusal lowers the limit, the other nine would have hardly anything to do.

/// So many requests tell how large a part of them is refused.
const ENOUGH: f64 = 100.0;
/// Where that many are expected, hardly a third of them comes by chance.
const SURE: f64 = 20.0;
/// To how much a limit has to be lowered, and what is in flight with it, to show what refusals are of.
const LESS: (f64, f64) = (2.0 / 3.0, 0.8);
/// No larger part than this is held to be refused whatever the load. Of what several clients ask of one server, each of them makes little
/// difference, and what they all take for granted is refused.
const MOST: f64 = 0.25;
/// After so many steps without refusals there was nothing to go down for.
const CALM: u32 = 30;
/// After so many requests it is tried once more what refusals are of, were all refused. The fewer are, the less it matters: it takes as
/// many more as the square of their part is less.
const DOUBT: f64 = 1_200.0;
/// But no sooner than after so many times the limit, and no later than after so many requests.
const DOUBT_WITHIN: (f64, f64) = (60.0, 1e6);

/// What is known of refusals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusals {
    /// To how much a limit has to be lowered.
    less: f64,
    /// The part that is refused whatever is in flight.
    usual: f64,
    /// So many requests from now it is to be doubted.
    until_doubt: f64,
    /// What has come since it was last seen whether still as many are refused.
    recent: Part,
    descent: Option<Descent>,
}

/// What became of requests.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    of: f64,
    refused: f64,
    in_flight: f64,
}

/// What came of it that refusals lowered the limit.
#[derive(Debug, Clone, Copy)]
struct Descent {
    /// Where it began.
    from: f64,
    /// How many steps there were since the last one down.
    calm: u32,
    /// Of the latest requests until the limit was so much [less](LESS).
    above: Part,
    /// And since then.
    below: Part,
}

// ===== impl Refusals =====

impl Refusals {
    /// For a limit of which a refusal leaves so much.
    pub(super) fn new(backoff: f64) -> Self {
        Self {
            // Or nothing would be known of before.
            less: LESS.0.min(backoff * backoff),
            usual: 0.0,
            until_doubt: 0.0,
            recent: Part::default(),
            descent: None,
        }
    }

    /// Takes in what became of a request under a limit.
    pub(super) fn count(&mut self, limit: f64, is_least: bool, in_flight: usize, refused: bool) {
        if self.usual > 0.0 {
            self.recent.count(in_flight, refused);
            self.review();
        }
        if let Some(descent) = &mut self.descent {
            let is_above = limit > descent.from * self.less && !is_least;
            let part = if is_above {
                &mut descent.above
            } else {
                &mut descent.below
            };
            part.count(in_flight, refused);
            part.age();
        }
    }

    /// Forgets what is usual, or makes it less.
    fn review(&mut self) {
        self.until_doubt -= 1.0;
        let Part { of, .. } = self.recent;
        if of >= 2.0 * ENOUGH && of * self.usual >= SURE {
            let share = self.recent.share();
            if share > self.many() {
                self.usual = 0.0;
            } else if share < self.usual / 3.0 {
                self.usual = share;
            }
            self.recent = Part::default();
        }
        if self.until_doubt < 0.0 {
            self.usual = 0.0;
        }
    }

    /// The part that is more than there always is, however much chance adds.
    fn many(&self) -> f64 {
        (3.0 * self.usual).min(0.5 + self.usual / 2.0)
    }

    /// Whether so many are surely more than there always are.
    pub(super) fn are_many(&self, refused: usize, of: usize) -> bool {
        if self.usual == 0.0 {
            return refused > 0;
        }
        refused as f64 > self.many() * of as f64 + 2.0
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
    pub(super) fn step(&mut self, limit: f64, is_least: bool, are_many: bool) -> Option<f64> {
        let Some(descent) = &mut self.descent else {
            self.descent = are_many.then(|| Descent::new(limit));
            return None;
        };
        descent.calm = if are_many { 0 } else { descent.calm + 1 };
        let has_come_back = !are_many && limit >= descent.from && !is_least;
        let descent = *descent;
        let is_over = descent.is_over(is_least);
        if has_come_back || is_over || descent.calm > CALM {
            self.descent = None;
        }
        let is_vain = is_over && !has_come_back && descent.is_vain(is_least);
        is_vain.then(|| {
            self.believe(&descent);
            descent.from
        })
    }

    /// From here on, until it is to be doubted, what a descent has not made less is usual.
    fn believe(&mut self, descent: &Descent) {
        let (before, after) = (descent.above.share(), descent.below.share());
        // At the least limit it is no matter what was refused before, such as by an outage.
        self.usual = before.max(after).min(2.0 * after);
        let (soonest, latest) = DOUBT_WITHIN;
        let until_doubt = DOUBT / self.usual.powi(2);
        self.until_doubt = until_doubt.max(descent.from * soonest).min(latest);
        self.recent = Part::default();
    }
}

// ===== impl Descent =====

impl Descent {
    fn new(from: f64) -> Self {
        let (calm, above, below) = Default::default();
        Self {
            from,
            calm,
            above,
            below,
        }
    }

    /// Whether it can be told what the refusals are of. A limit that nobody reaches keeps nothing from the other side.
    fn is_over(&self, is_least: bool) -> bool {
        let is_less = self.below.in_flight() < self.above.in_flight() * LESS.1;
        let is_sure = is_least && self.below.refused >= SURE / 2.0;
        self.below.of >= ENOUGH && (is_less || is_sure)
    }

    /// Two thirds of the load would have left less than half, had it been of load; and the least load nothing.
    fn is_vain(&self, is_least: bool) -> bool {
        let (before, after) = (self.above.share(), self.below.share());
        let is_part = after > 0.0 && after <= MOST;
        is_part && (is_least || before <= MOST && after >= before / 2.0)
    }
}

// ===== impl Part =====

impl Part {
    fn count(&mut self, in_flight: usize, refused: bool) {
        self.of += 1.0;
        self.refused += f64::from(u8::from(refused));
        self.in_flight += in_flight as f64;
    }

    /// Forgets, but no more than leaves enough.
    fn age(&mut self) {
        if self.of >= 2.0 * ENOUGH && self.refused >= SURE {
            self.of /= 2.0;
            self.refused /= 2.0;
            self.in_flight /= 2.0;
        }
    }

    fn share(&self) -> f64 {
        self.refused / self.of.max(1.0)
    }

    /// On average.
    fn in_flight(&self) -> f64 {
        self.in_flight / self.of.max(1.0)
    }
}
