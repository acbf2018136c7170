//! Server-sent events, spread over the latency.

use std::{io, time::Duration, vec};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use tokio::time::Instant;

use super::super::{InFlight, Line};

/// The most pieces of a response, as timers tick only once a millisecond.
const MOST_PIECES: u64 = 16;
/// How long a client has to read what comes before a reset.
const BEFORE_RESET: Duration = Duration::from_millis(5);

/// One event, and how many tokens of the response a client has after it.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) text: String,
    pub(super) written: u64,
}

/// How a stream ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// It is a full response.
    Answer,
    /// It has said what it had to say.
    Error,
    /// It doesn't, until the client or the provider is gone.
    Never,
    /// The connection is reset.
    Reset(Line),
}

/// What is yet to be sent.
struct Feed {
    events: vec::IntoIter<Event>,
    ending: Ending,
    /// Until the last event; or until this is dropped, if that comes first.
    in_flight: Option<InFlight>,
    next: Instant,
    pause: Duration,
}

/// Words number `from` to `to` of every response, each a token.
pub(super) fn words(from: u64, to: u64) -> String {
    (from + 1..=to).map(|n| format!("word{n} ")).collect()
}

/// A response of `output` words in pieces, each with the number of words up to its end.
pub(super) fn pieces(output: u64) -> impl Iterator<Item = (String, u64)> {
    let size = output.div_ceil(MOST_PIECES).max(1);
    (0..output.div_ceil(size)).map(move |n| {
        let end = output.min((n + 1) * size);
        (words(n * size, end), end)
    })
}

/// Sends events, each `pause` after the one before.
pub(super) fn spread(
    events: Vec<Event>,
    pause: Duration,
    in_flight: InFlight,
    ending: Ending,
) -> Response {
    let feed = Feed {
        events: events.into_iter(),
        ending,
        in_flight: Some(in_flight),
        next: Instant::now(),
        pause,
    };
    let events = stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((event, feed))
    });
    let content_type = [(header::CONTENT_TYPE, "text/event-stream")];
    (content_type, Body::from_stream(events)).into_response()
}

// ===== impl Feed =====

impl Feed {
    async fn next(&mut self) -> Option<io::Result<String>> {
        let Some(event) = self.events.next() else {
            return self.end().await;
        };
        self.next += self.pause;
        tokio::time::sleep_until(self.next).await;
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.written = event.written;
        }
        if self.events.as_slice().is_empty() {
            self.leave();
        }
        Some(Ok(event.text))
    }

    /// Before the client can see the last event, and send the next request.
    fn leave(&mut self) {
        match &self.ending {
            Ending::Answer => drop(self.in_flight.take().map(InFlight::answered)),
            Ending::Error => self.in_flight = None,
            Ending::Never | Ending::Reset(_) => {}
        }
    }

    async fn end(&mut self) -> Option<io::Result<String>> {
        match &self.ending {
            Ending::Answer | Ending::Error => return None,
            Ending::Never => {
                if let Some(in_flight) = &self.in_flight {
                    in_flight.state.gone().await;
                }
            }
            Ending::Reset(line) => {
                tokio::time::sleep(BEFORE_RESET).await;
                line.cut();
            }
        }
        self.in_flight = None;
        Some(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_an_answer_are_the_answer() {
        for output in [0, 1, 12, 16, 17, 100, 1_000] {
            let pieces: Vec<_> = pieces(output).collect();
            let texts: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
            assert_eq!(texts, words(0, output));
            for (n, (_, end)) in pieces.iter().enumerate() {
                let so_far: String = pieces[..=n].iter().map(|(text, _)| text.as_str()).collect();
                assert_eq!(so_far.split_whitespace().count() as u64, *end);
            }
            assert!(pieces.len() as u64 <= output.min(MOST_PIECES));
        }
    }
}
