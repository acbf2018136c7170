//! A concurrency limit's side of a name in the store: keeps the local limit at the number of slots
//! that the process has.

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime,
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    call::{Call, Lease, LeaseReply, Reply, StoreError},
    constants,
    handle::{Handle, StoreMember, random_id},
    settings::WhenDown,
};
use crate::{
    limit::{concurrency::Slots, nanos},
    sync::unpoisoned,
};

/// For how long a process decides alone before it looks again whether it has to.
const ALONE: Duration = Duration::from_secs(10);

/// The slots that a process has of a shared concurrency limit.
#[derive(Debug)]
pub(crate) struct SlotLease {
    handle: Arc<Handle>,
    name: Arc<str>,
    id: u64,
    limit: AtomicUsize,
    local: Weak<Slots>,
    /// When the slots may be given to others, in nanoseconds after `start`.
    lapses_at: AtomicU64,
    start: Instant,
    /// Wakes the task if a request waits.
    wanted: Notify,
    is_kept: AtomicBool,
    /// Held while a call is under way, so that none is after the slots were returned.
    renewal: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    leased: LeaseReply,
    /// The slots that count as this process's in the store.
    counted: usize,
    /// Whether the process is in the state of the store, as one that has or wants slots.
    is_known: bool,
    /// Until when a request that finds no slot need not wait for a reply: there was one, and the
    /// next comes then.
    known_until: Instant,
}

/// When the store is asked again.
enum Renewal {
    After(Duration),
    /// At once if a request finds no slot, and after this time in any case.
    Wanted(Duration),
    /// The limiter is gone.
    Never,
}

/// Ends the lease if its runtime ends.
struct RenewalGuard(Arc<SlotLease>);

// ===== impl SlotLease =====

impl SlotLease {
    pub(crate) fn new(
        handle: Arc<Handle>,
        name: &str,
        limit: usize,
        local: Weak<Slots>,
    ) -> Arc<Self> {
        let now = Instant::now();
        let state = State {
            leased: LeaseReply::default(),
            counted: 0,
            is_known: false,
            known_until: now,
        };
        let lease = Arc::new(Self {
            handle,
            name: name.into(),
            id: random_id(),
            limit: AtomicUsize::new(limit),
            local,
            lapses_at: AtomicU64::new(0),
            start: now,
            wanted: Notify::new(),
            is_kept: AtomicBool::new(false),
            renewal: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
        });
        let member: Arc<dyn StoreMember> = lease.clone();
        lease.handle.add(&member);
        lease
    }

    /// Returns the limit of all processes together.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the limit of all processes together. Each process sets it for itself.
    pub(crate) fn set_limit(self: &Arc<Self>, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.want();
    }

    /// Asks for a slot, since a request found none.
    pub(crate) fn want(self: &Arc<Self>) {
        self.handle.start_beat();
        self.wanted.notify_one();
        if self.is_kept.swap(true, Ordering::Relaxed) {
            return;
        }
        let keeping = RenewalGuard(self.clone());
        if let Ok(runtime) = runtime::Handle::try_current() {
            runtime.spawn(async move {
                loop {
                    match keeping.0.renew().await {
                        Renewal::After(wait) => sleep(wait).await,
                        Renewal::Wanted(wait) => {
                            let _elapsed = timeout(wait, keeping.0.wanted.notified()).await;
                        }
                        Renewal::Never => return,
                    }
                }
            });
        }
    }

    /// Returns how long a request waits for a reply that says whether there is a slot.
    pub(crate) fn reply_time(&self) -> Duration {
        match Instant::now() < self.state().known_until {
            true => Duration::ZERO,
            false => self.handle.settings.timeout,
        }
    }

