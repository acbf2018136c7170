//! Send a file of prompts through a limited API, as fast as is allowed, and lose none.
//!
//! ```text
//! cargo run --release --example batch                            what difference it makes, on a simulated provider
//! cargo run --release --example batch -- \
//!     --base-url https://api.openai.com/v1 --rpm 500 --tpm 200000 --concurrent 50 \
//!     --prompts prompts.jsonl --out responses.jsonl                a real one; run it again to resume
//! cargo run --release --example batch -- \
//!     --provider openai-tier-1 --requests 2000               a simulated one, with the limits of a real one
//! cargo run --release --example batch -- \
//!     --chaos --stream --timeout 5                           one that has a bad day, and --outage for one that goes down
//! cargo run --release --example batch -- \
//!     --config examples/batch/config.toml --prompts prompts.jsonl      several at once
//! cargo run --release --example batch -- \
//!     --provider openai-tier-1 --shared redis://localhost --shared-name openai      with the limits of all such jobs
//! cargo run --release --example batch -- --matrix                how close to the ideal runs come
//! cargo run --release --example batch -- --help                  all the rest
//! ```
//!
//! The layers are in `stack.rs`. What is around them: `cli.rs`, `config.rs` and `plan.rs` say which
//! limits there are, `jobs.rs` reads the prompts, `run.rs` has the workers, `answer.rs` and
//! `joined.rs` read what they get, `out.rs` keeps it, `hopeless.rs` knows when to give up,
//! `endpoint.rs` knows the URLs and keys, `wire.rs` and `meter.rs` count, `progress.rs`,
//! `gauges.rs` and `report.rs` show, `store.rs` shares limits with other jobs, `work.rs` says what
//! was possible, and `simulator/` is a provider that keeps its limits to the letter.

mod answer;
mod cli;
mod config;
mod console;
mod endpoint;
mod gauges;
mod hopeless;
mod jobs;
mod joined;
mod matrix;
mod meter;
mod naive;
mod out;
mod plan;
mod progress;
mod report;
mod run;
mod setup;
mod simulate;
mod simulator;
mod stack;
mod store;
mod values;
mod wire;
mod work;

use std::{
    collections::HashMap,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result};
use tokio::sync::watch;
use tower_throttle::{Circuit, router::Target};

use crate::{
    cli::Args,
    config::Configured,
    console::{say, tell},
    endpoint::Endpoint,
    gauges::Gauges,
    meter::Meter,
    plan::Plan,
    progress::Progress,
    report::Report,
    run::Shared,
    setup::{Batch, Place},
    simulator::Simulator,
    stack::Answers,
    store::Store,
    wire::Wire,
    work::Work,
};

const NAIVE: &str = "each sent once";
const HASTY: &str = "3 tries at once";
const STACK: &str = "tower-throttle";

fn main() -> ExitCode {
    // Fails only if there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match cli::parse() {
        // Its runs have a clock each.
        Ok(args) if args.matrix.is_some() => matrix::print(&args).map(|()| ExitCode::SUCCESS),
        Ok(args) => go(&args),
        Err(line) => Err(anyhow::Error::msg(line)),
    };
    result.unwrap_or_else(|error| {
        tell(format!("error: {error:#}").replace('\n', " "));
        ExitCode::from(2)
    })
}

/// Runs what the flags ask for, and reports.
#[tokio::main]
async fn go(args: &Args) -> Result<ExitCode> {
    if args.serve {
        return serve(args).await;
    }
    let stop = watch::Sender::new(false);
    tokio::spawn(stop_on_ctrl_c(stop.clone()));
    let mut reports = Vec::new();
    if cli::is_demo() {
        for name in [NAIVE, HASTY] {
            reports.push(one(args, name, &stop).await?.report);
        }
    }
    let Run {
        work,
        report,
        ended,
    } = one(args, STACK, &stop).await?;
    let all_well = report.failed == 0;
    reports.push(report);

    let table = report::table(&work, &reports);
    if args.json {
        tell(table);
        say(&serde_json::json!(reports[reports.len() - 1]).to_string())?;
    } else {
        say(&table)?;
    }
    // What is done is reported, even if the responses could not be written.
    ended?;
    Ok(ExitCode::from(u8::from(!all_well)))
}

/// A run that has ended, and whether by itself.
struct Run {
    work: Work,
    report: Report,
    ended: Result<()>,
}

