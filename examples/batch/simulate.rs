//! What the simulated provider is like: the values of `--simulate`.

use std::{str::FromStr, time::Duration};

use tower_throttle::{
    Dimension,
    provider::{Accounting, Provider},
};

use crate::{
    simulator::{Counting, Kind, Limits, UsageShare},
    values::{number, seconds, shares},
};

/// Draws the same usage in every run.
const SEED: u64 = 1;

const KEYS: &str = "refill, refund, rejected, latency, usage, round, stale, others";

/// The value of `--simulate`, such as `openai-tier-1,refill=bucket,refund=yes`: a provider of the
/// table, and what is different. Each part may be missing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Simulate {
    pub(crate) provider: Option<Provider>,
    refill: Option<Kind>,
    /// Whether the tokens that a response did not use are given back at its end.
    refund: Option<bool>,
    /// Whether rejected requests count.
    rejected: Option<bool>,
    /// The least and the longest time that a response takes.
    latency: Option<(Duration, Duration)>,
    /// The least and the largest share of its tokens that a request uses, in per cent.
    usage: Option<(u64, u64)>,
    /// Headers round what is left of tokens to multiples of this.
    round: Option<u64>,
    /// How old the state is that headers report.
    stale: Option<Duration>,
    /// How much of the limits other users of the key take, in per cent.
    pub(crate) others: u64,
}

/// Used between so much and so much per cent of the tokens that were reserved.
pub(crate) fn drawn((from, to): (u64, u64)) -> UsageShare {
    UsageShare::Drawn {
        from: from * 10,
        to: to * 10,
        seed: SEED,
    }
}

// ===== impl Simulate =====

impl Simulate {
    /// The provider with what is different, as far as the least time of a run depends on it.
    pub(crate) fn change(&self, mut provider: Provider) -> Provider {
        provider = match self.refill {
            Some(Kind::Bucket) => provider.bucket(),
            Some(_) => provider.window(),
            None => provider,
        };
        match self.refund {
            // Those that count at the end give back what is not used.
            Some(true) if provider.accounting() == Accounting::OPENAI => {
                provider.counting(Accounting::SETTLED)
            }
            Some(false) => provider.counting(Accounting::OPENAI),
            _ => provider,
        }
    }

    /// Changes the simulator that is this provider otherwise.
    pub(crate) fn apply(&self, limits: &mut Limits) {
        let style = &mut limits.style;
        match self.refund {
            Some(true) if style.counting == Counting::Reserved => {
                style.counting = Counting::Settled;
            }
            Some(false) => style.counting = Counting::Reserved,
            _ => {}
        }
        style.rounding = self.round.unwrap_or(style.rounding);
        limits.kind = self.refill.unwrap_or(limits.kind);
        limits.counts_rejected = self.rejected.unwrap_or(limits.counts_rejected);
        limits.staleness = self.stale.unwrap_or(limits.staleness);
        limits.others = self.others;
        limits.usage = self.usage.map_or(limits.usage, drawn);
        if let Some((least, longest)) = self.latency {
            (limits.latency, limits.longest_latency) = (least, longest);
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "refill" => {
                self.refill = Some(match value {
                    "bucket" => Kind::Bucket,
                    "sliding" => Kind::Window,
                    "fixed" => Kind::Fixed,
                    _ => return Err("give bucket, sliding or fixed".to_owned()),
                });
            }
            "refund" => self.refund = Some(yes(value)?),
            "rejected" => self.rejected = Some(yes(value)?),
            "latency" => {
                let ends = value.split_once('-').unwrap_or((value, value));
                let (least, longest) = (seconds(ends.0)?, seconds(ends.1)?);
                if least > longest {
                    return Err("give the shorter one first, such as 2-12".to_owned());
                }
                self.latency = Some((least, longest));
            }
            "usage" => self.usage = Some(shares(value)?),
            "round" => self.round = Some(number(value, 1_000_000)?),
            "stale" => self.stale = Some(seconds(value)?),
            "others" => self.others = number(value, 90)?,
            _ => return Err(format!("no such setting: use one of {KEYS}")),
        }
        Ok(())
    }
}

impl FromStr for Simulate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut simulate = Self::default();
        for part in text.split(',') {
            match part.split_once('=') {
                Some((key, value)) => simulate
                    .set(key.trim(), value.trim())
                    .map_err(|error| format!("{key}: {error}"))?,
                None => {
                    let provider = Provider::by_name(part).map_err(|error| error.to_string())?;
                    simulate.provider = Some(provider);
                }
            }
        }
        Ok(simulate)
    }
}

/// How many requests of so many tokens each a provider admits in each window.
pub(crate) fn requests_per_window(provider: Provider, tokens: u64) -> u64 {
    let most = provider.limits().map(|(dimension, quota)| match dimension {
        Dimension::Requests => quota.units(),
        _ => quota.units() / tokens.max(1),
    });
    most.min().unwrap_or(u64::MAX)
}

fn yes(value: &str) -> Result<bool, String> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("give yes or no".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_change_the_provider_and_the_simulator() {
        let text = "openai-tier-1,refill=bucket,refund=yes,rejected=yes,latency=2-12,usage=80-80,\
                    round=1000,stale=0.5,others=30";
        let simulate: Simulate = text.parse().unwrap();
        let provider = simulate.change(simulate.provider.unwrap());
        assert_eq!(
            provider,
            Provider::OPENAI_TIER_1
                .bucket()
                .counting(Accounting::SETTLED)
        );
        let mut limits = Limits::default();
        simulate.apply(&mut limits);
        assert_eq!(limits.kind, Kind::Bucket);
        assert_eq!(limits.style.counting, Counting::Settled);
        assert_eq!((limits.style.rounding, limits.others), (1_000, 30));
        assert!(limits.counts_rejected);
        assert_eq!(limits.staleness, Duration::from_millis(500));
        assert_eq!(limits.longest_latency, Duration::from_secs(12));
    }

    #[test]
    fn wrong_settings_say_what_to_give() {
        for (text, says) in [
            ("", "use one of openai-tier-1"),
            ("openai-tier-1,", "use one of openai-tier-1"),
            ("x=1", "x: no such setting: use one of refill, "),
            ("refill=circle", "refill: give bucket, "),
            ("refund=1", "refund: give yes or no"),
            ("latency=12-2", "latency: give the shorter one first"),
            ("latency=0-2", "latency: give a number of seconds"),
            ("usage=80", "usage: give two shares"),
            ("others=91", "others: give a whole number up to 90"),
        ] {
            let error = text.parse::<Simulate>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
