//! Reports and what happens around them: refunds, rejections, other clients, silence.

use std::time::Duration;

use proptest::prelude::*;

use super::{super::QuotaTicket, Quotas, SECOND, shaped};
use crate::{
    ai::{
        provider::{Accounting, Counting, Provider, ThrottleReason},
        tokens::{TokenUsage, Tokens},
    },
    http::{Dimension, RateLimits, Reported},
    limit::{Quota, nanos},
};

fn told(limit: u64, left: u64) -> RateLimits {
    told_reset(limit, left, None)
}

fn told_reset(limit: u64, left: u64, reset: Option<u64>) -> RateLimits {
    let mut told = RateLimits::default();
    told.push(Reported {
        dimension: Dimension::Tokens,
        period: None,
        limit: Some(limit),
        remaining: Some(left),
        reset: reset.map(Duration::from_secs),
    });
    told
}

fn learning(provider: Provider) -> Quotas {
    let mut quotas = Quotas::new(&provider, 1, 0);
    quotas.learn(true, 0);
    quotas
}

fn tokens(is_bucket: bool, limit: u64) -> Quotas {
    let quota = Quota::new(limit, Duration::from_secs(60));
    let provider = shaped("p", is_bucket).counting(Accounting::SETTLED);
    learning(provider.limit(Dimension::Tokens, quota))
}

#[allow(clippy::unwrap_used)]
fn send(quotas: &mut Quotas, tokens: u64, now: u64) -> QuotaTicket {
    quotas
        .decide(Tokens::new(tokens, 0), Duration::ZERO, now)
        .unwrap()
}

fn end(quotas: &mut Quotas, ticket: &QuotaTicket, input: u64, now: u64) {
    let usage = TokenUsage {
        input,
        ..TokenUsage::default()
    };
    quotas.settle(ticket, Some(usage), Some(now));
}

#[allow(clippy::unwrap_used)]
fn used(quotas: &mut Quotas, now: u64) -> u64 {
    let usage = quotas.usage(now);
    let mut limits = usage.limits();
    let limit = limits.find(|limit| limit.dimension == Dimension::Tokens);
    limit.unwrap().used
}

#[test]
fn refunds_after_a_report_leave_the_window() {
    let mut quotas = tokens(false, 40_000);
    let tickets: Vec<_> = (0..10).map(|_| send(&mut quotas, 1_000, SECOND)).collect();
    // Others use most of it.
    quotas.observe(&tickets[9], &told(40_000, 5_000), 2 * SECOND);
    for ticket in &tickets {
        end(&mut quotas, ticket, 100, 3 * SECOND);
    }
    let now = 70 * SECOND;
    assert_eq!(used(&mut quotas, now), 0);
    // Nothing is in flight that could wake the queue.
    assert!(quotas.look(Tokens::new(30_000, 0), now, None).is_ok());
}

#[test]
fn units_of_others_leave_before_newer_ones() {
    let provider = Provider::new("p").window().counting(Accounting::GEMINI);
    let quota = Quota::new(1_000, Duration::from_secs(60));
    let mut quotas = learning(provider.limit(Dimension::Tokens, quota));
    let ticket = send(&mut quotas, 10, SECOND);
    quotas.observe(&ticket, &told(1_000, 100), 2 * SECOND);
    end(&mut quotas, &ticket, 10, 40 * SECOND);
    let rejected = quotas
        .look(Tokens::new(500, 0), 41 * SECOND, None)
        .unwrap_err();
    let wait = rejected.retry_after().unwrap();
    assert!(wait <= Duration::from_secs(21), "{wait:?}");
}

#[test]
fn reports_are_believed_after_refunds() {
    for is_bucket in [false, true] {
        let mut quotas = tokens(is_bucket, 100_000);
        let ms = |ms: u64| SECOND + ms * 1_000_000;
        let early: Vec<_> = [0, 400]
            .map(|at| send(&mut quotas, 20_000, ms(at)))
            .into_iter()
            .collect();
        send(&mut quotas, 1, ms(700));
        for ticket in &early {
            end(&mut quotas, ticket, 10_000, ms(800));
        }
        let last = send(&mut quotas, 1, ms(1_000));
        // The provider counts less, such as cached tokens.
        quotas.observe(&last, &told(100_000, 95_000), ms(1_000));
        let used = used(&mut quotas, ms(1_000));
        assert!((5_000..5_100).contains(&used), "{used}");
    }
}

#[test]
fn rejections_without_a_reservation_count_once() {
    for is_bucket in [false, true] {
        let provider = shaped("p", is_bucket).counting(Accounting::GEMINI);
        let quota = Quota::new(1_000, Duration::from_secs(60));
        let mut quotas = learning(provider.limit(Dimension::Tokens, quota));
        let first = send(&mut quotas, 400, SECOND);
        end(&mut quotas, &first, 400, 2 * SECOND);
        let second = send(&mut quotas, 300, 3 * SECOND);
        let rejection = told(1_000, 600);
        quotas.refuse(&second, ThrottleReason::Rate, None, &rejection, 3 * SECOND);
        assert_eq!(used(&mut quotas, 3 * SECOND), 400);
    }
}

