//! The state of a name in memory: step for step what the scripts in `redis/lua` do.
//!
//! A process also keeps to such a state while the store is down.

use std::{collections::VecDeque, sync::Arc, time::Duration};

#[cfg(all(test, not(throttle_loom)))]
use crate::limit::store::{
    call::{Call, CallFuture, Reply, SetQuota, Store},
    slots::SlotState,
};
use crate::limit::{
    algorithm::{
        Mark,
        gcra::Refill,
        window::{Period, RefundableWindow},
    },
    clock::TIMER_LATENESS,
    nanos,
    store::call::{LimitSpec, MOST_EXACT, Outcome, Restore, Take, TakeReply, Version, micros},
};

/// What was given back to a bucket is counted from 0 to this, and again.
const GIVEN: u64 = 1 << 52;

/// The limits of one name, without a clock. Instants are microseconds, except in a bucket.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameState {
    /// None if it was not made yet.
    version: Option<Version>,
    /// Nothing is taken before.
    opens: u64,
    /// The limits in the code for which others apply, and those.
    quotas: Option<[Arc<[LimitSpec]>; 2]>,
    /// In the order in which the requests came.
    claims: Vec<Claim>,
    limits: Vec<LimitState>,
    /// The reports of processes that were counted, the last 64.
    restored: VecDeque<u64>,
}

/// The place of the first request in a process's queue.
#[derive(Debug, Clone)]
struct Claim {
    process: u64,
    asked: u64,
    expires: u64,
    units: Vec<u64>,
}

/// What was taken of a limit. Processes with another kind of limit at its place have a state of
/// their own.
#[derive(Debug, Clone, Default)]
struct LimitState {
    bucket: Option<Bucket>,
    window: RefundableWindow,
}

/// As [`Gcra`](crate::limit::algorithm::gcra::Gcra), but with its refill.
#[derive(Debug, Clone)]
struct Bucket {
    /// Zero if nothing was taken yet.
    full_at: u64,
    given: u64,
    excess: u64,
    refill: Refill,
}

/// A limit at an instant.
#[derive(Debug)]
enum Limit<'a> {
    Bucket {
        bucket: &'a mut Bucket,
        /// In nanoseconds.
        now: u64,
        /// When a full bucket is taken to have become full.
        start: u64,
    },
    Window {
        window: &'a mut RefundableWindow,
        capacity: u64,
        period: Period,
        now: u64,
        /// When a unit that is taken now counts as started.
        start: u64,
    },
}

/// What a call says about the time.
#[derive(Debug, Clone, Copy)]
struct At {
    now: u64,
    hold: u64,
    /// No start is later than this after the start of a unit that is taken now.
    grace: u64,
    is_in_turn: bool,
}

// ===== impl At =====

impl At {
    /// Returns the instant of a call that takes nothing.
    fn without_hold(now: u64) -> Self {
        Self {
            now: now / 1_000,
            hold: 0,
            grace: MOST_EXACT,
            is_in_turn: false,
        }
    }
}

// ===== impl NameState =====

impl NameState {
    /// Carries out `take` at `now`, in nanoseconds since 1970.
    pub(crate) fn take(&mut self, take: &Take, now: u64) -> TakeReply {
        let at = At {
            now: now / 1_000,
            hold: micros(take.hold),
            grace: micros(take.grace),
            is_in_turn: take.is_in_turn,
        };
        let specs = self.specs(&take.limits);
        let limits = (specs != take.limits).then(|| Arc::clone(&specs));
        let outcome = match self.is_lost(take.seen, &at) {
            true => Outcome::Lost(duration(self.opens.saturating_sub(at.now))),
            false => self.decide(take, &specs, &at),
        };
        TakeReply {
            now: at.now * 1_000,
            version: self.changed(at.now),
            limits,
            outcome,
        }
    }

    /// Adds what a process took, at `now` in nanoseconds since 1970.
    pub(crate) fn restore(&mut self, restore: &Restore, now: u64) {
        let at = At::without_hold(now);
        let grace = micros(restore.grace);
        let version = self.changed(at.now);
        if grace > 0 {
            self.opens = self.opens.max(version.made.min(at.now) + grace);
        }
        let specs = self.specs(&restore.limits);
        let limits = open(&mut self.limits, &specs, &at);
        if self.restored.contains(&restore.id) {
            return;
        }
        self.restored.push_back(restore.id);
        if self.restored.len() > 64 {
            self.restored.pop_front();
        }
        for (mut limit, taken) in limits.into_iter().zip(&restore.taken) {
            limit.restore(taken);
        }
    }

    /// Sets the quotas at `now`, in nanoseconds since 1970.
    #[cfg(all(test, not(throttle_loom)))]
    pub(crate) fn set_quota(&mut self, set: &SetQuota, now: u64) {
        let at = At::without_hold(now);
        self.changed(at.now);
        let specs = self.specs(&set.limits);
        open(&mut self.limits, &specs, &at);
        self.quotas = Some([Arc::clone(&set.limits), Arc::clone(&set.new)]);
    }

