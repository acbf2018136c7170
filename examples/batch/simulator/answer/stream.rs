//! Server-sent events, spread over the latency.

use std::{convert::Infallible, time::Duration, vec};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use tokio::time::Instant;

use super::super::InFlight;

/// In how many pieces an answer comes at most, as timers tick only once a millisecond.
const MOST_PIECES: u64 = 16;

/// One event, and how many tokens of the answer a client has that got as far as this.
#[derive(Debug)]
pub(super) struct Event {
    text: String,
    written: u64,
}

/// What is yet to be sent.
struct Feed {
    events: vec::IntoIter<Event>,
    /// Until the last event; or until this is dropped, if that comes first.
    in_flight: Option<InFlight>,
    next: Instant,
    pause: Duration,
}

/// Words number `from` to `to` of every answer, each a token.
pub(super) fn words(from: u64, to: u64) -> String {
    (from + 1..=to).map(|n| format!("word{n} ")).collect()
}

/// An answer of so many words in pieces, and how many words there are up to the end of each.
pub(super) fn pieces(output: u64) -> impl Iterator<Item = (String, u64)> {
    let size = output.div_ceil(MOST_PIECES).max(1);
    (0..output.div_ceil(size)).map(move |n| {
        let end = output.min((n + 1) * size);
        (words(n * size, end), end)
    })
}

/// Sends events over the latency, the last of them at its end.
pub(super) fn spread(events: Vec<Event>, latency: Duration, in_flight: InFlight) -> Response {
    let pause = latency / u32::try_from(events.len()).unwrap_or(u32::MAX).max(1);
    let feed = Feed {
        events: events.into_iter(),
        in_flight: Some(in_flight),
        next: Instant::now(),
        pause,
    };
    let events = stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    let content_type = [(header::CONTENT_TYPE, "text/event-stream")];
    (content_type, Body::from_stream(events)).into_response()
}

// ===== impl Event =====

impl Event {
    pub(super) fn new(text: String, written: u64) -> Self {
        Self { text, written }
    }
}

// ===== impl Feed =====

impl Feed {
    async fn next(&mut self) -> Option<String> {
        let event = self.events.next()?;
        self.next += self.pause;
        tokio::time::sleep_until(self.next).await;
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.has_written(event.written);
        }
        if self.events.as_slice().is_empty() {
            // Before the client can see the last event, and send the next request.
            self.in_flight = None;
        }
        Some(event.text)
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