#[test]
fn a_report_may_include_what_is_in_flight() {
    for is_bucket in [false, true] {
        let provider = shaped("p", is_bucket).counting(Accounting::GEMINI);
        let quota = Quota::new(1_000, Duration::from_secs(60));
        let mut quotas = learning(provider.limit(Dimension::Tokens, quota));
        let tickets: Vec<_> = (0..5).map(|_| send(&mut quotas, 100, SECOND)).collect();
        // The provider counts at admission.
        quotas.observe(&tickets[4], &told(1_000, 500), SECOND);
        let sums = |quotas: &mut Quotas| {
            let usage = quotas.usage(SECOND);
            let limit = usage.get(Dimension::Tokens).copied();
            limit.map(|limit| (limit.used, limit.reserved))
        };
        assert_eq!(sums(&mut quotas), Some((500, 0)));
        let sixth = send(&mut quotas, 100, SECOND);
        assert_eq!(sums(&mut quotas), Some((500, 100)));
        // It may count at completion.
        end(&mut quotas, &tickets[0], 100, SECOND);
        assert_eq!(sums(&mut quotas), Some((600, 0)));
        end(&mut quotas, &sixth, 100, SECOND);
        assert_eq!(sums(&mut quotas), Some((700, 0)));
    }
}

#[test]
fn reset_times_correct_the_shape() {
    for (is_bucket, reset, left) in [(true, 6, 50), (false, 60, 100)] {
        let mut quotas = tokens(!is_bucket, 1_000);
        let ticket = send(&mut quotas, 100, SECOND);
        let told = told_reset(1_000, 900, Some(reset));
        quotas.observe(&ticket, &told, 2 * SECOND);
        assert_eq!(used(&mut quotas, 4 * SECOND), left);
    }
}

#[test]
fn the_end_of_a_fixed_window_tells_no_bucket() {
    let mut quotas = tokens(true, 1_000);
    for (reset, left) in [(60, 900), (1, 800)] {
        let ticket = send(&mut quotas, 100, SECOND);
        let told = told_reset(1_000, left, Some(reset));
        quotas.observe(&ticket, &told, 2 * SECOND);
    }
    assert_eq!(used(&mut quotas, 4 * SECOND), 200);
}

#[test]
fn a_late_report_keeps_what_was_sent_since() {
    let mut quotas = tokens(true, 6_000);
    let slow = send(&mut quotas, 100, SECOND);
    // The bucket is empty, and filled just before the response.
    for _ in 0..5 {
        send(&mut quotas, 1_000, 60 * SECOND);
    }
    quotas.observe(&slow, &told(6_000, 5_900), 60 * SECOND);
    assert_eq!(used(&mut quotas, 60 * SECOND), 5_000);
}

#[test]
fn without_learning_no_limit_is_found() {
    let mut quotas = learning(Provider::new("p"));
    quotas.learn(false, 0);
    let tickets: Vec<_> = (0..100).map(|_| send(&mut quotas, 1, SECOND)).collect();
    for ticket in &tickets[..99] {
        end(&mut quotas, ticket, 1, 2 * SECOND);
    }
    let nothing = RateLimits::default();
    quotas.refuse(
        &tickets[99],
        ThrottleReason::Rate,
        None,
        &nothing,
        2 * SECOND,
    );
    assert_eq!(quotas.usage(2 * SECOND).limits().count(), 0);
}

#[test]
fn a_lowered_concurrency_rises_with_a_response_if_it_learns() {
    let provider = Provider::new("p").rpm(100);
    let given = provider.concurrent(4);
    for (learns, provider, started) in [(true, provider, 3), (true, given, 3), (false, given, 4)] {
        let mut quotas = learning(provider);
        quotas.learn(learns, 0);
        let sent: Vec<_> = (0..4).map(|_| send(&mut quotas, 1, SECOND)).collect();
        let class = ThrottleReason::Concurrency;
        quotas.refuse(&sent[0], class, None, &RateLimits::default(), 2 * SECOND);
        end(&mut quotas, &sent[1], 1, 2 * SECOND);
        let next = send(&mut quotas, 1, 90 * SECOND);
        assert_eq!(quotas.flight.limit, Some(started), "learns: {learns}");
        quotas.observe(&next, &RateLimits::default(), 90 * SECOND);
        assert_eq!(quotas.flight.limit, Some(4), "learns: {learns}");
    }
}

