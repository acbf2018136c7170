//! From flags to what a run needs.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    cli::Args,
    console::tell,
    endpoint::Endpoint,
    jobs::{self, Job},
    out::Out,
    plan::Plan,
    simulator::{Outage, Simulator},
    work::Work,
};

/// How many prompts are made up unless told otherwise.
const REQUESTS: usize = 500;
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
    pub(crate) first: Arc<Endpoint>,
    pub(crate) fallback: Option<Arc<Endpoint>>,
    /// Those of them that are simulated, which end with this.
    _simulators: Vec<Simulator>,
}

/// Reads what there is to do, without what is done.
pub(crate) fn batch(args: &Args, plan: &Plan) -> Result<Batch> {
    let mut jobs = match &args.prompts {
        Some(path) => jobs::from_file(path, &args.model)?,
        None => {
            let count = args.requests.unwrap_or(REQUESTS);
            jobs::made_up(count, &args.model, args.max_tokens, args.input)
        }
    };
    let mut out = None;
    if let Some(path) = &args.out {
        let (file, answered) = Out::open(path)?;
        let all = jobs.len();
        jobs.retain(|job| !answered.contains(&job.custom_id));
        if jobs.len() < all {
            let done = all - jobs.len();
            let path = path.display();
            let left = jobs.len();
            tell(format_args!(
                "{done} of {all} are answered in {path}: {left} to go"
            ));
        }
        out = Some(file);
    }
    let work = Work {
        requests: jobs.len() as u64,
        reserved: jobs.iter().map(Job::tokens).fold(0, u64::saturating_add),
        workers: args.workers,
        allows: plan.allows,
        window: plan.window,
    };
    Ok(Batch { jobs, out, work })
}

/// Finds the providers of the flags, or starts simulated ones.
pub(crate) async fn place(args: &Args, plan: &Plan, work: &Work) -> Result<Place> {
    let mut simulators = Vec::new();
    let first = match &args.base_url {
        Some(url) => {
            let endpoint = Endpoint::new("--base-url", url, args.api_key.as_deref())?;
            ensure!(
                endpoint.is_local() || endpoint.has_key(),
                "no key for {url}: set OPENAI_API_KEY or give --api-key"
            );
            endpoint
        }
        None => simulated(args, plan, outage(args, work), &mut simulators).await?,
    };
    let fallback = match &args.fallback_url {
        Some(url) => Some(Endpoint::new(
            "--fallback-url",
            url,
            args.fallback_api_key.as_deref(),
        )?),
        None if args.outage => Some(simulated(args, plan, None, &mut simulators).await?),
        None => None,
    };
    reach(&first, fallback.as_ref()).await?;
    Ok(Place {
        first: Arc::new(first),
        fallback: fallback.map(|f| Arc::new(f.with_model(args.fallback_model.clone()))),
        _simulators: simulators,
    })
}

/// Whether anyone is there. Of two, one is enough.
async fn reach(first: &Endpoint, fallback: Option<&Endpoint>) -> Result<()> {
    let Some(second) = fallback else {
        return first.reach().await;
    };
    match tokio::join!(first.reach(), second.reach()) {
        (Err(error), Err(_)) => Err(error.context("neither provider answers")),
        (Err(error), Ok(())) | (Ok(()), Err(error)) => {
            tell(format_args!("warning: {error:#}"));
            Ok(())
        }
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// The outage that the flags describe, if they do.
pub(crate) fn outage(args: &Args, work: &Work) -> Option<Outage> {
    if args.outage {
        let latency = Duration::from_millis(args.latency_ms);
        let third = work.ideal(latency, work.reserved) / 3;
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
    plan: &Plan,
    outage: Option<Outage>,
    simulators: &mut Vec<Simulator>,
) -> Result<Endpoint> {
    let simulator = Simulator::start(plan.simulator(args, outage))
        .await
        .context("cannot start a simulated provider")?;
    let endpoint = Endpoint::new("the simulator", &simulator.url(), None)?;
    simulators.push(simulator);
    Ok(endpoint)
}
