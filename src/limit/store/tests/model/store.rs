//! A store in memory, for tests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::time::Instant;

use super::{NameState, slots::SlotState};
use crate::{
    limit::store::call::{Call, CallFuture, LimitSpec, Reply, StateKey, Store, micros},
    sync::unpoisoned,
};

/// A store in memory, with tokio's clock from the start of 2026: several "processes" in one test,
/// on a paused clock. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    start: Instant,
    state: Arc<Mutex<ModelState>>,
}

#[derive(Debug, Default)]
struct ModelState {
    /// With the instant when each expires.
    names: HashMap<StateKey, (NameState, u64)>,
    /// When each process expires.
    processes: HashMap<u64, u64>,
    slots: HashMap<Arc<str>, SlotState>,
}

impl Model {
    /// The start of 2026, in microseconds since 1970.
    pub(super) const START: u64 = 1_767_225_600_000_000;

    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            state: Arc::default(),
        }
    }

    /// Loses all state.
    pub(crate) fn forget(&self) {
        *unpoisoned(self.state.lock()) = ModelState::default();
    }

    fn run(&self, call: &Call) -> Reply {
        let now = Self::START + micros(self.start.elapsed());
        let mut state = unpoisoned(self.state.lock());
        match call {
            Call::Take(take) => {
                let (name, expires) = state.get(&take.key, &take.limits, now);
                let reply = name.take(take, now * 1_000);
                if take.key.client.is_some() {
                    *expires = name.idle_at().max(*expires);
                }
                Reply::Take(reply)
            }
            Call::Restore(restore) => {
                let (name, expires) = state.get(&restore.key, &restore.limits, now);
                name.restore(restore, now * 1_000);
                if restore.key.client.is_some() {
                    *expires = name.idle_at().max(*expires);
                }
                Reply::Done
            }
            Call::SetQuota(set) => {
                let key = StateKey::of_name(Arc::clone(&set.name));
                let (name, _) = state.get(&key, &set.limits, now);
                name.set_quota(set, now * 1_000);
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

impl Store for Model {
    fn call(&self, call: Call) -> CallFuture {
        let model = self.clone();
        Box::pin(async move { Ok(model.run(&call)) })
    }
}

impl ModelState {
    /// Returns a state and when it expires. That of a name expires after a day, or after twice as
    /// long as what was taken makes a difference, and that of a client when it is idle.
    fn get(
        &mut self,
        key: &StateKey,
        limits: &[LimitSpec],
        now: u64,
    ) -> (&mut NameState, &mut u64) {
        let lasts = limits.iter().map(|limit| match limit {
            LimitSpec::Bucket { .. } => 2 * micros(limit.span()),
            LimitSpec::Window { period_micros, .. } => 2 * period_micros,
        });
        let lasts = lasts.fold(86_400_000_000, u64::max);
        let (state, expires) = self.names.entry(key.clone()).or_default();
        if *expires <= now {
            *state = NameState::default();
        }
        if key.client.is_none() && *expires < now + lasts / 4 * 3 {
            *expires = now + lasts;
        }
        (state, expires)
    }
}