    /// Returns the limits that apply to a process with `limits` in its code.
    fn specs(&self, limits: &Arc<[LimitSpec]>) -> Arc<[LimitSpec]> {
        match &self.quotas {
            Some([code, new]) if code == limits => Arc::clone(new),
            _ => Arc::clone(limits),
        }
    }

    /// Counts a change, and returns the version after it.
    fn changed(&mut self, now: u64) -> Version {
        let new = Version {
            made: now,
            sequence: 0,
        };
        let version = self.version.get_or_insert(new);
        version.sequence += 1;
        *version
    }

    /// Returns whether the state that the process has seen is gone. If no process knows of that
    /// yet, the state is made new.
    fn is_lost(&mut self, seen: Option<Version>, at: &At) -> bool {
        let closed = at.now + at.grace;
        // Later than a clock that went back.
        self.opens = self.opens.min(closed);
        let made = match (self.version, seen) {
            (_, None) => return false,
            (Some(version), Some(seen)) if version.made > seen.made => {
                let opens = version.made.min(at.now) + at.grace;
                self.opens = self.opens.max(opens);
                return true;
            }
            (Some(version), Some(seen))
                if version.made == seen.made && version.sequence >= seen.sequence =>
            {
                return false;
            }
            // Missing, or an older copy.
            (_, Some(seen)) => at.now.max(seen.made + 1),
        };
        *self = Self {
            version: Some(Version { made, sequence: 0 }),
            opens: closed,
            quotas: self.quotas.take(),
            ..Self::default()
        };
        true
    }

    fn decide(&mut self, take: &Take, specs: &[LimitSpec], at: &At) -> Outcome {
        let mut limits = open(&mut self.limits, specs, at);
        for (limit, mark) in &take.returned {
            if let Some(limit) = limits.get_mut(*limit) {
                limit.give_back(mark);
            }
        }
        if at.now < self.opens {
            return Outcome::Wait(duration(self.opens - at.now));
        }
        if take.cost.iter().all(|cost| *cost == 0) {
            return Outcome::Granted {
                marks: vec![Mark::default(); limits.len()],
                more_in: duration(0),
            };
        }
        if take.not_after.is_some_and(|last| last / 1_000 < at.now) {
            return Outcome::TooLate;
        }

        let claims = &mut self.claims;
        claims.retain(|claim| claim.asked <= at.now && at.now < claim.expires);
        let own = claims
            .iter()
            .position(|claim| claim.process == take.process);
        let ahead = units(&claims[..own.unwrap_or(claims.len())], limits.len());
        let mut others = units(claims, limits.len());
        if let Some(own) = own {
            let own = units(&claims[own..=own], limits.len());
            others
                .iter_mut()
                .zip(own)
                .for_each(|(sum, own)| *sum -= own);
        }

        let exceeds = |(spec, cost): (&LimitSpec, &u64)| *cost > spec.capacity();
        let never = specs.iter().zip(&take.cost).any(exceeds);
        let waits = limits.iter().zip(&take.cost).zip(&ahead);
        let waits = waits.filter(|((_, cost), _)| **cost > 0);
        let wait = waits.map(|((limit, cost), ahead)| limit.wait(ahead + cost));
        let wait = wait.max().unwrap_or(0);
        if !never && wait > 0 && wait <= micros(take.patience) {
            let claim = Claim {
                process: take.process,
                asked: at.now,
                expires: at.now + micros(take.claim),
                units: take.cost.clone(),
            };
            match own {
                Some(own) => claims[own] = claim,
                None => claims.push(claim),
            }
            return Outcome::Wait(duration(wait));
        }
        if let Some(own) = own {
            claims.remove(own);
        }
        match (never, wait) {
            (true, _) => Outcome::Never,
            (false, 0) => grant(&mut limits, take, &others),
            (false, wait) => Outcome::Wait(duration(wait)),
        }
    }
}

/// Takes the cost, and as much more as fits in proportion and leaves the `others` their units.
fn grant(limits: &mut [Limit<'_>], take: &Take, others: &[u64]) -> Outcome {
    let wanted = take.cost.iter().zip(&take.more);
    let free = limits.iter().zip(wanted).zip(others);
    let free = free.map(|((limit, (cost, _)), others)| limit.free(*cost).saturating_sub(*others));
    let free: Vec<u64> = free.collect();
    // The fraction that fits. These are the operations of the script, so that rounding is equal.
    let (mut part, mut whole) = (1.0, 1.0);
    for (free, more) in free.iter().zip(&take.more).filter(|(_, more)| **more > 0) {
        let (free, more) = (*free as f64, *more as f64);
        if free / more < part / whole {
            (part, whole) = (free, more);
        }
    }
    let more = take.more.iter().zip(&free);
    let more = more.map(|(more, free)| ((*more as f64 * part / whole) as u64).min(*free));
    let taken: Vec<u64> = take
        .cost
        .iter()
        .zip(more)
        .map(|(cost, more)| cost + more)
        .collect();
    let marks = limits
        .iter_mut()
        .zip(&taken)
        .map(|(limit, units)| limit.take(*units));
    let marks = marks.collect();
    let asked = take
        .cost
        .iter()
        .zip(&take.more)
        .map(|(cost, more)| cost + more > 0);
    let next = limits
        .iter()
        .zip(others)
        .zip(asked)
        .filter(|(_, asked)| *asked);
    let more_in = next.map(|((limit, others), _)| limit.wait(others + 1));
    Outcome::Granted {
        marks,
        more_in: duration(more_in.max().unwrap_or(0)),
    }
}

/// Returns the sum of the claims' units of each limit.
fn units(claims: &[Claim], limits: usize) -> Vec<u64> {
    let of_limit = |limit| {
        claims
            .iter()
            .filter_map(move |claim| claim.units.get(limit))
            .sum()
    };
    (0..limits).map(of_limit).collect()
}

/// Returns the limits as they are now.
fn open<'a>(limits: &'a mut Vec<LimitState>, specs: &[LimitSpec], at: &At) -> Vec<Limit<'a>> {
    if limits.len() < specs.len() {
        limits.resize_with(specs.len(), LimitState::default);
    }
    let limits = limits.iter_mut().zip(specs);
    limits.map(|(limit, spec)| limit.open(spec, at)).collect()
}

