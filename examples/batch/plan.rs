//! From flags to limits: what the client keeps, and what a simulated provider is.

use std::time::Duration;

use tower_throttle::{
    Dimension,
    provider::{Provider, ProviderLayer, Shape},
};

use crate::{
    cli::Args,
    config::{self, Configured, shaped, with_numbers},
    simulate::drawn,
    simulator::{self, Chaos, Outage, Style, UsageShare},
    store::Store,
};

/// The default limits of a simulated provider: done in 15 seconds, and still too low for a client
/// without limits.
const DEMO: Provider = YOURS.rpm(100).concurrent(50);
const DEMO_WINDOW: Duration = Duration::from_secs(3);

/// A provider of which nothing is known but what the flags say.
const YOURS: Provider = Provider::new("yours");

/// Both sides of the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// What the client knows.
    client: Provider,
    /// What the provider allows, as far as it is known.
    pub(crate) allows: Provider,
    /// The period of its limits.
    pub(crate) window: Duration,
}

// ===== impl Plan =====

impl Plan {
    /// What the flags say, or else the simulator's defaults.
    pub(crate) fn of(args: &Args) -> Self {
        let numbers = [args.rpm, args.tpm, args.concurrent];
        let has_numbers = numbers.iter().any(Option::is_some);
        let simulate = args.simulate.clone().unwrap_or_default();
        let is_told = has_numbers || args.provider.or(simulate.provider).is_some();
        let is_free = !is_told && args.base_url.is_none() && !args.serve;
        let window = if is_free { DEMO_WINDOW } else { args.window };
        let shaped = |provider| shaped(provider, args.kind, window);
        if args.serve {
            // No client runs in this process.
            let served = simulate.provider.or(args.provider).unwrap_or(YOURS);
            let served = simulate.change(shaped(with_numbers(served, numbers)));
            return Self {
                client: served,
                allows: served,
                window,
            };
        }
        let simulated = simulate.provider.or(is_free.then_some(DEMO));
        let known = match (args.provider, simulated) {
            (Some(provider), _) => provider,
            (None, Some(demo)) if is_free && !args.learn => demo,
            // How a provider counts can be read in its guide.
            (None, Some(simulated)) => YOURS.counting(simulated.accounting()),
            (None, None) => YOURS,
        };
        let client = shaped(with_numbers(known, numbers));
        Self {
            client,
            allows: simulate.change(simulated.map_or(client, shaped)),
            window,
        }
    }

    /// Several providers, each with limits of its own.
    pub(crate) fn of_all(providers: &[Configured]) -> Self {
        let (sum, window) = config::sum(providers);
        Self {
            client: sum,
            allows: sum,
            window,
        }
    }

    /// The limits on this side, unless there are to be none. Each layer has a state of its own.
    /// With a store, the limits of the provider of this number are there.
    pub(crate) fn limits(
        &self,
        args: &Args,
        store: Option<&Store>,
        number: u8,
    ) -> Option<ProviderLayer> {
        let limits = (!args.no_limits).then(|| ProviderLayer::new(self.client).learn(args.learn));
        limits.map(|limits| match store {
            Some(store) => store.share(limits, number),
            None => limits,
        })
    }

    /// The simulator that the flags describe.
    pub(crate) fn simulator(&self, args: &Args, outage: Option<Outage>) -> simulator::Limits {
        let mut limits = simulator::Limits {
            usage: usage(args),
            latency: Duration::from_millis(args.latency_ms),
            outage,
            chaos: args.chaos.then(|| Chaos::bad_day(args.chaos_seed)),
            ..simulator(self.allows, self.window)
        };
        if let Some(simulate) = &args.simulate {
            simulate.apply(&mut limits);
        }
        limits
    }
}

/// The simulator that is this provider.
pub(crate) fn simulator(provider: Provider, window: Duration) -> simulator::Limits {
    let concurrent = provider.concurrency();
    let mut limits = simulator::Limits {
        concurrent: concurrent.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
        window,
        kind: match provider.shape() {
            Shape::Bucket => simulator::Kind::Bucket,
            _ => simulator::Kind::Window,
        },
        style: Style::of(provider.name()).unwrap_or(Style::OPENAI),
        ..simulator::Limits::default()
    };
    for (dimension, quota) in provider.limits() {
        let units = Some(quota.units());
        match dimension {
            Dimension::Requests => limits.requests = units,
            Dimension::Tokens => limits.tokens = units,
            // Neither the table nor a flag has one.
            _ => {}
        }
    }
    limits
}

/// How much of what they ask for requests use.
fn usage(args: &Args) -> UsageShare {
    let simulated = args.simulate.as_ref().and_then(|it| it.provider);
    let is_named = args.provider.or(simulated).is_some();
    let shares = args.real_usage.or(is_named.then_some((30, 100)));
    shares.map_or(UsageShare::Short, drawn)
}