#[test]
fn a_rejection_is_heard_if_learning_began_after_the_request() {
    let mut quotas = learning(Provider::new("p"));
    quotas.learn(false, 0);
    let ticket = send(&mut quotas, 1, SECOND);
    quotas.learn(true, SECOND);
    let class = ThrottleReason::Rate;
    quotas.refuse(&ticket, class, None, &told(6_000, 5_000), 2 * SECOND);
    let usage = quotas.usage(2 * SECOND);
    let limit = usage.get(Dimension::Tokens).map(|limit| limit.limit);
    assert_eq!(limit, Some(6_000));
}

#[test]
fn silent_rejections_lower_a_configured_window() {
    for (sent, expected) in [(60, 60), (49, 100)] {
        let mut quotas = learning(Provider::new("p").window().rpm(100));
        for _ in 0..sent {
            let ticket = send(&mut quotas, 1, SECOND);
            end(&mut quotas, &ticket, 1, SECOND);
        }
        let last = send(&mut quotas, 1, SECOND);
        let nothing = RateLimits::default();
        quotas.refuse(&last, ThrottleReason::Rate, None, &nothing, 2 * SECOND);
        let limit = |quotas: &mut Quotas| {
            let usage = quotas.usage(2 * SECOND);
            usage.get(Dimension::Requests).map(|limit| limit.limit)
        };
        assert_eq!(limit(&mut quotas), Some(expected));
        quotas.learn(false, 2 * SECOND);
        assert_eq!(limit(&mut quotas), Some(100));
    }
}

#[test]
fn learning_set_twice_still_probes() {
    let mut quotas = learning(Provider::new("p"));
    quotas.learn(true, 0);
    send(&mut quotas, 1, SECOND);
    assert!(
        quotas
            .decide(Tokens::new(1, 0), Duration::ZERO, SECOND)
            .is_err()
    );
}

#[test]
fn the_longest_margin_does_not_overflow() {
    let provider = Provider::new("p").rpm(10).margin(Duration::MAX);
    let mut quotas = learning(provider);
    send(&mut quotas, 1, SECOND);
}

/// A request that is sent, or one in flight that a response or its end settles.
type Step = (u64, u8, usize, u64, Option<u64>, u64);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// With nothing in flight, a request that waits as long as it has to is admitted soon.
    #[test]
    fn the_head_of_the_queue_never_waits_forever(
        is_bucket in any::<bool>(),
        counting in prop_oneof![
            Just(Counting::Admission), Just(Counting::Settled), Just(Counting::Completion)
        ],
        limit in prop_oneof![Just(1_u64), 1..2_000_u64],
        steps in prop::collection::vec(
            (
                prop_oneof![Just(0), 0..SECOND, 0..40 * SECOND],
                0..8_u8,
                any::<usize>(),
                0..1_500_u64,
                prop_oneof![Just(None), (1..2_000_u64).prop_map(Some), any::<u64>().prop_map(Some)],
                prop_oneof![0..2_000_u64, any::<u64>()],
            ),
            1..40,
        ),
        last in 0..1_500_u64,
        pause in 0..100 * SECOND,
    ) {
        let quota = Quota::new(limit, Duration::from_secs(60));
        let provider = shaped("p", is_bucket).counting(Accounting::new(counting));
        let mut quotas = learning(provider.limit(Dimension::Tokens, quota));
        let mut flight: Vec<QuotaTicket> = Vec::new();
        let mut now = SECOND;
        let steps: Vec<Step> = steps;
        for (wait, kind, which, units, limit, left) in steps {
            now += wait;
            if flight.is_empty() || kind < 3 {
                flight.extend(quotas.take_in_turn(Tokens::new(units, 0), now));
                continue;
            }
            let at = which % flight.len();
            let mut told = told(1, left);
            if let Some(limit) = limit {
                told = self::told(limit, left);
            }
            match kind {
                3 | 4 => quotas.observe(&flight[at], &told, now),
                5 | 6 => {
                    let ticket = flight.swap_remove(at);
                    end(&mut quotas, &ticket, units, now);
                }
                _ => {
                    let ticket = flight.swap_remove(at);
                    let reason = ThrottleReason::TooLarge;
                    quotas.refuse(&ticket, reason, None, &told, now);
                }
            }
            quotas.usage(now);
        }
        for ticket in flight {
            end(&mut quotas, &ticket, last, now);
        }
        now += pause;
        let cost = Tokens::new(last.min(limit), 0);
        let (mut steps, start) = (0, now);
        while let Err(rejected) = quotas.look(cost, now, None) {
            let wait = rejected.retry_after().map_or(0, nanos);
            prop_assert!(wait > 0, "{rejected:?}");
            now += wait;
            steps += 1;
            prop_assert!(steps < 300, "{steps} steps until {}", now - start);
        }
        prop_assert!(now - start <= 400 * SECOND, "{} s", (now - start) / SECOND);
    }
}
