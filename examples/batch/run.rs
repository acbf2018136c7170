//! The workers: each takes a request, has it answered, and takes the next.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Result, anyhow};
use reqwest::{Request, Response};
use tokio::{task::JoinSet, time::Instant};
use tower::{Service, ServiceExt};
use tower_throttle::BoxError;

use crate::{
    answer::{self, Answer, Failed},
    endpoint::Endpoint,
    jobs::Job,
    meter::Meter,
    out::Out,
    wire,
};

/// How often a request is sent whose response breaks off. The layers have returned it by then, so
/// they can't retry it.
const BODY_TRIES: usize = 5;

/// What every worker of a run shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) jobs: Mutex<std::vec::IntoIter<Job>>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) out: Option<Out>,
}

/// Runs until each request is answered or has failed, or the meter is stopped.
///
/// # Errors
///
/// If a response can't be written. Then no more requests are sent.
pub(crate) async fn run<S>(workers: usize, service: S, shared: Shared) -> Result<()>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let shared = Arc::new(shared);
    let mut tasks = JoinSet::new();
    for n in 0..workers.min(shared.meter.requests) {
        let (shared, service) = (shared.clone(), service.clone());
        tasks.spawn(async move {
            // Connections that are opened one after the other don't delay each other. So the first
            // requests arrive as evenly spaced as the later ones, and the provider sees the same
            // windows as the limiter.
            tokio::time::sleep(Duration::from_micros(500 * n.min(100) as u64)).await;
            work(service, &shared).await
        });
    }
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended.map_err(anyhow::Error::from).and_then(|ended| ended) {
            shared.meter.stop();
            result = Err(error);
        }
    }
    result
}

async fn work<S>(mut service: S, shared: &Shared) -> Result<()>
where
    S: Service<Request, Response = Response>,
    S::Error: Into<BoxError>,
{
    let meter = &shared.meter;
    while let Some(job) = shared.next() {
        let begun = Instant::now();
        let answer = tokio::select! {
            biased;
            answer = wire::one_prompt(ask(&mut service, shared, &job)) => answer,
            () = meter.quiet() => return Ok(()),
        };
        match answer {
            Ok(answer) => {
                let tokens = answer.body["usage"]["total_tokens"].as_u64();
                // The tokens of a cache hit were used by another request.
                let tokens = tokens.filter(|_| !answer.is_hit);
                if let Some(out) = &shared.out {
                    let (status, id) = (answer.status.as_u16(), &answer.request_id);
                    out.write(&job.custom_id, status, id, &answer.body)
                        .map_err(|error| anyhow!("cannot write to --out: {error}: make room"))?;
                }
                meter.succeed(begun.elapsed(), tokens.unwrap_or(0));
            }
            Err(failed) => {
                let message = format!("{} failed: {}", job.custom_id, failed.why);
                meter.fail(message, failed.hopeless);
            }
        }
    }
    Ok(())
}

/// Has one request answered, or says why it can't be.
async fn ask<S>(service: &mut S, shared: &Shared, job: &Job) -> Result<Answer, Failed>
where
    S: Service<Request, Response = Response>,
    S::Error: Into<BoxError>,
{
    let mut tries = 1;
    loop {
        let response = send(service, shared.endpoint.request(job)).await?;
        match answer::read(response, &shared.meter).await {
            Err(failed) if failed.is_passing && tries < BODY_TRIES => tries += 1,
            answer => return answer,
        }
    }
}

async fn send<S>(service: &mut S, request: Request) -> Result<Response, BoxError>
where
    S: Service<Request, Response = Response>,
    S::Error: Into<BoxError>,
{
    let ready = service.ready().await.map_err(Into::into)?;
    ready.call(request).await.map_err(Into::into)
}

// ===== impl Shared =====

impl Shared {
    fn next(&self) -> Option<Job> {
        if self.meter.is_stopped() {
            return None;
        }
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let job = jobs.next();
        let taken = u64::from(job.is_some());
        self.meter.taken.fetch_add(taken, Relaxed);
        job
    }
}
