//! What a limit knows: the grant, the replies of the store, and what it has to tell.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::limit::{
    algorithm::Mark,
    nanos,
    store::{
        call::{ChargedUnits, LimitSpec, Outcome, Restore, TakeReply, UsedUnits, Version},
        constants,
        handle::Outage,
        history::GrantHistory,
        pot::{Grant, Marks, Pot},
        share::LocalShare,
    },
};

#[derive(Debug)]
pub(super) struct State {
    /// The limits that apply.
    pub(super) limits: Arc<[LimitSpec]>,
    pub(super) hold: Duration,
    pub(super) pot: Pot,
    /// What goes back with the next call, with the number of its limit. Each is sent once: whether
    /// a call without a reply was carried out is not known.
    pub(super) returned: Vec<(usize, Mark)>,
    /// What was used in addition. It is sent until there is a reply.
    pub(super) charged: Vec<ChargedUnits>,
    pub(super) told: Option<StoreWait>,
    pub(super) version: Option<Version>,
    /// The clock of the store at the time of a call. Before the first reply, the clock of this
    /// machine.
    pub(super) clock: (Instant, u64),
    /// Whether it is the clock of the store.
    pub(super) knows_clock: bool,
    pub(super) pace: Pace,
    /// Of each limit, what all processes had used of it at the last reply.
    pub(super) used: Vec<UsedUnits>,
    pub(super) paused_until: Option<Instant>,
    /// A pause that was not sent yet.
    pub(super) new_pause: Option<Instant>,
    /// Of each limit of a name. What clients have taken is not reported if it is lost.
    pub(super) history: Box<[GrantHistory]>,
    /// Until when what was taken last makes a difference.
    pub(super) used_until: Option<Instant>,
    /// What must be reported before anything is taken.
    pub(super) report: Option<PendingReport>,
    /// A report that was sent, until the store confirms it.
    pub(super) sent_report: Option<Box<Restore>>,
    /// Limits that were set and not sent yet, by number.
    pub(super) new_limits: BTreeMap<usize, LimitSpec>,
    /// The limits of this process alone, while the store is unreachable.
    pub(super) shares: Option<Box<[LocalShare]>>,
    /// Of each limit, what was admitted meanwhile and is not reported yet. Empty if nothing was.
    pub(super) unreported: Box<[GrantHistory]>,
    /// The replies of the store make no sense.
    pub(super) broken: Option<Outage>,
    /// There were too many calls for one for a request of this client.
    pub(super) unsent: Option<Outage>,
}

/// The reply to a request that has to wait: cheaper requests may fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreWait {
    /// The number of the limit that it waits for.
    pub(super) limit: usize,
    pub(super) cost: u64,
    pub(super) until: Instant,
    /// When the next request asks again all the same.
    pub(super) again: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingReport {
    /// What was admitted while the store was unreachable.
    Unreported,
    /// The store has lost what it knew.
    All,
}

/// How many units are spent in a hold.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    /// Of each limit, in this hold and in the one before.
    units: Box<[(u64, u64)]>,
}

// ===== impl State =====

impl State {
    pub(super) fn new(
        limits: Arc<[LimitSpec]>,
        is_client: bool,
        clock: (Instant, u64),
        timeout: Duration,
    ) -> Self {
        let history = match is_client {
            true => Box::default(),
            false => limits.iter().map(GrantHistory::new).collect(),
        };
        Self {
            hold: shortest_hold(&limits, timeout),
            pot: Pot::default(),
            returned: Vec::new(),
            charged: Vec::new(),
            told: None,
            version: None,
            clock,
            knows_clock: false,
            pace: Pace {
                since: clock.0,
                units: limits.iter().map(|_| (0, 0)).collect(),
            },
            used: Vec::new(),
            paused_until: None,
            new_pause: None,
            history,
            used_until: None,
            report: None,
            sent_report: None,
            new_limits: BTreeMap::new(),
            shares: None,
            unreported: Box::default(),
            broken: None,
            unsent: None,
            limits,
        }
    }

    /// Returns for how long nothing is taken, since a process has paused the name.
    #[inline]
    pub(super) fn pause_left(&self, now: Instant) -> Option<Duration> {
        let until = self.paused_until.filter(|until| now < *until)?;
        Some(until - now)
    }

