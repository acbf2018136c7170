//! From flags to what a run needs.

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    cli::Args,
    config::Configured,
    console::tell,
    endpoint::Endpoint,
    jobs::{self, Job},
    out::Out,
    plan::Plan,
    simulator::{Outage, Simulator},
    work::Work,
};

/// How many prompts are made up by default.
const REQUESTS: usize = 500;
/// So many providers can be told apart, and the first of all.
const MOST_BACKUPS: usize = 63;

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
    /// Each for the requests that failed at the ones before it.
    pub(crate) backups: Vec<Arc<Endpoint>>,
    /// The simulated ones, which stop when this is dropped.
    _simulators: Vec<Simulator>,
}

/// Reads what there is to do, without what is done.
pub(crate) fn batch(args: &Args, plan: &Plan) -> Result<Batch> {
    let mut jobs = match &args.prompts {
        Some(path) => jobs::from_file(path, &args.model)?,
        None => {
            let count = args.requests.unwrap_or(REQUESTS);
            let model = &args.model;
            jobs::made_up(count, args.distinct, model, args.max_tokens, args.input)
        }
    };
    if args.stream {
        jobs.iter_mut().for_each(Job::stream);
    }
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
    // Of equal ones the cache lets only one through.
    let mut seen = HashSet::new();
    let to_ask = jobs
        .iter()
        .filter(|job| !args.cache || seen.insert(job.content()));
    let tokens: Vec<u64> = to_ask.map(Job::tokens).collect();
    let work = Work {
        prompts: jobs.len() as u64,
        requests: tokens.len() as u64,
        reserved: tokens.into_iter().fold(0, u64::saturating_add),
        workers: args.workers,
        allows: plan.allows,
        window: plan.window,
        others: args.simulate.as_ref().map_or(0, |it| it.others),
    };
    Ok(Batch { jobs, out, work })
}

/// Finds the providers of the file or of the flags, or starts simulated ones.
pub(crate) async fn place(
    args: &Args,
    plan: &Plan,
    work: &Work,
    configured: &[Configured],
) -> Result<Place> {
    let mut simulators = Vec::new();
    let first = match (configured, &args.base_url) {
        ([first, ..], _) => first.endpoint.clone(),
        ([], Some(url)) => {
            let endpoint = Endpoint::new("--base-url", url, args.api_key.as_deref())?;
            ensure!(
                endpoint.is_local() || endpoint.has_key(),
                "no key for {url}: set OPENAI_API_KEY or give --api-key"
            );
            endpoint
        }
        ([], None) => simulated(args, plan, outage(args, work), &mut simulators).await?,
    };
    let mut backups = backups(args)?;
    backups.extend(configured.iter().skip(1).map(|one| one.endpoint.clone()));
    if args.outage && backups.is_empty() {
        backups.push(simulated(args, plan, None, &mut simulators).await?);
    }
    reach(&first, &backups).await?;
    Ok(Place {
        first: Arc::new(first),
        backups: backups.into_iter().map(Arc::new).collect(),
        _simulators: simulators,
    })
}

/// The backups of the flags, each with its key and model.
fn backups(args: &Args) -> Result<Vec<Endpoint>> {
    let urls = &args.fallback_url;
    ensure!(
        urls.len() <= MOST_BACKUPS,
        "--fallback-url is given {} times: {MOST_BACKUPS} are enough",
        urls.len()
    );
    for (flag, given) in [
        ("--fallback-api-key", args.fallback_api_key.len()),
        ("--fallback-model", args.fallback_model.len()),
    ] {
        // One key may come from the environment, even if no backup needs it.
        ensure!(
            given <= urls.len().max(1),
            "{flag} is given {given} times, and --fallback-url {}: give each URL one at most",
            urls.len()
        );
    }
    let given = |values: &[String], n: usize| values.get(n).filter(|v| !v.is_empty()).cloned();
    let backup = |(n, url): (usize, &String)| {
        let key = given(&args.fallback_api_key, n);
        let backup = Endpoint::new("--fallback-url", url, key.as_deref())?;
        Ok(backup.with_model(given(&args.fallback_model, n)))
    };
    urls.iter().enumerate().map(backup).collect()
}

/// Whether anyone is there. Of several, one is enough.
async fn reach(first: &Endpoint, backups: &[Endpoint]) -> Result<()> {
    let all = std::iter::once(first).chain(backups);
    let reached = futures::future::join_all(all.map(Endpoint::reach)).await;
    let (reached, mut failed): (Vec<_>, Vec<_>) = reached.into_iter().partition(Result::is_ok);
    if reached.is_empty() && failed.len() > 1 {
        let error = failed.swap_remove(0);
        return error.context(match failed.len() {
            1 => "neither provider answers",
            _ => "none of the providers answers",
        });
    }
    for error in failed.into_iter().filter_map(Result::err) {
        if backups.is_empty() {
            return Err(error);
        }
        tell(format_args!("warning: {error:#}"));
    }
    Ok(())
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