    /// Returns whether the slots may have been given to others, since they were not renewed.
    #[inline]
    pub(crate) fn has_lapsed(&self) -> bool {
        // Relaxed: a lone number.
        let lapses_at = self.lapses_at.load(Ordering::Relaxed);
        nanos(self.start.elapsed()) >= lapses_at
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    /// Asks for the slots that are needed.
    async fn renew(&self) -> Renewal {
        let _renewal = self.renewal.lock().await;
        let timeout = self.handle.settings.timeout;
        let Some(local) = self.local.upgrade() else {
            self.release(0).await;
            return Renewal::Never;
        };
        let (limit, in_flight) = (local.limit(), local.in_flight());
        // What is leased may be in use at any time, until the local limit is lower.
        let held = match limit > self.limit() {
            // It was open.
            true => {
                local.set_own_limit(in_flight);
                in_flight
            }
            false => in_flight.max(limit),
        };
        let before = *self.state();
        let needed = local.needed();
        if held == 0 && needed == 0 && before.counted == 0 {
            return Renewal::Wanted(constants::beat(timeout));
        }
        // What is leased is kept for the next request, if no other process waits for it.
        let leased = usize::try_from(before.leased.slots).unwrap_or(usize::MAX);
        let wanted = match needed {
            0 => 0,
            _ if before.leased.others_wait => needed,
            _ => needed.max(leased),
        };
        let sent = Instant::now();
        let probe_at = self.handle.probe_at();
        if probe_at.is_some_and(|probe_at| sent < probe_at) {
            self.keep_alone(&local, sent);
            return Renewal::After(constants::report(timeout));
        }
        let reply = self.handle.call(self.call(held, wanted)).await;
        let now = Instant::now();
        let ttl = self.handle.settings.slot_ttl;
        let leased = match reply {
            Ok(Reply::Lease(leased)) => leased,
            Err(StoreError::TimedOut | StoreError::Unreachable(_)) => {
                self.state().counted = before.counted.max(held);
                self.keep_alone(&local, now);
                return Renewal::After(constants::report(timeout));
            }
            // The name is of no use: as if there were no store.
            Ok(_) | Err(StoreError::Unreadable(_)) => {
                self.alone(&local, now);
                return Renewal::After(constants::beat(timeout));
            }
        };
        let slots = usize::try_from(leased.slots).unwrap_or(usize::MAX);
        let is_short = slots < wanted;
        // What is yielded is free once the store hears that it is.
        let again = match is_short || leased.others_wait {
            true => constants::report(timeout),
            false => constants::beat(timeout).min(ttl / 3),
        };
        if self.has_lapsed() {
            // Before the slots count again.
            local.set_own_limit(slots);
        }
        let lapses_at = nanos(sent.duration_since(self.start).saturating_add(ttl));
        self.lapses_at.store(lapses_at, Ordering::Relaxed);
        *self.state() = State {
            leased,
            counted: slots.max(held),
            is_known: wanted > 0 || slots.max(held) > 0,
            known_until: match is_short {
                true => constants::later(now, again),
                false => now,
            },
        };
        local.set_own_limit(slots);
        match is_short {
            true => Renewal::After(again),
            false => Renewal::Wanted(again),
        }
    }

    fn call(&self, held: usize, wanted: usize) -> Call {
        Call::Lease(Lease {
            name: self.name.clone(),
            process: self.id,
            limit: self.limit() as u64,
            held: held as u64,
            wanted: wanted as u64,
            expires: self.handle.settings.slot_ttl,
            has_seen: self.state().is_known && !self.has_lapsed(),
            grace: constants::grace(self.handle.settings.timeout),
        })
    }

    /// Sets the slots of a process that does not reach the store.
    fn keep_alone(&self, local: &Slots, now: Instant) {
        let Some(probe_at) = self.handle.probe_at() else {
            // One call was lost. The next is soon.
            return;
        };
        self.state().known_until = probe_at;
        self.alone(local, now);
    }

    fn alone(&self, local: &Slots, now: Instant) {
        let processes = usize::try_from(self.handle.processes()).unwrap_or(usize::MAX);
        let alone = match self.handle.settings.when_down {
            WhenDown::Local => self.limit() / processes,
            // Until the slots lapse.
            WhenDown::Closed => return,
            WhenDown::Open => usize::MAX,
        };
        // Until the next look.
        let lapses_at = nanos(now.duration_since(self.start).saturating_add(ALONE));
        self.lapses_at.fetch_max(lapses_at, Ordering::Relaxed);
        local.set_own_limit(alone);
    }

    /// Keeps the slots of `held` requests, and lets others have the rest.
    async fn release(&self, held: usize) {
        let _unknown = self.handle.call(self.call(held, held)).await;
    }
}

impl StoreMember for SlotLease {
    fn wake(&self) {
        self.wanted.notify_one();
    }

    fn check_in(self: Arc<Self>) {}

    fn leave(self: Arc<Self>) -> super::handle::LeaveFuture {
        Box::pin(async move {
            let _renewal = self.renewal.lock().await;
            let held = self.local.upgrade().map_or(0, |local| {
                local.set_own_limit(0);
                local.in_flight()
            });
            self.release(held).await;
            let mut state = self.state();
            (state.leased.slots, state.counted) = (held as u64, held);
            state.is_known = held > 0;
        })
    }
}

// ===== impl RenewalGuard =====

impl Drop for RenewalGuard {
    fn drop(&mut self) {
        // They are not renewed any more.
        if let Some(local) = self.0.local.upgrade() {
            local.set_own_limit(0);
        }
        self.0.is_kept.store(false, Ordering::Relaxed);
    }
}
