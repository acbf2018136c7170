//! Property tests of the engine against a model.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use proptest::prelude::*;

use super::engine::{CallTicket, CircuitSettings, Engine};
use crate::backoff::{Backoff, Jitter};

const SECOND: u64 = 1_000_000_000;
const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(60);
const LONGEST_HINT: Duration = Duration::from_secs(300);

fn engine(failures: u64) -> Engine {
    Engine::new(CircuitSettings {
        failures,
        cooldown: Backoff::new(FIRST, MOST).jitter(Jitter::Equal),
        longest_hint: LONGEST_HINT,
    })
}

#[derive(Debug, Clone)]
enum Step {
    Enter,
    /// The outcome of the n-th call under way, modulo their number.
    Succeed(usize),
    AsError(usize, Option<Duration>, u64),
    Ignore(usize),
    Pass(u64),
}

/// The specification of the engine.
#[derive(Debug)]
struct Model {
    failures: usize,
    now: u64,
    /// Number of openings and closings.
    age: u64,
    in_a_row: usize,
    hinted: Hinted,
    outcomes: Vec<(u64, bool)>,
    open: Option<Open>,
}

/// A server's hint: the end of the wait, and the end with the most jitter.
#[derive(Debug, Clone, Copy, Default)]
struct Hinted {
    least: u64,
    most: u64,
}

#[derive(Debug)]
struct Open {
    times: u32,
    until: u64,
    probe: Option<(usize, u64)>,
}

/// A call under way: the age in which it began, and its ticket.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    id: usize,
    age: u64,
    ticket: CallTicket,
    was_open: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let hints = prop_oneof![
        4 => Just(None),
        1 => (0_u64..100_000).prop_map(|ms| Some(Duration::from_millis(ms))),
        1 => any::<Duration>().prop_map(Some),
        1 => Just(Some(Duration::ZERO)),
        1 => Just(Some(Duration::MAX)),
    ];
    let times = prop_oneof![
        8 => 0..2 * SECOND,
        4 => 0..70 * SECOND,
        1 => 0..400 * SECOND,
    ];
    let step = prop_oneof![
        8 => Just(Step::Enter),
        4 => (0_usize..8).prop_map(Step::Succeed),
        6 => (0_usize..8, hints, any::<u64>())
            .prop_map(|(n, hint, random)| Step::AsError(n, hint, random)),
        1 => (0_usize..8).prop_map(Step::Ignore),
        4 => times.prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..300)
}

impl Model {
    fn turned_away(&self) -> Option<Option<Duration>> {
        let open = self.open.as_ref()?;
        if open.until > self.now {
            return Some(Some(Duration::from_nanos(open.until - self.now)));
        }
        let is_new = |(_, since): (usize, u64)| self.now - since < 60 * SECOND;
        open.probe.is_some_and(is_new).then_some(None)
    }

    fn too_many(&self) -> bool {
        let recent = |(at, _): &&(u64, bool)| self.now / SECOND - at / SECOND < 10;
        let all = self.outcomes.iter().filter(recent).count();
        let failed = self.outcomes.iter().filter(recent).filter(|it| !it.1);
        self.in_a_row >= self.failures || (all >= 20 && failed.count() * 2 >= all)
    }

    /// Opens the model for the cooldown that the engine returned, and checks it.
    fn opens(&mut self, cooldown: Duration, hinted: Hinted, times: u32) {
        let doubled = FIRST.saturating_mul(1 << times.min(20)).min(MOST);
        let left = |until: u64| Duration::from_nanos(until.saturating_sub(self.now));
        let least = (doubled / 2).max(left(hinted.least));
        assert!(cooldown >= least, "{cooldown:?} {least:?}");
        let most = doubled.max(left(hinted.most));
        assert!(cooldown <= most, "{cooldown:?} {most:?}");
        self.age += 1;
        self.open = Some(Open {
            times: times + 1,
            until: self.now + cooldown.as_nanos() as u64,
            probe: None,
        });
    }

    fn fails(&mut self, call: UnderWay, hint: Option<Duration>, opened: Option<Duration>) {
        if call.age != self.age {
            return assert_eq!(opened, None, "a straggler");
        }
        let hint = hint.map_or(0, |hint| hint.min(LONGEST_HINT).as_nanos() as u64);
        let until = |hint: u64| if hint == 0 { 0 } else { self.now + hint };
        let hinted = Hinted {
            least: until(hint),
            most: until(hint + (hint / 10).min(SECOND)),
        };
        if let Some(open) = &self.open {
            let is_probe = open.probe.is_some_and(|(id, _)| id == call.id);
            let times = open.times;
            assert_eq!(opened.is_some(), is_probe);
            if let Some(cooldown) = opened {
                self.opens(cooldown, hinted, times);
            }
            return;
        }
        self.in_a_row += 1;
        self.hinted.least = self.hinted.least.max(hinted.least);
        self.hinted.most = self.hinted.most.max(hinted.most);
        self.outcomes.push((self.now, false));
        assert_eq!(opened.is_some(), self.too_many());
        if let Some(cooldown) = opened {
            self.opens(cooldown, self.hinted, 0);
        }
    }

