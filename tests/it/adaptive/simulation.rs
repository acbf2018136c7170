//! The limit finds what a backend bears, and follows it.

use std::time::Duration;

use tokio::time::Instant;
use tower_throttle::{ConcurrencyLimiter, concurrency::Adaptive};

use super::backend::{Measured, Phase, Spread, best_fixed, run};
use crate::support::ms;

/// How long the limit may take to follow the backend: a hundred times that which an answer takes.
const SETTLING: Duration = Duration::from_secs(10);

const SLOW: Phase = Phase {
    workers: 10,
    service: ms(100),
    load: 600,
    lasts: Duration::from_secs(25),
};
const HEALTHY: Phase = Phase {
    workers: 40,
    ..SLOW
};

/// The adaptive limit's goodput is at least nine tenths of that of the best fixed limit of each phase, and it sheds the rest
/// before answers take twice as long.
async fn follows(adaptive: Adaptive, phases: &[Phase], spread: Spread) -> Vec<(Measured, usize)> {
    let limiter = ConcurrencyLimiter::adaptive(adaptive);
    let (measured, _) = run(&limiter, phases, SETTLING, spread).await;
    let mut all = Vec::new();
    for (measured, phase) in measured.into_iter().zip(phases) {
        let (best, limit) = best_fixed(*phase, spread).await;
        println!("best fixed limit {limit}, goodput {best:.1}; {measured:.3?}");
        assert!(measured.goodput >= 0.9 * best, "{measured:?}, best {best}");
        assert!(measured.refused > 0);
        assert!(measured.latency < 2.0, "{measured:?}");
        assert!(measured.late < 0.1, "{measured:?}");
        all.push((measured, limit));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_gradient_follows_a_backend_that_is_slow_then_healthy_then_slow() {
    for spread in [Spread::None, Spread::Half] {
        let phases = [SLOW, HEALTHY, SLOW];
        for (measured, best) in follows(Adaptive::gradient(), &phases, spread).await {
            let ratio = measured.limit / best as f64;
            assert!((0.75..=1.25).contains(&ratio), "{measured:?}, best {best}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn aimd_follows_a_backend_that_is_slow_then_healthy_then_slow() {
    for spread in [Spread::None, Spread::Half] {
        follows(Adaptive::aimd(ms(110)), &[SLOW, HEALTHY, SLOW], spread).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gradient_follows_a_backend_whose_workers_become_slower_and_faster() {
    let healthy = Phase {
        workers: 20,
        ..HEALTHY
    };
    let slow = Phase {
        service: ms(300),
        lasts: Duration::from_secs(60),
        ..healthy
    };
    let limiter = ConcurrencyLimiter::adaptive(Adaptive::gradient());
    let phases = [slow, healthy, slow];
    let settling = ms(300) * 80;
    let (measured, _) = run(&limiter, &phases, settling, Spread::Half).await;
    for (measured, phase) in measured.iter().zip(phases) {
        let most = phase.workers as f64 / phase.service.as_secs_f64();
        println!("{most:.1}: {measured:.3?}");
        assert!(measured.goodput > 0.75 * most, "{measured:?}");
        assert!(measured.latency < 1.5, "{measured:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_growing_load_is_shed_before_latency_doubles() {
    for adaptive in [Adaptive::gradient(), Adaptive::aimd(ms(110))] {
        // From a quarter of what 20 workers can do to thrice as much.
        let phases: Vec<_> = (1..=60)
            .map(|step| Phase {
                workers: 20,
                service: ms(100),
                load: 50 + step * 10,
                lasts: ms(500),
            })
            .collect();
        let limiter = ConcurrencyLimiter::adaptive(adaptive);
        let (_, events) = run(&limiter, &phases, ms(100), Spread::None).await;
        let is_slow = |took: Option<Duration>| took.is_some_and(|took| took >= ms(200));
        let slow = events.iter().find(|event| is_slow(event.1));
        let refused = events.iter().find(|event| event.1.is_none()).unwrap().0;
        let slow = slow.map_or_else(Instant::now, |event| event.0);
        println!("{adaptive:?}: sheds {:?} before", slow - refused);
        assert!(refused < slow);
        let answers = events.iter().filter(|event| event.1.is_some()).count();
        let late = events.iter().filter(|event| is_slow(event.1)).count();
        assert!(late * 50 < answers, "{late} of {answers}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_too_high_at_first_comes_down_though_no_better_latency_was_ever_seen() {
    let limiter = ConcurrencyLimiter::adaptive(Adaptive::gradient().initial(100));
    let (measured, _) = run(&limiter, &[SLOW], SETTLING, Spread::Half).await;
    assert!(measured[0].limit < 12.5, "{measured:?}");
    assert!(measured[0].goodput > 75.0, "{measured:?}");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fits_is_not_refused_and_does_not_raise_the_limit() {
    let fits = Phase {
        load: 100,
        ..HEALTHY
    };
    for adaptive in [Adaptive::gradient(), Adaptive::aimd(ms(110))] {
        let limiter = ConcurrencyLimiter::adaptive(adaptive.initial(50));
        let (measured, events) = run(&limiter, &[fits], Duration::ZERO, Spread::None).await;
        assert_eq!(measured[0].refused, 0);
        assert!(events.len() > 2_000);
        assert_eq!(limiter.limit(), 50);
    }
}
