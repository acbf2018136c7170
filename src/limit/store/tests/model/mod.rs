//! The state of a name or client in memory: step for step what the scripts in `redis/lua` do.

pub(in crate::limit::store) mod slots;
mod store;
mod tests;

use std::{collections::VecDeque, sync::Arc, time::Duration};

pub(crate) use self::store::Model;
use crate::limit::store::call::SetQuota;
use crate::limit::{
    algorithm::{
        Mark,
        gcra::Refill,
        window::{Period, RefundableWindow},
    },
    clock::TIMER_LATENESS,
    nanos,
    store::call::{
        LimitSpec, MOST_EXACT, Outcome, Restore, Take, TakeReply, UsedUnits, Version, micros,
    },
};

/// The most nanoseconds until a bucket is full: a second less than what is exact in Lua.
const LONGEST_DEBT: u64 = MOST_EXACT - 1_000_000_000;

/// The longest pause, in microseconds. What is longer is from a clock that went back.
const LONGEST_PAUSE: u64 = 600_000_000;

/// What was given back to a bucket is counted from 0 to this, and again.
const GIVEN: u64 = 1 << 52;

/// The limits of one name or client, without a clock. Instants are in microseconds, except in a
/// bucket.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameState {
    /// None if it was not made yet.
    version: Option<Version>,
    /// Nothing is taken before, since the state was lost.
    opens: u64,
    /// Nothing is taken before, since a process has said so.
    paused: u64,
    /// The limits in the code for which others apply, and those.
    quotas: Option<[Arc<[LimitSpec]>; 2]>,
    /// In the order in which the requests came.
    claims: Vec<Claim>,
    limits: Vec<LimitState>,
    /// The reports of processes that were counted, the last 64.
    restored: VecDeque<u64>,
    /// Whether only the level of the bucket is known, and about what a unit was: see
    /// [`shorten`](Self::shorten).
    is_short: bool,
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
    /// Of the window, at the last call.
    period: u64,
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
        let is_client = take.key.client.is_some();
        let is_lost = self.is_lost(take.seen.filter(|_| !is_client), &at);
        if self.paused > at.now + LONGEST_PAUSE {
            self.paused = 0;
        }
        if !take.pause.is_zero() {
            let pause = micros(take.pause).min(LONGEST_PAUSE);
            self.paused = self.paused.max(at.now + pause);
        }
        let closed_until = self.opens.max(self.paused);

        let specs = self.specs(&take.limits);
        let (mut used, mut slowest) = (Vec::new(), 0);
        let outcome = match is_lost {
            true => Outcome::Lost(duration(self.opens.saturating_sub(at.now))),
            false => {
                let mut limits = open(&mut self.limits, &specs, &at, self.is_short);
                settle(&mut limits, take);
                let outcome = match closed_until > at.now {
                    true => Outcome::Wait(duration(closed_until - at.now)),
                    false => decide(&mut limits, &mut self.claims, take, &at, &mut slowest),
                };
                used = limits.iter().map(Limit::used).collect();
                outcome
            }
        };
        let version = match is_client {
            true => self.shorten(specs.len(), at.now),
            false => self.changed(at.now),
        };
        TakeReply {
            now: at.now * 1_000,
            version,
            limits: (specs != take.limits).then_some(specs),
            used,
            paused: duration(self.paused.saturating_sub(at.now)),
            slowest,
            outcome,
        }
    }

    /// Adds what a process took, at `now` in nanoseconds since 1970.
    pub(crate) fn restore(&mut self, restore: &Restore, now: u64) {
        let at = At::without_hold(now);
        let grace = micros(restore.grace);
        let is_client = restore.key.client.is_some();
        if !is_client {
            let version = self.changed(at.now);
            if grace > 0 {
                self.opens = self.opens.max(version.made.min(at.now) + grace);
            }
        }
        let specs = self.specs(&restore.limits);
        let limits = open(&mut self.limits, &specs, &at, self.is_short);
        let is_new = !self.restored.contains(&restore.id);
        if is_new {
            self.restored.push_back(restore.id);
            if self.restored.len() > 64 {
                self.restored.pop_front();
            }
            for (mut limit, taken) in limits.into_iter().zip(&restore.taken) {
                limit.add(taken, 1, MOST_EXACT);
            }
        }
        if is_client {
            self.shorten(specs.len(), at.now);
        }
    }

    /// Sets a quota at `now`, in nanoseconds since 1970.
    pub(crate) fn set_quota(&mut self, set: &SetQuota, now: u64) {
        let at = At::without_hold(now);
        self.changed(at.now);
        let mut specs = self.specs(&set.limits);
        open(&mut self.limits, &specs, &at, false);
        Arc::make_mut(&mut specs)[set.number] = set.new;
        self.quotas = Some([Arc::clone(&set.limits), specs]);
    }

    /// Returns the limits that apply to a process with `limits` in its code.
    fn specs(&self, limits: &Arc<[LimitSpec]>) -> Arc<[LimitSpec]> {
        match &self.quotas {
            Some([code, new]) if code == limits => Arc::clone(new),
            _ => Arc::clone(limits),
        }
    }

    /// Forgets what the store does not keep of a client if its only limit is a bucket: a state of
    /// many bytes would be too much. Returns the version, which is always the same.
    fn shorten(&mut self, limits: usize, now: u64) -> Version {
        let is_rest_empty = self.limits.iter().skip(1).all(LimitState::is_empty);
        self.is_short = match self.limits.first_mut() {
            Some(limit) if limits == 1 && limit.window.used() == 0 => {
                let has_rest = self.paused > now
                    || !self.claims.is_empty()
                    || !self.restored.is_empty()
                    || !is_rest_empty;
                limit.bucket.as_ref().is_some_and(|bucket| {
                    !has_rest && bucket.full_at > 0 && (bucket.given, bucket.excess) == (0, 0)
                })
            }
            _ => false,
        };
        Version {
            made: 0,
            sequence: 0,
        }
    }

    /// Returns when the state of a client makes no difference any more.
    pub(crate) fn idle_at(&self) -> u64 {
        let claims = self.claims.iter().map(|claim| claim.expires);
        let limits = self.limits.iter().map(LimitState::idle_at);
        claims.chain(limits).fold(self.paused, u64::max)
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
}

