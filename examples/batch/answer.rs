//! Reads a response to its end, within limits, and checks that it is a completion.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use anyhow::anyhow;
use reqwest::{Response, StatusCode, header::CONTENT_TYPE};
use serde_json::Value;
use tower_throttle::{BoxError, cache::Status, fallback::ServedBy};

use crate::{
    hopeless::Hopeless,
    joined::{self, Broken},
    meter::Meter,
    wire::Sent,
};

/// The longest response that is read.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A response that is worth keeping.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) request_id: String,
    pub(crate) body: Value,
    /// Whether it was asked for by another prompt.
    pub(crate) is_hit: bool,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) struct Failed {
    /// In one line.
    pub(crate) why: String,
    /// Whether a second try may go better.
    pub(crate) is_passing: bool,
    /// Whether it is no matter of this prompt alone.
    pub(crate) hopeless: Option<Hopeless>,
}

/// Reads the rest of a response.
pub(crate) async fn read(response: Response, meter: &Arc<Meter>) -> Result<Answer, Failed> {
    let status = response.status();
    let sent = response.extensions().get::<Sent>().copied();
    let is_hit = matches!(Status::of(&response), Some(Status::Hit | Status::Collapsed));
    // It comes over no wire of its own.
    let _reading = is_hit.then(|| meter.hold());
    let elsewhere = !is_hit && !ServedBy::of(&response).is_primary();
    let request_id = header(&response, "x-request-id");
    let streams = header(&response, CONTENT_TYPE.as_str()).starts_with("text/event-stream");
    let body = to_its_end(response).await?;
    if !status.is_success() {
        return Err(Failed {
            hopeless: Hopeless::of_status(status),
            ..Failed::for_good(explain(status, &body))
        });
    }
    let body = if streams {
        joined::join(&String::from_utf8_lossy(&body))?
    } else {
        serde_json::from_slice::<Value>(&body)
            .map_err(|error| Failed::for_now(format!("the answer is not JSON: {error}")))?
    };
    // Some providers say that they failed in a 200.
    if !body.is_object() || !body["error"].is_null() {
        let why = explain(StatusCode::BAD_GATEWAY, body.to_string().as_bytes());
        return Err(Failed::for_good(why));
    }
    if let Some(Sent(at)) = sent.filter(|_| !is_hit) {
        meter.serve(at.elapsed());
    }
    meter.fallbacks.fetch_add(elsewhere.into(), Relaxed);
    meter.hits.fetch_add(is_hit.into(), Relaxed);
    Ok(Answer {
        status,
        request_id,
        body,
        is_hit,
    })
}

async fn to_its_end(mut response: Response) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MOST_BYTES => {
                let most = MOST_BYTES / 1024 / 1024;
                let why = format!("the answer is longer than {most} MiB");
                return Err(Failed::for_good(why));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => {
                let why = format!("the answer broke off: {}", with_sources(&error.into()));
                return Err(Failed::for_now(why));
            }
        }
    }
}

/// The provider's own words, if it has any.
fn explain(status: StatusCode, body: &[u8]) -> String {
    let body = serde_json::from_slice(body).or_else(|_| {
        // It may be one that was to be a stream.
        match joined::join(&String::from_utf8_lossy(body)) {
            Err(Broken::Said(event)) => Ok(event),
            other => other,
        }
    });
    let body = body.unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    format!("{status} {message}").trim_end().replace('\n', " ")
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default().to_owned()
}

/// An error and what caused it, down to the cause that tells.
fn with_sources(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

// ===== impl Failed =====

impl Failed {
    fn for_good(why: String) -> Self {
        Self {
            why,
            is_passing: false,
            hopeless: None,
        }
    }

    fn for_now(why: String) -> Self {
        Self {
            is_passing: true,
            ..Self::for_good(why)
        }
    }
}

/// A stream that is not a complete response.
impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Said(event) => {
                let event = event.to_string();
                Self::for_now(explain(StatusCode::BAD_GATEWAY, event.as_bytes()))
            }
            Broken::Cut => Self::for_now("the answer broke off before its end".to_owned()),
            Broken::Unknown => Self::for_good("the stream is of a kind unknown here".to_owned()),
        }
    }
}

/// The layers have done with it what can be done.
impl From<BoxError> for Failed {
    fn from(error: BoxError) -> Self {
        Self {
            hopeless: Hopeless::of_error(&error),
            ..Self::for_good(with_sources(&anyhow!(error)))
        }
    }
}