// ===== impl LimitState =====

impl LimitState {
    fn open(&mut self, spec: &LimitSpec, at: &At) -> Limit<'_> {
        match *spec {
            LimitSpec::Bucket {
                capacity,
                unit_nanos,
            } => {
                let refill = Refill {
                    capacity,
                    unit_nanos: unit_nanos.max(1),
                };
                let now = at.now * 1_000;
                let late = if at.is_in_turn {
                    nanos(TIMER_LATENESS)
                } else {
                    0
                };
                let bucket = self.bucket.get_or_insert(Bucket::new(refill));
                bucket.adopt(refill, now);
                Limit::Bucket {
                    bucket,
                    now,
                    start: now - late,
                }
            }
            LimitSpec::Window {
                capacity,
                period_micros,
            } => {
                let (window, period) = (&mut self.window, Period::in_parts(period_micros));
                window.advance(period.nanos, at.now);
                let start = window.start(&period, at.now + at.hold);
                window.move_back(start + at.grace, start);
                Limit::Window {
                    window,
                    capacity,
                    period,
                    now: at.now,
                    start,
                }
            }
        }
    }
}

// ===== impl Bucket =====

impl Bucket {
    /// Creates a bucket that has been full for long.
    fn new(refill: Refill) -> Self {
        Self {
            full_at: 0,
            given: 0,
            excess: 0,
            refill,
        }
    }

    /// Limits what a clock that went back leaves, and keeps the used units if the quota is another.
    /// For the excess see [`Gcra`](crate::limit::algorithm::gcra::Gcra).
    fn adopt(&mut self, refill: Refill, now: u64) {
        let burst = self.refill.burst_nanos();
        self.full_at = self.full_at.min(now + burst);
        if self.refill == refill || self.full_at == 0 {
            self.refill = refill;
            return;
        }
        let convert = |nanos| convert(nanos, self.refill.unit_nanos, refill.unit_nanos);
        let left = self.excess.saturating_sub(now.saturating_sub(self.full_at));
        let used = self.full_at.saturating_sub(now) + left;
        let ceiling = if left == 0 { used } else { left + burst };
        let over = convert(ceiling).saturating_sub(refill.burst_nanos());
        let counts = convert(used).saturating_sub(over);
        self.excess = convert(used) - counts;
        self.full_at = now + counts;
        self.refill = refill;
    }
}

/// Returns the refill time of units at `to` each, which is `nanos` at `from` each. Rounds as the
/// script does.
fn convert(nanos: u64, from: u64, to: u64) -> u64 {
    let nanos = nanos.min(MOST_EXACT);
    let rest = (nanos % from) as f64 / from as f64 * to as f64;
    let whole = (nanos / from).saturating_mul(to);
    whole.saturating_add(rest.ceil() as u64).min(MOST_EXACT)
}

// ===== impl Limit =====

