//! Compares the ledger with a model that keeps everything and steps through each nanosecond.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::{
    super::style::Style, Admission, Counting, Dimension, Kind, Ledger, Left, Limits, Rejection,
    Standing, Tokens,
};

/// All limits of a provider at a time.
#[derive(Clone)]
struct Model {
    counting: Counting,
    accounts: Vec<Account>,
}

#[derive(Clone)]
struct Account {
    dimension: Dimension,
    kind: Kind,
    full: u64,
    limit: u64,
    /// In nanoseconds, as all times here.
    window: u64,
    now: u64,
    /// The time, the units and the number of the request of all that was ever taken.
    log: Vec<(u64, u64, Option<usize>)>,
    /// What is in the bucket, in parts of a unit of which there are as many as the window has
    /// nanoseconds.
    level: i128,
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Arrive(Tokens),
    /// The response to one in flight ends, with this many thousandths of the reserved input and
    /// output used.
    End(prop::sample::Index, u64, u64),
    Scale(u64),
}

/// Someone in flight.
struct Guest {
    number: usize,
    reserved: Tokens,
    admission: Admission,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tokens = (0..9_u64, 0..9_u64).prop_map(|(input, output)| Tokens { input, output });
    let end = (any::<prop::sample::Index>(), 0..1_500_u64, 0..=1_000_u64);
    let step = prop_oneof![
        3 => (0..30_u64).prop_map(Step::Wait),
        6 => tokens.prop_map(Step::Arrive),
        3 => end.prop_map(|(who, input, output)| Step::End(who, input, output)),
        1 => (500..2_000_u64).prop_map(Step::Scale),
    ];
    prop::collection::vec(step, 1..80)
}

fn limits() -> impl Strategy<Value = Limits> {
    let kind = prop_oneof![Just(Kind::Window), Just(Kind::Fixed), Just(Kind::Bucket)];
    let counting = prop_oneof![
        Just(Counting::Reserved),
        Just(Counting::Settled),
        Just(Counting::Completion)
    ];
    let few = || prop::option::of(2..8_u64);
    let many = || prop::option::of(2..30_u64);
    let units = (few(), few(), many(), many(), many());
    (kind, counting, units, 1..50_u64).prop_map(|(kind, counting, units, window)| Limits {
        requests: units.0,
        requests_per_day: units.1,
        tokens: units.2,
        input_tokens: units.3,
        output_tokens: units.4,
        window: Duration::from_nanos(window),
        day: Duration::from_nanos(100),
        kind,
        style: Style {
            counting,
            ..Style::OPENAI
        },
        ..Limits::default()
    })
}

proptest! {
    #[test]
    fn the_ledger_lets_in_whoever_fits_and_nobody_else_and_its_hints_are_exact(
        limits in limits(),
        steps in steps(),
    ) {
        let start = Instant::now();
        let (mut ledger, mut model) = (Ledger::new(&limits), Model::new(&limits));
        let (mut guests, mut at, mut used_by_all) = (Vec::<Guest>::new(), 0, 0);
        for (number, step) in steps.into_iter().enumerate() {
            let now = start + Duration::from_nanos(at);
            match step {
                Step::Wait(nanos) => {
                    model.wait(nanos);
                    at += nanos;
                }
                Step::Arrive(reserved) => {
                    let full = model.full(reserved);
                    match ledger.arrive(now, reserved) {
                        Ok(admission) => {
                            prop_assert_eq!(full, []);
                            model.take(number, reserved);
                            guests.push(Guest { number, reserved, admission });
                        }
                        Err(refusal) => prop_assert!(model.agrees(reserved, refusal), "{refusal:?}"),
                    }
                }
                Step::End(..) if guests.is_empty() => {}
                Step::End(who, input, output) => {
                    let guest = guests.swap_remove(who.index(guests.len()));
                    let used = Tokens {
                        input: guest.reserved.input * input / 1_000,
                        output: guest.reserved.output * output / 1_000,
                    };
                    ledger.end(now, &guest.admission, used);
                    model.end(guest.number, guest.reserved, used);
                    used_by_all += used.input + used.output;
                }
                Step::Scale(share) => {
                    ledger.scale(now, share);
                    model.scale(share);
                }
            }
            let now = start + Duration::from_nanos(at);
            prop_assert_eq!(ledger.standing(now), model.standing());
        }
        prop_assert_eq!(ledger.counters().used_tokens, used_by_all);
    }
}

// ===== impl Model =====

impl Model {
    fn new(limits: &Limits) -> Self {
        let window = u64::try_from(limits.window.as_nanos()).unwrap();
        let account = |dimension, limit: Option<u64>| {
            let (kind, window) = match dimension {
                Dimension::RequestsPerDay => (Kind::Window, 100),
                _ => (limits.kind, window),
            };
            limit.map(|limit| Account {
                dimension,
                kind,
                full: limit,
                limit,
                window,
                now: 0,
                log: Vec::new(),
                level: i128::from(limit) * i128::from(window),
            })
        };
        let accounts = [
            account(Dimension::Requests, limits.requests),
            account(Dimension::RequestsPerDay, limits.requests_per_day),
            account(Dimension::Tokens, limits.tokens),
            account(Dimension::InputTokens, limits.input_tokens),
            account(Dimension::OutputTokens, limits.output_tokens),
        ];
        Self {
            counting: limits.style.counting,
            accounts: accounts.into_iter().flatten().collect(),
        }
    }

