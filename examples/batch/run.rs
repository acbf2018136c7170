//! The workers: each takes a request, has it answered, and takes the next.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Result, anyhow};
use reqwest::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};
use tower::{Service, ServiceExt};
use tower_throttle::{BoxError, fallback::AnsweredBy};

use crate::{jobs::Job, meter::Meter, out::Out, provider::Provider};

/// How often a request is sent whose answer breaks off. The layers have handed it on by then, so they can't repeat it.
const BODY_TRIES: usize = 3;

/// What every worker of a run shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) jobs: Mutex<std::vec::IntoIter<Job>>,
    pub(crate) provider: Arc<Provider>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) out: Option<Out>,
}

/// An answer that is worth to be kept.
struct Answer {
    status: StatusCode,
    request_id: String,
    body: Value,
}

/// Runs until each request is answered or has failed, or the meter is stopped.
///
/// # Errors
///
/// When an answer can't be written. Then no more are asked for.
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
            // Connections that are opened one after the other don't delay each other. So the first requests arrive as
            // evenly spaced as the later ones, and the provider sees the same windows as the limiter.
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
            answer = ask(&mut service, shared, &job) => answer,
            () = meter.quiet() => return Ok(()),
        };
        match answer {
            Ok(answer) => {
                let tokens = answer.body["usage"]["total_tokens"].as_u64();
                if let Some(out) = &shared.out {
                    let (status, id) = (answer.status.as_u16(), &answer.request_id);
                    out.write(&job.custom_id, status, id, &answer.body)
                        .map_err(|error| anyhow!("cannot write to --out: {error}: make room"))?;
                }
                meter.succeed(begun.elapsed(), tokens.unwrap_or(0));
            }
            Err(why) => meter.fail(format!("{} failed: {why}", job.custom_id)),
        }
    }
    Ok(())
}

/// Has one request answered, or says in one line why it can't be.
async fn ask<S>(service: &mut S, shared: &Shared, job: &Job) -> Result<Answer, String>
where
    S: Service<Request, Response = Response>,
    S::Error: Into<BoxError>,
{
    let mut last = String::new();
    for _ in 0..BODY_TRIES {
        let request = shared.provider.request(job);
        let response = send(service, request)
            .await
            .map_err(|error| with_sources(&*error))?;
        // The wire has let go of it, but the answer isn't here yet.
        let _reading = shared.meter.hold();
        let status = response.status();
        let elsewhere = u64::from(!AnsweredBy::of(&response).is_primary());
        let request_id = header(&response, "x-request-id");
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => {
                last = format!("the answer broke off: {error}");
                continue;
            }
        };
        if !status.is_success() {
            return Err(explain(status, &body));
        }
        match serde_json::from_slice::<Value>(&body) {
            // Some providers say that they failed in a 200.
            Ok(body) if is_failure(&body) => {
                return Err(explain(
                    StatusCode::BAD_GATEWAY,
                    body.to_string().as_bytes(),
                ));
            }
            Ok(body) => {
                shared.meter.fallbacks.fetch_add(elsewhere, Relaxed);
                return Ok(Answer {
                    status,
                    request_id,
                    body,
                });
            }
            Err(error) => last = format!("the answer is not JSON: {error}"),
        }
    }
    Err(last)
}

async fn send<S>(service: &mut S, request: Request) -> Result<Response, BoxError>
where
    S: Service<Request, Response = Response>,
    S::Error: Into<BoxError>,
{
    let ready = service.ready().await.map_err(Into::into)?;
    ready.call(request).await.map_err(Into::into)
}

fn is_failure(body: &Value) -> bool {
    !body.is_object() || !body["error"].is_null()
}

/// The provider's own words, if it has any.
fn explain(status: StatusCode, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    format!("{status} {message}").trim_end().replace('\n', " ")
}

/// An error and what caused it, down to the cause that tells.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default().to_owned()
}

// ===== impl Shared =====

impl Shared {
    fn next(&self) -> Option<Job> {
        if self.meter.is_stopped() {
            return None;
        }
        let job = self
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next();
        self.meter
            .taken
            .fetch_add(u64::from(job.is_some()), Relaxed);
        job
    }
}
