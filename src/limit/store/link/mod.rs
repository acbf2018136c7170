//! A limit's side of a name in the store: spends what was granted, and asks for more.
//!
//! One call is under way at a time. It is for the first request in the queue, and for as much of
//! the queue behind it as fits.

mod ask;
mod local;
mod report;
mod settle;
mod state;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

pub(crate) use super::pot::Marks;
use super::{
    call::{LimitSpec, StateKey, UsedUnits},
    constants,
    handle::{Handle, StoreMember, random_id},
};
use crate::{
    error::{LimitKind, Reason, Rejected},
    limit::{engine::WaitQueue, nanos},
    sync::unpoisoned,
};
use state::State;

/// The queue of the requests that wait for a limit.
pub(crate) trait Queue: fmt::Debug + Send + Sync {
    /// Returns the units that all who wait ask for, of the limit with this number.
    fn units(&self, limit: usize) -> u64;

    /// Returns the queue without the units.
    fn wait_queue(&self) -> &WaitQueue;
}

/// The limits of this process that are one state in the store: all are taken, or none.
#[derive(Debug)]
pub(crate) struct Link {
    handle: Arc<Handle>,
    key: StateKey,
    /// The limits in the code, with which each call identifies the quotas.
    code: Arc<[LimitSpec]>,
    id: u64,
    queue: Arc<dyn Queue>,
    state: Mutex<State>,
    /// Whether a call is under way. Not in the state, whose lock is held while a task is made: a
    /// runtime that ends drops it at once.
    is_asking: AtomicBool,
    /// Whether a task waits to give units back.
    is_sweeping: AtomicBool,
}

/// How much of the limits of a name is used by all processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkUsage {
    pub(crate) limits: Arc<[LimitSpec]>,
    pub(crate) used: Vec<UsedUnits>,
    /// The time since the reply that said so.
    pub(crate) age: Duration,
}

/// Why a request is not admitted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// A call is under way, which will tell.
    Reply,
    /// The units of a limit, by number, come after this long.
    Wait { limit: usize, wait: Duration },
    /// The cost exceeds the capacity of a limit.
    Never { limit: usize },
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

// ===== impl Link =====

impl Link {
    pub(crate) fn new(
        handle: Arc<Handle>,
        key: StateKey,
        limits: Arc<[LimitSpec]>,
        queue: Arc<dyn Queue>,
    ) -> Arc<Self> {
        let is_client = key.client.is_some();
        let (known, timeout) = (handle.clock(), handle.settings.timeout);
        let clock = known.unwrap_or_else(|| (Instant::now(), wall_clock()));
        let mut state = State::new(limits.clone(), is_client, clock, timeout);
        state.knows_clock = known.is_some();
        let link = Arc::new(Self {
            handle,
            key,
            code: limits,
            id: random_id(),
            queue,
            state: Mutex::new(state),
            is_asking: AtomicBool::new(false),
            is_sweeping: AtomicBool::new(false),
        });
        // There may be many clients. Their owner is a member for all.
        if !is_client {
            let member: Arc<dyn StoreMember> = link.clone();
            link.handle.add(&member);
        }
        link
    }