/// One run from its beginning to its report.
async fn one(args: &Args, name: &'static str, stop: &watch::Sender<bool>) -> Result<Run> {
    let file = args.config.as_deref().map(config::read).transpose()?;
    let store = store(args, file.as_ref()).await?;
    let configured = file.map_or_else(Vec::new, |file| file.providers);
    let plan = match &*configured {
        [] => Plan::of(args),
        all => Plan::of_all(all),
    };
    let Batch { jobs, out, work } = setup::batch(args, &plan)?;
    let place = setup::place(args, &plan, &work, &configured).await?;
    let meter = Arc::new(Meter::start(jobs.len(), stop.clone()));
    let is_ours = name == STACK;
    let limits = plan.limits(args, store.as_ref(), 0);
    let limits = limits.filter(|_| is_ours && configured.is_empty());
    let limiter = limits.as_ref().map(|layer| layer.limiter().clone());
    let circuit = Circuit::new();
    let gauges = Gauges {
        limiter,
        circuit: circuit.clone(),
    };
    let progress = Progress::start(name, meter.clone(), work, gauges, is_ours);
    let shared = Shared {
        jobs: Mutex::new(jobs.into_iter()),
        endpoint: place.first.clone(),
        meter: meter.clone(),
        out,
    };
    let workers = args.workers as usize;
    let wire = Wire::new(0, place.first.client()?, meter.clone());
    let ended = match name {
        NAIVE => run::run(workers, wire, shared).await,
        HASTY => run::run(workers, naive::three_times(wire), shared).await,
        _ => {
            let client = if configured.is_empty() {
                let has_backup = !place.backups.is_empty();
                let first = stack::client(limits, circuit.clone(), args.timeout, wire, has_backup);
                let store = store.as_ref();
                with_backups(args, &plan, store, &place, first, circuit, &meter)?
            } else {
                routed(args, &configured, store.as_ref(), &place.first, &meter)?
            };
            if args.cache {
                run::run(workers, stack::with_cache(client), shared).await
            } else {
                run::run(workers, client, shared).await
            }
        }
    };
    if let Some(store) = store {
        store.leave().await;
    }
    let report = Report::of(name, &meter, &work);
    progress.end();
    if let Some(why) = meter.stopped_because() {
        tell(format_args!("stopped: {why}"));
    }
    Ok(Run {
        work,
        report,
        ended,
    })
}

/// The store of the flags or of the file.
async fn store(args: &Args, file: Option<&config::File>) -> Result<Option<Store>> {
    let given = args.shared.as_deref().zip(args.shared_name.as_deref());
    let given = given.map(|(url, name)| ("--shared", url, name));
    let in_file = file.and_then(config::File::shared);
    let in_file = in_file.map(|(url, name)| ("redis in --config", url, name));
    Ok(match given.or(in_file) {
        Some((given, url, name)) => Some(Store::connect(given, url, name).await?),
        None => None,
    })
}

/// The client that sends the requests that fail to one backup after the other, if there are any.
fn with_backups(
    args: &Args,
    plan: &Plan,
    store: Option<&Store>,
    place: &Place,
    first: impl Answers,
    circuit: Circuit,
    meter: &Arc<Meter>,
) -> Result<stack::Boxed> {
    let mut client = stack::Boxed::new(first);
    let mut circuit = Some(circuit);
    for (n, backup) in (1..).zip(&place.backups) {
        let wire = Wire::new(n, backup.client()?, meter.clone());
        // The last backup has no other behind it.
        let has_backup = usize::from(n) < place.backups.len();
        let limits = plan.limits(args, store, n);
        let answers = stack::client(limits, Circuit::new(), args.timeout, wire, has_backup);
        let (backup, first) = (backup.clone(), place.first.clone());
        let redirect = move |request| backup.redirect(&first, request);
        client = stack::with_fallback(client, circuit.take(), answers, redirect);
    }
    Ok(client)
}

/// The client that sends each request to the provider that can respond soonest.
fn routed(
    args: &Args,
    providers: &[Configured],
    store: Option<&Store>,
    first: &Arc<Endpoint>,
    meter: &Arc<Meter>,
) -> Result<stack::Boxed> {
    let mut wires = HashMap::new();
    let mut targets = Vec::new();
    for (n, provider) in (0..).zip(providers) {
        let Configured { name, endpoint, .. } = provider.clone();
        let wire = Wire::new(n, endpoint.client()?, meter.clone());
        wires.insert(name.clone(), wire);
        let first = first.clone();
        let redirect = move |request| endpoint.redirect(&first, request);
        let mut limiter = provider.limiter();
        if let Some(store) = store {
            limiter = store.share_limiter(limiter, &name);
        }
        let target = Target::new(name, limiter).circuit(stack::circuit());
        targets.push(target.map_request(redirect));
    }
    Ok(stack::routed(targets, &wires, args.timeout))
}

/// Runs a simulated provider until Ctrl-C.
async fn serve(args: &Args) -> Result<ExitCode> {
    let plan = Plan::of(args);
    let work = setup::batch(args, &plan)?.work;
    let outage = setup::outage(args, &work);
    let simulator = Simulator::start_on(args.port, plan.simulator(args, outage))
        .await
        .with_context(|| format!("cannot listen on port {}: choose another", args.port))?;
    say(simulator.url().as_ref())?;
    tokio::signal::ctrl_c().await?;
    tell(format_args!("{:?}", simulator.counters()));
    Ok(ExitCode::SUCCESS)
}

/// The first Ctrl-C lets what is on the wire arrive. The second ends the process.
async fn stop_on_ctrl_c(stop: watch::Sender<bool>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        tell("stopping: what was sent is waited for; once more to stop at once");
        stop.send_replace(true);
    }
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(130);
    }
}
