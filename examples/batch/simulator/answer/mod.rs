//! The responses: completions or messages, whole or streamed, embeddings, and errors.

mod ask;
mod chat;
mod embeddings;
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
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use serde_json::Value;

pub(super) use self::ask::Ask;
use self::{
    error::Failure,
    stream::{Ending, Event},
};
use super::{InFlight, Line, RateHeaders, State, Tokens, headers};

/// The API of a request and its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Chat,
    Messages,
    Embeddings,
}

/// The handler of all requests.
pub(super) async fn handle(
    extract::State(state): extract::State<Arc<State>>,
    extract::ConnectInfo(line): extract::ConnectInfo<Line>,
    uri: Uri,
    request_headers: HeaderMap,
    body: Bytes,
) -> Response {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let id = format!("req_{:016x}", LAST.fetch_add(1, Ordering::Relaxed) + 1);
    let style = state.limits.style;
    let mut response = match read(&state, uri.path(), &request_headers, &body) {
        Ok(ask) => respond(&ask, &state, &line, &id).await,
        Err(failure) => failure.response(style, &id),
    };
    headers::put(response.headers_mut(), "x-request-id", &id);
    headers::set_date(response.headers_mut());
    if style.headers == RateHeaders::Anthropic {
        headers::put(response.headers_mut(), "request-id", &id);
    }
    response
}

/// Checks the key and reads the request.
fn read(
    state: &State,
    path: &str,
    request_headers: &HeaderMap,
    body: &[u8],
) -> Result<Ask, Failure> {
    let api = match path {
        "/v1/chat/completions" => Api::Chat,
        "/v1/messages" => Api::Messages,
        "/v1/embeddings" => Api::Embeddings,
        _ => return Err(Failure::no_such_url()),
    };
    if let Some(key) = &state.limits.key {
        let given = |name| request_headers.get(name).map(|value| value.as_bytes());
        let bearer = format!("Bearer {key}");
        let has_key = given("authorization") == Some(bearer.as_bytes())
            || given("x-api-key") == Some(key.as_bytes());
        if !has_key {
            return Err(Failure::no_key());
        }
    }
    Ask::parse(api, body).map_err(Failure::nonsense)
}

async fn respond(ask: &Ask, state: &Arc<State>, line: &Line, id: &str) -> Response {
    let style = state.limits.style;
    let (standing, result) = state.arrive(ask);
    // Before the latency of the response: dates are counted from now.
    let mut told = HeaderMap::new();
    headers::set(&mut told, style, &standing, result.as_ref().err());
    let mut response = match result {
        Ok(in_flight) => match in_flight.mishap {
            Some(mishap) => mishap::respond(mishap, ask, in_flight, line, id).await,
            None => complete(ask, in_flight).await,
        },
        Err(refusal) => Failure::refused(&refusal, style).response(style, id),
    };
    response.headers_mut().extend(told);
    response
}

async fn complete(ask: &Ask, mut in_flight: InFlight) -> Response {
    let (latency, used) = (in_flight.latency, in_flight.total);
    if ask.stream {
        let events = ask.events(used);
        let pause = pause(&events, latency);
        return stream::spread(events, pause, in_flight, Ending::Answer);
    }
    tokio::time::sleep(latency).await;
    in_flight.written = used.output;
    // Before the client can see the end of the response, and send the next request.
    in_flight.answered();
    Json(ask.whole(used)).into_response()
}

/// What there is between events that are spread over the latency.
fn pause(events: &[Event], latency: Duration) -> Duration {
    latency / u32::try_from(events.len()).unwrap_or(u32::MAX).max(1)
}

// ===== impl Ask =====

impl Ask {
    fn events(&self, used: Tokens) -> Vec<Event> {
        match self.api {
            Api::Chat => chat::events(self, used),
            Api::Messages => messages::events(self, used),
            // No request for embeddings is one for a stream.
            Api::Embeddings => Vec::new(),
        }
    }

    fn whole(&self, used: Tokens) -> Value {
        match self.api {
            Api::Chat => chat::whole(self, used),
            Api::Messages => messages::whole(self, used),
            Api::Embeddings => embeddings::whole(self, used),
        }
    }
}
