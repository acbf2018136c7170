//! The laws alone: whatever the samples, and against backends of so many workers.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    Adaptive,
    control::Control,
    window::{Outcome, Sample},
};

fn settings() -> impl Strategy<Value = Adaptive> {
    let kind = prop_oneof![
        Just(Adaptive::gradient()),
        any::<u64>().prop_map(|nanos| Adaptive::aimd(Duration::from_nanos(nanos))),
    ];
    let numbers = (
        any::<f64>(),
        any::<f64>(),
        any::<[usize; 3]>(),
        any::<bool>(),
    );
    (kind, numbers).prop_map(|(kind, (tolerance, backoff, sizes, is_small))| {
        let [min, max, initial] = sizes.map(|size| if is_small { size % 100 } else { size });
        kind.tolerance(tolerance)
            .backoff(backoff)
            .min(min)
            .max(max)
            .initial(initial)
    })
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..1_000_000_000_u64]
}

fn sample() -> impl Strategy<Value = Sample> {
    let outcome = prop_oneof![
        Just(Outcome::Answered),
        Just(Outcome::Overloaded),
        Just(Outcome::Dropped)
    ];
    let in_flight = prop_oneof![any::<usize>(), 0..100_usize];
    (time(), time(), time(), in_flight, outcome).prop_map(
        |(started, idle, now, in_flight, outcome)| Sample {
            started,
            idle,
            now,
            in_flight,
            outcome,
        },
    )
}

proptest! {
    /// Also where the clock goes back, and where nobody could have been in flight.
    #[test]
    fn the_limit_is_a_number_within_its_bounds(
        settings in settings(),
        samples in proptest::collection::vec((sample(), any::<(u64, u64)>(), 1..40_usize), 0..60),
    ) {
        let mut control = Control::new(&settings, 0);
        for (sample, held, times) in samples {
            for _ in 0..times {
                control.sample(&sample, || held);
                let limit = control.limit();
                prop_assert!(limit >= 1 && limit >= settings.min && limit <= settings.max);
            }
        }
        control.force(usize::MAX, 0);
        prop_assert_eq!(control.limit(), settings.max);
        control.force(0, 0);
        prop_assert_eq!(control.limit(), settings.min);
    }

    #[test]
    fn answers_to_a_few_do_not_raise_the_limit(took in 1..1_000_000_000_u64, in_flight in 1..70_usize) {
        for settings in [Adaptive::gradient(), Adaptive::aimd(Duration::from_secs(1))] {
            let mut control = Control::new(&settings.initial(100), 0);
            for number in 0..500 {
                let started = number * took;
                let outcome = Outcome::Answered;
                control.sample(&Sample { started, idle: 0, now: started + took, in_flight, outcome }, || (took, 1));
            }
            prop_assert_eq!(control.limit(), 100);
        }
    }

    /// Such as when the machine stood still.
    #[test]
    fn answers_that_took_for_ever_once_do_not_hold_up_the_limit(hours in 1..10_000_u64, in_flight in 75..101_usize) {
        let mut control = Control::new(&Adaptive::gradient().initial(100), 0);
        let outcome = Outcome::Answered;
        let mut now = hours * 3_600_000_000_000;
        for _ in 0..100 {
            control.sample(&Sample { started: 1, idle: 0, now, in_flight, outcome }, || (0, 0));
        }
        for _ in 0..10_000 {
            let started = now;
            now += 1_000_000;
            control.sample(&Sample { started, idle: 0, now, in_flight, outcome }, || (0, 0));
        }
        prop_assert!(control.limit() > 100);
    }

    /// However many failures there are, they are one step in a round trip.
    #[test]
    fn failures_lower_the_limit_once_in_a_round_trip(failures in 1..2_000_u64) {
        let mut control = Control::new(&Adaptive::gradient().initial(100), 0);
        for number in 0..failures {
            let now = 20_000_000 + number;
            let sample = Sample { started: 1, idle: 0, now, in_flight: 100, outcome: Outcome::Overloaded };
            control.sample(&sample, || (0, 0));
        }
        prop_assert_eq!(control.limit(), 90);
    }
}

/// A time in which a backend stays the same. Times are in seconds.
#[derive(Clone, Copy)]
struct Phase {
    lasts: f64,
    workers: usize,
    to_first_byte: f64,
    rest: f64,
    refuses: Refuses,
}