    /// Returns whether `cost` units can be spent.
    pub(super) fn has(&self, cost: impl Iterator<Item = u64>, now: Instant) -> bool {
        self.pause_left(now).is_none() && self.pot.has(&self.limits, cost, now)
    }

    pub(super) fn spend(&mut self, cost: &[u64], now: Instant) -> Option<Marks> {
        if self.pause_left(now).is_some() {
            return None;
        }
        let marks = self.pot.spend(&self.limits, cost, now)?;
        self.pace.add(&marks, now, self.hold);
        Some(marks)
    }

    /// Returns the number of the limit whose capacity is lower than `cost`.
    pub(super) fn exceeded(&self, cost: &[u64]) -> Option<usize> {
        let exceeds = |(limit, cost): (&LimitSpec, &u64)| limit.cost(*cost) > limit.capacity();
        self.limits.iter().zip(cost).position(exceeds)
    }

    /// Returns what the store has said, if it is true for a request of `cost`.
    pub(super) fn wait_of(&self, cost: &[u64], now: Instant) -> Option<StoreWait> {
        let told = self.told.filter(|told| now < told.until)?;
        let cost = cost.get(told.limit)?;
        (told.cost <= *cost).then_some(told)
    }

    /// Returns what all processes have used of a limit as of the last reply: without what this one
    /// has not spent or gives back, and with what it has charged.
    #[cfg(feature = "per-key")]
    pub(super) fn used_of(&self, limit: usize) -> Option<UsedUnits> {
        let used = self.used.get(limit)?;
        let of_this = |(number, mark): &(usize, Mark)| (*number == limit).then_some(mark.cost);
        let unused = self.returned.iter().filter_map(of_this).sum::<u64>() + self.pot.units(limit);
        let of_this = |charge: &&ChargedUnits| charge.limit == limit && charge.up_to.is_none();
        let charged = self.charged.iter().filter(of_this);
        let more = charged.map(|charge| charge.units).sum::<u64>();
        let resets_in = used.resets_in.saturating_sub(self.clock.0.elapsed());
        Some(match self.limits[limit] {
            LimitSpec::Bucket { unit_nanos, .. } => {
                let time = |units: u64| Duration::from_nanos(units.saturating_mul(unit_nanos));
                let resets_in = (resets_in + time(more)).saturating_sub(time(unused));
                let units = nanos(resets_in).div_ceil(unit_nanos.max(1));
                UsedUnits { units, resets_in }
            }
            LimitSpec::Window { .. } => {
                let counted = if resets_in.is_zero() { 0 } else { used.units };
                let units = counted.saturating_sub(unused).saturating_add(more);
                UsedUnits { units, resets_in }
            }
        })
    }

    /// Returns the time of the store, or a later one.
    pub(super) fn store_time(&self, now: Instant) -> u64 {
        let (sent, at) = self.clock;
        at.saturating_add(nanos(now.saturating_duration_since(sent)))
    }

    /// Notes that units were taken, and puts them into the pot.
    pub(super) fn put(&mut self, grant: Grant, now: Instant) {
        let taken = grant.marks.iter().zip(&*self.limits).enumerate();
        for (number, (mark, limit)) in taken.filter(|(_, (mark, _))| mark.cost > 0) {
            let at = counts_at(limit, mark, grant.taken_at);
            if let Some(history) = self.history.get_mut(number) {
                history.add(at, mark.cost);
            }
            let unreported = self.unreported.get_mut(number);
            if let Some(unreported) = unreported.filter(|_| grant.is_local) {
                unreported.add(at, mark.cost);
            }
        }
        let limited = self.limits.iter().filter(|limit| !limit.is_unlimited());
        let span = limited.map(LimitSpec::span).max().unwrap_or_default();
        self.used_until = Some(constants::later(now, span));
        self.pot.put(grant);
    }

    /// Returns this process's share of a limit, while the store is unreachable.
    pub(super) fn share(&mut self, limit: usize) -> Option<&mut LocalShare> {
        self.shares.as_mut()?.get_mut(limit)
    }

