//! The responses: completions or messages, whole or streamed, and errors.

mod ask;
mod chat;
mod error;
mod messages;
mod mishap;
mod stream;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json,
    body::Bytes,
    extract,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde_json::Value;

pub(super) use self::ask::Ask;
use self::{
    error::Failure,
    stream::{Ending, Event},
};
use super::{Admitted, Arrival, Line, RateHeaders, State, Style, Tokens, headers};

/// The API of a request and its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Chat,
    Messages,
}

/// The handler of `POST /v1/chat/completions`.
pub(super) async fn chat(
    extract::State(state): extract::State<Arc<State>>,
    extract::ConnectInfo(line): extract::ConnectInfo<Line>,
    request_headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond(Api::Chat, &state, &line, &request_headers, &body).await
}

/// The handler of `POST /v1/messages`.
pub(super) async fn messages(
    extract::State(state): extract::State<Arc<State>>,
    extract::ConnectInfo(line): extract::ConnectInfo<Line>,
    request_headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond(Api::Messages, &state, &line, &request_headers, &body).await
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
    line: &Line,
    request_headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let id = next_id();
    let style = state.limits.style;
    let response = match admit(api, state, request_headers, body) {
        Ok(ask) => answer(api, &ask, state, line, &id).await,
        Err(failure) => failure.response(style, &id),
    };
    with_id(response, style, &id)
}

/// Checks the key and reads the request.
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

async fn answer(api: Api, ask: &Ask, state: &Arc<State>, line: &Line, id: &str) -> Response {
    let style = state.limits.style;
    let Arrival { standing, result } = state.arrive(ask);
    // Before the latency of the response: dates are counted from now.
    let mut told = HeaderMap::new();
    headers::set(&mut told, style, &standing, result.as_ref().err());
    let mut response = match result {
        Ok(admitted) if admitted.mishap.is_some() => {
            mishap::respond(api, ask, admitted, state, line, id).await
        }
        Ok(admitted) => complete(api, ask, admitted, state).await,
        Err(refusal) => Failure::refused(&refusal, style).response(style, id),
    };
    response.headers_mut().extend(told);
    response
}

async fn complete(api: Api, ask: &Ask, admitted: Admitted, state: &State) -> Response {
    let Admitted {
        mut in_flight,
        used,
        ..
    } = admitted;
    let latency = state.limits.latency;
    if ask.stream {
        let events = api.events(ask, used);
        let pause = pause(&events, latency);
        return stream::spread(events, pause, in_flight, Ending::Answer(ask.prompt));
    }
    tokio::time::sleep(latency).await;
    in_flight.has_written(used.output);
    // Before the client can see the end of the response, and send the next request.
    in_flight.answers(ask.prompt);
    Json(api.whole(ask, used)).into_response()
}

/// What there is between events that are spread over the latency.
fn pause(events: &[Event], latency: Duration) -> Duration {
    latency / u32::try_from(events.len()).unwrap_or(u32::MAX).max(1)
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

// ===== impl Api =====

impl Api {
    fn events(self, ask: &Ask, used: Tokens) -> Vec<Event> {
        match self {
            Self::Chat => chat::events(ask, used),
            Self::Messages => messages::events(ask, used),
        }
    }

    fn whole(self, ask: &Ask, used: Tokens) -> Value {
        match self {
            Self::Chat => chat::whole(ask, used),
            Self::Messages => messages::whole(ask, used),
        }
    }
}
