//! A limit's side of a name in the store: spends what was granted, and asks for more.
//!
//! One call is under way at a time. It is for the first request in the queue, and for as much of
//! the queue behind it as fits.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    runtime,
    time::{Instant, sleep_until},
};

use super::{
    call::{
        Call, LimitSpec, Outcome, Reply, Restore, SetQuota, StoreError, Take, TakeReply, Version,
    },
    constants,
    handle::{Handle, LeaveFuture, StoreMember, random_id},
    history::GrantHistory,
    model::NameState,
    pot::{Grant, Pot},
    settings::WhenDown,
};
use crate::{
    error::{LimitKind, Reason, Rejected},
    limit::{Quota, algorithm::Mark, nanos},
    sync::unpoisoned,
};

/// The queue of the requests that wait for a limit.
pub(crate) trait Queue: fmt::Debug + Send + Sync {
    /// Returns the units that all who wait ask for.
    fn units(&self) -> u64;

    /// Lets the first request look again.
    fn wake_head(&self);
}

/// One limit of this process in the store.
#[derive(Debug)]
pub(crate) struct Link {
    handle: Arc<Handle>,
    name: Arc<str>,
    /// The limit in the code, with which each call identifies the quotas.
    code: Arc<[LimitSpec]>,
    spec: fn(&Quota) -> LimitSpec,
    id: u64,
    queue: Arc<dyn Queue>,
    state: Mutex<State>,
    /// Whether a call is under way. Not in the state, whose lock is held while a task is made: a
    /// runtime that ends drops it at once.
    is_asking: AtomicBool,
    /// Whether a task waits to give units back.
    is_sweeping: AtomicBool,
}

#[derive(Debug)]
struct State {
    limit: LimitSpec,
    hold: Duration,
    pot: Pot,
    /// What goes back with the next call. Each is sent once: whether a call without a reply was
    /// carried out is not known.
    returned: Vec<(usize, Mark)>,
    told: Option<StoreWait>,
    version: Option<Version>,
    /// The clock of the store at the time of a call. Before the first reply, the clock of this
    /// machine.
    clock: (Instant, u64),
    pace: Pace,
    history: GrantHistory,
    /// What must be reported before anything is taken.
    report: Option<PendingReport>,
    /// A report that was sent, until the store confirms it.
    sent_report: Option<Restore>,
    /// A quota that was set and not sent yet.
    new_quota: Option<LimitSpec>,
    /// The limit of this process alone, while the store is unreachable.
    local: Option<NameState>,
    /// What goes back to it, as `returned` to the store.
    returned_locally: Vec<(usize, Mark)>,
    /// What was admitted meanwhile.
    unreported: GrantHistory,
    /// Until when the name is not used, because its replies make no sense.
    broken: Option<(Instant, Duration)>,
}

