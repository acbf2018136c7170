//! Bounds on an attempt, on the wait for bytes, and on the whole call.

use std::{
    convert::Infallible,
    future::{pending, poll_fn, ready},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryFutureExt, executor::block_on, stream};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, advance, sleep},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, ConcurrencyLayer, ConcurrencyLimiter, LayerMiddleware, Outcome,
    RetryAfterBackoffLayer, TimedOut, TimeoutLayer, timeout::body::ResponseBody,
};

use crate::{
    loopback::{reqwest_builder, reqwest_client},
    support::{ms, poll_once},
};

const NEVER: Duration = Duration::MAX;
/// The default.
const ATTEMPT: Duration = Duration::from_secs(120);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn get() -> Request<()> {
    Request::new(())
}

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// A body whose frames come so long after they are asked for.
fn script(steps: &[(u64, &'static str)]) -> Answer {
    let steps = stream::iter(steps.to_vec()).then(|(after, text)| async move {
        sleep(ms(after)).await;
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    });
    StreamBody::new(steps).boxed_unsync()
}

/// What is left of a layer's work when a service answers with `body` at once.
async fn bounded<B>(layer: TimeoutLayer, body: B) -> ResponseBody<B>
where
    B: Body,
{
    let mut body = Some(body);
    let service = layer.layer(service_fn(move |_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(body.take().unwrap())))
    }));
    service.oneshot(get()).await.unwrap().into_body()
}

