//! Processes in one runtime: each has a connection, a number and a history of its own.
#![allow(dead_code, reason = "several targets use parts of it")]

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, time::sleep};
use tower_throttle::{Quota, Redis, SlidingWindowLimiter, TokenBucketLimiter};

use crate::server::Server;

/// The default timeout of a call.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(250);
/// What a call may take beyond its timeout.
const LATE: Duration = Duration::from_millis(50);
/// A machine that is busy, beyond what its timers tell.
const MARGIN: Duration = Duration::from_millis(100);

/// Starts of all processes: nanoseconds of the clock that they share, and units.
pub(crate) type Starts = Vec<(u128, u64)>;

/// A runtime with the clock by which all starts are noted.
pub(crate) struct Fleet {
    pub(crate) runtime: Runtime,
    begun: Instant,
    longest: Arc<Mutex<Duration>>,
    /// The latest that a timer was.
    latest: Arc<Mutex<Duration>>,
}

/// The starts of some processes.
#[derive(Clone)]
pub(crate) struct Log {
    begun: Instant,
    starts: Arc<Mutex<Starts>>,
}

/// What a scenario has found.
pub(crate) struct Report {
    scenario: String,
    failed: Vec<String>,
}

// ===== impl Fleet =====

impl Fleet {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let fleet = Self {
            runtime,
            begun: Instant::now(),
            longest: Arc::default(),
            latest: Arc::default(),
        };
        let latest = fleet.latest.clone();
        fleet.runtime.spawn(async move {
            loop {
                let start = Instant::now();
                sleep(LATE / 5).await;
                raise(&latest, start.elapsed() - LATE / 5);
            }
        });
        fleet
    }

    /// Connects `count` processes.
    pub(crate) fn connect(
        &self,
        server: &Server,
        count: usize,
        set: impl Fn(Redis) -> Redis,
    ) -> Vec<Redis> {
        let connect = || self.runtime.block_on(Redis::connect(&server.url()));
        (0..count).map(|_| set(connect().unwrap())).collect()
    }

    /// Returns the longest call so far.
    pub(crate) fn longest(&self) -> Duration {
        *self.longest.lock().unwrap()
    }

    pub(crate) fn log(&self) -> Log {
        Log {
            begun: self.begun,
            starts: Arc::default(),
        }
    }

    /// Returns the nanoseconds by which starts are noted.
    pub(crate) fn now(&self) -> u128 {
        self.begun.elapsed().as_nanos()
    }

    /// Calls without waiting, on a limit that always has room, and notes how long a call takes.
    pub(crate) fn probe(&self, redis: &Redis, name: &str) {
        let quota = Quota::per_second(1_000_000);
        let limiter = TokenBucketLimiter::new(quota).shared(redis, name);
        let longest = self.longest.clone();
        self.runtime.spawn(async move {
            loop {
                let start = Instant::now();
                let _ = limiter.acquire_within(1, Duration::ZERO).await;
                raise(&longest, start.elapsed());
                sleep(Duration::from_millis(50)).await;
            }
        });
    }

    /// Starts workers that wait for units of a window and note them.
    pub(crate) fn wait_for(&self, limiter: &SlidingWindowLimiter, workers: usize, log: &Log) {
        for _ in 0..workers {
            let (limiter, log) = (limiter.clone(), log.clone());
            self.runtime.spawn(async move {
                loop {
                    limiter.acquire(1).await.unwrap();
                    log.add(1);
                }
            });
        }
    }

    /// Starts workers that try to take units of a window and do not wait.
    pub(crate) fn try_for(&self, limiter: &SlidingWindowLimiter, workers: usize, log: &Log) {
        for _ in 0..workers {
            let (limiter, log, longest) = (limiter.clone(), log.clone(), self.longest.clone());
            self.runtime.spawn(async move {
                loop {
                    let start = Instant::now();
                    let result = limiter.acquire_within(1, Duration::ZERO).await;
                    raise(&longest, start.elapsed());
                    match result {
                        Ok(_) => log.add(1),
                        Err(_) => sleep(Duration::from_millis(10)).await,
                    }
                }
            });
        }
    }

    /// Starts workers that wait for units of a bucket and note them.
    pub(crate) fn wait_for_bucket(&self, limiter: &TokenBucketLimiter, workers: usize, log: &Log) {
        for _ in 0..workers {
            let (limiter, log) = (limiter.clone(), log.clone());
            self.runtime.spawn(async move {
                loop {
                    limiter.acquire(10).await.unwrap();
                    log.add(10);
                }
            });
        }
    }

    #[expect(clippy::unused_self, reason = "says what runs")]
    pub(crate) fn run_for(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Returns the latest that a timer was.
    pub(crate) fn latest(&self) -> Duration {
        *self.latest.lock().unwrap()
    }
}