/// The reply to a request that has to wait: cheaper requests may fit.
#[derive(Debug, Clone, Copy)]
struct StoreWait {
    cost: u64,
    until: Instant,
    /// When the next request asks again all the same.
    again: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PendingReport {
    /// What was admitted while the store was unreachable.
    Unreported,
    /// The store has lost what it knew.
    All,
}

/// How many units are spent in a hold.
#[derive(Debug)]
struct Pace {
    since: Instant,
    spent: u64,
    before: u64,
}

/// Why a request is not admitted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// A call is under way, which will tell.
    Reply,
    Wait(Duration),
    Never,
    /// The store is unreachable, and is tried again after this long.
    Store(Duration),
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asker {
    /// A request that may wait this long, if the store says so.
    New(Duration),
    /// The first in the queue.
    Head,
}

/// A call that is under way. Dropping it ends it without a reply.
struct AskTask {
    link: Arc<Link>,
    cost: u64,
    wanted: u64,
    hold: Duration,
    sent: Instant,
    /// Not if the runtime has ended before.
    has_begun: bool,
}

/// Ends the sweep if its runtime ends.
struct SweepGuard(Weak<Link>);

// ===== impl Link =====

impl Link {
    pub(crate) fn new(
        handle: Arc<Handle>,
        name: &str,
        quota: &Quota,
        spec: fn(&Quota) -> LimitSpec,
        queue: Arc<dyn Queue>,
    ) -> Arc<Self> {
        let (now, limit) = (Instant::now(), spec(quota));
        let state = State {
            limit,
            hold: constants::hold(limit.span(), handle.settings.timeout),
            pot: Pot::default(),
            returned: Vec::new(),
            told: None,
            version: None,
            clock: (now, wall_clock()),
            pace: Pace {
                since: now,
                spent: 0,
                before: 0,
            },
            history: GrantHistory::new(&limit),
            report: None,
            sent_report: None,
            new_quota: None,
            local: None,
            returned_locally: Vec::new(),
            unreported: GrantHistory::new(&limit),
            broken: None,
        };
        let link = Arc::new(Self {
            handle,
            name: name.into(),
            code: Arc::new([limit]),
            spec,
            id: random_id(),
            queue,
            state: Mutex::new(state),
            is_asking: AtomicBool::new(false),
            is_sweeping: AtomicBool::new(false),
        });
        let member: Arc<dyn StoreMember> = link.clone();
        link.handle.add(&member);
        link
    }

    fn state(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.state().limit.capacity()
    }

    /// Returns the longest that a request waits for a reply.
    pub(crate) fn timeout(&self) -> Duration {
        self.handle.settings.timeout
    }

    /// Takes `cost` units, if they were granted before. Otherwise asks for them, unless the store
    /// has said how long to wait.
    pub(crate) fn take(self: &Arc<Self>, cost: u64, max_wait: Duration) -> Result<Mark, Shortage> {
        let now = Instant::now();
        let mut state = self.state();
        self.look_at(&mut state, cost, Asker::New(max_wait), now)?;
        state.spend(cost, now).ok_or(Shortage::Reply)
    }

    /// Returns whether the first request in the queue can take `cost` units.
    pub(crate) fn look(self: &Arc<Self>, cost: u64) -> Result<(), Shortage> {
        self.look_at(&mut self.state(), cost, Asker::Head, Instant::now())
    }

    /// Takes `cost` units for the first request in the queue, if they were granted.
    pub(crate) fn take_in_turn(&self, cost: u64) -> Option<Mark> {
        self.state().spend(cost, Instant::now())
    }

    /// Takes `cost` units, if as many were granted besides the units of the whole queue, which
    /// waits to be woken then, and not for units.
    pub(crate) fn take_besides(&self, cost: u64) -> Option<Mark> {
        let (mut state, now) = (self.state(), Instant::now());
        let queued = self.queue.units();
        let is_enough = state.pot.has(queued.saturating_add(cost), now);
        is_enough.then(|| state.spend(cost, now)).flatten()
    }

    /// Returns how long a request waits behind those in the queue, if that is known.
    pub(crate) fn wait_behind(&self, cost: u64) -> Option<Duration> {
        let (state, now) = (self.state(), Instant::now());
        let told = state.told.filter(|told| now < told.until)?;
        let behind = self.queue.units().saturating_sub(told.cost);
        let refill = state.limit.refill(behind.saturating_add(cost));
        Some((told.until - now).saturating_add(refill))
    }