    fn wait(&mut self, nanos: u64) {
        for account in &mut self.accounts {
            for _ in 0..nanos {
                account.tick();
            }
        }
    }

    /// The limits without room for this request.
    fn full(&self, reserved: Tokens) -> Vec<Dimension> {
        let units = |account: &Account| at_admission(account.dimension, self.counting, reserved);
        let full = self.accounts.iter().filter(|it| !it.fits(units(it)));
        full.map(|account| account.dimension).collect()
    }

    /// Whether a refusal names a limit without room, and says to the nanosecond when all have room.
    fn agrees(&self, reserved: Tokens, refusal: Rejection) -> bool {
        let too_large = |dimension| {
            self.accounts.iter().any(|account| {
                account.dimension == dimension
                    && at_admission(dimension, self.counting, reserved) > account.limit
            })
        };
        match refusal {
            Rejection::TooLarge(dimension) => too_large(dimension),
            Rejection::Limited {
                dimension,
                retry_after,
            } => {
                let nanos = u64::try_from(retry_after.as_nanos()).unwrap();
                let mut later = self.clone();
                later.wait(nanos - 1);
                let just_before = later.full(reserved);
                later.wait(1);
                just_before.contains(&dimension)
                    && later.full(reserved).is_empty()
                    && !Dimension::ALL.into_iter().any(too_large)
            }
            Rejection::Down => false,
        }
    }

    fn take(&mut self, number: usize, reserved: Tokens) {
        for account in &mut self.accounts {
            let units = at_admission(account.dimension, self.counting, reserved);
            account.take(units, Some(number));
        }
    }

    fn end(&mut self, number: usize, reserved: Tokens, used: Tokens) {
        let counting = self.counting;
        if counting == Counting::Reserved {
            return;
        }
        for account in &mut self.accounts {
            let dimension = account.dimension;
            let units = |tokens| at_admission(dimension, counting, tokens);
            account.settle(number, units(reserved), units(used));
            let is_output = matches!(dimension, Dimension::Tokens | Dimension::OutputTokens);
            if counting == Counting::Completion && is_output {
                account.take(used.output, None);
            }
        }
    }

    fn scale(&mut self, share: u64) {
        for account in &mut self.accounts {
            account.limit = account.full * share / 1_000;
            account.level = account.level.min(account.capacity());
        }
    }

    fn standing(&self) -> Standing {
        let left = |dimension| {
            let mut accounts = self.accounts.iter();
            accounts
                .find(|a| a.dimension == dimension)
                .map(Account::left)
        };
        Standing {
            requests: left(Dimension::Requests),
            tokens: left(Dimension::Tokens),
            input_tokens: left(Dimension::InputTokens),
            output_tokens: left(Dimension::OutputTokens),
        }
    }
}

/// What a request takes when it is let in.
fn at_admission(dimension: Dimension, counting: Counting, reserved: Tokens) -> u64 {
    match (dimension, counting) {
        (Dimension::Tokens, Counting::Reserved | Counting::Settled) => reserved.total(),
        (Dimension::OutputTokens, Counting::Reserved | Counting::Settled) => reserved.output,
        (Dimension::Tokens, Counting::Completion) | (Dimension::InputTokens, _) => reserved.input,
        (Dimension::OutputTokens, Counting::Completion) => 0,
        (Dimension::Requests | Dimension::RequestsPerDay | Dimension::Concurrent, _) => 1,
    }
}

// ===== impl Account =====

impl Account {
    fn tick(&mut self) {
        self.now += 1;
        self.level = (self.level + i128::from(self.limit)).min(self.capacity());
    }

    fn capacity(&self) -> i128 {
        self.parts(self.limit)
    }

    fn parts(&self, units: u64) -> i128 {
        i128::from(units) * i128::from(self.window)
    }

    /// The beginning of the window of what was taken at a time.
    fn beginning(&self, at: u64) -> u64 {
        let begun = self.log.first().map_or(0, |(begun, ..)| *begun);
        match self.kind {
            Kind::Fixed => at - (at - begun) % self.window,
            _ => at,
        }
    }

    fn sum(&self) -> u64 {
        let counts = |(at, ..): &&(u64, u64, _)| self.beginning(*at) + self.window > self.now;
        self.log
            .iter()
            .filter(counts)
            .map(|(_, units, _)| units)
            .sum()
    }

    fn fits(&self, units: u64) -> bool {
        match self.kind {
            Kind::Window | Kind::Fixed => self.sum() + units <= self.limit,
            Kind::Bucket => self.level >= self.parts(units),
        }
    }

    fn take(&mut self, units: u64, number: Option<usize>) {
        self.log.push((self.now, units, number));
        self.level -= self.parts(units);
    }

    fn settle(&mut self, number: usize, taken: u64, units: u64) {
        for entry in &mut self.log {
            if entry.2 == Some(number) {
                entry.1 = units;
            }
        }
        self.level = (self.level + self.parts(taken) - self.parts(units)).min(self.capacity());
    }

    fn left(&self) -> Left {
        let remaining = match self.kind {
            Kind::Window | Kind::Fixed => self.limit.saturating_sub(self.sum()),
            Kind::Bucket => u64::try_from(self.level.max(0)).unwrap() / self.window,
        };
        let mut later = self.clone();
        while match self.kind {
            Kind::Window | Kind::Fixed => later.sum() > 0,
            Kind::Bucket => later.level < later.capacity(),
        } {
            later.tick();
        }
        Left {
            limit: self.limit,
            remaining,
            reset: Duration::from_nanos(later.now - self.now),
        }
    }
}
