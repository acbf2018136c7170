//! The state of each limit, in a few words.

use std::{fmt::Write, time::Duration};

use tower_throttle::{
    Circuit, Dimension,
    provider::{LimitUsage, ProviderLimiter, Usage},
};

/// Limits over longer than this are named by the day.
const LONGEST_MINUTE: Duration = Duration::from_secs(60 * 60);

/// The limiter and the circuit of the first provider.
#[derive(Debug, Clone)]
pub(crate) struct Gauges {
    pub(crate) limiter: Option<ProviderLimiter>,
    pub(crate) circuit: Circuit,
}

// ===== impl Gauges =====

impl Gauges {
    /// The limits, or if there are none the attempts in flight, and whether the circuit is open.
    pub(crate) fn line(&self, in_flight: u64, refused: Option<u16>) -> String {
        let mut text = match &self.limiter {
            Some(limiter) => line(&limiter.usage(), refused),
            None => format!("in flight {in_flight}"),
        };
        if let Some(wait) = self.circuit.retry_after() {
            let _ = write!(text, ", circuit open for {:.1} s", wait.as_secs_f64());
        }
        text
    }
}

/// Such as `requests 412/500, tokens 181k/200k (12k reserved), in flight 32, paused 1.2 s (429)`.
///
/// `refused` is the status of the last rejection, which is what a pause waits out.
fn line(usage: &Usage, refused: Option<u16>) -> String {
    let mut parts: Vec<String> = usage.limits().map(limit).collect();
    if !usage.limits().any(is_of_flight) {
        parts.push(format!("in flight {}", usage.in_flight));
    }
    if !usage.paused_for.is_zero() {
        let mut pause = format!("paused {:.1} s", usage.paused_for.as_secs_f64());
        if let Some(status) = refused {
            let _ = write!(pause, " ({status})");
        }
        parts.push(pause);
    }
    parts.join(", ")
}

fn limit(limit: &LimitUsage) -> String {
    let name = if is_of_flight(limit) {
        "in flight".to_owned()
    } else if limit.period.is_some_and(|period| period > LONGEST_MINUTE) {
        format!("{} a day", limit.dimension)
    } else {
        limit.dimension.to_string()
    };
    let (used, most) = (short(limit.used), short(limit.limit));
    let mut text = format!("{name} {used}/{most}");
    let mut notes = Vec::new();
    if limit.reserved > 0 {
        notes.push(format!("{} reserved", short(limit.reserved)));
    }
    if limit.ours < limit.limit {
        notes.push(format!("ours {}", short(limit.ours)));
    }
    if !notes.is_empty() {
        let _ = write!(text, " ({})", notes.join(", "));
    }
    text
}

fn is_of_flight(limit: &LimitUsage) -> bool {
    limit.dimension == Dimension::Concurrency
}

/// A number at a glance.
fn short(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..10_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}M", n / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use tower_throttle::{
        Tokens,
        provider::{Provider, ThrottleReason},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_limit_is_named_with_what_is_left_of_it_and_a_pause_with_its_cause() {
        let anthropic = Provider::ANTHROPIC_BUILD.concurrent(50);
        let limiter = ProviderLimiter::new(anthropic);
        let held = limiter.try_acquire(Tokens::new(2_000, 10_000)).unwrap();
        assert_eq!(
            line(&limiter.usage(), None),
            "requests 1/1000, tokens 0/400k (12k reserved), in flight 1/50"
        );
        held.refuse(ThrottleReason::Rate, Some(Duration::from_secs(1_000)));
        let said = line(&limiter.usage(), Some(429));
        assert!(
            said.starts_with("requests 1/1000, tokens 0/400k, in flight 0/50, paused 6")
                && said.ends_with(" s (429)"),
            "{said}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_is_left_alone_is_told_with_or_without_limits() {
        let provider = Provider::new("mine").rpm(9);
        for (limiter, limits) in [
            (None, "in flight 7"),
            (
                Some(ProviderLimiter::new(provider)),
                "requests 0/9, in flight 0",
            ),
        ] {
            let circuit = Circuit::new().failures(1);
            let gauges = Gauges {
                limiter,
                circuit: circuit.clone(),
            };
            assert_eq!(gauges.line(7, None), limits);
            let call = circuit.enter().unwrap();
            call.failed(Some(Duration::from_secs(20)));
            // A little longer than it asked for.
            let told = format!("{limits}, circuit open for 2");
            let line = gauges.line(7, None);
            assert!(line.starts_with(&told) && line.ends_with(" s"), "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_limited_is_counted_all_the_same() {
        let limiter = ProviderLimiter::new(Provider::new("mine").rpd(20_000_000));
        let _held = limiter.try_acquire(Tokens::new(1, 1)).unwrap();
        let said = line(&limiter.usage(), Some(429));
        assert_eq!(said, "requests a day 1/20M, in flight 1");
    }
}