    /// Ensures that `cost` units can be spent.
    fn look_at(
        self: &Arc<Self>,
        state: &mut State,
        cost: u64,
        asker: Asker,
        now: Instant,
    ) -> Result<(), Shortage> {
        if state.limit.is_unlimited() || state.pot.has(cost, now) {
            return Ok(());
        }
        if cost > state.limit.capacity() {
            return Err(Shortage::Never);
        }
        self.handle.start_beat();
        let broken = state.broken.filter(|(until, _)| now < *until);
        let probe_at = self.handle.probe_at().or(broken.map(|(until, _)| until));
        if let Some(probe_at) = probe_at {
            let wait = probe_at.saturating_duration_since(now);
            let wait = wait.max(constants::report(self.timeout()));
            return self.take_locally(state, cost, asker, wait, now);
        }
        if state.local.take().is_some() {
            state.told = None;
        }
        if let Some(told) = state
            .told
            .filter(|told| now < told.until && told.cost <= cost)
        {
            // In the background: what others give back wakes no request.
            if now >= told.again {
                self.ask(state, cost, asker, now);
            }
            return Err(Shortage::Wait(told.until - now));
        }
        self.ask(state, cost, asker, now);
        Err(Shortage::Reply)
    }

    /// Takes units into the pot without the store.
    fn take_locally(
        &self,
        state: &mut State,
        cost: u64,
        asker: Asker,
        until_probe: Duration,
        now: Instant,
    ) -> Result<(), Shortage> {
        let at = state.store_time(now);
        match self.handle.settings.when_down {
            WhenDown::Closed => return Err(Shortage::Store(until_probe)),
            WhenDown::Open => {
                let mark = Mark {
                    cost,
                    ..Mark::default()
                };
                state.granted(mark, state.limit.round_up(at), now);
                return Ok(());
            }
            WhenDown::Local => {}
        }
        let share: Arc<[LimitSpec]> = Arc::new([state.limit.share(self.handle.processes())]);
        let mut take = self.call(state, cost, asker, now);
        take.limits = share.clone();
        (take.more, take.seen, take.not_after) = (vec![0], None, None);
        let returned = std::mem::take(&mut state.returned_locally);
        state.returned = std::mem::replace(&mut take.returned, returned);
        let local = match &mut state.local {
            Some(local) => local,
            none => {
                state.told = None;
                take.returned.clear();
                let taken = vec![state.history.since(at)];
                let name = self.name.clone();
                let grace = Duration::ZERO;
                let restore = Restore {
                    id: random_id(),
                    name,
                    limits: share,
                    taken,
                    grace,
                };
                let local = none.insert(NameState::default());
                local.restore(&restore, at);
                local
            }
        };
        match local.take(&take, at).outcome {
            Outcome::Granted { marks, .. } => {
                for mark in marks {
                    state.granted(mark, at, now);
                }
                Ok(())
            }
            Outcome::Wait(wait) => Err(Shortage::Wait(wait)),
            // More than the share: only the store can grant it.
            _ => Err(Shortage::Store(until_probe)),
        }
    }

    /// Returns a call that takes `cost` units, and more for the queue behind them and ahead of
    /// need.
    fn call(&self, state: &mut State, cost: u64, asker: Asker, now: Instant) -> Take {
        let timeout = self.timeout();
        if cost > 0 || state.pot.until().is_some_and(|until| until <= now) {
            state.empty_pot();
        }
        let queued = match asker {
            Asker::New(_) => self.queue.units(),
            Asker::Head => self.queue.units().saturating_sub(cost),
        };
        let ahead = state.pace.units(now, state.hold);
        let ahead = ahead.min(state.limit.capacity() / constants::AHEAD);
        let look_again = constants::look_again(Duration::MAX, state.hold, timeout);
        let at = state.store_time(now);
        let is_used = !state.history.is_empty_at(at);
        let age = now.saturating_duration_since(state.clock.0);
        Take {
            name: self.name.clone(),
            limits: self.code.clone(),
            process: self.id,
            cost: vec![cost],
            more: vec![match cost {
                0 => 0,
                _ => queued.saturating_add(ahead).min(state.limit.capacity()),
            }],
            hold: state.hold,
            is_in_turn: matches!(asker, Asker::Head),
            patience: match asker {
                Asker::New(max_wait) => max_wait,
                Asker::Head => Duration::MAX,
            },
            claim: look_again.saturating_add(timeout),
            not_after: state.version.map(|_| at.saturating_add(nanos(timeout))),
            seen: state.version.filter(|_| is_used || age < constants::KEPT),
            grace: constants::grace(timeout),
            returned: std::mem::take(&mut state.returned),
        }
    }

