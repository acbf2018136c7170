//! How close to the ideal runs are, whatever the provider is like: on a paused clock and without a
//! network, so that many minutes take seconds.

use std::{
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use futures::future;
use tokio::{runtime, sync::watch};
use tower_throttle::{
    Circuit, Dimension,
    provider::{Counting, Provider, ProviderLayer},
};

use crate::{
    cli::Args,
    console::{say, tell},
    endpoint::Endpoint,
    jobs,
    meter::Meter,
    plan,
    run::{self, Shared},
    simulate::{Simulate, requests_per_window},
    simulator::{Simulator, Tokens, least_time},
    stack,
    wire::Wire,
};

const WINDOW: Duration = Duration::from_secs(60);
const WINDOWS: u64 = 5;
/// No run may take longer.
const MOST: Duration = Duration::from_secs(60 * 60);
/// What applies to each run that says nothing else.
const COMMON: &str = "latency=2-12,usage=80-80";
/// How much of its tokens a request uses, in per cent.
const USED: u64 = 80;
const WORKERS: [u64; 2] = [64, 100];
const HEAD: &str = "\
| provider | clients × workers | ideal | failed | 429 | of the ideal | failed | 429 | of the ideal |
|---|---|---|---|---|---|---|---|---|";

/// A provider, and who uses it.
#[derive(Debug, Clone)]
struct Scene {
    simulate: Simulate,
    row: Provider,
    /// Clients that know nothing of each other, with a limiter each.
    clients: u64,
    workers: u64,
}

/// What came of one run.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    failed: u64,
    attempts: u64,
    rejected: u64,
    elapsed: Duration,
    ideal: Duration,
}

/// Prints the table, with one line for each scene.
pub(crate) fn print(args: &Args) -> Result<()> {
    let title = "With the provider's row, and then without any numbers: what failed, the share of \
                 429s, and the time.\n";
    for (n, (settings, clients)) in providers(args).into_iter().enumerate() {
        for workers in WORKERS {
            let scene = Scene::new(&settings, clients, workers)?;
            if n == 0 && workers == WORKERS[0] {
                say(&format!("{title}\n{HEAD}"))?;
            }
            say(&scene.line(&settings)?)?;
        }
    }
    Ok(())
}

/// The provider of the flags, or all, each with the number of clients.
fn providers(args: &Args) -> Vec<(String, u64)> {
    if let Some(settings) = args.matrix.as_ref().filter(|it| !it.is_empty()) {
        return vec![(settings.clone(), args.clients)];
    }
    let mut all = Vec::new();
    for row in Provider::ALL {
        let has_tokens = row.limits().any(|(of, _)| of == Dimension::Tokens);
        for refill in ["bucket", "sliding"] {
            let row = format!("{},refill={refill}", row.name());
            all.extend(has_tokens.then(|| (format!("{row},refund=yes"), 1)));
            all.push((format!("{row},refund=no"), 1));
        }
    }
    for name in ["openai-tier-1", "anthropic-build"] {
        for refill in ["bucket", "sliding"] {
            all.push((format!("{name},refill={refill},refund=yes"), 3));
        }
    }
    for others in [
        "refill=fixed",
        "refill=bucket,rejected=yes",
        "refill=bucket,round=1000",
        "refill=bucket,stale=1",
        "refill=bucket,others=30",
    ] {
        all.push((format!("openai-tier-1,refund=yes,{others}"), 1));
    }
    all
}

// ===== impl Scene =====

impl Scene {
    fn new(settings: &str, clients: u64, workers: u64) -> Result<Self> {
        let settings = format!("{COMMON},{settings}");
        let simulate: Simulate = settings.parse().map_err(anyhow::Error::msg)?;
        Ok(Self {
            row: simulate
                .provider
                .context("--matrix needs the name of a provider first")?,
            simulate,
            clients,
            workers,
        })
    }