impl Claim {
    fn counts(&self, now: u64) -> bool {
        self.asked <= now && now < self.expires
    }
}

/// Adds what was used in addition, and gives back what was not used.
fn settle(limits: &mut [Limit<'_>], take: &Take) {
    for charge in &take.charged {
        if let Some(limit) = limits.get_mut(charge.limit) {
            let up_to = charge.up_to.unwrap_or(MOST_EXACT);
            limit.add(&[(charge.at, charge.units)], 2, up_to);
        }
    }
    for (limit, mark) in &take.returned {
        if let Some(limit) = limits.get_mut(*limit) {
            limit.give_back(mark);
        }
    }
}

/// Takes units, if they fit. Otherwise the `slowest` limit is the one that the request waits for,
/// or that it exceeds.
fn decide(
    limits: &mut [Limit<'_>],
    claims: &mut Vec<Claim>,
    take: &Take,
    at: &At,
    slowest: &mut usize,
) -> Outcome {
    if take.cost.iter().all(|cost| *cost == 0) {
        return Outcome::Granted {
            marks: vec![Mark::default(); limits.len()],
            more_in: duration(0),
        };
    }
    if take.not_after.is_some_and(|last| last / 1_000 < at.now) {
        return Outcome::TooLate;
    }

    claims.retain(|claim| claim.counts(at.now));
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

    let exceeded = limits
        .iter()
        .zip(&take.cost)
        .position(|(limit, cost)| *cost > limit.capacity());
    let waits = limits.iter().zip(&take.cost).zip(&ahead);
    let waits = waits.map(|((limit, cost), ahead)| match cost {
        0 => 0,
        cost => limit.wait(ahead + cost),
    });
    let wait = longest(waits, slowest);
    if exceeded.is_none() && wait > 0 && wait <= micros(take.patience) {
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
    match (exceeded, wait) {
        (Some(limit), _) => {
            *slowest = limit;
            Outcome::Never
        }
        (None, 0) => grant(limits, take, &others, slowest),
        (None, wait) => Outcome::Wait(duration(wait)),
    }
}

/// Returns the longest of the `waits` of the limits, and the number of its limit.
fn longest(waits: impl Iterator<Item = u64>, slowest: &mut usize) -> u64 {
    let mut longest = 0;
    for (limit, wait) in waits.enumerate() {
        if wait > longest {
            (longest, *slowest) = (wait, limit);
        }
    }
    longest
}

/// Takes the cost, and as much more as fits in proportion and leaves the `others` their units.
fn grant(limits: &mut [Limit<'_>], take: &Take, others: &[u64], slowest: &mut usize) -> Outcome {
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
    let next = limits.iter().zip(others).zip(asked);
    let next = next.map(|((limit, others), asked)| match asked {
        true => limit.wait(others + 1),
        false => 0,
    });
    let more_in = duration(longest(next, slowest));
    Outcome::Granted { marks, more_in }
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
fn open<'a>(
    limits: &'a mut Vec<LimitState>,
    specs: &[LimitSpec],
    at: &At,
    is_short: bool,
) -> Vec<Limit<'a>> {
    if limits.len() < specs.len() {
        limits.resize_with(specs.len(), LimitState::default);
    }
    let limits = limits.iter_mut().zip(specs);
    limits
        .enumerate()
        .map(|(number, (limit, spec))| limit.open(spec, at, is_short && number == 0))
        .collect()
}

// ===== impl LimitState =====

impl LimitState {
    fn is_empty(&self) -> bool {
        let is_full = |bucket: &Bucket| bucket.full_at == 0;
        self.bucket.as_ref().is_none_or(is_full) && self.window.used() == 0
    }

    /// Returns when what was taken makes no difference any more, in microseconds.
    fn idle_at(&self) -> u64 {
        let late = nanos(TIMER_LATENESS);
        let bucket = self.bucket.as_ref();
        let bucket = bucket.map_or(0, |bucket| bucket.full_at + bucket.excess + late);
        let window = self.window.empty_at(self.period);
        bucket.div_ceil(1_000).max(window)
    }

    fn open(&mut self, spec: &LimitSpec, at: &At, is_short: bool) -> Limit<'_> {
        if let Some(bucket) = self.bucket.as_mut().filter(|_| is_short) {
            bucket.read_short(spec);
        }
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
                self.period = period.nanos;
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

    /// Returns the refill time of twice the burst, up to which units are added.
    fn most_nanos(&self) -> u64 {
        self.refill
            .burst_nanos()
            .saturating_mul(2)
            .min(LONGEST_DEBT)
    }

    /// Guesses the quota before, of which a short state has the refill time of a unit in 4 bytes.
    fn read_short(&mut self, spec: &LimitSpec) {
        let unit = self.refill.unit_nanos as f32;
        let mut refill = Refill {
            capacity: MOST_EXACT,
            unit_nanos: unit as u64,
        };
        if let LimitSpec::Bucket {
            capacity,
            unit_nanos,
        } = *spec
        {
            refill.capacity = capacity;
            if unit_nanos as f32 == unit {
                refill.unit_nanos = unit_nanos;
            }
        }
        refill.capacity = refill.capacity.min(MOST_EXACT / refill.unit_nanos);
        self.refill = refill;
    }

    /// Limits what a clock that went back leaves, and keeps the used units if the quota is another.
    /// For the excess see [`Gcra`](crate::limit::algorithm::gcra::Gcra).
    fn adopt(&mut self, refill: Refill, now: u64) {
        let burst = self.refill.burst_nanos();
        if self.full_at > now + self.most_nanos() {
            self.full_at = now + burst;
        }
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
    fn capacity(&self) -> u64 {
        match self {
            Self::Bucket { bucket, .. } => bucket.refill.capacity,
            Self::Window { capacity, .. } => *capacity,
        }
    }

    fn used(&self) -> UsedUnits {
        match self {
            Self::Bucket { bucket, now, .. } => {
                let debt = bucket.full_at.saturating_sub(*now);
                UsedUnits {
                    units: debt.div_ceil(bucket.refill.unit_nanos),
                    resets_in: duration(debt.div_ceil(1_000)),
                }
            }
            Self::Window {
                window,
                period,
                now,
                ..
            } => UsedUnits {
                units: window.used(),
                resets_in: duration(window.empty_at(period.nanos).saturating_sub(*now)),
            },
        }
    }

    /// Returns the microseconds until `units` can all have been taken.
    fn wait(&self, units: u64) -> u64 {
        match self {
            Self::Bucket { bucket, now, start } => {
                let taken = units
                    .saturating_mul(bucket.refill.unit_nanos)
                    .min(MOST_EXACT);
                let full_at = bucket.full_at.max(*start) + taken;
                let wait = full_at.saturating_sub(now + bucket.refill.burst_nanos());
                wait.min(MOST_EXACT).div_ceil(1_000)
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

    /// Adds instants and units, until `up_to` units are used, and up to so many bursts, or to twice
    /// the capacity of a window.
    fn add(&mut self, taken: &[(u64, u64)], bursts: u64, up_to: u64) {
        match self {
            Self::Bucket { bucket, now, .. } => {
                let units = taken
                    .iter()
                    .fold(0u64, |sum, (_, units)| sum.saturating_add(*units));
                if units == 0 {
                    return;
                }
                let most = bucket.refill.burst_nanos().saturating_mul(bursts);
                let full_at = bucket.refill.after(bucket.full_at, *now, units);
                let up_to = up_to.saturating_mul(bucket.refill.unit_nanos);
                let full_at = full_at.min(*now + most.min(up_to).min(LONGEST_DEBT));
                bucket.full_at = bucket.full_at.max(full_at);
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
                    let most = up_to.min(2 * *capacity);
                    let units = (*units).min(most.saturating_sub(window.used()));
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