    /// Sends a call in a task of its own, unless one is under way.
    fn ask(self: &Arc<Self>, state: &mut State, cost: u64, asker: Asker, now: Instant) {
        let Ok(runtime) = runtime::Handle::try_current() else {
            return;
        };
        // Acquire and release: the next call sees what the one before has noted.
        if self.is_asking.swap(true, Ordering::Acquire) {
            return;
        }
        let take = self.call(state, cost, asker, now);
        let asking = AskTask {
            link: self.clone(),
            cost,
            wanted: cost.saturating_add(take.more[0]),
            hold: state.hold,
            sent: now,
            has_begun: false,
        };
        runtime.spawn(asking.run(take));
    }

    /// Sends what has to be known before anything is taken. Returns whether the store has heard
    /// what this process has taken.
    async fn prepare(&self) -> Result<bool, StoreError> {
        let report = self.state().report;
        if report == Some(PendingReport::Unreported) {
            // Whether more has to be reported.
            self.hear_only().await?;
        }
        // First, since what is reported counts by it.
        let new = self.state().new_quota;
        if let Some(new) = new {
            let call = SetQuota {
                name: self.name.clone(),
                limits: self.code.clone(),
                new: Arc::new([new]),
            };
            self.handle.call(Call::SetQuota(call)).await?;
            let mut state = self.state();
            state.new_quota = state.new_quota.filter(|newer| *newer != new);
        }
        let mut has_reported = false;
        while let Some(restore) = self.next_report() {
            self.handle.call(Call::Restore(restore)).await?;
            self.handle.restores.fetch_add(1, Ordering::Relaxed);
            self.state().sent_report = None;
            has_reported = true;
        }
        Ok(has_reported)
    }

    /// Returns the next report to be sent. One whose reply was lost is sent again as it was, so
    /// that the store counts it once.
    fn next_report(&self) -> Option<Restore> {
        let mut state = self.state();
        let now = state.store_time(Instant::now());
        let is_all = state.report == Some(PendingReport::All);
        if is_all || state.sent_report.is_none() && state.report.is_some() {
            state.report = None;
            let unreported = state.unreported.since(now);
            state.unreported = GrantHistory::new(&state.limit);
            let (taken, grace) = match is_all {
                true => (state.history.since(now), constants::grace(self.timeout())),
                false => (unreported, Duration::ZERO),
            };
            if is_all {
                // They are not in the history, so the store does not hear of them.
                state.returned.clear();
            }
            state.sent_report = Some(Restore {
                id: random_id(),
                name: self.name.clone(),
                limits: self.code.clone(),
                taken: vec![taken],
                grace,
            });
        }
        state.sent_report.clone()
    }

    /// Makes a call that takes nothing.
    async fn hear_only(&self) -> Result<(), StoreError> {
        let sent = Instant::now();
        let take = self.call(&mut self.state(), 0, Asker::New(Duration::ZERO), sent);
        let reply = self.handle.call(Call::Take(take)).await?;
        let Reply::Take(taken) = reply else {
            return Ok(());
        };
        let mut state = self.state();
        state.note(&taken, sent, &self.code, self.timeout());
        if let Outcome::Lost(closed) = taken.outcome {
            state.lost(closed);
        }
        Ok(())
    }

    /// Gives units back that a request did not use.
    pub(crate) fn refund(self: &Arc<Self>, mark: &Mark) {
        // What was admitted without the store has no place in it.
        if mark.cost > 0 && mark.at > 0 {
            self.state().give_back(*mark);
            self.sweep();
        }
    }