fn raise(most: &Mutex<Duration>, time: Duration) {
    let mut most = most.lock().unwrap();
    *most = time.max(*most);
}

// ===== impl Log =====

impl Log {
    pub(crate) fn add(&self, units: u64) {
        let now = self.begun.elapsed().as_nanos();
        self.starts.lock().unwrap().push((now, units));
    }

    /// Returns the starts so far, in their order.
    pub(crate) fn starts(&self) -> Starts {
        let mut starts = self.starts.lock().unwrap().clone();
        starts.sort_unstable();
        starts
    }
}

/// Returns the starts from `from` until `to`.
pub(crate) fn between(starts: &Starts, from: u128, to: u128) -> Starts {
    let is_between = |start: &&(u128, u64)| (from..to).contains(&start.0);
    starts.iter().filter(is_between).copied().collect()
}

/// Returns the most units that start within `period`, at any offset.
pub(crate) fn fullest(starts: &Starts, period: Duration) -> u64 {
    let (mut first, mut units, mut most) = (0, 0, 0);
    for (at, cost) in starts {
        units += cost;
        while starts[first].0 + period.as_nanos() <= *at {
            units -= starts[first].1;
            first += 1;
        }
        most = most.max(units);
    }
    most
}

pub(crate) fn units(starts: &[(u128, u64)]) -> u64 {
    starts.iter().map(|(_, units)| units).sum()
}

/// The least and the mean time between a unit and the one that comes `limit` units later, in
/// periods: at least one if the window is never over, and one if it is used up.
pub(crate) fn laps(starts: &Starts, limit: usize, period: Duration) -> (f64, f64) {
    let laps = starts.iter().zip(&starts[limit..]);
    let laps = laps.map(|(first, last)| (last.0 - first.0) as f64 / period.as_nanos() as f64);
    let (least, sum, count) = laps.fold((f64::MAX, 0.0, 0.0), |(least, sum, count), lap| {
        (lap.min(least), sum + lap, count + 1.0)
    });
    (least, sum / count)
}

/// The most units above what refills, at one unit per `nanos`.
pub(crate) fn burst(starts: &Starts, nanos: u128) -> u128 {
    let (mut level, mut last, mut most) = (0_u128, 0, 0);
    for (at, units) in starts {
        level = level.saturating_sub(at - last) + nanos * u128::from(*units);
        (last, most) = (*at, most.max(level));
    }
    most.div_ceil(nanos)
}

/// The share of `rate` units per second that was used after a first burst.
pub(crate) fn used(starts: &Starts, rate: f64, burst: u64) -> f64 {
    let span = starts[starts.len() - 1].0 - starts[0].0;
    (units(starts) - burst) as f64 / (rate * span as f64 / 1e9)
}

// ===== impl Report =====

impl Report {
    pub(crate) fn new(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            failed: Vec::new(),
        }
    }

    /// Prints what was found, and notes if it is wrong.
    pub(crate) fn check(&mut self, is_right: bool, text: String) {
        println!("{}: {text}", self.scenario);
        if !is_right {
            self.failed.push(text);
        }
    }

    /// Checks that no call took for longer than it may on this machine.
    pub(crate) fn check_calls(&mut self, fleet: &Fleet) {
        let (longest, latest) = (fleet.longest(), fleet.latest());
        self.check(
            longest <= TIMEOUT + LATE + latest + MARGIN,
            format!("longest call {longest:?}, timers late by up to {latest:?}"),
        );
    }

    pub(crate) fn end(self) {
        assert!(
            self.failed.is_empty(),
            "{}: {:?}",
            self.scenario,
            self.failed
        );
    }
}

/// A name, and what runs with it.
pub(crate) type Scenario = (&'static str, fn(&str));

/// Runs each scenario in a thread of its own, and fails if one has failed.
pub(crate) fn together(scenarios: &[Scenario]) {
    let start = |&(name, run): &Scenario| {
        let thread = thread::Builder::new().name(name.to_owned());
        (name, thread.spawn(move || run(name)).unwrap())
    };
    let threads: Vec<_> = scenarios.iter().map(start).collect();
    let failed: Vec<_> = threads
        .into_iter()
        .filter_map(|(name, thread)| thread.join().is_err().then_some(name))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}