/// What a backend refuses, in a tenth of the time that an answer takes.
#[derive(Clone, Copy)]
enum Refuses {
    Nothing,
    /// A part of what it gets, whatever that is.
    Part(f64),
    /// What is more than so many in flight.
    Over(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Call,
    FirstByte(u64),
    End(u64),
    Refused(u64),
}

struct Backend {
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
    fn new(settings: &Adaptive) -> Self {
        Self {
            control: Control::new(settings, 0),
            random: 0x2545_F491_4F6C_DD1D,
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

    /// Calls come thrice as often as can be answered. Returns the part of what could have been answered that was, and the mean
    /// limit, both in the second half.
    fn run(&mut self, phase: Phase) -> (f64, f64) {
        let (begin, capacity) = (
            self.now,
            phase.workers as f64 / (phase.to_first_byte + phase.rest),
        );
        let (half, end) = (phase.lasts * 0.5e9, phase.lasts * 1e9);
        let (mut answers, mut limits) = (0.0, Vec::new());
        while let Some(Reverse((at, event))) = self.events.pop() {
            self.now = at;
            let since = (at - begin) as f64;
            match event {
                Event::Call => {
                    let wait = -(1.0 - self.roll()).ln() / capacity / 3.0;
                    self.after(wait, Event::Call);
                    limits.extend((since > half).then(|| self.control.limit() as f64));
                    if self.in_flight < self.control.limit() {
                        self.in_flight += 1;
                        let refuses = match phase.refuses {
                            Refuses::Nothing => false,
                            Refuses::Part(part) => self.roll() < part,
                            Refuses::Over(most) => self.in_flight > most,
                        };
                        if refuses {
                            self.after(phase.to_first_byte / 10.0, Event::Refused(at));
                        } else {
                            self.queue.push_back(at);
                        }
                    }
                }
                Event::FirstByte(started) => self.sample(started, Outcome::Answered),
                Event::Refused(started) => {
                    self.sample(started, Outcome::Overloaded);
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
        let part = answers / (capacity * phase.lasts / 2.0);
        (part, limits.iter().sum::<f64>() / limits.len() as f64)
    }
}

fn follows(settings: &Adaptive, phases: &[Phase]) {
    let mut backend = Backend::new(settings);
    for phase in phases {
        let (part, limit) = backend.run(*phase);
        let ratio = limit / phase.workers as f64;
        println!(
            "{part:.3} of what {} could do, limit {limit:.1}",
            phase.workers
        );
        assert!(part > 0.75, "{part} of what {} could do", phase.workers);
        assert!(
            (0.75..1.25).contains(&ratio),
            "{limit} for {}",
            phase.workers
        );
    }
}

#[test]
fn a_gradient_finds_the_workers_though_times_differ_much() {
    let phase = |workers, to_first_byte| Phase {
        lasts: to_first_byte * 1_000.0,
        workers,
        to_first_byte,
        rest: 0.0,
        refuses: Refuses::Nothing,
    };
    let phases = [
        phase(10, 0.01),
        phase(40, 0.01),
        phase(200, 0.01),
        phase(30, 0.05),
    ];
    follows(&Adaptive::gradient(), &phases);
}

#[test]
fn a_gradient_finds_the_workers_by_the_first_byte_of_long_streams() {
    let phase = |workers| Phase {
        lasts: 3_000.0,
        workers,
        to_first_byte: 0.5,
        rest: 9.5,
        refuses: Refuses::Nothing,
    };
    follows(&Adaptive::gradient(), &[phase(20), phase(60), phase(20)]);
}

const FAST: Phase = Phase {
    lasts: 60.0,
    workers: 50,
    to_first_byte: 0.1,
    rest: 0.0,
    refuses: Refuses::Nothing,
};

fn both() -> [Adaptive; 2] {
    [
        Adaptive::gradient(),
        Adaptive::aimd(Duration::from_millis(150)),
    ]
}

#[test]
fn what_is_refused_whatever_the_load_does_not_lower_the_limit_for_good() {
    for settings in both() {
        for part in [0.02, 0.05, 0.1, 0.2, 0.3, 0.45] {
            let mut backend = Backend::new(&settings);
            backend.run(FAST);
            for _ in 0..2 {
                let refuses = Refuses::Part(part);
                let (answered, limit) = backend.run(Phase { refuses, ..FAST });
                println!("{part}: {answered:.2}, limit {limit:.1}");
                assert!(answered > 0.75, "{answered} where {part} is refused");
            }
        }
    }
}

#[test]
fn a_limit_that_was_lowered_by_hand_does_not_go_back_to_where_refusals_began() {
    for settings in both() {
        let mut control = Control::new(&settings.initial(100), 0);
        let round_trip = |control: &mut Control, trip: u64| {
            let in_flight = control.limit();
            let started = trip * 200_000_000;
            let now = started + 100_000_000;
            for number in 0..in_flight.max(40) {
                let is_refused = number % 10 == 0;
                let outcome = [Outcome::Answered, Outcome::Overloaded][usize::from(is_refused)];
                let idle = 0;
                let sample = Sample {
                    started,
                    idle,
                    now,
                    in_flight,
                    outcome,
                };
                control.sample(&sample, || (0, 0));
            }
        };
        round_trip(&mut control, 1);
        assert!(control.limit() < 100);
        control.force(5, 350_000_000);
        for trip in 2..7 {
            round_trip(&mut control, trip);
            assert!(control.limit() <= 5, "{}", control.limit());
        }
    }
}

#[test]
fn what_is_refused_over_a_number_is_not_asked_for_whatever_was_refused_before() {
    for settings in both() {
        let mut backend = Backend::new(&settings);
        let broken = Refuses::Part(0.1);
        for (refuses, most) in [
            (Refuses::Over(20), 20.0),
            (broken, 100.0),
            (Refuses::Nothing, 100.0),
            (Refuses::Over(35), 35.0),
            (Refuses::Over(10), 10.0),
        ] {
            let (answered, limit) = backend.run(Phase { refuses, ..FAST });
            println!("{answered:.2}, limit {limit:.1} of {most}");
            assert!(
                limit < most * 1.25,
                "{limit} where more than {most} are refused"
            );
            assert!(
                answered > 0.7 * (most / 50.0).min(1.0),
                "{answered} of {most}"
            );
        }
    }
}