impl Limit<'_> {
    /// Returns the microseconds until `units` can all have been taken.
    fn wait(&self, units: u64) -> u64 {
        match self {
            Self::Bucket { bucket, now, start } => {
                let taken = units
                    .saturating_mul(bucket.refill.unit_nanos)
                    .min(MOST_EXACT);
                let full_at = bucket.full_at.max(*start) + taken;
                let wait = full_at.saturating_sub(now + bucket.refill.burst_nanos());
                wait.div_ceil(1_000)
            }
            Self::Window {
                window,
                capacity,
                period,
                now,
                ..
            } => window.wait(*capacity, period, units, *now).min(MOST_EXACT),
        }
    }

    /// Returns the units that can be taken now besides `cost`, which fits.
    fn free(&self, cost: u64) -> u64 {
        match self {
            Self::Bucket { bucket, now, start } => {
                let latest = now + bucket.refill.burst_nanos();
                let full_at = bucket.refill.after(bucket.full_at, *start, cost);
                latest.saturating_sub(full_at) / bucket.refill.unit_nanos
            }
            Self::Window {
                window, capacity, ..
            } => capacity.saturating_sub(window.used() + cost),
        }
    }

    fn take(&mut self, units: u64) -> Mark {
        if units == 0 {
            return Mark::default();
        }
        match self {
            Self::Bucket { bucket, start, .. } => {
                bucket.full_at = bucket.refill.after(bucket.full_at, *start, units);
                Mark {
                    cost: units,
                    place: bucket.full_at,
                    at: bucket.refill.after(0, *start, units),
                    given: bucket.given,
                }
            }
            Self::Window { window, start, .. } => {
                window.take(*start, units);
                Mark {
                    cost: units,
                    place: *start * 1_000,
                    at: *start * 1_000,
                    given: 0,
                }
            }
        }
    }

    /// Gives back what has not refilled since.
    fn give_back(&mut self, mark: &Mark) {
        match self {
            Self::Bucket { bucket, now, .. } => {
                let earlier = bucket.given.wrapping_sub(mark.given) % GIVEN;
                let refilled_at = mark.place.saturating_sub(earlier).max(mark.at);
                // Not more than is missing, if the mark is from a state that was lost.
                let missing = refilled_at.min(bucket.full_at).saturating_sub(*now);
                let taken = mark.cost.saturating_mul(bucket.refill.unit_nanos);
                let back = taken.min(missing);
                bucket.full_at -= back;
                bucket.given = (bucket.given + back) % GIVEN;
            }
            Self::Window { window, .. } => window.give_back(mark.at / 1_000, mark.cost),
        }
    }

    /// Adds what a process took, up to a burst, or to twice the capacity of a window.
    fn restore(&mut self, taken: &[(u64, u64)]) {
        match self {
            Self::Bucket { bucket, now, .. } => {
                let units = taken
                    .iter()
                    .fold(0u64, |sum, (_, units)| sum.saturating_add(*units));
                if units == 0 {
                    return;
                }
                let full_at = bucket.refill.after(bucket.full_at, *now, units);
                bucket.full_at = full_at.min(*now + bucket.refill.burst_nanos());
            }
            Self::Window {
                window,
                capacity,
                period,
                now,
                ..
            } => {
                for (at, units) in taken {
                    let at = period.round_up(at / 1_000);
                    let units = (*units).min((2 * *capacity).saturating_sub(window.used()));
                    if units > 0 && at + period.nanos > *now {
                        window.take(at, units);
                    }
                }
            }
        }
    }
}

