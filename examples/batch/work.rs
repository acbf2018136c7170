//! What there is to do, and the least time for it.

use std::{fmt, time::Duration};

use tower_throttle::{
    Dimension,
    provider::{Counting, Provider, Shape},
};

/// What there is to do, as far as the least time for it depends on that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) prompts: u64,
    /// As many of them as have to be asked.
    pub(crate) requests: u64,
    /// The tokens of their prompts, and the most that their responses may have.
    pub(crate) reserved: u64,
    pub(crate) workers: u64,
    /// What the provider allows, as far as it is known.
    pub(crate) allows: Provider,
    /// The period of its limits, without the margin that this side adds.
    pub(crate) window: Duration,
    /// How much of the limits other users of the key take, in per cent.
    pub(crate) others: u64,
}

// ===== impl Work =====

impl Work {
    /// The least time that the limits allow, if a response takes as long as `service` and all of
    /// them use `used` tokens.
    ///
    /// Of each limit of L per W, n units are needed, and `one` by a request; with c in flight r
    /// responses take `max(service, r * service / c)`. The largest counts of
    ///
    /// - for all requests, what that many responses take;
    /// - for a window, `k * W` with `k = floor((n - one) / L)`, and what the responses take to the
    ///   requests that can't start before, which need `n - k * L` units;
    /// - for a bucket, `max(0, n - L) / L * W`, when what it did not hold at the start has flowed
    ///   in, and one `service`.
    ///
    /// For a limit on tokens, n is what was used where the provider counts no more than that in the
    /// end, and what was reserved where it gives nothing back.
    pub(crate) fn ideal(&self, service: Duration, used: u64) -> Duration {
        let answers = |requests: f64| {
            let in_flight = self.in_flight().max(1) as f64;
            service.as_secs_f64() * (requests / in_flight).max(1.0)
        };
        let by_rate = self.allows.limits().filter_map(|(dimension, quota)| {
            let units = self.units(dimension, used)?;
            let (start, requests) = self.last_start(units, quota.units());
            Some(start + answers(requests))
        });
        let least = by_rate.fold(answers(self.requests as f64), f64::max);
        Duration::try_from_secs_f64(least).unwrap_or(Duration::MAX)
    }

    /// What is needed of a limit.
    fn units(&self, dimension: Dimension, used: u64) -> Option<u64> {
        match (dimension, self.allows.accounting().counting()) {
            (Dimension::Requests, _) => Some(self.requests),
            (Dimension::Tokens, Counting::Admission) => Some(self.reserved),
            (Dimension::Tokens, _) => Some(used),
            // No flag speaks of these.
            _ => None,
        }
    }

    /// When the last requests can start, in seconds, and how many they are.
    fn last_start(&self, units: u64, limit: u64) -> (f64, f64) {
        let (limit, window) = (limit.max(1), self.window.as_secs_f64());
        let others = u128::from(limit) * u128::from(self.others) / 100;
        let ours = limit.saturating_sub(others as u64).max(1);
        if self.allows.shape() == Shape::Bucket {
            let start = units.saturating_sub(limit) as f64 / ours as f64 * window;
            return (start, 1.0);
        }
        let one = units.div_ceil(self.requests.max(1));
        let windows = (units - one) / ours;
        let left = (units - windows * ours) as f64;
        (windows as f64 * window, left / one.max(1) as f64)
    }

    fn in_flight(&self) -> u64 {
        let workers = self.workers.min(self.requests);
        let allowed = self.allows.concurrency();
        allowed.map_or(workers, |most| most.min(workers))
    }

    /// The shape of the limits.
    pub(crate) fn kind(&self) -> &'static str {
        match self.allows.shape() {
            Shape::Bucket => "bucket",
            _ => "window",
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} prompts, {} workers", self.prompts, self.workers)?;
        for (dimension, quota) in self.allows.limits() {
            let (units, window) = (quota.units(), self.window.as_secs_f64());
            write!(f, ", at most {units} {dimension} in {window} s")?;
        }
        if let Some(limit) = self.allows.concurrency() {
            write!(f, ", at most {limit} in flight")?;
        }
        if self.allows.shape() == Shape::Bucket {
            f.write_str(", as buckets")?;
        }
        write!(f, " ({})", self.allows.name())
    }
}

#[cfg(test)]
mod tests {
    use tower_throttle::provider::Accounting;

    use super::*;

    const YOURS: Provider = Provider::new("yours");

    fn seconds(allows: Provider, requests: u64, reserved: u64, used: u64) -> f64 {
        let work = Work {
            prompts: requests,
            requests,
            reserved,
            workers: 1_000,
            allows,
            window: Duration::from_secs(10),
            others: 0,
        };
        work.ideal(Duration::from_secs(1), used).as_secs_f64()
    }

    #[test]
    fn the_least_time_is_that_of_the_tightest_limit() {
        let rpm = YOURS.rpm(10);
        for (allows, requests, is) in [
            (YOURS, 10, 1.0),
            (rpm, 10, 1.0),
            (rpm, 11, 11.0),
            (rpm, 20, 11.0),
            (rpm, 21, 21.0),
            (rpm.bucket(), 10, 1.0),
            (rpm.bucket(), 11, 2.0),
            (rpm.bucket(), 25, 16.0),
            (rpm.concurrent(5), 10, 2.0),
            (rpm.concurrent(5), 20, 12.0),
            (rpm.concurrent(5), 21, 21.0),
            (YOURS.concurrent(1), 10, 10.0),
        ] {
            let ideal = seconds(allows, requests, 0, 0);
            assert!((ideal - is).abs() < 1e-9, "{allows:?}, {requests}: {ideal}");
        }
    }

    #[test]
    fn tokens_count_as_the_provider_counts_them() {
        // 10 requests of 100 tokens, 40 of which are used
        for (accounting, window, bucket) in [
            (Accounting::OPENAI, 31.0, 24.333_333_333),
            (Accounting::SETTLED, 11.0, 4.333_333_333),
            (Accounting::ANTHROPIC, 11.0, 4.333_333_333),
        ] {
            let allows = YOURS.tpm(300).counting(accounting);
            let ideal = seconds(allows, 10, 1_000, 400);
            assert!((ideal - window).abs() < 1e-6, "{accounting:?}: {ideal}");
            let ideal = seconds(allows.bucket(), 10, 1_000, 400);
            assert!((ideal - bucket).abs() < 1e-6, "{accounting:?}: {ideal}");
        }
    }

    #[test]
    fn nothing_to_do_takes_no_time_and_no_limit_divides_by_nothing() {
        assert!((seconds(YOURS.rpm(0).tpm(0), 0, 0, 0) - 1.0).abs() < 1e-9);
        assert!(seconds(YOURS.rpm(0), u64::MAX, u64::MAX, u64::MAX) > 1e18);
    }
}
