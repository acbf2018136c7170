//! What is given back, charged, or told besides what is asked for.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::{
    runtime,
    time::{Instant, sleep, sleep_until},
};

use super::{Asker, Link, state::State};
use crate::limit::{
    algorithm::Mark,
    store::{
        call::{ChargedUnits, LimitSpec},
        constants,
        handle::{LeaveFuture, StoreMember},
    },
};

/// Ends the sweep if its runtime ends.
struct SweepGuard(Weak<Link>);

// ===== impl Link =====

impl Link {
    /// Gives units back that a request did not use.
    pub(crate) fn refund(self: &Arc<Self>, marks: &[Mark]) {
        let now = Instant::now();
        let mut state = self.state();
        let at = state.store_time(now);
        for (limit, mark) in marks.iter().enumerate().filter(|(_, mark)| mark.cost > 0) {
            let is_window = matches!(state.limits.get(limit), Some(LimitSpec::Window { .. }));
            // When units of a bucket were taken is not known. They stay until they have refilled.
            if let Some(history) = state.history.get_mut(limit).filter(|_| is_window) {
                history.remove(mark.at, mark.cost);
            }
            if let Some(share) = state.share(limit) {
                share.give_back(mark, at);
            }
            state.give_back(limit, *mark);
        }
        let again = constants::later(now, constants::floor(state.hold));
        if let Some(told) = &mut state.told {
            told.again = told.again.min(again);
        }
        drop(state);
        self.sweep();
    }

    /// Adds units that were used in addition to what was granted, and count from `marks` on, or
    /// from now.
    pub(crate) fn charge(self: &Arc<Self>, since: Option<&[Mark]>, units: &[u64]) {
        let mut state = self.state();
        let now = state.store_time(Instant::now());
        let limits = state.limits.clone();
        for (limit, (spec, units)) in limits.iter().zip(units).enumerate() {
            let units = spec.cost(*units);
            if units == 0 {
                continue;
            }
            let at = charged_at(spec, since.and_then(|marks| marks.get(limit)), now);
            if let Some(history) = state.history.get_mut(limit) {
                history.add(at, units);
            }
            if let Some(share) = state.share(limit) {
                share.charge(units, at, now);
            }
            let charge = ChargedUnits {
                limit,
                at,
                units,
                up_to: None,
            };
            state.charge(charge, now);
        }
        drop(state);
        self.sweep();
    }

    /// Charges what is missing until as many units of a limit are used, which count from `mark` on,
    /// or from now: others use it without the store. Processes that report the same use charge it
    /// once.
    pub(crate) fn raise(self: &Arc<Self>, limit: usize, mark: Option<&Mark>, used: u64) {
        let mut state = self.state();
        // Others do not use what this process has not spent.
        state.empty_pot();
        let now = state.store_time(Instant::now());
        let charge = ChargedUnits {
            limit,
            at: charged_at(&state.limits[limit], mark, now),
            units: u64::MAX,
            up_to: Some(used),
        };
        state.charge(charge, now);
        drop(state);
        self.sweep();
    }

    /// Lets no process take anything for `wait`, since the provider has said so.
    pub(crate) fn pause(self: &Arc<Self>, wait: Duration) {
        let now = Instant::now();
        let mut state = self.state();
        let until = Some(constants::later(now, wait));
        if wait.is_zero() || until <= state.paused_until {
            return;
        }
        (state.paused_until, state.new_pause) = (until, until);
        state.empty_pot();
        self.tell(&mut state, now);
        drop(state);
        self.sweep();
    }

    /// Returns for how long nothing is taken, since a process has paused the name.
    pub(crate) fn paused(&self) -> Duration {
        self.state().pause_left(Instant::now()).unwrap_or_default()
    }

    /// Applies a limit of a name here, and in all processes.
    pub(crate) fn set_limit(self: &Arc<Self>, number: usize, limit: LimitSpec) {
        let mut state = self.state();
        let mut limits = state.limits.clone();
        Arc::make_mut(&mut limits)[number] = limit;
        state.set_limits(&limits, self.timeout());
        state.new_limits.insert(number, limit);
        self.tell(&mut state, Instant::now());
        drop(state);
        self.queue.wait_queue().wake_head();
    }

    /// Applies the limits of a client here. Each call has them. Does not wake the queue.
    #[cfg(feature = "per-key")]
    pub(crate) fn set_limits(&self, limits: &Arc<[LimitSpec]>) {
        self.state().set_limits(limits, self.timeout());
    }

    /// Closes the limit in this process.
    pub(crate) fn close(self: &Arc<Self>) {
        self.state().empty_pot();
        self.sweep();
    }