    fn state(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    fn is_client(&self) -> bool {
        self.key.client.is_some()
    }

    /// Returns the limits of a call. A name is identified by those in the code.
    fn limits_to_send(&self, state: &State) -> Arc<[LimitSpec]> {
        match self.is_client() {
            true => state.limits.clone(),
            false => self.code.clone(),
        }
    }

    /// Returns the limits that apply.
    pub(crate) fn limits(&self) -> Arc<[LimitSpec]> {
        self.state().limits.clone()
    }

    /// Returns the most units of a limit that can be taken at once.
    pub(crate) fn capacity(&self, limit: usize) -> u64 {
        self.state().limits[limit].capacity()
    }

    /// Returns the store, and the name of the limit in it.
    #[cfg(feature = "per-key")]
    pub(crate) fn place(&self) -> (Arc<Handle>, Arc<str>) {
        (self.handle.clone(), self.key.name.clone())
    }

    /// Returns what is used of a limit now, as far as this process knows; `None` before the first
    /// reply.
    #[cfg(feature = "per-key")]
    pub(crate) fn used(&self, limit: usize) -> Option<UsedUnits> {
        self.state().used_of(limit)
    }

    /// Returns the limits, and what all processes have used of each by the last reply, without what
    /// this process was granted and has not spent; `None` before the first one.
    pub(crate) fn usage(&self) -> Option<LinkUsage> {
        let state = self.state();
        if state.used.is_empty() {
            return None;
        }
        let mut used = state.used.clone();
        for (limit, used) in used.iter_mut().enumerate() {
            used.units = used.units.saturating_sub(state.pot.units(limit));
        }
        Some(LinkUsage {
            limits: state.limits.clone(),
            used,
            age: state.clock.0.elapsed(),
        })
    }

    /// Returns the longest that a request waits for a reply.
    pub(crate) fn timeout(&self) -> Duration {
        self.handle.settings.timeout
    }

    /// Takes `cost` units, if they were granted before. Otherwise asks for them, unless the store
    /// has said how long to wait.
    pub(crate) fn take(
        self: &Arc<Self>,
        cost: &[u64],
        max_wait: Duration,
    ) -> Result<Marks, Shortage> {
        let now = Instant::now();
        let mut state = self.state();
        self.look_at(&mut state, cost, Asker::New(max_wait), now)?;
        state.spend(cost, now).ok_or(Shortage::Reply)
    }

    /// Returns whether the first request in the queue can take `cost` units.
    pub(crate) fn look(self: &Arc<Self>, cost: &[u64]) -> Result<(), Shortage> {
        self.look_at(&mut self.state(), cost, Asker::Head, Instant::now())
    }

    /// Takes `cost` units for the first request in the queue, if they were granted.
    pub(crate) fn take_in_turn(&self, cost: &[u64]) -> Option<Marks> {
        self.state().spend(cost, Instant::now())
    }

    /// Takes `cost` units, if as many were granted besides the units of the whole queue, which
    /// waits to be woken then, and not for units.
    pub(crate) fn take_besides(&self, cost: &[u64]) -> Option<Marks> {
        let (mut state, now) = (self.state(), Instant::now());
        let both = cost.iter().enumerate();
        let both = both.map(|(limit, cost)| self.queue.units(limit).saturating_add(*cost));
        let is_enough = state.has(both, now);
        is_enough.then(|| state.spend(cost, now)).flatten()
    }

    /// Returns how long a request waits behind those in the queue, if that is known.
    pub(crate) fn wait_behind(&self, cost: &[u64]) -> Option<Duration> {
        self.wait_after(cost, |limit| self.queue.units(limit))
    }

    /// Returns the same if only the units that `ahead` returns for a limit are ahead of it.
    pub(crate) fn wait_after(
        &self,
        cost: &[u64],
        ahead: impl FnOnce(usize) -> u64,
    ) -> Option<Duration> {
        let (state, now) = (self.state(), Instant::now());
        let pause = state.pause_left(now);
        let Some(told) = state.told.filter(|told| now < told.until) else {
            return pause;
        };
        let behind = ahead(told.limit).saturating_sub(told.cost);
        let cost = cost.get(told.limit).copied().unwrap_or(0);
        let refill = state.limits[told.limit].refill(behind.saturating_add(cost));
        Some(
            (told.until - now)
                .saturating_add(refill)
                .max(pause.unwrap_or_default()),
        )
    }

    /// Ensures that `cost` units can be spent.
    fn look_at(
        self: &Arc<Self>,
        state: &mut State,
        cost: &[u64],
        asker: Asker,
        now: Instant,
    ) -> Result<(), Shortage> {
        if state.has(cost.iter().copied(), now) {
            return Ok(());
        }
        if let Some(limit) = state.exceeded(cost) {
            return Err(Shortage::Never { limit });
        }
        self.handle.start_beat();
        if let Some(wait) = state.pause_left(now) {
            return Err(Shortage::Wait { limit: 0, wait });
        }
        if let Some(probe_at) = self.unreachable_until(state, now) {
            let wait = probe_at.saturating_duration_since(now);
            let wait = wait.max(constants::report(self.timeout()));
            return self.take_locally(state, cost, asker, wait, now);
        }
        if let Some(unsent) = state.unsent.filter(|unsent| now < unsent.probe_at) {
            // The store is there, so the limit holds, whatever `when_down` says.
            return Err(Shortage::Store(unsent.probe_at - now));
        }
        if state.shares.take().is_some() {
            state.told = None;
        }
        let Some(told) = state.wait_of(cost, now) else {
            self.ask(state, cost, asker, now);
            return Err(Shortage::Reply);
        };
        // In the background: what others give back wakes no request.
        if now >= told.again {
            self.ask(state, cost, asker, now);
        }
        Err(Shortage::Wait {
            limit: told.limit,
            wait: told.until - now,
        })
    }
}

// ===== impl Shortage =====

impl Shortage {
    /// Returns the number of the limit that is short, or of the first if that is not known.
    pub(crate) fn limit(&self) -> usize {
        match self {
            Self::Wait { limit, .. } | Self::Never { limit } => *limit,
            Self::Reply | Self::Store(_) => 0,
        }
    }

    /// Returns the rejection by `limit` of a request that does not wait.
    pub(crate) fn rejection(self, limit: LimitKind, cost: u64, capacity: u64) -> Rejected {
        let too_long = |wait| Rejected::too_long(limit, wait);
        match self {
            Self::Never { .. } => Rejected::never(limit, cost, capacity),
            Self::Wait { wait, .. } => too_long(Some(wait)),
            Self::Reply => too_long(None),
            Self::Store(wait) => too_long(Some(wait)).because(Reason::Unreachable),
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