    /// Applies `quota` here, and in all processes.
    pub(crate) fn set_quota(self: &Arc<Self>, quota: &Quota) {
        let limit = (self.spec)(quota);
        let mut state = self.state();
        state.set_limit(limit, self.timeout());
        state.new_quota = Some(limit);
        state.told = None;
        self.ask(&mut state, 0, Asker::New(Duration::ZERO), Instant::now());
    }

    /// Gives back in a while what is refunded or not spent by then, unless a call takes it along.
    fn sweep(self: &Arc<Self>) {
        if self.is_sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        let sweeping = SweepGuard(Arc::downgrade(self));
        let Ok(runtime) = runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            while let Some(at) = sweeping.0.upgrade().and_then(|link| link.sweep_at()) {
                sleep_until(at).await;
                let Some(link) = sweeping.0.upgrade() else {
                    return;
                };
                link.sweep_now();
            }
        });
    }

    /// Returns when there is something to give back.
    fn sweep_at(&self) -> Option<Instant> {
        let state = self.state();
        match state.returned.is_empty() {
            true => state.pot.until(),
            false => Some(constants::later(
                Instant::now(),
                constants::report(self.timeout()),
            )),
        }
    }

    fn sweep_now(self: &Arc<Self>) {
        let now = Instant::now();
        let mut state = self.state();
        let has_lapsed = state.pot.until().is_some_and(|until| until <= now);
        if has_lapsed {
            state.empty_pot();
        }
        let is_local = state.local.is_some() || self.handle.probe_at().is_some();
        if !state.returned.is_empty() && !is_local {
            self.ask(&mut state, 0, Asker::New(Duration::ZERO), now);
        }
    }

    /// Closes the limit in this process.
    pub(crate) fn close(self: &Arc<Self>) {
        self.state().empty_pot();
        self.sweep();
    }
}

impl StoreMember for Link {
    fn wake(&self) {
        self.queue.wake_head();
    }

    /// Asks whether the store has forgotten what this process has taken, or has another quota.
    fn check_in(self: Arc<Self>) {
        let (mut state, now) = (self.state(), Instant::now());
        let at = state.store_time(now);
        let is_used = !state.history.is_empty_at(at) || !state.returned.is_empty();
        let must_tell = state.report.is_some() || state.sent_report.is_some();
        let must_hear = state.new_quota.is_some() || state.limit.is_unlimited();
        if (is_used || must_tell || must_hear) && self.handle.probe_at().is_none() {
            self.ask(&mut state, 0, Asker::New(Duration::ZERO), now);
        }
    }

    fn leave(self: Arc<Self>) -> LeaveFuture {
        Box::pin(async move {
            self.state().empty_pot();
            let _unknown = self.hear_only().await;
        })
    }
}

// ===== impl Shortage =====

impl Shortage {
    /// Returns the rejection by `limit` of a request that does not wait.
    pub(crate) fn rejection(self, limit: LimitKind, cost: u64, capacity: u64) -> Rejected {
        let wait = |wait| Rejected::too_long(limit, Duration::ZERO, wait);
        match self {
            Self::Never => Rejected::never(limit, cost, capacity),
            Self::Wait(time) => wait(Some(time)),
            Self::Reply => wait(None),
            Self::Store(time) => wait(Some(time)).because(Reason::Unreachable),
        }
    }
}

// ===== impl State =====

impl State {
    fn spend(&mut self, cost: u64, now: Instant) -> Option<Mark> {
        if self.limit.is_unlimited() {
            return Some(Mark::default());
        }
        let mark = self.pot.spend(cost, now)?;
        self.pace.add(cost, now, self.hold);
        Some(mark)
    }

    /// Returns the time of the store, or a later one.
    fn store_time(&self, now: Instant) -> u64 {
        let (sent, at) = self.clock;
        at.saturating_add(nanos(now.saturating_duration_since(sent)))
    }

