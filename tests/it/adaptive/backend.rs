//! A backend of so many workers, callers that do not wait for each other, and what came of it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use tokio::{
    task::LocalSet,
    time::{Instant, interval, sleep},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{BoxError, ConcurrencyLayer, ConcurrencyLimiter};

use crate::support::ms;

/// A time in which the backend stays the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    pub(super) workers: usize,
    /// How long a worker takes.
    pub(super) service: Duration,
    /// How many callers come in a second.
    pub(super) load: u64,
    pub(super) lasts: Duration,
}

/// What was seen of a phase, once it had settled.
#[derive(Debug, Clone, Default)]
pub(super) struct Measured {
    /// Answers in a second that took less than twice the time of a worker.
    pub(super) goodput: f64,
    /// The mean time to an answer, over that of a worker.
    pub(super) latency: f64,
    /// The part of the answers that took longer than twice that.
    pub(super) late: f64,
    /// The mean limit.
    pub(super) limit: f64,
    pub(super) refused: usize,
}

/// Whether times differ from request to request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Spread {
    None,
    /// By up to a half more or less.
    Half,
}

/// Numbers that only look like chance.
pub(super) struct Dice(Cell<u64>);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// From 0 to 1.
    pub(super) fn roll(&self) -> f64 {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        (x >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// When a caller was refused, or answered after how long.
pub(super) type Event = (Instant, Option<Duration>);

/// Runs through `phases`, and says what was seen of each after `settling`, and all that happened.
pub(super) async fn run(
    limiter: &ConcurrencyLimiter,
    phases: &[Phase],
    settling: Duration,
    spread: Spread,
) -> (Vec<Measured>, Vec<Event>) {
    let workers = ConcurrencyLimiter::new(phases[0].workers);
    let takes = Rc::new(Cell::new(Duration::ZERO));
    let dice = Rc::new(Dice::new(0x2545_F491_4F6C_DD1D));
    let (pool, time) = (workers.clone(), takes.clone());
    let backend = service_fn(move |(): ()| {
        let (workers, takes, dice) = (pool.clone(), time.clone(), dice.clone());
        async move {
            let _worker = workers.acquire().await?;
            let factor = match spread {
                Spread::None => 1.0,
                Spread::Half => 0.5 + dice.roll(),
            };
            sleep(takes.get().mul_f64(factor)).await;
            Ok::<_, BoxError>(())
        }
    });
    let events: Rc<RefCell<Vec<Event>>> = Rc::default();
    let service = ConcurrencyLayer::from(limiter.clone())
        .max_wait(Duration::ZERO)
        .until_response()
        .layer(backend);
    let mut measured = Vec::new();
    let local = LocalSet::new();
    for phase in phases {
        workers.set_limit(phase.workers);
        takes.set(phase.service);
        let begins = Instant::now();
        let mut limits = Vec::new();
        local
            .run_until(async {
                let mut ticks = interval(ms(1));
                let mut callers = 0;
                while begins.elapsed() < phase.lasts {
                    ticks.tick().await;
                    let due = begins.elapsed().as_millis() as u64 * phase.load / 1_000;
                    while callers < due {
                        callers += 1;
                        let (service, events) = (service.clone(), events.clone());
                        tokio::task::spawn_local(async move {
                            let start = Instant::now();
                            let answer = service.oneshot(()).await;
                            let took = answer.is_ok().then(|| start.elapsed());
                            events.borrow_mut().push((Instant::now(), took));
                        });
                    }
                    if begins.elapsed() > settling {
                        limits.push(limiter.limit() as f64);
                    }
                }
            })
            .await;
        measured.push(measure(&events.borrow(), begins + settling, phase, &limits));
    }
    let events = events.borrow().clone();
    (measured, events)
}

fn measure(events: &[Event], from: Instant, phase: &Phase, limits: &[f64]) -> Measured {
    let settled = || events.iter().filter(|event| event.0 >= from);
    let answers: Vec<Duration> = settled().filter_map(|event| event.1).collect();
    let in_time = |took: &&Duration| **took <= phase.service * 2;
    let good = answers.iter().filter(in_time).count() as f64;
    let mean = answers.iter().sum::<Duration>().as_secs_f64() / answers.len() as f64;
    Measured {
        goodput: good / (Instant::now() - from).as_secs_f64(),
        latency: mean / phase.service.as_secs_f64(),
        late: 1.0 - good / answers.len() as f64,
        limit: limits.iter().sum::<f64>() / limits.len() as f64,
        refused: settled().filter(|event| event.1.is_none()).count(),
    }
}

/// The best goodput of any fixed limit in a phase, and the lowest limit that comes within a hundredth of it.
pub(super) async fn best_fixed(phase: Phase, spread: Spread) -> (f64, usize) {
    let phase = Phase {
        lasts: phase.service * 50,
        ..phase
    };
    let mut seen = Vec::new();
    for eighths in [4, 6, 7, 8, 9, 10, 12, 16] {
        let limit = phase.workers * eighths / 8;
        let limiter = ConcurrencyLimiter::new(limit);
        let (measured, _) = run(&limiter, &[phase], phase.service * 10, spread).await;
        seen.push((measured[0].goodput, limit));
    }
    let best = seen.iter().map(|seen| seen.0).fold(0.0, f64::max);
    let lowest = seen.iter().find(|seen| seen.0 >= 0.99 * best).unwrap();
    (best, lowest.1)
}
