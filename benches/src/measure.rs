//! Rounds, ratios and medians.

#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

use std::time::{Duration, Instant};

/// A debug build only shows that the benchmarks run.
pub(crate) const IS_TRIAL: bool = cfg!(debug_assertions);

const ROUNDS: usize = if IS_TRIAL { 2 } else { 101 };
const CALLS: u32 = 20_000;

/// A contender: makes the given number of calls.
pub(crate) type Contender = Box<dyn FnMut(u32)>;

/// Contenders that are measured in the same rounds.
pub(crate) struct Group {
    name: &'static str,
    contenders: Vec<(&'static str, Contender)>,
    compared: Vec<Comparison>,
    /// Calls in a round.
    calls: u32,
}

/// A ratio, or a difference, that has a goal.
struct Comparison {
    name: String,
    figure: Figure,
    goal: f64,
}

enum Figure {
    /// The first over the second.
    Ratio(&'static str, &'static str),
    /// What the first adds to the third, over what the second adds to it.
    Added(&'static str, &'static str, &'static str),
    /// What the first takes longer than the second, over the third.
    Share(&'static str, &'static str, &'static str),
    /// What the first takes longer than the second, in nanoseconds.
    Nanoseconds(&'static str, &'static str),
}

// ===== impl Group =====

impl Group {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            contenders: Vec::new(),
            compared: Vec::new(),
            calls: CALLS,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Makes fewer calls in a round, because each takes long.
    pub(crate) fn calls(mut self, calls: u32) -> Self {
        self.calls = calls;
        self
    }

    pub(crate) fn contender(mut self, name: &'static str, contender: Contender) -> Self {
        self.contenders.push((name, contender));
        self
    }

    /// Compares the time of a call of `ours` with that of `theirs`.
    pub(crate) fn ratio(self, ours: &'static str, theirs: &'static str, goal: f64) -> Self {
        let name = format!("{ours} / {theirs}");
        self.compare(name, Figure::Ratio(ours, theirs), goal)
    }

    /// Compares what `ours` and `theirs` add to `bare`.
    pub(crate) fn added(
        self,
        ours: &'static str,
        theirs: &'static str,
        bare: &'static str,
        goal: f64,
    ) -> Self {
        let name = format!("added by {ours} / {theirs}");
        self.compare(name, Figure::Added(ours, theirs, bare), goal)
    }

    /// Compares what `ours` takes longer than `bare` with `whole`.
    pub(crate) fn share(
        self,
        ours: &'static str,
        bare: &'static str,
        whole: &'static str,
        goal: f64,
    ) -> Self {
        let name = format!("added by {ours} / {whole}");
        self.compare(name, Figure::Share(ours, bare, whole), goal)
    }

    /// Reports how many nanoseconds `ours` takes longer than `bare`.
    pub(crate) fn nanoseconds(self, ours: &'static str, bare: &'static str, goal: f64) -> Self {
        let name = format!("added by {ours}, ns");
        self.compare(name, Figure::Nanoseconds(ours, bare), goal)
    }

    fn compare(mut self, name: String, figure: Figure, goal: f64) -> Self {
        self.compared.push(Comparison { name, figure, goal });
        self
    }

    pub(crate) fn run(mut self) {
        println!("{}", self.name);
        let rounds = self.rounds();
        let allocations = self.allocations();
        for (number, (name, _)) in self.contenders.iter().enumerate() {
            let nanos = median(rounds.iter().map(|round| round[number]));
            println!(
                "  {name:<42} {nanos:>8.1} {:>8} {:>8} {:>7}",
                "", "", allocations[number]
            );
        }
        for Comparison { name, figure, goal } in &self.compared {
            let figure = median(rounds.iter().map(|round| self.figure(figure, round)));
            let verdict = if figure <= *goal { "" } else { "  missed" };
            println!("  {name:<42} {:>8} {figure:>8.2} {goal:>8.2}{verdict}", "");
        }
    }

    /// Nanoseconds a call, by round and contender.
    fn rounds(&mut self) -> Vec<Vec<f64>> {
        let calls = if IS_TRIAL {
            self.calls.min(50)
        } else {
            self.calls
        };
        for (_, contender) in &mut self.contenders {
            contender(calls);
        }
        (0..ROUNDS)
            .map(|round| {
                let count = self.contenders.len();
                let mut times = vec![0.0; count];
                // The first contender finds the caches of another: take turns.
                for turn in 0..count {
                    let number = (turn + round) % count;
                    let start = Instant::now();
                    (self.contenders[number].1)(calls);
                    times[number] = nanoseconds(start.elapsed()) / f64::from(calls);
                }
                times
            })
            .collect()
    }

    fn allocations(&mut self) -> Vec<String> {
        let calls = self.calls.min(1_000);
        let count = |contender: &mut Contender| {
            let counted = allocation_counter::measure(|| contender(calls));
            format!("{:.0}", counted.count_total as f64 / f64::from(calls))
        };
        let contenders = self.contenders.iter_mut();
        contenders.map(|(_, contender)| count(contender)).collect()
    }

    fn figure(&self, figure: &Figure, round: &[f64]) -> f64 {
        let time = |wanted: &str| {
            let number = self.contenders.iter().position(|(name, _)| *name == wanted);
            round[number.unwrap_or_else(|| panic!("no contender {wanted}"))]
        };
        match figure {
            Figure::Ratio(ours, theirs) => time(ours) / time(theirs),
            Figure::Added(ours, theirs, bare) => {
                (time(ours) - time(bare)) / (time(theirs) - time(bare))
            }
            Figure::Share(ours, bare, whole) => (time(ours) - time(bare)) / time(whole),
            Figure::Nanoseconds(ours, bare) => time(ours) - time(bare),
        }
    }
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
