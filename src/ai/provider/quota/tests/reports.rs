//! Reports and what happens around them: refunds, rejections, other clients, silence.

use std::time::Duration;

use super::{super::QuotaTicket, Quotas, SECOND, shaped};
use crate::{
    ai::{
        provider::{Accounting, Provider, ThrottleReason},
        tokens::{TokenUsage, Tokens},
    },
    http::{Dimension, RateLimits, Reported},
    limit::Quota,
};

fn told(limit: u64, left: u64) -> RateLimits {
    let mut told = RateLimits::default();
    told.push(Reported {
        dimension: Dimension::Tokens,
        period: None,
        limit: Some(limit),
        remaining: Some(left),
        reset: None,
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

fn send(quotas: &mut Quotas, tokens: u64, now: u64) -> QuotaTicket {
    quotas.decide(Tokens::new(tokens, 0), now).unwrap()
}

fn end(quotas: &mut Quotas, ticket: &QuotaTicket, input: u64, now: u64) {
    let usage = TokenUsage {
        input,
        ..TokenUsage::default()
    };
    quotas.settle(ticket, Some(usage), Some(now));
}

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
    assert!(quotas.look(Tokens::new(30_000, 0), now).is_ok());
}

#[test]
fn units_of_others_leave_before_newer_ones() {
    let provider = Provider::new("p").window().counting(Accounting::GEMINI);
    let quota = Quota::new(1_000, Duration::from_secs(60));
    let mut quotas = learning(provider.limit(Dimension::Tokens, quota));
    let ticket = send(&mut quotas, 10, SECOND);
    quotas.observe(&ticket, &told(1_000, 100), 2 * SECOND);
    end(&mut quotas, &ticket, 10, 40 * SECOND);
    let rejected = quotas.look(Tokens::new(500, 0), 41 * SECOND).unwrap_err();
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
fn learning_set_twice_still_probes() {
    let mut quotas = learning(Provider::new("p"));
    quotas.learn(true, 0);
    send(&mut quotas, 1, SECOND);
    assert!(quotas.decide(Tokens::new(1, 0), SECOND).is_err());
}

#[test]
fn the_longest_margin_does_not_overflow() {
    let provider = Provider::new("p").rpm(10).margin(Duration::MAX);
    let mut quotas = learning(provider);
    send(&mut quotas, 1, SECOND);
}
