//! From flags to what a run needs.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    cli::Args,
    jobs::{self, Job},
    out::Out,
    provider::Provider,
    report::Work,
    simulator::{self, Outage, Simulator},
    stack::Limits,
};

/// How many prompts are made up unless told otherwise.
const REQUESTS: usize = 500;
/// What a simulated provider allows unless told otherwise: over in a quarter of a minute, and still hard on the careless.
const DEMO: Limits = Limits {
    requests: Some(100),
    tokens: None,
    concurrent: Some(50),
    window: Duration::from_secs(3),
};

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) jobs: Vec<Job>,
    pub(crate) out: Option<Out>,
    pub(crate) work: Work,
}

/// Where it is to be done.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) first: Arc<Provider>,
    pub(crate) fallback: Option<Arc<Provider>>,
    /// Those of them that are simulated, which end with this.
    _simulators: Vec<Simulator>,
}

/// The limits of the flags, or of the simulator where it is free to choose.
pub(crate) fn limits(args: &Args) -> Limits {
    let none = args.rpm.is_none() && args.tpm.is_none() && args.concurrent.is_none();
    if none && args.base_url.is_none() && !args.serve {
        return DEMO;
    }
    Limits {
        requests: args.rpm,
        tokens: args.tpm,
        concurrent: args.concurrent,
        window: args.window,
    }
}

/// Reads what there is to do, without what is done.
pub(crate) fn batch(args: &Args) -> Result<Batch> {
    let mut jobs = match &args.prompts {
        Some(path) => jobs::from_file(path, &args.model)?,
        None => jobs::made_up(args.requests.unwrap_or(REQUESTS), &args.model),
    };
    let mut out = None;
    if let Some(path) = &args.out {
        let (file, answered) = Out::open(path)?;
        let all = jobs.len();
        jobs.retain(|job| !answered.contains(&job.custom_id));
        if jobs.len() < all {
            let done = all - jobs.len();
            let path = path.display();
            eprintln!(
                "{done} of {all} are answered in {path}: {} to go",
                jobs.len()
            );
        }
        out = Some(file);
    }
    let work = Work {
        requests: jobs.len() as u64,
        tokens: jobs.iter().map(Job::tokens).sum(),
        workers: args.workers,
        limits: limits(args),
    };
    Ok(Batch { jobs, out, work })
}

/// Finds the providers of the flags, or starts simulated ones.
pub(crate) async fn place(args: &Args, work: &Work) -> Result<Place> {
    let mut simulators = Vec::new();
    let first = match &args.base_url {
        Some(url) => {
            let provider = Provider::new("--base-url", url, args.api_key.as_deref())?;
            ensure!(
                provider.is_local() || provider.has_key(),
                "no key for {url}: set OPENAI_API_KEY or give --api-key"
            );
            provider
        }
        None => simulated(args, outage(args, work), &mut simulators).await?,
    };
    let fallback = match &args.fallback_url {
        Some(url) => Some(Provider::new(
            "--fallback-url",
            url,
            args.fallback_api_key.as_deref(),
        )?),
        None if args.outage => Some(simulated(args, None, &mut simulators).await?),
        None => None,
    };
    if fallback.is_none() {
        first.reach().await?;
    }
    Ok(Place {
        first: Arc::new(first),
        fallback: fallback.map(|f| Arc::new(f.with_model(args.fallback_model.clone()))),
        _simulators: simulators,
    })
}

/// The simulator that the flags describe.
pub(crate) fn simulator(args: &Args, outage: Option<Outage>) -> simulator::Limits {
    let limits = limits(args);
    simulator::Limits {
        requests: limits.requests,
        tokens: limits.tokens,
        concurrent: limits.concurrent.map(|most| most as usize),
        window: limits.window,
        latency: Duration::from_millis(args.latency_ms),
        outage,
        ..simulator::Limits::default()
    }
}

/// The outage that the flags describe, if they do.
pub(crate) fn outage(args: &Args, work: &Work) -> Option<Outage> {
    if args.outage {
        let third = work.ideal(Duration::from_millis(args.latency_ms)) / 3;
        return Some(Outage {
            from: third,
            lasts: third,
        });
    }
    let forever = Duration::from_secs(u64::from(u32::MAX));
    (args.down_from.is_some() || args.down_for.is_some()).then(|| Outage {
        from: args.down_from.unwrap_or_default(),
        lasts: args.down_for.unwrap_or(forever),
    })
}

async fn simulated(
    args: &Args,
    outage: Option<Outage>,
    simulators: &mut Vec<Simulator>,
) -> Result<Provider> {
    let simulator = Simulator::start(simulator(args, outage))
        .await
        .context("cannot start a simulated provider")?;
    let provider = Provider::new("the simulator", &simulator.url(), None)?;
    simulators.push(simulator);
    Ok(provider)
}