    /// Returns until when what was taken last makes a difference. It is not idle before.
    #[cfg(feature = "per-key")]
    pub(crate) fn used_until(&self) -> Option<Instant> {
        self.state().used_until
    }

    /// Returns whether nothing is lost if the link is dropped. Its owner must make sure that
    /// no request is about to use it.
    pub(crate) fn is_idle(self: &Arc<Self>) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let at = state.store_time(now);
        let is_any = !state.unreported.is_empty();
        let mut unreported = state.unreported.iter_mut();
        // What was admitted without the store makes no difference any more.
        if is_any && unreported.all(|history| history.is_empty_at(at)) {
            (state.report, state.shares) = (None, None);
            state.unreported = Box::default();
        }
        if self.must_sweep(&state) {
            drop(state);
            self.sweep();
            return false;
        }
        let told = state.told.map(|told| told.until);
        let mut until = [state.used_until, state.paused_until, told].into_iter();
        until.all(|until| until.is_none_or(|until| until <= now))
            && !state.has_to_tell()
            && !self.is_asking.load(Ordering::Relaxed)
    }

    /// Returns whether there is something that does not wait for the next call.
    pub(super) fn must_sweep(&self, state: &State) -> bool {
        // All clients would report at once when the store is back.
        let waits = self.is_client() && state.report.is_some();
        state.pot.until().is_some() || state.has_to_tell() && !waits
    }

    /// Makes a call that takes nothing, if the store can be reached.
    pub(super) fn tell(self: &Arc<Self>, state: &mut State, now: Instant) {
        if self.unreachable_until(state, now).is_none() {
            let nothing = vec![0; state.limits.len()];
            self.ask(state, &nothing, Asker::New(Duration::ZERO), now);
        }
    }

    /// Tells in a while what is to be told by then, unless a call takes it along.
    pub(super) fn sweep(self: &Arc<Self>) {
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
            let link = sweeping.0.upgrade();
            drop(sweeping);
            // There may be something new since the last look.
            if let Some(link) = link.filter(|link| link.sweep_at().is_some()) {
                link.sweep();
            }
        });
    }

    /// Returns when to look whether there is something to tell, if there may be.
    fn sweep_at(&self) -> Option<Instant> {
        let (state, now) = (self.state(), Instant::now());
        if !self.must_sweep(&state) {
            return None;
        }
        let soon = constants::later(now, constants::report(self.timeout()));
        // What is refunded meanwhile does not wait for the end of a hold.
        let at = state.pot.until().map_or(soon, |until| until.min(soon));
        let unreachable = self.unreachable_until(&state, now);
        Some(unreachable.map_or(at, |until| until.max(soon)))
    }

    fn sweep_now(self: &Arc<Self>) {
        let (mut state, now) = (self.state(), Instant::now());
        if state.pot.until().is_some_and(|until| until <= now) {
            state.empty_pot();
        }
        if state.has_to_tell() && self.must_sweep(&state) {
            self.tell(&mut state, now);
        }
    }
}

impl StoreMember for Link {
    fn wake(&self) {
        self.queue.wait_queue().wake_head();
    }

    /// Asks whether the store has forgotten what this process has taken, or has other limits.
    fn check_in(self: Arc<Self>) {
        let (mut state, now) = (self.state(), Instant::now());
        let at = state.store_time(now);
        let is_used = state.is_used_at(at);
        let must_hear = state.limits.iter().any(LimitSpec::is_unlimited) && !self.is_client();
        if is_used || must_hear || state.has_to_tell() {
            self.tell(&mut state, now);
        }
    }

    fn leave(self: Arc<Self>) -> LeaveFuture {
        Box::pin(async move {
            // A call under way may bring units, or leave what it should have told.
            let deadline = constants::later(Instant::now(), self.timeout());
            while self.is_asking.load(Ordering::Acquire) && Instant::now() < deadline {
                sleep(constants::SHORTEST_HOLD).await;
            }
            let has_to_tell = {
                let mut state = self.state();
                state.empty_pot();
                state.has_to_tell()
            };
            if has_to_tell && self.prepare().await.is_ok() {
                let _unknown = self.hear_only().await;
            }
        })
    }
}

/// Returns since when units are charged, which count from `mark` on, or from now.
fn charged_at(limit: &LimitSpec, mark: Option<&Mark>, now: u64) -> u64 {
    match (limit, mark) {
        (LimitSpec::Window { .. }, Some(mark)) if mark.at > 0 => mark.at,
        _ => limit.round_up(now),
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
