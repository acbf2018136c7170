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
    simulator::Simulator,
    stack,
    wire::Wire,
    work::Work,
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
    /// As for `--simulate`.
    settings: String,
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
    say(title)?;
    say(HEAD)?;
    for scene in scenes(args)? {
        let none = Provider::new("yours").counting(scene.row.accounting());
        let (with_row, without) = thread::scope(|scope| {
            let without = scope.spawn(|| scene.outcome(none));
            let with_row = scene.outcome(scene.row);
            (with_row, without.join())
        });
        let with_row = with_row?;
        let without = without.ok().context("a run has panicked")??;
        say(&format!(
            "| {} | {} × {} | {:.0} s | {with_row} | {without} |",
            scene.settings,
            scene.clients,
            scene.workers,
            with_row.ideal.as_secs_f64()
        ))?;
    }
    Ok(())
}

/// The one that the flags describe, or all.
fn scenes(args: &Args) -> Result<Vec<Scene>> {
    let mut scenes = Vec::new();
    let mut add = |settings: &str, clients, workers| {
        let all = format!("{COMMON},{settings}");
        let simulate: Simulate = all.parse().map_err(anyhow::Error::msg)?;
        let row = simulate.provider.context("no provider")?;
        scenes.push(Scene {
            settings: settings.to_owned(),
            simulate,
            row,
            clients,
            workers,
        });
        anyhow::Ok(())
    };
    if let Some(settings) = args.matrix.as_ref().filter(|it| !it.is_empty()) {
        for workers in WORKERS {
            add(settings, args.clients, workers)?;
        }
        return Ok(scenes);
    }
    for row in Provider::ALL {
        let name = row.name();
        let has_tokens = row.limits().any(|(of, _)| of == Dimension::Tokens);
        for refill in ["bucket", "sliding"] {
            for refund in ["yes", "no"]
                .into_iter()
                .filter(|it| has_tokens || *it == "no")
            {
                for workers in WORKERS {
                    add(
                        &format!("{name},refill={refill},refund={refund}"),
                        1,
                        workers,
                    )?;
                }
            }
        }
    }
    for name in ["openai-tier-1", "anthropic-build"] {
        for refill in ["bucket", "sliding"] {
            for workers in WORKERS {
                add(&format!("{name},refill={refill},refund=yes"), 3, workers)?;
            }
        }
    }
    for other in [
        "refill=fixed",
        "rejected=yes",
        "round=1000",
        "stale=1",
        "others=30",
    ] {
        add(
            &format!("openai-tier-1,refill=bucket,refund=yes,{other}"),
            1,
            64,
        )?;
    }
    Ok(scenes)
}

// ===== impl Scene =====

impl Scene {
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
        let (simulator, app) = Simulator::in_memory(limits);
        let endpoint = Endpoint::new("the simulator", &simulator.url(), None)?;

        // As many tokens that 400 requests fit into a window.
        let tokens = allows.limits().find(|(of, _)| *of == Dimension::Tokens);
        let tokens = tokens.map_or(500, |(_, quota)| quota.units() / 400);
        let counted = match allows.accounting().counting() {
            Counting::Admission => tokens,
            _ => tokens * USED / 100,
        };
        let free = 100 - self.simulate.others;
        let count = WINDOWS * requests_per_window(allows, counted) * free / 100;
        let mut jobs = jobs::made_up(
            usize::try_from(count)?,
            None,
            "simulated",
            tokens / 2,
            Some(tokens - tokens / 2),
        );
        let reserved = jobs.iter().map(jobs::Job::tokens).sum();

        let stop = watch::Sender::new(false);
        let mut meters = Vec::new();
        let mut runs = Vec::new();
        for clients in (1..=self.clients).rev() {
            let jobs = jobs.split_off(jobs.len() - jobs.len() / usize::try_from(clients)?);
            let meter = Arc::new(Meter::start(jobs.len(), stop.clone()));
            let wire = Wire::new(0, Simulator::client(app.clone()), meter.clone());
            let limits = ProviderLayer::new(knows.with_minute(WINDOW)).learn(true);
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
        let work = Work {
            prompts: count,
            requests: count,
            reserved,
            workers: self.clients * self.workers,
            allows,
            window: WINDOW,
            others: self.simulate.others,
        };
        let services = meters.iter().map(|meter| meter.mean_service());
        let service = services.sum::<Duration>() / u32::try_from(self.clients)?;
        Ok(Outcome {
            failed: count - sum(&|meter| meter.succeeded.load(Relaxed)),
            attempts: sum(&|meter| meter.attempts.load(Relaxed)),
            rejected: sum(&|meter| meter.http_429.load(Relaxed)),
            elapsed,
            ideal: work.ideal(service, sum(&|meter| meter.tokens.load(Relaxed))),
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