    /// Puts units that were taken without the store into the pot.
    fn granted(&mut self, mark: Mark, at: u64, now: Instant) {
        self.empty_pot();
        let until = constants::later(now, self.hold);
        let taken_at = self.counts_at(&mark, at);
        self.history.add(taken_at, mark.cost);
        self.unreported.add(taken_at, mark.cost);
        self.report = self.report.or(Some(PendingReport::Unreported));
        self.pot.put(Grant {
            mark,
            taken_at,
            until,
            is_local: true,
        });
    }

    /// Returns from when on units of `mark` count that were taken at `now`.
    fn counts_at(&self, mark: &Mark, now: u64) -> u64 {
        match self.limit {
            LimitSpec::Bucket { .. } => now,
            // Nothing else knows the rounded start.
            LimitSpec::Window { .. } => mark.at.max(now),
        }
    }

    /// Marks what is left in the pot as to be given back.
    fn empty_pot(&mut self) {
        let Some(left) = self.pot.empty() else {
            return;
        };
        self.history.remove(left.taken_at, left.mark.cost);
        if left.is_local {
            self.unreported.remove(left.taken_at, left.mark.cost);
            self.returned_locally.push((0, left.mark));
        } else {
            self.give_back(left.mark);
        }
    }

    fn give_back(&mut self, mark: Mark) {
        if self.returned.len() < constants::MOST_RETURNED {
            self.returned.push((0, mark));
        }
    }

    fn set_limit(&mut self, limit: LimitSpec, timeout: Duration) {
        if self.limit != limit {
            self.limit = limit;
            self.hold = constants::hold(limit.span(), timeout);
            self.local = None;
            self.history = self.history.of(&limit);
            self.unreported = self.unreported.of(&limit);
        }
    }

    /// Notes what each reply says.
    fn note(&mut self, taken: &TakeReply, sent: Instant, code: &[LimitSpec], timeout: Duration) {
        if self.version.is_none() {
            // What was admitted before had the time of this machine's clock.
            let ours = self.store_time(sent);
            self.history.shift(ours, taken.now);
            self.unreported.shift(ours, taken.now);
        }
        self.version = Some(taken.version);
        self.clock = (sent, taken.now);
        self.broken = None;
        let is_lost = matches!(taken.outcome, Outcome::Lost(_));
        match &taken.limits {
            _ if self.new_quota.is_some() => {}
            Some(limits) => self.set_limit(limits[0], timeout),
            // A quota that was set is lost as well.
            None if is_lost && self.limit != code[0] => self.new_quota = Some(self.limit),
            None => self.set_limit(code[0], timeout),
        }
    }

    /// Hears that the store has forgotten the limit, and takes nothing for some time.
    fn lost(&mut self, closed: Duration) {
        self.report = Some(PendingReport::All);
        let until = constants::later(Instant::now(), closed);
        self.told = Some(StoreWait {
            cost: 0,
            until,
            again: until,
        });
    }
}

// ===== impl Pace =====

impl Pace {
    fn add(&mut self, units: u64, now: Instant, hold: Duration) {
        self.turn(now, hold);
        self.spent = self.spent.saturating_add(units);
    }

    /// Returns how many units are spent in a hold.
    fn units(&mut self, now: Instant, hold: Duration) -> u64 {
        self.turn(now, hold);
        self.spent.max(self.before)
    }

    fn turn(&mut self, now: Instant, hold: Duration) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= hold {
            self.before = if elapsed < hold * 2 { self.spent } else { 0 };
            (self.since, self.spent) = (now, 0);
        }
    }
}

// ===== impl AskTask =====

impl AskTask {
    async fn run(mut self, take: Take) {
        self.has_begun = true;
        let link = self.link.clone();
        let result = match link.prepare().await {
            Ok(has_reported) => {
                let take = self.renewed(take, has_reported);
                link.handle.call(Call::Take(take)).await
            }
            Err(error) => Err(error),
        };
        if self.hear(result) {
            let _unknown = link.prepare().await;
        }
        drop(self);
        if link.state().pot.until().is_some() {
            link.sweep();
        }
    }