    /// Marks what is left in the pot as to be given back.
    pub(super) fn empty_pot(&mut self) {
        let Some(left) = self.pot.empty() else {
            return;
        };
        let now = self.store_time(Instant::now());
        let left_marks = left.marks.iter().enumerate();
        for (limit, mark) in left_marks.filter(|(_, mark)| mark.cost > 0) {
            let at = counts_at(&self.limits[limit], mark, left.taken_at);
            if let Some(history) = self.history.get_mut(limit) {
                history.remove(at, mark.cost);
            }
            match self.unreported.get_mut(limit) {
                Some(unreported) if left.is_local => {
                    unreported.remove(at, mark.cost);
                    if let Some(share) = self.share(limit) {
                        share.give_back(mark, now);
                    }
                }
                _ => self.give_back(limit, *mark),
            }
        }
    }

    pub(super) fn give_back(&mut self, limit: usize, mark: Mark) {
        let is_same = |(number, other): &&mut (usize, Mark)| {
            let place = |mark: &Mark| (mark.place, mark.at, mark.given);
            *number == limit && place(other) == place(&mark)
        };
        // Requests that are served by one grant have one place.
        if let Some((_, other)) = self.returned.iter_mut().rev().find(is_same) {
            other.cost = other.cost.saturating_add(mark.cost);
        } else if self.returned.len() < constants::MOST_RETURNED {
            self.returned.push((limit, mark));
        }
    }

    /// Adds units to what is charged with the next call.
    pub(super) fn charge(&mut self, mut charge: ChargedUnits, now: u64) {
        if matches!(self.limits[charge.limit], LimitSpec::Bucket { .. }) {
            // It has no instants.
            charge.at = 0;
        }
        let kind = |charge: &ChargedUnits| (charge.limit, charge.at, charge.up_to.is_some());
        // Nearly always the newest.
        let mut newest = self.charged.iter_mut().rev();
        if let Some(same) = newest.find(|other| kind(other) == kind(&charge)) {
            same.units = same.units.saturating_add(charge.units);
            same.up_to = same.up_to.max(charge.up_to);
            return;
        }
        // What has left its window makes no difference. So there are at most as many as a period
        // has parts.
        let limits = &self.limits;
        let span = |charge: &ChargedUnits| nanos(limits[charge.limit].span());
        let counts =
            |charge: &ChargedUnits| charge.at == 0 || charge.at.saturating_add(span(charge)) > now;
        self.charged.retain(counts);
        self.charged.push(charge);
    }

    /// Returns whether what this process took makes a difference.
    pub(super) fn is_used_at(&mut self, at: u64) -> bool {
        let mut history = self.history.iter_mut();
        history.any(|history| !history.is_empty_at(at))
    }

    /// Applies `limits`.
    pub(super) fn set_limits(&mut self, limits: &Arc<[LimitSpec]>, timeout: Duration) {
        // A reply with another number of limits makes no sense.
        if self.limits == *limits || self.limits.len() != limits.len() {
            return;
        }
        self.hold = self.hold.max(shortest_hold(limits, timeout));
        let mut both = self.limits.iter().zip(&**limits);
        if both.any(|(old, new)| new.refills_faster(old)) {
            self.told = None;
        }
        self.shares = None;
        for histories in [&mut self.history, &mut self.unreported] {
            for (history, limit) in histories.iter_mut().zip(&**limits) {
                *history = history.of(limit);
            }
        }
        self.limits = limits.clone();
    }

    /// Returns whether there is something to give back, to add, or to report.
    pub(super) fn has_to_tell(&self) -> bool {
        !self.returned.is_empty()
            || !self.charged.is_empty()
            || self.report.is_some()
            || self.sent_report.is_some()
            || self.must_tell_now()
    }

    /// Returns whether the next call is needed at once.
    pub(super) fn must_tell_now(&self) -> bool {
        !self.new_limits.is_empty() || self.new_pause.is_some()
    }