    /// Runs it with the row and without, at the same time.
    fn line(&self, settings: &str) -> Result<String> {
        let none = Provider::new("yours").counting(self.row.accounting());
        let (with_row, without) = thread::scope(|scope| {
            let without = scope.spawn(|| self.outcome(none));
            (self.outcome(self.row), without.join())
        });
        let (with_row, without) = (with_row?, without.ok().context("a run has panicked")??);
        let Self {
            clients, workers, ..
        } = self;
        let ideal = with_row.ideal.as_secs_f64();
        Ok(format!(
            "| {settings} | {clients} × {workers} | {ideal:.0} s | {with_row} | {without} |"
        ))
    }

    /// Runs it on a clock of its own.
    fn outcome(&self, knows: Provider) -> Result<Outcome> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()?;
        runtime.block_on(self.run(knows))
    }

    async fn run(&self, knows: Provider) -> Result<Outcome> {
        let allows = self.simulate.change(self.row).with_minute(WINDOW);
        let mut limits = plan::simulator(self.row, WINDOW);
        self.simulate.apply(&mut limits);

        // So many tokens that those which are reserved allow 400 requests in a window, or fewer than
        // the limit on requests does.
        let limit = |dimension| {
            let limit = allows.limits().find(|(of, _)| *of == dimension);
            limit.map(|(_, quota)| quota.units())
        };
        let requests = limit(Dimension::Requests).map_or(400, |most| (most * USED / 100).min(400));
        let tokens = limit(Dimension::Tokens).map_or(500, |most| most / requests);
        let counted = match allows.accounting().counting() {
            Counting::Admission => tokens,
            _ => tokens * USED / 100,
        };
        let free = 100 - self.simulate.others;
        let count = WINDOWS * requests_per_window(allows, counted) * free / 100;
        let (input, output) = (tokens - tokens / 2, tokens / 2);
        let workers = self.clients * self.workers;
        let ideal = least_time(&limits, Tokens { input, output }, count, workers);
        let number = usize::try_from(count)?;
        let mut jobs = jobs::made_up(number, None, "simulated", output, Some(input));

        let (simulator, app) = Simulator::in_memory(limits);
        let endpoint = Endpoint::new("the simulator", &simulator.url(), None)?;
        let stop = watch::Sender::new(false);
        let mut meters = Vec::new();
        let mut runs = Vec::new();
        for clients_left in (1..=self.clients).rev() {
            let jobs = jobs.split_off(jobs.len() - jobs.len() / usize::try_from(clients_left)?);
            let meter = Arc::new(Meter::start(jobs.len(), stop.clone()));
            let wire = Wire::new(0, Simulator::client(app.clone()), meter.clone());
            let limits = ProviderLayer::new(knows.with_minute(WINDOW));
            let client = stack::client(Some(limits), Circuit::new(), WINDOW, wire, false);
            let shared = Shared {
                jobs: Mutex::new(jobs.into_iter()),
                endpoint: Arc::new(endpoint.clone()),
                meter: meter.clone(),
                out: None,
            };
            runs.push(run::run(usize::try_from(self.workers)?, client, shared));
            meters.push(meter);
        }
        let begun = tokio::time::Instant::now();
        if let Ok(ended) = tokio::time::timeout(MOST, future::try_join_all(runs)).await {
            ended?;
        }
        let elapsed = begun.elapsed();
        for failure in meters.iter().flat_map(|meter| meter.failures().1).take(3) {
            tell(failure);
        }

        let sum = |of: &dyn Fn(&Meter) -> u64| meters.iter().map(|meter| of(meter)).sum::<u64>();
        Ok(Outcome {
            failed: count - sum(&|meter| meter.succeeded.load(Relaxed)),
            attempts: sum(&|meter| meter.attempts.load(Relaxed)),
            rejected: sum(&|meter| meter.http_429.load(Relaxed)),
            elapsed,
            ideal,
        })
    }
}

// ===== impl Outcome =====

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rejected = self.rejected as f64 / self.attempts.max(1) as f64 * 100.0;
        let elapsed = self.elapsed.as_secs_f64() / self.ideal.as_secs_f64();
        write!(f, "{} | {rejected:.2} % | {elapsed:.2}", self.failed)
    }
}
