//! What is answered: completions or messages, whole or streamed, and errors.

mod ask;
mod chat;
mod error;
mod messages;
mod stream;

use std::{
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::{
    Json,
    body::Bytes,
    extract,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde_json::Value;

use self::{ask::Ask, error::Failure};
use super::{Arrival, RateHeaders, State, Style, Tokens, headers};

/// The language of a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Chat,
    Messages,
}

/// The handler of `POST /v1/chat/completions`.
pub(super) async fn chat(
    extract::State(state): extract::State<Arc<State>>,
    request_headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond(Api::Chat, &state, &request_headers, &body).await
}

/// The handler of `POST /v1/messages`.
pub(super) async fn messages(
    extract::State(state): extract::State<Arc<State>>,
    request_headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond(Api::Messages, &state, &request_headers, &body).await
}

/// The handler of everything else.
pub(super) async fn no_such_url(extract::State(state): extract::State<Arc<State>>) -> Response {
    let id = next_id();
    let response = Failure::no_such_url().response(state.limits.style, &id);
    with_id(response, state.limits.style, &id)
}

async fn respond(
    api: Api,
    state: &Arc<State>,
    request_headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let id = next_id();
    let style = state.limits.style;
    let response = match admit(api, state, request_headers, body) {
        Ok(ask) => answer(api, &ask, state, &id).await,
        Err(failure) => failure.response(style, &id),
    };
    with_id(response, style, &id)
}

/// Reads a request of someone who has the key.
fn admit(
    api: Api,
    state: &State,
    request_headers: &HeaderMap,
    body: &[u8],
) -> Result<Ask, Failure> {
    if let Some(key) = &state.limits.key {
        let given = |name| request_headers.get(name).map(|value| value.as_bytes());
        let bearer = format!("Bearer {key}");
        let has_key = given("authorization") == Some(bearer.as_bytes())
            || given("x-api-key") == Some(key.as_bytes());
        if !has_key {
            return Err(Failure::no_key());
        }
    }
    Ask::parse(api, body).map_err(|message| Failure::nonsense(&message))
}

async fn answer(api: Api, ask: &Ask, state: &Arc<State>, id: &str) -> Response {
    let style = state.limits.style;
    let Arrival { standing, result } = state.arrive(ask.reserved);
    // Before the answer takes its time: dates are counted from now.
    let mut told = HeaderMap::new();
    headers::set(&mut told, style, &standing, result.as_ref().err());
    let mut response = match result {
        Ok((in_flight, used)) if ask.stream => {
            let events = match api {
                Api::Chat => chat::events(ask, used),
                Api::Messages => messages::events(ask, used),
            };
            stream::spread(events, state.limits.latency, in_flight)
        }
        Ok((mut in_flight, used)) => {
            tokio::time::sleep(state.limits.latency).await;
            in_flight.has_written(used.output);
            // Before the client can see the end of the answer, and send the next request.
            drop(in_flight);
            whole(api, ask, used)
        }
        Err(refusal) => Failure::refused(&refusal, style).response(style, id),
    };
    response.headers_mut().extend(told);
    response
}

fn whole(api: Api, ask: &Ask, used: Tokens) -> Response {
    let body: Value = match api {
        Api::Chat => chat::whole(ask, used),
        Api::Messages => messages::whole(ask, used),
    };
    Json(body).into_response()
}

fn next_id() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    format!("req_{:016x}", LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

fn with_id(mut response: Response, style: Style, id: &str) -> Response {
    headers::put(response.headers_mut(), "x-request-id", id);
    if style.headers == RateHeaders::Anthropic {
        headers::put(response.headers_mut(), "request-id", id);
    }
    response
}
