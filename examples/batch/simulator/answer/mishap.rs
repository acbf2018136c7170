//! What clients see when something goes wrong.

use std::time::Duration;

use axum::{
    http::{HeaderValue, header},
    response::Response,
};

use super::{
    super::{InFlight, Line, Mishap, Style, headers},
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
    mishap: Mishap,
    ask: &Ask,
    in_flight: InFlight,
    line: &Line,
    id: &str,
) -> Response {
    let style = in_flight.state.limits.style;
    // What keeps the connection keeps the request in flight; the rest drops it here.
    match mishap {
        Mishap::ServerError => Failure::broken().response(style, id),
        Mishap::Unavailable => {
            let mut response = Failure::busy().response(style, id);
            headers::set_wait(response.headers_mut(), style, WAIT);
            response
        }
        Mishap::Overloaded => Failure::overloaded().response(Style::ANTHROPIC, id),
        Mishap::ResetBeforeHead => {
            line.cut();
            // It won't get through.
            Failure::broken().response(style, id)
        }
        Mishap::StallBeforeHead => {
            in_flight.state.gone().await;
            Failure::broken().response(style, id)
        }
        Mishap::ResetAfterHead => opened(ask, in_flight, Ending::Reset(line.clone())),
        Mishap::StallAfterHead => opened(ask, in_flight, Ending::Never),
        Mishap::ErrorStream => {
            let text = match ask.api {
                Api::Chat | Api::Embeddings => {
                    format!("data: {}\n\n", Failure::broken().in_openais_form())
                }
                Api::Messages => {
                    let error = Failure::overloaded().in_anthropics_form(id);
                    format!("event: error\ndata: {error}\n\n")
                }
            };
            let events = vec![Event { text, written: 0 }];
            stream::spread(events, Duration::ZERO, in_flight, Ending::Error)
        }
        Mishap::CutStream => cut(ask, in_flight, line),
    }
}

/// A response that ends before its content.
fn opened(ask: &Ask, in_flight: InFlight, ending: Ending) -> Response {
    if ask.stream {
        let mut events = ask.events(in_flight.total);
        let without_content = events.iter().take_while(|event| event.written == 0);
        events.truncate(without_content.count());
        return stream::spread(events, Duration::ZERO, in_flight, ending);
    }
    let mut text = ask.whole(in_flight.total).to_string();
    text.truncate(1);
    let events = vec![Event { text, written: 0 }];
    let mut response = stream::spread(events, Duration::ZERO, in_flight, ending);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A stream that breaks off after half of the content.
fn cut(ask: &Ask, in_flight: InFlight, line: &Line) -> Response {
    let mut events = ask.events(in_flight.total);
    let pause = pause(&events, in_flight.latency);
    let half = in_flight.total.output.div_ceil(2);
    let up_to_half = events.iter().position(|event| event.written >= half);
    events.truncate(up_to_half.map_or(events.len(), |place| place + 1));
    stream::spread(events, pause, in_flight, Ending::Reset(line.clone()))
}
