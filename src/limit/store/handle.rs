//! One process's side of a store: the deadline of each call, whether the store can be reached, and
//! the beat by which processes know of each other.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime,
    sync::{Semaphore, SemaphorePermit},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    call::{Call, LimitSpec, Reply, Store, StoreError},
    constants,
    settings::{Status, StoreSettings},
};
use crate::{sync::unpoisoned, telemetry};

/// What a limit does as it leaves.
pub(crate) type LeaveFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A limit that uses a store.
pub(crate) trait StoreMember: fmt::Debug + Send + Sync {
    /// Hears that the store can be reached, or can't.
    fn wake(&self);

    /// Reports to the store, at each beat.
    fn check_in(self: Arc<Self>);

    /// Returns what was granted and is not used.
    fn leave(self: Arc<Self>) -> LeaveFuture;
}

/// A store, shared by all limits of a process that use it.
#[derive(Debug)]
pub(crate) struct Handle {
    store: Arc<dyn Store>,
    pub(in crate::limit) settings: StoreSettings,
    pub(super) process: u64,
    health: Mutex<Health>,
    members: Mutex<Vec<Weak<dyn StoreMember>>>,
    /// The task that beats.
    beat: Mutex<Option<JoinHandle<()>>>,
    /// The calls for clients that may be under way.
    turns: Semaphore,
    asks: AtomicU64,
    errors: AtomicU64,
    pub(super) restores: AtomicU64,
}

#[derive(Debug, Default)]
struct Health {
    /// When the store became reachable or unreachable.
    since: Option<Instant>,
    down: Option<Outage>,
    /// Calls without a reply, in a row.
    timeouts: u32,
    processes: u64,
    /// The clock of the store at the time of the last call that has told it.
    clock: Option<(Instant, u64)>,
    /// How long replies have taken.
    reply_time: Duration,
    last_error: Option<Arc<str>>,
}

/// A time without the store, or without a name in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    /// When it is tried again.
    pub(super) probe_at: Instant,
    backoff: Duration,
}

// ===== impl Handle =====

impl Handle {
    pub(crate) fn new(store: Arc<dyn Store>, settings: StoreSettings) -> Arc<Self> {
        Self::of_process(random_id(), store, settings)
    }

    /// Creates a handle of a process that may have others.
    pub(super) fn of_process(
        process: u64,
        store: Arc<dyn Store>,
        settings: StoreSettings,
    ) -> Arc<Self> {
        let health = Health {
            processes: settings.processes.max(1),
            ..Health::default()
        };
        Arc::new(Self {
            store,
            settings,
            process,
            health: Mutex::new(health),
            members: Mutex::default(),
            beat: Mutex::default(),
            turns: Semaphore::new(constants::MOST_CALLS),
            asks: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            restores: AtomicU64::new(0),
        })
    }

    pub(crate) fn status(&self) -> Status {
        let health = unpoisoned(self.health.lock());
        Status {
            is_connected: health.since.is_some() && health.down.is_none(),
            since: health.since,
            processes: health.processes,
            asks: self.asks.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            restores: self.restores.load(Ordering::Relaxed),
            last_error: health.last_error.clone(),
        }
    }

    /// Returns all units that were granted and not used, and ends the registration: in a task, so
    /// that nothing is lost if the future is dropped.
    pub(crate) async fn leave(self: &Arc<Self>) {
        let handle = self.clone();
        let leaving = runtime::Handle::current().spawn(async move {
            for member in handle.members() {
                member.leave().await;
            }
            let _unknown = handle.register(Duration::ZERO).await;
        });
        let _ended = leaving.await;
    }

