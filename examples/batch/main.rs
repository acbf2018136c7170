//! Send a file of prompts through a limited API, as fast as is allowed, and lose none.
//!
//! ```text
//! cargo run --release --example batch                            what difference it makes, on a simulated provider
//! cargo run --release --example batch -- \
//!     --base-url https://api.openai.com/v1 --rpm 500 --tpm 200000 --concurrent 50 \
//!     --prompts prompts.jsonl --out answers.jsonl                a real one; run it again to go on where it ended
//! cargo run --release --example batch -- --help                  all the rest
//! ```
//!
//! The layers are in `stack.rs`. What is around them: `jobs.rs` reads the prompts, `run.rs` has the workers, `out.rs`
//! keeps the answers, `provider.rs` knows the URLs and keys, `wire.rs` and `meter.rs` count, `progress.rs` and
//! `report.rs` show, and `simulator/` is a provider that keeps its limits to the letter.

mod cli;
mod jobs;
mod meter;
mod naive;
mod out;
mod progress;
mod provider;
mod report;
mod run;
mod setup;
mod simulator;
mod stack;
mod wire;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result};
use tokio::sync::watch;

use crate::{
    cli::Args,
    meter::Meter,
    progress::Progress,
    provider::Provider,
    report::{Report, Work},
    run::Shared,
    setup::Batch,
    simulator::Simulator,
    stack::{Answers, Limits},
    wire::Wire,
};

const NAIVE: &str = "each sent once";
const HASTY: &str = "3 tries at once";
const STACK: &str = "tower-throttle";

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match cli::parse() {
        Ok(args) if args.serve => serve(&args).await,
        Ok(args) => go(&args).await,
        Err(line) => Err(anyhow::Error::msg(line)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", format!("{error:#}").replace('\n', " "));
        ExitCode::from(2)
    })
}

/// Runs what the flags ask for, and reports.
async fn go(args: &Args) -> Result<ExitCode> {
    let stop = watch::Sender::new(false);
    tokio::spawn(stop_on_ctrl_c(stop.clone()));
    let mut reports = Vec::new();
    if cli::is_demo() {
        for name in [NAIVE, HASTY] {
            reports.push(one(args, name, &stop).await?.1);
        }
    }
    let (work, report) = one(args, STACK, &stop).await?;
    let all_well = report.failed == 0;
    reports.push(report);

    let table = report::table(&work, &reports);
    if args.json {
        eprint!("{table}");
        say(&reports[reports.len() - 1].json())?;
    } else {
        say(&table)?;
    }
    Ok(ExitCode::from(u8::from(!all_well)))
}

/// A line for whoever reads stdout. Nobody may: then there is nobody to tell.
fn say(line: &str) -> Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// One run from its beginning to its report.
async fn one(
    args: &Args,
    name: &'static str,
    stop: &watch::Sender<bool>,
) -> Result<(Work, Report)> {
    let Batch { jobs, out, work } = setup::batch(args)?;
    let place = setup::place(args, &work).await?;
    let meter = Arc::new(Meter::start(jobs.len(), stop.clone()));
    let progress = Progress::start(name, meter.clone(), work, name == STACK);
    let shared = Shared {
        jobs: Mutex::new(jobs.into_iter()),
        provider: place.first.clone(),
        meter: meter.clone(),
        out,
    };
    let workers = args.workers as usize;
    let wire = Wire::new(place.first.client(args.timeout)?, meter.clone());
    let limits = if args.no_limits {
        Limits::default()
    } else {
        work.limits
    };
    let result = match (name, &place.fallback) {
        (NAIVE, _) => run::run(workers, naive::once(wire), shared).await,
        (HASTY, _) => run::run(workers, naive::three_times(wire), shared).await,
        (_, None) => run::run(workers, stack::client(limits, wire, false), shared).await,
        (_, Some(second)) => {
            let (first, second) = (place.first.clone(), second.clone());
            let client = two_providers(args, limits, wire, first, second, meter.clone())?;
            run::run(workers, client, shared).await
        }
    };
    let report = Report::of(name, &meter, &work);
    progress.end();
    result.map(|()| (work, report))
}

/// The client that turns to the fallback for what the first provider fails to answer.
fn two_providers(
    args: &Args,
    limits: Limits,
    wire: Wire,
    first: Arc<Provider>,
    second: Arc<Provider>,
    meter: Arc<Meter>,
) -> Result<impl Answers + use<>> {
    let second_wire = Wire::new(second.client(args.timeout)?, meter);
    Ok(stack::with_fallback(
        stack::client(limits, wire, true),
        stack::client(limits, second_wire, false),
        move |request| second.redirect(&first, request),
    ))
}

/// Runs a simulated provider until Ctrl-C.
async fn serve(args: &Args) -> Result<ExitCode> {
    let work = setup::batch(args)?.work;
    let outage = setup::outage(args, &work);
    let simulator = Simulator::start_on(args.port, setup::simulator(args, outage))
        .await
        .with_context(|| format!("cannot listen on port {}: choose another", args.port))?;
    say(simulator.url().as_ref())?;
    tokio::signal::ctrl_c().await?;
    eprintln!("{:?}", simulator.counters());
    Ok(ExitCode::SUCCESS)
}

/// The first Ctrl-C lets what is on the wire arrive. The second ends the process.
async fn stop_on_ctrl_c(stop: watch::Sender<bool>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        eprintln!("stopping: what was sent is waited for; once more to stop at once");
        stop.send_replace(true);
    }
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(130);
    }
}