    /// Changes a call after what had to be told before it.
    fn renewed(&self, mut take: Take, has_reported: bool) -> Take {
        if has_reported {
            take.seen = self.link.state().version;
            // The report was without them.
            take.returned.clear();
        }
        take
    }

    /// Notes the reply. Returns whether the store has forgotten the limit.
    fn hear(&self, result: Result<Reply, StoreError>) -> bool {
        let link = &self.link;
        let timeout = link.timeout();
        let now = Instant::now();
        let mut state = link.state();
        let taken = match result {
            Ok(Reply::Take(taken)) => taken,
            Ok(_) | Err(StoreError::Unreadable(_)) => {
                let before = state.broken.map_or(Duration::ZERO, |(_, backoff)| backoff);
                let backoff = constants::backoff(before, timeout);
                state.broken = Some((constants::later(now, backoff), backoff));
                return false;
            }
            Err(_) => return false,
        };
        state.note(&taken, self.sent, &link.code, timeout);
        match taken.outcome {
            Outcome::Granted { marks, more_in } => {
                for mark in marks.into_iter().filter(|mark| mark.cost > 0) {
                    self.granted(&mut state, mark, taken.now, more_in, now);
                }
            }
            Outcome::Wait(wait) => {
                let wait = wait.max(constants::floor(state.hold));
                let again = constants::look_again(wait, state.hold, timeout);
                state.told = Some(StoreWait {
                    cost: self.cost,
                    until: constants::later(now, wait),
                    again: constants::later(now, again),
                });
            }
            // The capacity has changed, which the next look finds.
            Outcome::Never | Outcome::TooLate => {}
            Outcome::Lost(closed) => {
                state.lost(closed);
                return true;
            }
        }
        false
    }

    fn granted(&self, state: &mut State, mark: Mark, at: u64, more_in: Duration, now: Instant) {
        let timeout = self.link.timeout();
        state.empty_pot();
        let until = constants::later(self.sent, self.hold);
        if until <= now {
            // They count from an instant on that has passed, so none may start any more.
            state.give_back(mark);
            state.hold = self
                .hold
                .saturating_mul(2)
                .min(constants::longest_hold(timeout));
            return;
        }
        if now.saturating_duration_since(self.sent) < self.hold / 4 {
            let shortest = constants::hold(state.limit.span(), timeout);
            state.hold = (self.hold / 2).max(shortest);
        }
        let is_short = mark.cost < self.wanted;
        state.told = is_short.then(|| {
            let wait = more_in.max(constants::floor(state.hold));
            let again = constants::look_again(wait, state.hold, timeout);
            StoreWait {
                cost: 1,
                until: constants::later(now, wait),
                again: constants::later(now, again),
            }
        });
        let taken_at = state.counts_at(&mark, at);
        state.history.add(taken_at, mark.cost);
        state.pot.put(Grant {
            mark,
            taken_at,
            until,
            is_local: false,
        });
    }
}

impl Drop for AskTask {
    fn drop(&mut self) {
        self.link.is_asking.store(false, Ordering::Release);
        // Otherwise a request that looks again would ask again at once, without end.
        if self.has_begun {
            self.link.wake();
        }
    }
}

// ===== impl SweepGuard =====

impl Drop for SweepGuard {
    fn drop(&mut self) {
        if let Some(link) = self.0.upgrade() {
            link.is_sweeping.store(false, Ordering::Relaxed);
        }
    }
}

/// Returns the nanoseconds since 1970, as long as the clock of the store is not known.
#[allow(
    clippy::disallowed_methods,
    reason = "only differences count once the store has replied"
)]
fn wall_clock() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    nanos(now.unwrap_or_default())
}
