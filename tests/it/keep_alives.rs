//! Bytes that keep a connection alive are no content: for timeouts, and for adaptive limits.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, ConcurrencyLayer, ConcurrencyLimiter, TimedOut, TimeoutLayer, concurrency::Adaptive,
};

use crate::support::ms;

type Body = UnsyncBoxBody<Bytes, Infallible>;

const SECOND: Duration = Duration::from_secs(1);
const EVENTS: &str = "text/event-stream";

fn response(
    content_type: &str,
    chunks: impl Stream<Item = String> + Send + 'static,
) -> Response<Body> {
    let frames = chunks.map(|chunk| Ok(Frame::data(Bytes::from(chunk))));
    let response = Response::builder().header(CONTENT_TYPE, content_type);
    response
        .body(StreamBody::new(frames).boxed_unsync())
        .unwrap()
}

/// These chunks a second apart, and then the last one each second without end.
fn each_second(chunks: &'static [&'static str]) -> impl Stream<Item = String> + Send {
    let last = chunks.last().copied().unwrap_or_default();
    let chunks = chunks.iter().copied().chain(std::iter::repeat(last));
    stream::iter(chunks).then(async |chunk| {
        sleep(SECOND).await;
        chunk.to_owned()
    })
}

/// Returns the text that passed, the timeout, and when it came; at most a minute of the body.
async fn read(
    layer: TimeoutLayer,
    content_type: &'static str,
    chunks: &'static [&'static str],
) -> (String, Option<TimedOut>, Duration) {
    let begun = Instant::now();
    let client = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(response(content_type, each_second(chunks)))
    }));
    let mut body = client.oneshot(Request::new(())).await.unwrap().into_body();
    let mut text = String::new();
    while begun.elapsed() < 60 * SECOND {
        match body.frame().await.unwrap() {
            Ok(frame) => {
                let data = frame.into_data().unwrap();
                text.push_str(std::str::from_utf8(&data).unwrap());
            }
            Err(error) => return (text, TimedOut::of(&error), begun.elapsed()),
        }
    }
    (text, None, begun.elapsed())
}

fn is_near(time: Duration, seconds: u64) -> bool {
    time >= ms(1_000 * seconds) && time <= ms(1_000 * seconds + 100)
}

#[tokio::test(start_paused = true)]
async fn keep_alives_do_not_stop_a_timeout() {
    let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
    for (content_type, keep_alive) in [
        (EVENTS, ": keep-alive\n\n"),
        (EVENTS, ping),
        (EVENTS, "\n"),
        ("application/json", "\n"),
        ("application/x-ndjson", "\r\n"),
    ] {
        let chunks: &'static [&'static str] = Box::leak(Box::new([keep_alive]));
        let layer = TimeoutLayer::new().first_byte(20 * SECOND);
        let (text, timed_out, time) = read(layer, content_type, chunks).await;
        assert_eq!(timed_out, Some(TimedOut::FirstByte(20 * SECOND)));
        assert!(is_near(time, 20), "{time:?}");
        // They reach the client.
        assert!(text.len() >= 19 * keep_alive.len(), "{text:?}");

        let layer = TimeoutLayer::new().between_chunks(20 * SECOND);
        let (_, timed_out, time) = read(layer, content_type, chunks).await;
        assert_eq!(timed_out, Some(TimedOut::BetweenChunks(20 * SECOND)));
        assert!(is_near(time, 20), "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn content_restarts_the_wait() {
    let layer = TimeoutLayer::new().between_chunks(20 * SECOND);
    let chunks = &[": hi\n\n", "data: Once upon", " a time\n\n", ": bye\n\n"];
    let (text, timed_out, time) = read(layer, EVENTS, chunks).await;
    assert!(text.starts_with(": hi\n\ndata: Once upon a time\n\n: bye\n\n"));
    assert_eq!(timed_out, Some(TimedOut::BetweenChunks(20 * SECOND)));
    assert!(is_near(time, 23), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn other_bytes_are_content() {
    let layer = TimeoutLayer::new().between_chunks(20 * SECOND);
    for (content_type, chunks) in [
        ("text/plain", &[": keep-alive\n\n"] as &[_]),
        ("application/json", &["{", "\n"]),
        (EVENTS, &["data: {\"type\": \"pong\"}\n\n"]),
        ("application/x-ndjson", &["{}\n"]),
    ] {
        let (_, timed_out, _) = read(layer, content_type, chunks).await;
        assert_eq!(timed_out, None, "{content_type} {chunks:?}");
    }
}

// In real time, which an adaptive limit measures.
#[tokio::test]
async fn the_first_byte_of_an_adaptive_limit_is_content() -> Result<(), BoxError> {
    for (early, is_lowered) in [(": keep-alive\n\n", true), ("data: Hi\n\n", false)] {
        let adaptive = Adaptive::aimd(ms(50)).initial(20).max(20);
        let limiter = ConcurrencyLimiter::adaptive(adaptive);
        let client = ConcurrencyLayer::from(limiter.clone()).layer(service_fn(
            move |_: Request<()>| async move {
                let chunks = stream::iter([(0, early), (150, "data: Hello\n\n")]);
                let chunks = chunks.then(async |(wait, chunk)| {
                    sleep(ms(wait)).await;
                    chunk.to_owned()
                });
                Ok::<_, Infallible>(response(EVENTS, chunks))
            },
        ));
        for _ in 0..8 {
            let calls = (0..20).map(|_| async {
                let response = client.clone().oneshot(Request::new(())).await?;
                response.into_body().collect().await.map_err(BoxError::from)
            });
            futures::future::try_join_all(calls).await?;
        }
        assert_eq!(limiter.limit() < 20, is_lowered, "{early:?}");
    }
    Ok(())
}