async fn text<B>(body: &mut B) -> Result<Option<Bytes>, BoxError>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    let frame = body.frame().await.transpose()?;
    Ok(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

fn why<T: std::fmt::Debug>(outcome: Result<T, BoxError>) -> TimedOut {
    TimedOut::of(&outcome.unwrap_err()).unwrap()
}

/// Counts its drops.
#[derive(Clone, Default)]
struct Dropped(Arc<AtomicUsize>);

impl Dropped {
    fn times(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Never answers, and lets see that its future was dropped.
fn silent(
    dropped: &Dropped,
) -> impl Service<Request<()>, Response = Response<Empty<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ use<> {
    let count = dropped.0.clone();
    service_fn(move |_| {
        let held = Dropped(count.clone());
        async move {
            let _held = held;
            pending().await
        }
    })
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_ends_after_2_minutes() {
    let dropped = Dropped::default();
    for (layer, after) in [
        (TimeoutLayer::new(), ATTEMPT),
        (TimeoutLayer::default(), ATTEMPT),
        (TimeoutLayer::new().attempt(ms(1_500)), ms(1_500)),
    ] {
        let start = Instant::now();
        let before = dropped.times();
        let mut call = Box::pin(layer.layer(silent(&dropped)).oneshot(get()));
        let outcome = call.as_mut().await;
        assert_eq!(dropped.times(), before + 1, "the call is dropped at once");
        assert_eq!(why(outcome), TimedOut::Attempt(after));
        assert_eq!(start.elapsed(), after);
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_allows_an_upload_of_a_minute() {
    let server = service_fn(async |request: Request<Answer>| {
        let sent = request.into_body().collect().await?.to_bytes();
        Ok::<_, Infallible>(Response::new(Full::new(sent)))
    });
    let upload = || Request::new(script(&[(1_000, "x"); 60]));
    let start = Instant::now();
    let response = TimeoutLayer::default().layer(server).oneshot(upload());
    let echo = response.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(echo.to_bytes().len(), 60);
    assert_eq!(start.elapsed(), seconds(60));
    // A shorter attempt includes the upload.
    let layer = TimeoutLayer::new().attempt(seconds(30));
    let outcome = layer.layer(server).oneshot(upload()).await;
    assert_eq!(why(outcome), TimedOut::Attempt(seconds(30)));
}

#[tokio::test(start_paused = true)]
async fn a_future_that_timed_out_times_out_again() {
    let mut service = TimeoutLayer::new().layer(silent(&Dropped::default()));
    let mut call = Box::pin(service.ready().await.unwrap().call(get()));
    for _ in 0..2 {
        assert_eq!(why(call.as_mut().await), TimedOut::Attempt(ATTEMPT));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_at_the_last_instant_is_in_time() {
    for (after, is_in_time) in [(119_999, true), (120_000, true), (120_001, false)] {
        let service = TimeoutLayer::new().layer(service_fn(async |_: Request<()>| {
            sleep(ms(after)).await;
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }));
        let outcome = service.oneshot(get()).await;
        assert_eq!(outcome.is_ok(), is_in_time, "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_begins_with_the_first_poll() {
    let mut service = TimeoutLayer::whole(seconds(2)).layer(service_fn(async |_: Request<()>| {
        sleep(seconds(1)).await;
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    }));
    let call = service.ready().await.unwrap().call(get());
    advance(seconds(60)).await;
    call.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn zero_is_over_at_once_unless_it_is_there() {
    let zero = Duration::ZERO;
    let all = TimeoutLayer::new()
        .attempt(zero)
        .first_byte(zero)
        .between_chunks(zero)
        .whole_call(zero);
    let there = Full::new(Bytes::from_static(b"there"));
    let mut body = bounded(all, there).await;
    assert_eq!(text(&mut body).await.unwrap().unwrap(), "there");
    assert!(text(&mut body).await.unwrap().is_none());

    for (layer, expected) in [
        (TimeoutLayer::new().attempt(zero), TimedOut::Attempt(zero)),
        (TimeoutLayer::whole(zero), TimedOut::Call(zero)),
        (all, TimedOut::Call(zero)),
    ] {
        let service = layer.layer(silent(&Dropped::default()));
        let outcome = poll_once(service.oneshot(get())).await.unwrap();
        assert_eq!(why(outcome), expected);
    }
    for (layer, expected) in [
        (
            TimeoutLayer::new().first_byte(zero),
            TimedOut::FirstByte(zero),
        ),
        (
            TimeoutLayer::new().between_chunks(zero),
            TimedOut::BetweenChunks(zero),
        ),
        (TimeoutLayer::whole(zero), TimedOut::Call(zero)),
    ] {
        let mut body = bounded(layer, script(&[(1, "late")])).await;
        assert_eq!(
            why(poll_once(text(&mut body)).await.unwrap()),
            expected,
            "{layer:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn huge_durations_never_end() {
    for huge in [
        NEVER,
        Duration::from_secs(i64::MAX as u64),
        seconds(1 << 40),
    ] {
        let layer = TimeoutLayer::new()
            .attempt(huge)
            .first_byte(huge)
            .between_chunks(huge)
            .whole_call(huge);
        let year = 365 * 24 * 60 * 60 * 1_000;
        let service = layer.layer(service_fn(async |_: Request<()>| {
            sleep(ms(year)).await;
            Ok::<_, Infallible>(Response::new(script(&[(year, "at"), (year, " last")])))
        }));
        let body = service.oneshot(get()).await.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "at last");
    }
}

/// Outside of a runtime a timer can't be made.
#[test]
fn what_is_there_needs_no_timer() {
    let layer = TimeoutLayer::new()
        .first_byte(seconds(1))
        .between_chunks(seconds(1))
        .whole_call(seconds(1));
    block_on(async {
        let frames = stream::iter(["a", "", "b"]).map(|text| Ok(Frame::data(Bytes::from(text))));
        let body: Answer = StreamBody::new(frames).boxed_unsync();
        let body = bounded(layer, body).await;
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
    });
}

#[test]
fn what_is_not_bounded_needs_no_timer() {
    block_on(async {
        let mut service = TimeoutLayer::new()
            .no_attempt()
            .layer(silent(&Dropped::default()));
        let call = service.ready().await.unwrap().call(get());
        assert!(poll_once(call).await.is_none());
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let mut body = bounded(TimeoutLayer::new(), body).await;
        assert!(poll_once(body.frame()).await.is_none());
    });
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_and_the_others_have_bounds_of_their_own() {
    let layer = TimeoutLayer::new();
    let (first, between) = (seconds(60), seconds(10));
    let both = layer.first_byte(first).between_chunks(between);
    for (layer, steps, expected) in [
        (both, [(60_000, "a"), (10_000, "b")], None),
        (
            both,
            [(60_001, "a"), (0, "b")],
            Some(TimedOut::FirstByte(first)),
        ),
        (
            both,
            [(0, "a"), (10_001, "b")],
            Some(TimedOut::BetweenChunks(between)),
        ),
        // Without one of its own, the first has that of all.
        (
            layer.between_chunks(between),
            [(10_001, "a"), (0, "b")],
            Some(TimedOut::BetweenChunks(between)),
        ),
        (layer.first_byte(first), [(0, "a"), (9_000_000, "b")], None),
    ] {
        let start = Instant::now();
        let body = bounded(layer, script(&steps)).await;
        let outcome = body.collect().await;
        assert_eq!(
            outcome.err().map(|error| TimedOut::of(&error).unwrap()),
            expected,
            "{steps:?}"
        );
        if let Some(expected) = expected {
            assert_eq!(start.elapsed(), expected.after());
        }
    }
}

/// Chunks that come whether or not they are asked for.
fn channel() -> (
    tokio::sync::mpsc::UnboundedSender<&'static str>,
    impl Body<Data = Bytes, Error = Infallible> + Unpin,
) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let stream = stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let frames = stream.map(|text: &str| Ok(Frame::data(Bytes::from(text))));
    (sender, StreamBody::new(frames))
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_a_slow_answer() {
    let (sender, body) = channel();
    let layer = TimeoutLayer::new().between_chunks(seconds(10));
    let mut body = bounded(layer, body).await;
    sleep(seconds(60)).await;
    for _ in 0..5 {
        // Asked for, and there a second later, and read a minute after that.
        assert!(poll_once(body.frame()).await.is_none());
        sleep(seconds(1)).await;
        sender.send("chunk").unwrap();
        sleep(seconds(60)).await;
        assert_eq!(text(&mut body).await.unwrap().unwrap(), "chunk");
        sleep(seconds(60)).await;
    }
    let start = Instant::now();
    assert_eq!(
        why(text(&mut body).await),
        TimedOut::BetweenChunks(seconds(10))
    );
    assert_eq!(start.elapsed(), seconds(10));
}

/// Uses up the budget that tokio gives a task for each time that it is polled.
async fn use_up_the_budget() {
    while poll_once(pin!(tokio::task::consume_budget()))
        .await
        .is_some()
    {}
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_in_time_for_a_task_that_has_used_up_its_budget() {
    let (sender, body) = channel();
    let layer = TimeoutLayer::new().between_chunks(seconds(10));
    let mut body = bounded(layer, body).await;
    for _ in 0..3 {
        assert!(poll_once(body.frame()).await.is_none());
        sender.send("chunk").unwrap();
        sleep(seconds(60)).await;
        use_up_the_budget().await;
        assert_eq!(text(&mut body).await.unwrap().unwrap(), "chunk");
    }
    let start = Instant::now();
    use_up_the_budget().await;
    let outcome = text(&mut body).await;
    assert_eq!(why(outcome), TimedOut::BetweenChunks(seconds(10)));
    assert_eq!(start.elapsed(), seconds(10));
    drop(sender);

    // And so is the head of an answer.
    let (answer, answered) = tokio::sync::oneshot::channel();
    let mut answered = Some(answered);
    let service = service_fn(move |_: Request<()>| answered.take().unwrap().map_ok(Response::new));
    let mut call = pin!(TimeoutLayer::new().layer(service).oneshot(get()));
    assert!(poll_once(call.as_mut()).await.is_none());
    answer.send(Full::new(Bytes::new())).unwrap();
    sleep(seconds(60)).await;
    use_up_the_budget().await;
    assert!(call.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn chunks_of_no_bytes_are_no_progress() {
    let (sender, body) = channel();
    let layer = TimeoutLayer::new().between_chunks(seconds(10));
    let mut body = bounded(layer, body).await;
    tokio::spawn(async move {
        sender.send("a").unwrap();
        while sender.send("").is_ok() {
            sleep(seconds(1)).await;
        }
    });
    assert_eq!(text(&mut body).await.unwrap().unwrap(), "a");
    let start = Instant::now();
    assert_eq!(
        why(text(&mut body).await),
        TimedOut::BetweenChunks(seconds(10))
    );
    assert_eq!(start.elapsed(), seconds(10));
}

#[tokio::test(start_paused = true)]
async fn a_byte_behind_many_chunks_of_none_is_not_held_up() {
    let frames = std::iter::repeat_n("", 1_000).chain(["a"]);
    let frames = frames.map(|text| Ok::<_, Infallible>(Frame::data(Bytes::from(text))));
    let layer = TimeoutLayer::new().between_chunks(seconds(10));
    let mut body = bounded(layer, StreamBody::new(stream::iter(frames))).await;
    let start = Instant::now();
    assert_eq!(text(&mut body).await.unwrap().unwrap(), "a");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_ended_is_dropped_at_once() {
    for breaks in [false, true] {
        let dropped = Dropped::default();
        let held = dropped.clone();
        let frames = stream::poll_fn(move |_| {
            let _held = &held;
            let error = breaks.then(|| Err::<Frame<Bytes>, _>(io::Error::other("broken")));
            Poll::Ready(error)
        });
        let mut body = bounded(TimeoutLayer::new(), StreamBody::new(frames)).await;
        assert_eq!(dropped.times(), 0);
        assert_eq!(text(&mut body).await.is_err(), breaks);
        assert_eq!(dropped.times(), 1);
        assert!(text(&mut body).await.unwrap().is_none());
    }
}

/// On the real clock, since a task that never sleeps keeps a paused one where it is.
#[tokio::test]
async fn a_flood_of_nothing_ends() {
    for flood in ["", "bytes"] {
        let frames = stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from(flood))));
        let layer = match flood {
            "" => TimeoutLayer::new().between_chunks(ms(20)),
            _ => TimeoutLayer::whole(ms(20)),
        };
        let mut body = bounded(layer, StreamBody::new(frames)).await;
        while let Some(frame) = body.frame().await {
            if let Err(error) = frame {
                assert_eq!(TimedOut::of(&error).unwrap().after(), ms(20));
            }
        }
        assert!(body.is_end_stream());
    }
}

/// On the real clock, for the same reason.
#[tokio::test]
async fn a_call_that_uses_up_its_task_s_budget_ends() {
    let service = TimeoutLayer::new()
        .attempt(ms(20))
        .layer(service_fn(async |_: Request<()>| {
            let never: Result<Response<Empty<Bytes>>, Infallible> = loop {
                tokio::task::consume_budget().await;
                if false {
                    break Ok(Response::default());
                }
            };
            never
        }));
    let outcome = tokio::time::timeout(seconds(20), service.oneshot(get())).await;
    assert_eq!(why(outcome.unwrap()), TimedOut::Attempt(ms(20)));
}

#[tokio::test(start_paused = true)]
async fn chunks_of_no_bytes_pass_where_nothing_waits_for_bytes() {
    for (layer, frames) in [
        (TimeoutLayer::new(), 2),
        (TimeoutLayer::whole(seconds(9)), 2),
        (TimeoutLayer::new().between_chunks(seconds(9)), 1),
        // After the first byte nothing is bounded.
        (TimeoutLayer::new().first_byte(seconds(9)), 2),
    ] {
        let mut body = bounded(layer, script(&[(1, "a"), (1, "")])).await;
        let mut seen = 0;
        while body.frame().await.transpose().unwrap().is_some() {
            seen += 1;
        }
        assert_eq!(seen, frames, "{layer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_drips_is_bounded_by_the_whole_call_alone() {
    let drip = || {
        let drops = stream::repeat("drip").then(|text| async move {
            sleep(seconds(9)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(text)))
        });
        StreamBody::new(Box::pin(drops))
    };
    let layer = TimeoutLayer::new().between_chunks(seconds(10));
    let mut body = bounded(layer, drip()).await;
    for _ in 0..1_000 {
        text(&mut body).await.unwrap().unwrap();
    }
    let start = Instant::now();
    let body = bounded(layer.whole_call(seconds(100)), drip()).await;
    assert_eq!(why(body.collect().await), TimedOut::Call(seconds(100)));
    assert_eq!(start.elapsed(), seconds(100));
}

#[tokio::test(start_paused = true)]
async fn the_whole_call_is_the_wait_for_the_head_and_the_body() {
    let service = TimeoutLayer::whole(seconds(10)).layer(service_fn(async |_: Request<()>| {
        sleep(seconds(6)).await;
        Ok::<_, Infallible>(Response::new(script(&[(3_000, "a"), (3_000, "b")])))
    }));
    let start = Instant::now();
    let mut body = service.oneshot(get()).await.unwrap().into_body();
    assert_eq!(text(&mut body).await.unwrap().unwrap(), "a");
    assert_eq!(why(text(&mut body).await), TimedOut::Call(seconds(10)));
    assert_eq!(start.elapsed(), seconds(10));
}

#[tokio::test(start_paused = true)]
async fn a_frame_is_too_late_for_a_call_that_is_over_and_the_end_is_not() {
    let there = || script(&[(0, "a"), (0, "b")]);
    let mut body = bounded(TimeoutLayer::whole(seconds(10)), there()).await;
    // A sleep of no time is over with the first poll after the clock has gone on.
    advance(seconds(10)).await;
    assert_eq!(text(&mut body).await.unwrap().unwrap(), "a");
    advance(ms(1)).await;
    assert_eq!(why(text(&mut body).await), TimedOut::Call(seconds(10)));

    let frames = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from("a")))]);
    let mut body = bounded(TimeoutLayer::whole(seconds(10)), StreamBody::new(frames)).await;
    assert_eq!(text(&mut body).await.unwrap().unwrap(), "a");
    advance(seconds(60)).await;
    assert!(text(&mut body).await.unwrap().is_none());
}

/// A body that tells all that a body can tell, and panics when it is polled after its end.
struct Telling {
    left: Vec<Frame<Bytes>>,
    panics: bool,
    _held: Dropped,
}

impl Body for Telling {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.left.pop() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if self.panics => panic!("polled after its end"),
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.panics && self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

fn trailers() -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x", "y".parse().unwrap());
    Frame::trailers(trailers)
}

#[tokio::test(start_paused = true)]
async fn trailers_hints_and_ends_pass() {
    let telling = Telling {
        left: vec![trailers(), Frame::data(Bytes::from("a"))],
        panics: true,
        _held: Dropped::default(),
    };
    let layer = TimeoutLayer::new().between_chunks(seconds(1));
    let mut body = bounded(layer, telling).await;
    assert_eq!(body.size_hint().exact(), Some(2));
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert!(!body.is_end_stream());
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_body_whose_last_chunk_is_of_no_bytes_is_not_polled_after_it() {
    let telling = Telling {
        left: vec![Frame::data(Bytes::new()), Frame::data(Bytes::from("a"))],
        panics: true,
        _held: Dropped::default(),
    };
    let layer = TimeoutLayer::new().between_chunks(seconds(1));
    let mut body = bounded(layer, telling).await;
    assert_eq!(text(&mut body).await.unwrap().unwrap(), "a");
    for _ in 0..2 {
        assert!(text(&mut body).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn after_a_timeout_a_body_has_ended_and_what_it_held_is_free() {
    let dropped = Dropped::default();
    let telling = Telling {
        left: vec![Frame::data(Bytes::from("a"))],
        panics: false,
        _held: dropped.clone(),
    };
    let layer = TimeoutLayer::new().between_chunks(ms(5));
    let mut body = bounded(layer, telling).await;
    text(&mut body).await.unwrap().unwrap();
    assert_eq!(dropped.times(), 0);
    assert_eq!(why(text(&mut body).await), TimedOut::BetweenChunks(ms(5)));
    assert_eq!(dropped.times(), 1);
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    for _ in 0..2 {
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn errors_from_inside_pass() {
    let service = TimeoutLayer::new().layer(service_fn(async |_: Request<()>| {
        Err::<Response<Empty<Bytes>>, _>(io::Error::other("inner"))
    }));
    let error = service.oneshot(get()).await.unwrap_err();
    assert!(error.is::<io::Error>());

    let frames = [
        Err(io::Error::other("broken")),
        Ok(Frame::data(Bytes::new())),
    ];
    let layer = TimeoutLayer::new().between_chunks(seconds(1));
    let mut body = bounded(layer, StreamBody::new(stream::iter(frames))).await;
    let error = text(&mut body).await.unwrap_err();
    assert!(error.is::<io::Error>() && TimedOut::of(&error).is_none());
    assert!(text(&mut body).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn readiness_passes_through_and_is_not_timed() {
    struct Unready;
    impl Service<Request<()>> for Unready {
        type Response = Response<Empty<Bytes>>;
        type Error = io::Error;
        type Future = std::future::Ready<Result<Self::Response, io::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
            Poll::Pending
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            unreachable!()
        }
    }
    let mut service = TimeoutLayer::new().attempt(ms(1)).layer(Unready);
    let ready = poll_fn(|cx| service.poll_ready(cx));
    tokio::time::timeout(seconds(60), ready).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_panic_inside_passes_and_so_does_one_of_a_drop() {
    let service = TimeoutLayer::new().layer(service_fn(async |request: Request<()>| {
        assert!(request.headers().contains_key("x"), "inner panic");
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    }));
    assert!(tokio::spawn(service.oneshot(get())).await.is_err());

    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "dropped");
        }
    }
    let service = TimeoutLayer::new().layer(service_fn(async |_: Request<()>| {
        let _bomb = Bomb;
        pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
    }));
    assert!(tokio::spawn(service.oneshot(get())).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_repeated_and_a_call_is_not() {
    for (inner, outer, attempts, expected) in [
        (TimeoutLayer::new(), NEVER, 3, TimedOut::Attempt(ATTEMPT)),
        (
            TimeoutLayer::whole(seconds(30)),
            NEVER,
            1,
            TimedOut::Call(seconds(30)),
        ),
        (
            TimeoutLayer::new().attempt(seconds(30)),
            seconds(45),
            2,
            TimedOut::Call(seconds(45)),
        ),
    ] {
        let dropped = Dropped::default();
        let retry = RetryAfterBackoffLayer::new()
            .attempts(3)
            .backoff(tower_throttle::retry::Backoff::new(ms(1), ms(1)));
        let service = ServiceBuilder::new()
            .layer(TimeoutLayer::whole(outer))
            .layer(retry)
            .layer(inner)
            .service(silent(&dropped));
        assert_eq!(why(service.oneshot(get()).await), expected);
        assert_eq!(dropped.times(), attempts, "{expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_in_flight_is_free_after_each_kind_of_timeout() {
    let limiter = ConcurrencyLimiter::new(1);
    let concurrency = || ConcurrencyLayer::from(limiter.clone());
    let stalls = service_fn(async |request: Request<()>| {
        if request.headers().contains_key("silent") {
            pending::<()>().await;
        }
        Ok::<_, Infallible>(Response::new(script(&[(0, "a"), (1_000_000_000, "b")])))
    });
    let silent = || Request::builder().header("silent", "").body(()).unwrap();
    let inner = TimeoutLayer::new().between_chunks(seconds(10));
    let inside = || concurrency().layer(inner.layer(stalls));
    assert_eq!(
        why(inside().oneshot(silent()).await),
        TimedOut::Attempt(ATTEMPT)
    );
    assert_eq!(limiter.in_flight(), 0);

    let mut body = inside().oneshot(get()).await.unwrap().into_body();
    text(&mut body).await.unwrap().unwrap();
    assert_eq!(limiter.in_flight(), 1);
    assert_eq!(
        why(text(&mut body).await),
        TimedOut::BetweenChunks(seconds(10))
    );
    assert_eq!(limiter.in_flight(), 0);

    let outside = || TimeoutLayer::whole(seconds(60)).layer(concurrency().layer(stalls));
    assert_eq!(
        why(outside().oneshot(silent()).await),
        TimedOut::Call(seconds(60))
    );
    assert_eq!(limiter.in_flight(), 0);

    let mut body = outside().oneshot(get()).await.unwrap().into_body();
    text(&mut body).await.unwrap().unwrap();
    // One that waits for the slot is cut, and takes nothing along.
    advance(seconds(30)).await;
    let waiting = tokio::spawn(outside().oneshot(get()));
    assert_eq!(why(text(&mut body).await), TimedOut::Call(seconds(60)));
    waiting.await.unwrap().unwrap();
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_cut_while_it_waits_in_a_queue() {
    let answers = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    for (layer, expected) in [
        (TimeoutLayer::whole(seconds(5)), TimedOut::Call(seconds(5))),
        // So is an attempt whose layer is outside of the limit.
        (TimeoutLayer::new(), TimedOut::Attempt(ATTEMPT)),
    ] {
        let limiter = ConcurrencyLimiter::new(1);
        let held = limiter.try_acquire().unwrap();
        let service = layer.layer(ConcurrencyLayer::from(limiter.clone()).layer(answers));
        let outcome = service.clone().oneshot(get()).await;
        assert_eq!(why(outcome), expected);
        drop(held);
        service.oneshot(get()).await.unwrap();
        assert_eq!(limiter.in_flight(), 0);
    }
}

#[tokio::test]
async fn reqwest_s_own_timeouts_are_of_that_kind_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let client = reqwest_builder().timeout(ms(50)).build().unwrap();
    let error: BoxError = client.get(&url).send().await.unwrap_err().into();
    assert_eq!(Outcome::of_error(&error), Some(Outcome::Timeout));
    drop(listener);
    let error: BoxError = client.get(&url).send().await.unwrap_err().into();
    assert_eq!(Outcome::of_error(&error), Some(Outcome::NotSent));
}

#[tokio::test]
async fn reqwest_middleware_has_its_timeouts() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        for head in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0);
            stream.write_all(head.as_bytes()).await.unwrap();
            open.push(stream);
        }
        pending::<()>().await;
    });
    let layer = TimeoutLayer::new().attempt(ms(100)).between_chunks(ms(50));
    let client = reqwest_client();
    let client = reqwest_middleware::ClientBuilder::new(client)
        .with(LayerMiddleware::new(layer))
        .build();
    let error = client.get(&url).send().await.unwrap_err();
    assert_eq!(
        TimedOut::of(&error.into()),
        Some(TimedOut::Attempt(ms(100)))
    );
    let answer = client.get(&url).send().await.unwrap();
    let error = answer.bytes().await.unwrap_err();
    assert_eq!(
        TimedOut::of(&error.into()),
        Some(TimedOut::BetweenChunks(ms(50)))
    );
}

/// What comes of frames that come so long after they are asked for: how many, when it is over, and why.
fn model(
    bounds: [Option<u64>; 4],
    head: u64,
    steps: &[u64],
) -> (Option<usize>, u64, Option<TimedOut>) {
    let [attempt, first_byte, between, whole] = bounds;
    let first = first_byte.map(|after| (after, TimedOut::FirstByte(ms(after))));
    let other = between.map(|after| (after, TimedOut::BetweenChunks(ms(after))));
    let attempt = attempt.map(|after| (after, TimedOut::Attempt(ms(after))));
    let mut now = 0;
    let mut arrived = None;
    let waits =
        std::iter::once((head, attempt)).chain(steps.iter().enumerate().map(|(index, after)| {
            let bound = if index == 0 { first.or(other) } else { other };
            (*after, bound)
        }));
    for (after, bound) in waits {
        let call = whole.map(|whole| (whole, TimedOut::Call(ms(whole))));
        let bound = bound.map(|(after, why)| (now + after, why));
        let end = [call, bound].into_iter().flatten().min_by_key(|end| end.0);
        if let Some((at, why)) = end.filter(|end| end.0 < now + after) {
            return (arrived, at, Some(why));
        }
        now += after;
        arrived = Some(arrived.map_or(0, |arrived| arrived + 1));
    }
    (arrived, now, None)
}

async fn measured(
    layer: TimeoutLayer,
    head: u64,
    steps: Vec<u64>,
) -> (Option<usize>, u64, Option<TimedOut>) {
    let start = Instant::now();
    let service = layer.layer(service_fn(async |_: Request<()>| {
        sleep(ms(head)).await;
        let steps: Vec<_> = steps.iter().map(|after| (*after, "x")).collect();
        Ok::<_, Infallible>(Response::new(script(&steps)))
    }));
    let mut body = match service.oneshot(get()).await {
        Ok(response) => response.into_body(),
        Err(error) => {
            let took = start.elapsed().as_millis() as u64;
            return (None, took, TimedOut::of(&error));
        }
    };
    let mut frames = 0;
    let why = loop {
        match body.frame().await {
            Some(Ok(_)) => frames += 1,
            Some(Err(error)) => break TimedOut::of(&error),
            None => break None,
        }
    };
    (Some(frames), start.elapsed().as_millis() as u64, why)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_first_ends_it_to_the_millisecond(
        bounds in prop::array::uniform4(prop::option::of(1_u64..60)),
        head in 1_u64..40,
        steps in prop::collection::vec(1_u64..40, 0..8),
    ) {
        let [attempt, first_byte, between, whole] = bounds.map(|bound| bound.map_or(NEVER, ms));
        let mut layer = TimeoutLayer::new().attempt(attempt).between_chunks(between).whole_call(whole);
        if bounds[1].is_some() {
            layer = layer.first_byte(first_byte);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let seen = runtime.block_on(measured(layer, head, steps.clone()));
        prop_assert_eq!(seen, model(bounds, head, &steps));
    }
}

/// The body is an ordinary stream for whoever wants one.
#[tokio::test(start_paused = true)]
async fn a_body_of_one_s_own_may_take_its_time() {
    fn streams<B: Body<Data = Bytes>>(body: B) -> impl Stream {
        http_body_util::BodyDataStream::new(body)
    }
    let body = ResponseBody::from(script(&[(9_000_000, "a")]));
    assert_eq!(streams(body).count().await, 1);
    let body = ResponseBody::<Full<Bytes>>::default();
    assert!(body.is_end_stream());
}