fn duration(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// A store in memory, with tokio's clock from the start of 2026: several "processes" in one test,
/// on a paused clock. Clones share it.
#[cfg(all(test, not(throttle_loom)))]
#[derive(Debug, Clone)]
pub(crate) struct Model {
    start: tokio::time::Instant,
    state: Arc<crate::sync::Mutex<ModelState>>,
}

#[cfg(all(test, not(throttle_loom)))]
#[derive(Debug, Default)]
struct ModelState {
    /// By name, with the instant when it expires.
    names: std::collections::HashMap<Arc<str>, (NameState, u64)>,
    /// When each process expires.
    processes: std::collections::HashMap<u64, u64>,
    slots: std::collections::HashMap<Arc<str>, SlotState>,
}

#[cfg(all(test, not(throttle_loom)))]
impl Model {
    /// The start of 2026, in microseconds since 1970.
    const START: u64 = 1_767_225_600_000_000;

    pub(crate) fn new() -> Self {
        Self {
            start: tokio::time::Instant::now(),
            state: Arc::default(),
        }
    }

    /// Loses all state.
    pub(crate) fn forget(&self) {
        *crate::sync::unpoisoned(self.state.lock()) = ModelState::default();
    }

    fn run(&self, call: &Call) -> Reply {
        let now = Self::START + micros(self.start.elapsed());
        let mut state = crate::sync::unpoisoned(self.state.lock());
        match call {
            Call::Take(take) => {
                let name = state.name(&take.name, &take.limits, now);
                Reply::Take(name.take(take, now * 1_000))
            }
            Call::Restore(restore) => {
                let name = state.name(&restore.name, &restore.limits, now);
                name.restore(restore, now * 1_000);
                Reply::Done
            }
            Call::SetQuota(set) => {
                state
                    .name(&set.name, &set.new, now)
                    .set_quota(set, now * 1_000);
                Reply::Done
            }
            Call::Lease(lease) => {
                let slots = state.slots.entry(Arc::clone(&lease.name)).or_default();
                Reply::Lease(slots.lease(lease, now * 1_000))
            }
            Call::Beat { process, expires } => {
                state.processes.insert(*process, now + micros(*expires));
                state.processes.retain(|_, expires| now < *expires);
                Reply::Processes(state.processes.len() as u64)
            }
        }
    }
}

#[cfg(all(test, not(throttle_loom)))]
impl Store for Model {
    fn call(&self, call: Call) -> CallFuture {
        let model = self.clone();
        Box::pin(async move { Ok(model.run(&call)) })
    }
}

#[cfg(all(test, not(throttle_loom)))]
impl ModelState {
    /// Returns the state of a name, which expires after a day, or after twice as long as what was
    /// taken makes a difference.
    fn name(&mut self, name: &Arc<str>, limits: &[LimitSpec], now: u64) -> &mut NameState {
        let lasts = limits.iter().map(|limit| match *limit {
            LimitSpec::Bucket {
                capacity,
                unit_nanos,
            } => capacity * unit_nanos / 500,
            LimitSpec::Window { period_micros, .. } => 2 * period_micros,
        });
        let lasts = lasts.fold(86_400_000_000, u64::max);
        let (state, expires) = self.names.entry(Arc::clone(name)).or_default();
        if *expires <= now {
            *state = NameState::default();
        }
        if *expires < now + lasts / 4 * 3 {
            *expires = now + lasts;
        }
        state
    }
}

#[cfg(all(test, not(throttle_loom)))]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::limit::{
        Quota,
        algorithm::{Algorithm, gcra::Gcra},
        decision::Decision,
    };

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = Model::START * 1_000;
    const GRACE: Duration = Duration::from_secs(1);

    fn bucket(capacity: u64, unit_nanos: u64) -> LimitSpec {
        LimitSpec::Bucket {
            capacity,
            unit_nanos,
        }
    }

    /// Of 256 parts of 4 ms, so that `START` is not rounded.
    const PERIOD: u64 = 1_024_000_000;

    fn window(capacity: u64) -> LimitSpec {
        LimitSpec::Window {
            capacity,
            period_micros: PERIOD / 1_000,
        }
    }

    /// Takes for process 1, which would wait for 10 s.
    fn take(limits: &[LimitSpec], cost: &[u64]) -> Take {
        Take {
            name: "name".into(),
            limits: limits.into(),
            process: 1,
            cost: cost.to_vec(),
            more: vec![0; cost.len()],
            hold: Duration::ZERO,
            is_in_turn: false,
            patience: Duration::from_secs(10),
            claim: Duration::from_secs(2),
            not_after: None,
            seen: None,
            grace: GRACE,
            returned: Vec::new(),
        }
    }

    fn of_process(process: u64, take: Take) -> Take {
        Take { process, ..take }
    }

    fn wait(millis: u64) -> Outcome {
        Outcome::Wait(Duration::from_millis(millis))
    }

    /// Returns the units that were granted of each limit.
    fn granted(outcome: &Outcome) -> Option<Vec<u64>> {
        match outcome {
            Outcome::Granted { marks, .. } => Some(marks.iter().map(|mark| mark.cost).collect()),
            _ => None,
        }
    }

    fn marks(outcome: Outcome) -> Vec<(usize, Mark)> {
        match outcome {
            Outcome::Granted { marks, .. } => marks.into_iter().enumerate().collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_limits_are_taken_or_none() {
        let limits = [bucket(10, SECOND), window(5)];
        let mut state = NameState::default();
        let outcome = state.take(&take(&limits, &[4, 4]), START).outcome;
        assert_eq!(granted(&outcome), Some(vec![4, 4]));
        let short = Take {
            patience: Duration::ZERO,
            ..take(&limits, &[4, 4])
        };
        assert_eq!(state.take(&short, START).outcome, wait(1_024));
        let outcome = state.take(&take(&limits, &[6, 1]), START).outcome;
        assert_eq!(granted(&outcome), Some(vec![6, 1]));
        assert_eq!(
            state.take(&take(&limits, &[11, 1]), START).outcome,
            Outcome::Never
        );
    }

    #[test]
    fn a_state_that_was_seen_and_is_gone_is_lost() {
        let limits = [window(5)];
        let mut state = NameState::default();
        let seen = Some(state.take(&take(&limits, &[5]), START).version);
        let again = Take {
            seen,
            ..take(&limits, &[1])
        };
        assert_eq!(state.take(&again, START).outcome, wait(1_024));
        // All is gone: closed for the grace, also for processes that have seen nothing.
        let mut state = NameState::default();
        let later = START + SECOND / 2;
        let taken = state.take(&again, later);
        assert_eq!(taken.outcome, Outcome::Lost(GRACE));
        assert_eq!(taken.version.made, later / 1_000);
        assert_eq!(state.take(&take(&limits, &[1]), later).outcome, wait(1_000));
        // The others learn it, and nothing is wiped.
        let others = state.take(&again, later + SECOND / 4).outcome;
        assert_eq!(others, Outcome::Lost(Duration::from_millis(750)));
        let known = Take {
            seen: Some(taken.version),
            ..take(&limits, &[5])
        };
        let outcome = state.take(&known, later + SECOND).outcome;
        assert_eq!(granted(&outcome), Some(vec![5]));
    }

    #[test]
    fn an_older_copy_is_wiped() {
        let limits = [window(5)];
        let mut state = NameState::default();
        state.take(&take(&limits, &[3]), START);
        let mut copy = state.clone();
        let seen = state.take(&take(&limits, &[1]), START).version;
        let again = Take {
            seen: Some(seen),
            ..take(&limits, &[1])
        };
        let taken = copy.take(&again, START + 1_000);
        assert_eq!(taken.outcome, Outcome::Lost(GRACE));
        assert_eq!(copy.limits.len(), 0);
        assert!(taken.version.made > seen.made);
    }

    #[test]
    fn lost_units_are_restored_before_it_opens() {
        let limits = [window(5), bucket(5, SECOND)];
        let mut state = NameState::default();
        let lost = Take {
            seen: Some(Version {
                made: 1,
                sequence: 1,
            }),
            ..take(&limits, &[1, 1])
        };
        let version = state.take(&lost, START).version;
        let restore = Restore {
            id: 1,
            name: "name".into(),
            limits: limits.as_slice().into(),
            taken: vec![vec![(START - SECOND / 10, 3)], vec![(START, 3), (START, 9)]],
            grace: GRACE,
        };
        state.restore(&restore, START + SECOND / 2);
        // Half a second longer for late reports.
        let known = Take {
            seen: Some(version),
            ..take(&limits, &[1, 1])
        };
        assert_eq!(state.take(&known, START + SECOND / 2).outcome, wait(500));
        // A burst at most.
        assert_eq!(state.take(&known, START + SECOND).outcome, wait(500));
        // One that is sent again counts once.
        for id in [1, 1, 2, 2, 3, 4, 5] {
            state.restore(
                &Restore {
                    id,
                    ..restore.clone()
                },
                START + SECOND / 2,
            );
            assert_eq!(state.limits[0].window.used(), (3 * (id - 1)).min(10));
        }
    }

    #[test]
    fn returned_units_are_free_again() {
        let limits = [bucket(5, SECOND), window(5)];
        let mut state = NameState::default();
        let all = marks(state.take(&take(&limits, &[5, 5]), START).outcome);
        let back = Take {
            returned: all,
            not_after: Some(0),
            ..take(&limits, &[5, 5])
        };
        // Also if nothing is taken.
        assert_eq!(state.take(&back, START + 1_000).outcome, Outcome::TooLate);
        let outcome = state.take(&take(&limits, &[5, 5]), START + 1_000).outcome;
        assert_eq!(granted(&outcome), Some(vec![5, 5]));
    }

    #[test]
    fn a_check_in_returns_and_takes_nothing() {
        let limits = [window(5)];
        let mut state = NameState::default();
        let all = marks(state.take(&take(&limits, &[5]), START).outcome);
        assert_eq!(state.take(&take(&limits, &[1]), START).outcome, wait(1_024));
        let check_in = Take {
            returned: all,
            ..take(&limits, &[0])
        };
        let outcome = state.take(&check_in, START).outcome;
        assert_eq!(granted(&outcome), Some(vec![0]));
        assert_eq!((state.claims.len(), state.limits[0].window.used()), (1, 0));
    }

    #[test]
    fn claims_are_served_in_order() {
        let limits = [bucket(10, SECOND / 10)];
        let mut state = NameState::default();
        state.take(&take(&limits, &[10]), START);
        let (large, small) = (take(&limits, &[8]), of_process(2, take(&limits, &[1])));
        assert_eq!(state.take(&large, START).outcome, wait(800));
        assert_eq!(state.take(&small, START).outcome, wait(900));
        // The small one fits, but not behind the large one, which keeps its place.
        let half = START + SECOND / 2;
        assert_eq!(state.take(&small, half).outcome, wait(400));
        assert_eq!(state.take(&large, half).outcome, wait(300));
        assert_eq!(state.take(&small, half).outcome, wait(400));
        let outcome = state.take(&large, START + SECOND * 8 / 10).outcome;
        assert_eq!(granted(&outcome), Some(vec![8]));
        let outcome = state.take(&small, START + SECOND * 9 / 10).outcome;
        assert_eq!(granted(&outcome), Some(vec![1]));
        assert_eq!(state.claims.len(), 0);
    }

    #[test]
    fn a_claim_that_is_not_renewed_expires() {
        let limits = [bucket(10, SECOND / 10)];
        let mut state = NameState::default();
        state.take(&take(&limits, &[10]), START);
        let (large, small) = (take(&limits, &[8]), of_process(2, take(&limits, &[1])));
        let large = Take {
            claim: Duration::from_millis(250),
            ..large
        };
        state.take(&large, START);
        let expires = START + SECOND / 4;
        let impatient = Take {
            patience: Duration::ZERO,
            ..small
        };
        let before = state
            .clone()
            .take(&of_process(3, take(&limits, &[2])), expires - 1_000);
        assert_eq!(granted(&before.outcome), None);
        let after = state.take(&of_process(3, take(&limits, &[2])), expires);
        assert_eq!(granted(&after.outcome), Some(vec![2]));
        // A wait beyond the patience leaves no claim, and removes an old one.
        state.take(&take(&limits, &[10]), expires);
        assert_eq!(state.claims.len(), 1);
        let impatient = Take {
            process: 1,
            cost: vec![10],
            ..impatient
        };
        state.take(&impatient, expires);
        assert_eq!(state.claims.len(), 0);
    }

    #[test]
    fn more_fits_in_proportion_behind_the_claims() {
        let limits = [window(10), window(1_000)];
        let mut state = NameState::default();
        let more = Take {
            more: vec![18, 900],
            ..take(&limits, &[1, 50])
        };
        let taken = state.take(&more, START);
        assert_eq!(granted(&taken.outcome), Some(vec![10, 500]));
        let mut state = NameState::default();
        state.take(&take(&limits, &[4, 0]), START);
        // Process 2 waits for 8.
        state.take(&of_process(2, take(&limits, &[8, 0])), START);
        state.take(&take(&limits, &[0, 100]), START);
        let later = START + PERIOD;
        let outcome = state.take(&of_process(3, more), later).outcome;
        assert_eq!(granted(&outcome), Some(vec![2, 100]));
    }

    #[test]
    fn a_reply_says_when_there_is_more() {
        let limits = [bucket(2, SECOND)];
        let mut state = NameState::default();
        for (expected, now) in [(0, START), (1_000, START)] {
            match state.take(&take(&limits, &[1]), now).outcome {
                Outcome::Granted { more_in, .. } => assert_eq!(more_in.as_millis(), expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_start_in_a_window_counts_from_the_hold() {
        let limits = [window(5)];
        let mut state = NameState::default();
        let held = Take {
            hold: Duration::from_millis(100),
            ..take(&limits, &[5])
        };
        let now = START + 1_000;
        let mark = marks(state.take(&held, now).outcome)[0].1;
        let part = 4_000_000;
        assert!((now + SECOND / 10..now + SECOND / 10 + part).contains(&mark.at));
        assert_eq!((mark.at, mark.cost), (mark.place, 5));
        assert_eq!(
            granted(&state.take(&held, mark.at + PERIOD - 1_000).outcome),
            None
        );
        assert!(granted(&state.take(&held, mark.at + PERIOD).outcome).is_some());
    }

    #[test]
    fn an_unknown_bucket_has_been_full_for_long() {
        let limits = [bucket(1, SECOND / 1_000)];
        let in_turn = Take {
            is_in_turn: true,
            patience: Duration::ZERO,
            ..take(&limits, &[1])
        };
        let mut state = NameState::default();
        let count = |state: &mut NameState| {
            let taken = || granted(&state.take(&in_turn, START).outcome);
            std::iter::from_fn(taken).count()
        };
        assert_eq!(count(&mut state), 11);
        assert_eq!(count(&mut state), 0);
    }

    #[test]
    fn a_clock_that_goes_back_closes_nothing_for_long() {
        let limits = [bucket(5, SECOND), window(5)];
        let mut state = NameState::default();
        let version = state.take(&take(&limits, &[5, 5]), START).version;
        state.take(&take(&limits, &[5, 5]), START);
        let now = START - 3_600 * SECOND;
        let known = Take {
            seen: Some(version),
            ..take(&limits, &[5, 5])
        };
        assert_eq!(state.take(&known, now).outcome, wait(5_000));
        // Its claim was dropped for the new one.
        assert_eq!(state.claims.len(), 1);
        assert!(granted(&state.take(&known, now + 5 * SECOND).outcome).is_some());
        // Neither does a state that is lost after that.
        let mut state = NameState::default();
        assert_eq!(state.take(&known, now).outcome, Outcome::Lost(GRACE));
        let again = state.take(&known, now + SECOND / 2);
        assert_eq!(again.outcome, Outcome::Lost(GRACE));
        assert!(again.version.made > version.made);
    }

    #[test]
    fn a_quota_holds_for_the_code_that_it_replaced() {
        let (code, new) = ([window(5)], [window(8)]);
        let mut state = NameState::default();
        let set = SetQuota {
            name: "name".into(),
            limits: code.as_slice().into(),
            new: new.as_slice().into(),
        };
        state.set_quota(&set, START);
        let taken = state.take(&take(&code, &[8]), START);
        assert_eq!(taken.limits.as_deref(), Some(&new[..]));
        assert_eq!(granted(&taken.outcome), Some(vec![8]));
        let deployed = state.take(&take(&[window(9)], &[1]), START);
        assert_eq!(
            (deployed.limits, granted(&deployed.outcome)),
            (None, Some(vec![1]))
        );
    }

    #[test]
    fn used_units_of_a_bucket_stay_used() {
        let mut state = NameState::default();
        state.take(&take(&[bucket(10, SECOND)], &[8]), START);
        let outcome = state
            .take(&take(&[bucket(5, SECOND / 10)], &[1]), START)
            .outcome;
        assert_eq!(outcome, wait(100));
        // The excess counts again.
        let outcome = state
            .take(&take(&[bucket(10, SECOND)], &[3]), START)
            .outcome;
        assert_eq!(outcome, wait(1_000));
    }

    #[test]
    fn another_kind_has_a_state_of_its_own() {
        let mut state = NameState::default();
        state.take(&take(&[bucket(5, SECOND)], &[5]), START);
        let outcome = state.take(&take(&[window(5)], &[5]), START).outcome;
        assert_eq!(granted(&outcome), Some(vec![5]));
        let outcome = state.take(&take(&[bucket(5, SECOND)], &[1]), START).outcome;
        assert_eq!(granted(&outcome), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_keeps_names_for_a_day() {
        let (store, limits) = (Model::new(), [bucket(5, SECOND)]);
        let version = async |store: &Model| match store.call(Call::Take(take(&limits, &[1]))).await
        {
            Ok(Reply::Take(taken)) => taken.version,
            other => panic!("{other:?}"),
        };
        let first = version(&store).await;
        assert_eq!(first.made, Model::START);
        tokio::time::advance(Duration::from_secs(23 * 3_600)).await;
        assert_eq!(version(&store).await.made, first.made);
        tokio::time::advance(Duration::from_secs(24 * 3_600)).await;
        assert_ne!(version(&store).await.made, first.made);
        store.forget();
        assert_eq!(version(&store).await.sequence, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_counts_processes() {
        let store = Model::new();
        let beat = |process| {
            let expires = Duration::from_secs(1);
            store.call(Call::Beat { process, expires })
        };
        assert_eq!(beat(1).await, Ok(Reply::Processes(1)));
        assert_eq!(beat(2).await, Ok(Reply::Processes(2)));
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(beat(1).await, Ok(Reply::Processes(2)));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(beat(1).await, Ok(Reply::Processes(1)));
    }

    /// Without a hold and other processes it is the limit of a single one.
    #[test]
    fn a_bucket_does_as_gcra() {
        let quotas = [
            Quota::new(700, Duration::from_millis(1_000)).burst(30),
            Quota::new(3_000, Duration::from_millis(1_000)).burst(10),
        ];
        let specs = quotas.map(|quota| {
            let refill = Refill::new(&quota);
            bucket(refill.capacity, refill.unit_nanos)
        });
        let mut rng = StdRng::seed_from_u64(7);
        let (gcra, mut state) = (Gcra::new(&quotas[0]), NameState::default());
        let (mut now, mut which, mut taken) = (START, 0, Vec::new());
        for step in 0..10_000 {
            now += rng.random_range(0..8_000) * 1_000;
            // Not before the first request: then it has been full for long.
            if step > 0 && rng.random_ratio(1, 50) {
                which = 1 - which;
                gcra.set_quota(&quotas[which], now);
                taken.clear();
            }
            let is_in_turn = rng.random_ratio(1, 2);
            let mut call = Take {
                is_in_turn,
                patience: Duration::ZERO,
                ..take(&specs[which..=which], &[rng.random_range(1..12)])
            };
            if rng.random_ratio(1, 3) && !taken.is_empty() {
                let (mark, other): (Mark, Mark) =
                    taken.swap_remove(rng.random_range(0..taken.len()));
                gcra.give_back(&mark, now);
                call.returned.push((0, other));
            }
            let expected = match is_in_turn {
                true => gcra.take_in_turn(call.cost[0], now),
                false => gcra.take(call.cost[0], now),
            };
            match (expected, state.take(&call, now).outcome) {
                (Ok(mark), Outcome::Granted { marks, .. }) => {
                    // What was given back is counted in other units after a change.
                    assert_eq!(
                        (mark.place, mark.at),
                        (marks[0].place, marks[0].at),
                        "{step}"
                    );
                    taken.push((mark, marks[0]));
                }
                (Err(Decision::Wait(wait)), Outcome::Wait(other)) => {
                    let wait = wait.as_nanos().div_ceil(1_000);
                    assert_eq!(wait, other.as_micros(), "{step}");
                }
                (Err(Decision::Never), Outcome::Never) => {}
                (expected, outcome) => panic!("{step}: {expected:?} {outcome:?}"),
            }
        }
    }

    #[test]
    fn a_window_does_as_the_window_of_one_process() {
        let (capacity, period) = (500, Period::in_parts(PERIOD / 1_000));
        let mut rng = StdRng::seed_from_u64(8);
        let (mut window, mut state) = (RefundableWindow::default(), NameState::default());
        let (mut now, mut taken) = (Model::START, Vec::new());
        for step in 0..10_000 {
            now += rng.random_range(0..10_000);
            let cost = rng.random_range(1..20);
            let mut call = Take {
                patience: Duration::ZERO,
                ..take(&[self::window(capacity)], &[cost])
            };
            window.advance(period.nanos, now);
            if rng.random_ratio(1, 4) && !taken.is_empty() {
                let mark: Mark = taken.swap_remove(rng.random_range(0..taken.len()));
                window.give_back(mark.at / 1_000, mark.cost);
                call.returned.push((0, mark));
            }
            let wait = window.wait(capacity, &period, cost, now);
            match state.take(&call, now * 1_000).outcome {
                Outcome::Granted { marks, .. } => {
                    let start = window.start(&period, now);
                    window.take(start, cost);
                    assert_eq!((wait, start * 1_000), (0, marks[0].at), "{step}");
                    taken.push(marks[0]);
                }
                outcome => assert_eq!(outcome, Outcome::Wait(duration(wait)), "{step}"),
            }
        }
    }
}