    pub(crate) fn add(&self, member: &Arc<dyn StoreMember>) {
        let mut members = unpoisoned(self.members.lock());
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(member));
    }

    fn members(&self) -> Vec<Arc<dyn StoreMember>> {
        let members = unpoisoned(self.members.lock());
        members.iter().filter_map(Weak::upgrade).collect()
    }

    /// Returns how often the first request in a queue looks whether there is room.
    pub(crate) fn look_again(&self, limit: &LimitSpec) -> Duration {
        let timeout = self.settings.timeout;
        let hold = constants::hold(limit.span(), timeout);
        constants::look_again(Duration::MAX, hold, timeout)
    }

    /// Returns the number of processes that the store last counted.
    pub(super) fn processes(&self) -> u64 {
        unpoisoned(self.health.lock()).processes
    }

    /// Returns the clock of the store at some instant, if it is known.
    pub(super) fn clock(&self) -> Option<(Instant, u64)> {
        unpoisoned(self.health.lock()).clock
    }

    /// Returns when the next probe is, if the store is unreachable.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        Some(unpoisoned(self.health.lock()).down?.probe_at)
    }

    /// Returns how long replies have taken: the longest of late, which counts less with each reply.
    pub(super) fn reply_time(&self) -> Duration {
        unpoisoned(self.health.lock()).reply_time
    }

    /// Waits until another call for a client may be under way. Returns `None` if that takes so long
    /// that the reply would be late.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The rest of the timeout is for the reply.
        let longest = self.settings.timeout / 2;
        let turn = timeout(longest, self.turns.acquire()).await;
        if turn.is_err() {
            self.asks.fetch_add(1, Ordering::Relaxed);
            telemetry::store_called("take", "not_sent", longest);
            self.failed("too many calls at once");
        }
        turn.ok()?.ok()
    }

    /// Carries out a call within the timeout.
    pub(super) async fn call(&self, call: Call) -> Result<Reply, StoreError> {
        self.asks.fetch_add(1, Ordering::Relaxed);
        let is_beat = matches!(call, Call::Beat { .. });
        let (operation, sent) = (call.as_str(), Instant::now());
        let result = timeout(self.settings.timeout, self.store.call(call)).await;
        let result = result.unwrap_or(Err(StoreError::TimedOut));
        let outcome = match &result {
            Ok(_) => "ok",
            Err(StoreError::TimedOut) => "timed_out",
            Err(StoreError::Unreachable(_)) => "unreachable",
            Err(StoreError::Unreadable(_)) => "unreadable",
        };
        telemetry::store_called(operation, outcome, sent.elapsed());
        self.note(&result, sent, is_beat);
        result
    }

    /// Notes whether the store can be reached.
    fn note(&self, result: &Result<Reply, StoreError>, sent: Instant, is_beat: bool) {
        if let Err(error) = result {
            self.failed(&error.to_string());
        }
        let mut health = unpoisoned(self.health.lock());
        let now = Instant::now();
        if let Ok(Reply::Take(taken)) = result {
            health.clock = Some((sent, taken.now));
            health.reply_time = (health.reply_time / 8 * 7).max(now - sent);
        }
        // A store whose reply makes no sense is there. The limit of the name deals with it.
        let Err(error @ (StoreError::TimedOut | StoreError::Unreachable(_))) = result else {
            health.timeouts = 0;
            // Other calls may have reached a part of the store that was never down.
            if health.down.is_some() && !is_beat {
                return;
            }
            if health.down.take().is_none() {
                health.since.get_or_insert(now);
                return;
            }
            health.since = Some(now);
            drop(health);
            #[cfg(feature = "tracing")]
            tracing::info!(target: "tower_throttle::store", "reachable again");
            self.wake();
            return;
        };
        health.timeouts = health.timeouts.saturating_add(1);
        match health.down {
            // Calls that were under way do not lengthen it.
            Some(down) if now < down.probe_at => {}
            Some(_) => health.down = Some(Outage::after(health.down, now, self.settings.timeout)),
            None if *error == StoreError::TimedOut && health.timeouts < constants::TIMEOUTS => {}
            None => {
                health.down = Some(Outage::after(None, now, self.settings.timeout));
                health.since = Some(now);
                drop(health);
                crate::macros::warning!(target: "tower_throttle::store", %error, "unreachable");
                self.wake();
            }
        }
    }

    fn failed(&self, error: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        unpoisoned(self.health.lock()).last_error = Some(error.into());
    }

    fn wake(&self) {
        for member in self.members() {
            member.wake();
        }
    }

    /// Starts the beat, if none runs or its runtime has ended.
    pub(super) fn start_beat(self: &Arc<Self>) {
        let mut beat = unpoisoned(self.beat.lock());
        if beat.as_ref().is_some_and(|beat| !beat.is_finished()) {
            return;
        }
        // Without a runtime the next request tries again.
        if let Ok(runtime) = runtime::Handle::try_current() {
            let beating = Arc::downgrade(self);
            *beat = Some(runtime.spawn(async move {
                while let Some(handle) = beating.upgrade() {
                    let wait = handle.beat_once().await;
                    drop(handle);
                    sleep(wait).await;
                }
            }));
        }
    }

    /// Registers this process, and lets its limits report. While the store is unreachable, probes
    /// it. Returns the time until the next beat.
    async fn beat_once(&self) -> Duration {
        let until_probe = || Some(self.probe_at()?.saturating_duration_since(Instant::now()));
        if let Some(wait) = until_probe().filter(|wait| !wait.is_zero()) {
            return wait;
        }
        if self.beat().await.is_ok() {
            for member in self.members() {
                member.check_in();
            }
        }
        until_probe().unwrap_or_else(|| constants::beat(self.settings.timeout))
    }

    /// Registers this process until it has missed two beats.
    pub(crate) async fn beat(&self) -> Result<(), StoreError> {
        let beat = constants::beat(self.settings.timeout);
        self.register(beat.saturating_mul(3)).await
    }

    async fn register(&self, expires: Duration) -> Result<(), StoreError> {
        let process = self.process;
        if let Reply::Processes(processes) = self.call(Call::Beat { process, expires }).await? {
            unpoisoned(self.health.lock()).processes = processes.max(1);
        }
        Ok(())
    }
}

// ===== impl Outage =====

impl Outage {
    /// Begins at `now`, or goes on after one that was tried again.
    pub(super) fn after(before: Option<Self>, now: Instant, timeout: Duration) -> Self {
        let backoff = before.map_or(Duration::ZERO, |before| before.backoff);
        let backoff = constants::backoff(backoff, timeout);
        Self {
            probe_at: constants::later(now, backoff),
            backoff,
        }
    }
}

/// Returns a number by which a process, or one of its limits, is known: below 2⁵³.
pub(super) fn random_id() -> u64 {
    rand::random::<u64>() >> 11
}
