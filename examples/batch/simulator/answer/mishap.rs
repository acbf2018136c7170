//! What clients see when something goes wrong.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    super::{Admitted, Line, Mishap, State, headers},
    Api,
    ask::Ask,
    error::Failure,
    pause,
    stream::{self, Ending, Event},
};

/// How long a 503 asks to wait. In whole seconds that is one.
const WAIT: Duration = Duration::from_millis(100);

/// Responds to a request that a mishap befalls.
pub(super) async fn respond(
    api: Api,
    ask: &Ask,
    admitted: Admitted,
    state: &Arc<State>,
    line: &Line,
    id: &str,
) -> Response {
    let style = state.limits.style;
    // What keeps the connection keeps the request in flight; the rest drops that with `admitted`.
    match admitted.mishap {
        None | Some(Mishap::ServerError) => Failure::broken().response(style, id),
        Some(Mishap::Unavailable) => {
            let mut response = Failure::busy().response(style, id);
            headers::set_wait(response.headers_mut(), style, WAIT);
            response
        }
        Some(Mishap::Overloaded) => {
            let failure = Failure::overloaded();
            (failure.status(), Json(failure.in_anthropics_form(id))).into_response()
        }
        Some(Mishap::ResetBeforeHead) => {
            line.cut();
            // It won't get through.
            Failure::broken().response(style, id)
        }
        Some(Mishap::StallBeforeHead) => {
            state.gone().await;
            Failure::broken().response(style, id)
        }
        Some(Mishap::ResetAfterHead) => opened(api, ask, admitted, Ending::Reset(line.clone())),
        Some(Mishap::StallAfterHead) => opened(api, ask, admitted, Ending::Never(state.clone())),
        Some(Mishap::ErrorStream) => {
            let event = match api {
                Api::Chat => format!("data: {}\n\n", Failure::broken().in_openais_form()),
                Api::Messages => {
                    let error = Failure::overloaded().in_anthropics_form(id);
                    format!("event: error\ndata: {error}\n\n")
                }
            };
            let events = vec![Event::new(event, 0)];
            stream::spread(events, Duration::ZERO, admitted.in_flight, Ending::Error)
        }
        Some(Mishap::CutStream) => cut(api, ask, admitted, state, line),
    }
}

/// A response that ends before its content.
fn opened(api: Api, ask: &Ask, admitted: Admitted, ending: Ending) -> Response {
    let Admitted {
        in_flight, used, ..
    } = admitted;
    if ask.stream {
        let mut events = api.events(ask, used);
        let without_content = events.iter().take_while(|event| event.written() == 0);
        events.truncate(without_content.count());
        return stream::spread(events, Duration::ZERO, in_flight, ending);
    }
    let mut text = api.whole(ask, used).to_string();
    text.truncate(1);
    let events = vec![Event::new(text, 0)];
    let mut response = stream::spread(events, Duration::ZERO, in_flight, ending);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A stream that breaks off after half of the content.
fn cut(api: Api, ask: &Ask, admitted: Admitted, state: &State, line: &Line) -> Response {
    let Admitted {
        in_flight, used, ..
    } = admitted;
    let mut events = api.events(ask, used);
    let pause = pause(&events, state.limits.latency);
    let half = used.output.div_ceil(2);
    let up_to_half = events.iter().position(|event| event.written() >= half);
    events.truncate(up_to_half.map_or(events.len(), |place| place + 1));
    stream::spread(events, pause, in_flight, Ending::Reset(line.clone()))
}
