//! What is answered: completions, whole or streamed, and OpenAI's errors.

use std::{
    convert::Infallible,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{
    Json,
    body::{Body, Bytes},
    extract,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::{Dimension, InFlight, Refusal, Standing, State, headers};

/// How long the answers are, unless the request allows less.
const ANSWER_TOKENS: u64 = 12;
/// What a request may use that doesn't say.
const DEFAULT_MAX_TOKENS: u64 = 16;

/// The parts of a request that matter here.
struct Ask {
    model: String,
    prompt_tokens: u64,
    max_tokens: u64,
    stream: bool,
    include_usage: bool,
}

/// The handler of `POST /v1/chat/completions`.
pub(super) async fn complete(
    extract::State(state): extract::State<Arc<State>>,
    request_headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut response = answer(&state, &request_headers, &body).await;
    static LAST: AtomicU64 = AtomicU64::new(0);
    let id = format!("req_{:016x}", LAST.fetch_add(1, Ordering::Relaxed) + 1);
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// The handler of everything else.
pub(super) async fn no_such_url() -> Response {
    let message = "Invalid URL: this simulator knows POST /v1/chat/completions only";
    error(StatusCode::NOT_FOUND, message, "invalid_request_error", "")
}

async fn answer(state: &Arc<State>, request_headers: &HeaderMap, body: &[u8]) -> Response {
    if let Some(key) = &state.limits.key {
        let given = request_headers.get(header::AUTHORIZATION);
        if given.is_none_or(|given| given.as_bytes() != format!("Bearer {key}").as_bytes()) {
            let message = "Incorrect API key provided";
            let kind = "invalid_request_error";
            return error(StatusCode::UNAUTHORIZED, message, kind, "invalid_api_key");
        }
    }
    let ask = match Ask::parse(body) {
        Ok(ask) => ask,
        Err(message) => {
            return error(
                StatusCode::BAD_REQUEST,
                &message,
                "invalid_request_error",
                "",
            );
        }
    };
    match state.arrive(ask.prompt_tokens.saturating_add(ask.max_tokens)) {
        Ok((in_flight, standing)) => {
            let latency = state.limits.latency;
            let mut response = if ask.stream {
                streamed(&ask, latency, in_flight)
            } else {
                whole(&ask, latency, in_flight).await
            };
            headers::set(response.headers_mut(), &standing, None);
            response
        }
        Err((refusal, standing)) => refused(&refusal, &standing),
    }
}

async fn whole(ask: &Ask, latency: Duration, in_flight: InFlight) -> Response {
    tokio::time::sleep(latency).await;
    let choice = json!({
        "index": 0,
        "message": { "role": "assistant", "content": ask.words().concat() },
        "finish_reason": "stop",
    });
    let response = Json(json!({
        "id": "chatcmpl-simulated",
        "object": "chat.completion",
        "created": 0,
        "model": ask.model,
        "choices": [choice],
        "usage": ask.usage(),
    }));
    // Before the client can see the end of the answer, and send the next request.
    drop(in_flight);
    response.into_response()
}

/// Server-sent events, spread over the latency.
fn streamed(ask: &Ask, latency: Duration, in_flight: InFlight) -> Response {
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-simulated",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": ask.model,
            "choices": choices,
            "usage": usage,
        });
        format!("data: {chunk}\n\n")
    };
    let mut events: Vec<String> = ask
        .words()
        .iter()
        .map(|word| {
            let choice = json!({ "index": 0, "delta": { "content": word }, "finish_reason": null });
            chunk(json!([choice]), Value::Null)
        })
        .collect();
    let end = json!({ "index": 0, "delta": {}, "finish_reason": "stop" });
    events.push(chunk(json!([end]), Value::Null));
    if ask.include_usage {
        events.push(chunk(json!([]), ask.usage()));
    }
    events.push("data: [DONE]\n\n".to_owned());

    let pause = latency / u32::try_from(events.len()).unwrap_or(1);
    let mut in_flight = Some(in_flight);
    let events = stream::iter(events).then(move |event| {
        // Before the client can see the last event; and on a drop of the stream, if that comes first.
        let leaves = event.contains("[DONE]").then(|| in_flight.take());
        async move {
            tokio::time::sleep(pause).await;
            drop(leaves);
            Ok::<_, Infallible>(event)
        }
    });
    let content_type = [(header::CONTENT_TYPE, "text/event-stream")];
    (content_type, Body::from_stream(events)).into_response()
}

fn refused(refusal: &Refusal, standing: &Standing) -> Response {
    let (status, message, kind, code) = match refusal {
        Refusal::Limited {
            dimension,
            retry_after,
        } => {
            let (name, kind) = match dimension {
                Dimension::Requests => ("requests per window", "requests"),
                Dimension::Tokens => ("tokens per window", "tokens"),
                Dimension::Concurrent => ("concurrent requests", "requests"),
            };
            let wait = headers::go_duration(*retry_after);
            let message = format!("Rate limit reached on {name}. Please try again in {wait}.");
            let status = StatusCode::TOO_MANY_REQUESTS;
            (status, message, kind, "rate_limit_exceeded")
        }
        Refusal::TooLarge => {
            let message = "Request too large on tokens per window".to_owned();
            let status = StatusCode::TOO_MANY_REQUESTS;
            (status, message, "tokens", "rate_limit_exceeded")
        }
        Refusal::Down => {
            let message = "The server is down for maintenance".to_owned();
            let status = StatusCode::SERVICE_UNAVAILABLE;
            (status, message, "server_error", "")
        }
    };
    let mut response = error(status, &message, kind, code);
    headers::set(response.headers_mut(), standing, Some(refusal));
    response
}

/// An error in OpenAI's form. An empty code is written as null.
fn error(status: StatusCode, message: &str, kind: &str, code: &str) -> Response {
    let code = (!code.is_empty()).then_some(code);
    let body =
        json!({ "error": { "message": message, "type": kind, "param": null, "code": code } });
    (status, Json(body)).into_response()
}

// ===== impl Ask =====

impl Ask {
    fn parse(body: &[u8]) -> Result<Self, String> {
        let body: Value = serde_json::from_slice(body).map_err(|error| {
            format!("We could not parse the JSON body of your request: {error}")
        })?;
        let model = body["model"]
            .as_str()
            .ok_or("you must provide a model parameter")?;
        let messages = body["messages"]
            .as_array()
            .filter(|messages| !messages.is_empty())
            .ok_or("Missing required parameter: 'messages'")?;
        let contents = messages.iter().filter_map(|m| m["content"].as_str());
        let characters: usize = contents.map(|content| content.chars().count()).sum();
        let max_tokens = body["max_completion_tokens"]
            .as_u64()
            .or(body["max_tokens"].as_u64());
        Ok(Self {
            model: model.to_owned(),
            prompt_tokens: characters.div_ceil(4) as u64,
            max_tokens: max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
            stream: body["stream"].as_bool().unwrap_or(false),
            include_usage: body["stream_options"]["include_usage"]
                .as_bool()
                .unwrap_or(false),
        })
    }

    fn words(&self) -> Vec<String> {
        let count = self.max_tokens.min(ANSWER_TOKENS);
        (1..=count).map(|n| format!("word{n} ")).collect()
    }

    fn usage(&self) -> Value {
        let completion = self.max_tokens.min(ANSWER_TOKENS);
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        })
    }
}
