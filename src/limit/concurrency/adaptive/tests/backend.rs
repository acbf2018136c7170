//! A simulated backend with a number of workers.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use super::super::{
    Adaptive,
    control::Control,
    window::{Sample, SampleOutcome},
};

/// A period in which a backend does not change. Times are in seconds.
#[derive(Clone, Copy)]
pub(super) struct Phase {
    pub(super) lasts: f64,
    pub(super) workers: usize,
    pub(super) to_first_byte: f64,
    pub(super) rest: f64,
    pub(super) refuses: Refuses,
    /// The number of calls, as a multiple of the capacity.
    pub(super) load: f64,
}

/// The rejections of a backend.
#[derive(Clone, Copy)]
pub(super) struct Refuses {
    /// This share of all requests.
    pub(super) part: f64,
    /// All requests above this number in flight.
    pub(super) over: usize,
    /// The time of a rejection, as a multiple of a response's.
    pub(super) takes: f64,
}

/// The results of the second half of a phase.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The number of responses, as a share of the capacity.
    pub(super) answered: f64,
    /// The mean limit.
    pub(super) limit: f64,
    /// The rejected share of the requests.
    pub(super) refused: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Call,
    FirstByte(Call),
    End(Call),
    Refused(Call),
}

/// The start of the call, and its client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    started: u64,
    client: usize,
}

/// A process with a limit of its own.
struct Client {
    control: Control,
    in_flight: usize,
}

pub(super) struct Backend {
    clients: Vec<Client>,
    random: u64,
    now: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    queue: VecDeque<Call>,
    busy: usize,
}

impl Backend {
    pub(super) fn new(settings: &Adaptive, seed: u64) -> Self {
        Self::shared(settings, seed, 1)
    }

    /// Creates a backend with several independent clients.
    pub(super) fn shared(settings: &Adaptive, seed: u64, clients: usize) -> Self {
        let client = || Client {
            control: Control::new(settings, 0),
            in_flight: 0,
        };
        Self {
            clients: (0..clients).map(|_| client()).collect(),
            random: 0x2545_F491_4F6C_DD1D ^ (seed << 32),
            now: 0,
            events: BinaryHeap::from([Reverse((0, Event::Call))]),
            queue: VecDeque::new(),
            busy: 0,
        }
    }

    /// Returns a number from 0 to 1.
    fn roll(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a factor around 1: half of them between 0.6 and 1.2, and one in a hundred above 2.8.
    fn factor(&mut self) -> f64 {
        let normal = (0..12).map(|_| self.roll()).sum::<f64>() - 6.0;
        (0.5 * normal - 0.125).exp()
    }

    fn after(&mut self, seconds: f64, event: Event) {
        let at = self.now + (seconds * 1e9) as u64;
        self.events.push(Reverse((at, event)));
    }

    fn sample(&mut self, call: Call, outcome: SampleOutcome) {
        let client = &mut self.clients[call.client];
        let sample = Sample {
            started: call.started,
            idle: 0,
            now: self.now,
            in_flight: client.in_flight,
            outcome,
        };
        client.control.sample(&sample);
    }

    fn end(&mut self, call: Call) {
        let client = &mut self.clients[call.client];
        client.in_flight -= 1;
    }

    /// Returns the sum over all clients.
    fn sum(&self, of: fn(&Client) -> usize) -> usize {
        self.clients.iter().map(of).sum()
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
                    limits.extend(
                        (since > half).then(|| self.sum(|client| client.control.limit()) as f64),
                    );
                    let client = (self.roll() * self.clients.len() as f64) as usize;
                    let asking = &mut self.clients[client];
                    if asking.in_flight < asking.control.limit() {
                        asking.in_flight += 1;
                        let in_flight = self.sum(|client| client.in_flight);
                        let call = Call {
                            started: at,
                            client,
                        };
                        let refuses = phase.refuses;
                        if self.roll() < refuses.part || in_flight > refuses.over {
                            self.after(phase.to_first_byte * refuses.takes, Event::Refused(call));
                        } else {
                            self.queue.push_back(call);
                        }
                    }
                }
                Event::FirstByte(call) => self.sample(call, SampleOutcome::Answered),
                Event::Refused(call) => {
                    self.sample(call, SampleOutcome::Overloaded);
                    self.end(call);
                    refused += if since > half { 1.0 } else { 0.0 };
                }
                Event::End(call) => {
                    self.end(call);
                    self.busy -= 1;
                    answers += if since > half { 1.0 } else { 0.0 };
                }
            }
            while self.busy < phase.workers {
                let Some(call) = self.queue.pop_front() else {
                    break;
                };
                self.busy += 1;
                let first = phase.to_first_byte * self.factor();
                let rest = phase.rest * self.factor();
                self.after(first, Event::FirstByte(call));
                self.after(first + rest, Event::End(call));
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
