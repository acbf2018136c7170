//! Several processes in one: a handle each over the same model, on a paused clock.
#![allow(clippy::unwrap_used)]

mod clients;
mod concurrency;
mod down;
mod joint;
mod limiter;
pub(super) mod model;
#[cfg(feature = "per-key")]
mod overload;
#[cfg(feature = "per-key")]
mod per_key;
mod settlement;
mod share;
mod simulation;
#[cfg(all(feature = "metrics", feature = "tracing"))]
mod telemetry;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};

use super::{
    call::{Call, CallFuture, Reply, Store, StoreError},
    handle::Handle,
    settings::{StoreSettings, WhenDown},
};

pub(crate) use self::model::Model;

/// A network between a process and the model.
#[derive(Debug, Clone)]
pub(super) struct Network {
    model: Model,
    faults: Arc<Faults>,
}

#[derive(Debug)]
pub(super) struct Faults {
    random: Mutex<StdRng>,
    /// The longest time for one way.
    latency: Duration,
    /// How many of a thousand calls do not arrive, and how many replies.
    lost: u32,
    /// No call arrives, and none is refused.
    is_silent: AtomicBool,
    /// Each call is refused.
    is_refused: AtomicBool,
    takes: AtomicU64,
    /// All calls but beats.
    calls: AtomicU64,
}

impl Network {
    fn new(model: &Model, seed: u64, latency: Duration, lost: u32) -> Self {
        let faults = Faults {
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            latency,
            lost,
            is_silent: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
            takes: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        };
        Self {
            model: model.clone(),
            faults: Arc::new(faults),
        }
    }

    #[cfg(feature = "per-key")]
    fn calls(&self) -> u64 {
        self.faults.calls.load(Ordering::Relaxed)
    }

    /// A process behind this network.
    fn process(&self, when_down: WhenDown) -> Arc<Handle> {
        let settings = StoreSettings {
            when_down,
            ..StoreSettings::default()
        };
        Handle::new(Arc::new(self.clone()), settings)
    }

    fn is_lost(&self) -> bool {
        let lost = self.faults.random.lock().unwrap().random_range(0..1_000) < self.faults.lost;
        lost || self.faults.is_silent.load(Ordering::Relaxed)
    }

    async fn travel(&self) {
        let share = self.faults.random.lock().unwrap().random::<f64>();
        sleep(self.faults.latency.mul_f64(share)).await;
        if self.is_lost() {
            std::future::pending::<()>().await;
        }
    }
}

impl Store for Network {
    fn call(&self, call: Call) -> CallFuture {
        let network = self.clone();
        Box::pin(async move {
            if network.faults.is_refused.load(Ordering::Relaxed) {
                return Err(StoreError::Unreachable("refused".into()));
            }
            let is_take =
                matches!(&call, Call::Take(take) if take.cost.iter().any(|cost| *cost > 0));
            let takes = &network.faults.takes;
            takes.fetch_add(u64::from(is_take), Ordering::Relaxed);
            let is_beat = matches!(call, Call::Beat { .. });
            let calls = &network.faults.calls;
            calls.fetch_add(u64::from(!is_beat), Ordering::Relaxed);
            network.travel().await;
            let reply: Result<Reply, StoreError> = network.model.call(call).await;
            network.travel().await;
            reply
        })
    }
}

/// What started, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Starts(Arc<Mutex<BTreeMap<Instant, u64>>>);

impl Starts {
    fn add(&self, units: u64) {
        *self.0.lock().unwrap().entry(Instant::now()).or_default() += units;
    }

    fn total(&self) -> u64 {
        self.0.lock().unwrap().values().sum()
    }

    /// The most units in any `period`.
    fn fullest(&self, period: Duration) -> u64 {
        let starts = self.0.lock().unwrap();
        let within = |from: Instant| starts.range(from..from + period).map(|(_, units)| units);
        let sums = starts.keys().map(|from| within(*from).sum());
        sums.max().unwrap_or(0)
    }

    /// The most units above what refills at `unit` each, between any two instants.
    fn burst(&self, unit: Duration) -> u64 {
        let starts = self.0.lock().unwrap();
        let Some((first, _)) = starts.first_key_value() else {
            return 0;
        };
        let (mut level, mut last, mut most) = (Duration::ZERO, *first, Duration::ZERO);
        for (at, units) in starts.iter() {
            level = level.saturating_sub(*at - last) + unit * u32::try_from(*units).unwrap();
            (last, most) = (*at, most.max(level));
        }
        u64::try_from(most.as_nanos().div_ceil(unit.as_nanos())).unwrap()
    }
}
