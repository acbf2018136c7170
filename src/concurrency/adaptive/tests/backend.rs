//! A backend of so many workers, in simulated time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use super::super::{
    Adaptive,
    control::Control,
    window::{Outcome, Sample},
};

/// A time in which a backend stays the same. Times are in seconds.
#[derive(Clone, Copy)]
pub(super) struct Phase {
    pub(super) lasts: f64,
    pub(super) workers: usize,
    pub(super) to_first_byte: f64,
    pub(super) rest: f64,
    pub(super) refuses: Refuses,
    /// So many times as many calls come as can be answered.
    pub(super) load: f64,
}

/// What a backend refuses.
#[derive(Clone, Copy)]
pub(super) struct Refuses {
    /// This part of what it gets, however much that is.
    pub(super) part: f64,
    /// And what is more than so many in flight.
    pub(super) over: usize,
    /// It takes so many times as long as an answer.
    pub(super) takes: f64,
}

/// What came of a phase, in its second half.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The part of what could be answered that was.
    pub(super) answered: f64,
    /// The mean limit.
    pub(super) limit: f64,
    /// The part of what was sent that was refused.
    pub(super) refused: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Call,
    FirstByte(u64),
    End(u64),
    Refused(u64),
}

pub(super) struct Backend {
    control: Control,
    random: u64,
    now: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    queue: VecDeque<u64>,
    busy: usize,
    in_flight: usize,
    held: (u64, u64),
}

impl Backend {
    pub(super) fn new(settings: &Adaptive, seed: u64) -> Self {
        Self {
            control: Control::new(settings, 0),
            random: 0x2545_F491_4F6C_DD1D ^ (seed << 32),
            now: 0,
            events: BinaryHeap::from([Reverse((0, Event::Call))]),
            queue: VecDeque::new(),
            busy: 0,
            in_flight: 0,
            held: (0, 0),
        }
    }

    /// From 0 to 1.
    fn roll(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A factor around 1: half of them between 0.6 and 1.2, and one in a hundred over 2.8.
    fn factor(&mut self) -> f64 {
        let normal = (0..12).map(|_| self.roll()).sum::<f64>() - 6.0;
        (0.5 * normal - 0.125).exp()
    }

    fn after(&mut self, seconds: f64, event: Event) {
        let at = self.now + (seconds * 1e9) as u64;
        self.events.push(Reverse((at, event)));
    }

    fn sample(&mut self, started: u64, outcome: Outcome) {
        let sample = Sample {
            started,
            idle: 0,
            now: self.now,
            in_flight: self.in_flight,
            outcome,
        };
        let held = &mut self.held;
        self.control.sample(&sample, || std::mem::take(held));
    }

    pub(super) fn run(&mut self, phase: Phase) -> Run {
        let (begin, capacity) = (
            self.now,
            phase.workers as f64 / (phase.to_first_byte + phase.rest),
        );
        let (half, end) = (phase.lasts * 0.5e9, phase.lasts * 1e9);
        let (mut answers, mut refused, mut limits) = (0.0, 0.0, Vec::new());
        while let Some(Reverse((at, event))) = self.events.pop() {
            self.now = at;
            let since = (at - begin) as f64;
            match event {
                Event::Call => {
                    let wait = -(1.0 - self.roll()).ln() / capacity / phase.load;
                    self.after(wait, Event::Call);
                    limits.extend((since > half).then(|| self.control.limit() as f64));
                    if self.in_flight < self.control.limit() {
                        self.in_flight += 1;
                        let refuses = phase.refuses;
                        if self.roll() < refuses.part || self.in_flight > refuses.over {
                            self.after(phase.to_first_byte * refuses.takes, Event::Refused(at));
                        } else {
                            self.queue.push_back(at);
                        }
                    }
                }
                Event::FirstByte(started) => self.sample(started, Outcome::Answered),
                Event::Refused(started) => {
                    self.sample(started, Outcome::Overloaded);
                    refused += if since > half { 1.0 } else { 0.0 };
                    self.in_flight -= 1;
                    self.held = (self.held.0 + (at - started), self.held.1 + 1);
                }
                Event::End(started) => {
                    self.in_flight -= 1;
                    self.busy -= 1;
                    self.held = (self.held.0 + (at - started), self.held.1 + 1);
                    answers += if since > half { 1.0 } else { 0.0 };
                }
            }
            while self.busy < phase.workers {
                let Some(started) = self.queue.pop_front() else {
                    break;
                };
                self.busy += 1;
                let first = phase.to_first_byte * self.factor();
                let rest = phase.rest * self.factor();
                self.after(first, Event::FirstByte(started));
                self.after(first + rest, Event::End(started));
            }
            if since > end {
                break;
            }
        }
        let most = capacity
            * phase.load.min(1.0)
            * (phase.refuses.over as f64 / phase.workers as f64).min(1.0);
        Run {
            answered: answers / (most * phase.lasts / 2.0),
            limit: limits.iter().sum::<f64>() / limits.len() as f64,
            refused: refused / (answers + refused),
        }
    }
}

impl Refuses {
    pub(super) const NOTHING: Self = Self {
        part: 0.0,
        over: usize::MAX,
        takes: 0.1,
    };

    pub(super) const fn part(part: f64) -> Self {
        Self {
            part,
            ..Self::NOTHING
        }
    }

    pub(super) const fn over(over: usize) -> Self {
        Self {
            over,
            ..Self::NOTHING
        }
    }
}