    /// Notes what each reply says. `code` are the limits in the code of a name.
    pub(super) fn note(
        &mut self,
        taken: &mut TakeReply,
        sent: Instant,
        code: Option<&Arc<[LimitSpec]>>,
        timeout: Duration,
    ) {
        if self.version.is_none() {
            // What was admitted before had the time of this machine's clock.
            let ours = self.store_time(sent);
            let all = self.history.iter_mut().chain(&mut self.unreported);
            all.for_each(|history| history.shift(ours, taken.now));
        }
        self.version = Some(taken.version);
        (self.clock, self.knows_clock) = ((sent, taken.now), true);
        (self.broken, self.unsent) = (None, None);
        self.used = std::mem::take(&mut taken.used);
        if !taken.paused.is_zero() {
            let until = constants::later(Instant::now(), taken.paused);
            self.paused_until = self.paused_until.max(Some(until));
        }
        // Each call has the limits of a client.
        let Some(code) = code else { return };
        let mut limits = taken.limits.take().unwrap_or_else(|| code.clone());
        if matches!(taken.outcome, Outcome::Lost(_)) {
            // Limits that were set are lost as well, unless another process has set them again.
            let both = self.limits.iter().zip(&**code).enumerate();
            for (number, (limit, code)) in both.filter(|(_, (limit, code))| limit != code) {
                if limits.get(number) == Some(code) {
                    self.new_limits.insert(number, *limit);
                }
            }
        }
        for (number, limit) in &self.new_limits {
            if let Some(old) = Arc::make_mut(&mut limits).get_mut(*number) {
                *old = *limit;
            }
        }
        self.set_limits(&limits, timeout);
    }

    /// Hears that the store has forgotten the limits, and takes nothing for some time.
    pub(super) fn lost(&mut self, closed: Duration) {
        self.report = Some(PendingReport::All);
        let until = constants::later(Instant::now(), closed);
        self.told = Some(StoreWait {
            limit: 0,
            cost: 0,
            until,
            again: until,
        });
    }
}

// ===== impl Pace =====

impl Pace {
    fn add(&mut self, marks: &[Mark], now: Instant, hold: Duration) {
        self.turn(now, hold);
        for ((spent, _), mark) in self.units.iter_mut().zip(marks) {
            *spent = spent.saturating_add(mark.cost);
        }
    }

    /// Returns how many units of a limit are spent in a hold.
    pub(super) fn units(&mut self, limit: usize, now: Instant, hold: Duration) -> u64 {
        self.turn(now, hold);
        let (spent, before) = self.units[limit];
        spent.max(before)
    }

    fn turn(&mut self, now: Instant, hold: Duration) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= hold {
            for (spent, before) in &mut self.units {
                *before = if elapsed < hold * 2 { *spent } else { 0 };
                *spent = 0;
            }
            self.since = now;
        }
    }
}

/// Returns from when on units of `mark` count that were taken at `now`.
fn counts_at(limit: &LimitSpec, mark: &Mark, now: u64) -> u64 {
    match limit {
        LimitSpec::Bucket { .. } => now,
        // Nothing else knows the rounded start.
        LimitSpec::Window { .. } => mark.at.max(now),
    }
}

/// Returns how long a grant may be spent: as for the shortest of the limits.
pub(super) fn shortest_hold(limits: &[LimitSpec], timeout: Duration) -> Duration {
    let limited = limits.iter().filter(|limit| !limit.is_unlimited());
    let span = limited.map(LimitSpec::span).min().unwrap_or_default();
    constants::hold(span, timeout)
}

#[cfg(all(test, not(throttle_loom)))]
mod tests {
    use super::*;
    use crate::limit::Quota;

    #[tokio::test(start_paused = true)]
    async fn charges_are_bounded_while_none_is_sent() {
        let quota = Quota::per_second(1_000_000);
        let limits = Arc::new([LimitSpec::window(&quota), LimitSpec::bucket(&quota)]);
        let mut state = State::new(limits.clone(), false, (Instant::now(), 0), Duration::ZERO);
        // A minute.
        for now in (0..60_000_000_000).step_by(1_000_000) {
            for (limit, at) in [(0, limits[0].round_up(now)), (1, 0)] {
                let charge = ChargedUnits {
                    limit,
                    at,
                    units: 1,
                    up_to: None,
                };
                state.charge(charge, now);
            }
        }
        assert!(state.charged.len() <= 259, "{}", state.charged.len());
        let of_bucket = state.charged.iter().find(|charge| charge.limit == 1);
        assert_eq!(of_bucket.unwrap().units, 60_000);
    }
}