    fn succeeds(&mut self, call: UnderWay, closed: bool) {
        let closes = call.was_open && call.age == self.age;
        assert_eq!(closed, closes);
        if closes {
            self.age += 1;
            self.open = None;
            self.outcomes.clear();
        } else if call.age == self.age {
            self.outcomes.push((self.now, true));
        } else {
            return;
        }
        self.in_a_row = 0;
        self.hinted = Hinted::default();
    }

    fn leaves(&mut self, id: usize) {
        if let Some(open) = &mut self.open {
            open.probe = open.probe.filter(|it| it.0 != id);
        }
    }
}

fn enter(engine: &Engine, model: &mut Model, id: usize) -> Option<UnderWay> {
    let expected = model.turned_away();
    match engine.enter(|| model.now) {
        Err(open) => {
            assert_eq!(Some(open.retry_after()), expected);
            None
        }
        Ok(ticket) => {
            assert_eq!(expected, None);
            let now = model.now;
            let was_open = model.open.is_some();
            if let Some(open) = &mut model.open {
                open.probe = Some((id, now));
            }
            let age = model.age;
            Some(UnderWay {
                id,
                age,
                ticket,
                was_open,
            })
        }
    }
}

fn run(failures: u64, steps: Vec<Step>) {
    let engine = engine(failures);
    let mut model = Model {
        failures: failures as usize,
        now: 0,
        age: 0,
        in_a_row: 0,
        hinted: Hinted::default(),
        outcomes: Vec::new(),
        open: None,
    };
    let mut under_way: Vec<UnderWay> = Vec::new();
    let take = |under_way: &mut Vec<UnderWay>, n: usize| {
        (!under_way.is_empty()).then(|| under_way.remove(n % under_way.len()))
    };
    for (id, step) in steps.into_iter().enumerate() {
        match step {
            Step::Enter => under_way.extend(enter(&engine, &mut model, id)),
            Step::Pass(nanos) => model.now += nanos,
            Step::Succeed(n) | Step::AsError(n, ..) | Step::Ignore(n) => {
                let Some(call) = take(&mut under_way, n) else {
                    continue;
                };
                match step {
                    Step::Succeed(_) => {
                        let closed = engine.succeeded(call.ticket, || model.now);
                        model.succeeds(call, closed);
                    }
                    Step::AsError(_, hint, random) => {
                        let opened = engine.failed(call.ticket, hint, None, model.now, random);
                        model.fails(call, hint, opened);
                    }
                    _ => {
                        engine.ignored(call.ticket);
                        model.leaves(call.id);
                    }
                }
            }
        }
        assert_eq!(engine.is_closed(), model.open.is_none());
        assert_eq!(
            engine.check(|| model.now).is_err(),
            model.turned_away().is_some()
        );
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(failures in 1_u64..30, steps in steps()) {
        run(failures, steps);
    }

    #[test]
    fn fifteen_percent_spread_out_never_open_it(
        // Three of each twenty fail.
        blocks in proptest::collection::vec(
            proptest::sample::subsequence((0..20).collect::<Vec<_>>(), 3),
            1..100,
        ),
        gap in 0..SECOND,
    ) {
        let engine = engine(7);
        let failed = blocks.iter().flat_map(|block| (0..20).map(|n| block.contains(&n)));
        for (n, failed) in (0_u64..).zip(failed) {
            let now = n * gap;
            let ticket = engine.enter(|| now).unwrap();
            if failed {
                prop_assert_eq!(engine.failed(ticket, None, None, now, 0), None);
            } else {
                engine.succeeded(ticket, || now);
            }
        }
    }
}

#[test]
fn it_is_as_small_as_its_page_says() {
    let size = size_of::<super::SharedEngine>();
    assert!(size < 400, "{size}");
}

#[test]
fn durations_at_the_edge() {
    for (first, most) in [
        (Duration::ZERO, Duration::ZERO),
        (Duration::MAX, Duration::MAX),
        (Duration::MAX, Duration::ZERO),
        (Duration::ZERO, Duration::MAX),
    ] {
        let engine = Engine::new(CircuitSettings {
            failures: 1,
            cooldown: Backoff::new(first, most).jitter(Jitter::Equal),
            longest_hint: Duration::MAX,
        });
        for (hint, now) in [
            (Duration::ZERO, 0),
            (Duration::MAX, 5),
            (Duration::MAX, u64::MAX),
        ] {
            if let Ok(ticket) = engine.enter(|| now) {
                assert!(
                    engine
                        .failed(ticket, Some(hint), None, now, u64::MAX)
                        .is_some()
                );
            }
        }
        // There is no instant after this one.
        assert!(engine.enter(|| u64::MAX).is_ok());
    }
}

#[cfg(feature = "quanta")]
#[test]
fn a_cooldown_continues_if_the_counter_goes_back() {
    use crate::{circuit_breaker::circuit::Circuit, limit::Clock};

    let (clock, mock) = quanta::Clock::mock();
    mock.increment(Duration::from_secs(1_000));
    let circuit = Circuit::with_clock(Clock::of_counter(clock))
        .failures(1)
        .cooldown(FIRST, MOST);
    mock.increment(Duration::from_secs(500));
    circuit.enter().unwrap().failed(None);
    assert!(circuit.enter().is_err());
    mock.decrement(Duration::from_secs(1_200));
    assert!(circuit.enter().is_err());
    mock.increment(2 * FIRST);
    assert!(circuit.enter().is_ok());
}
