//! What is sent again is what was to be sent, or nothing.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use proptest::prelude::*;
use tokio::{sync::mpsc, time::Instant};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, RetryAfterBackoffLayer, TryClone,
    body::{PeekBody, ReplaceBody},
    replay::{ReplayError, ReplayLayer, body::ReplayBody},
    retry::Attempts,
};

use crate::support::{Listening, poll_once};

/// What a body does when it is polled.
#[derive(Debug, Clone)]
enum Step {
    Data(Vec<u8>),
    Trailers(HeaderMap),
    Pending,
    Fail,
}

/// A body that does as it was told, and counts what it gave.
#[derive(Debug)]
struct Script {
    steps: VecDeque<Step>,
    tells_length: bool,
    tells_end: bool,
    given: Arc<AtomicUsize>,
}

impl Script {
    fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            tells_length: false,
            tells_end: false,
            given: Arc::default(),
        }
    }

    fn left(&self) -> u64 {
        let steps = self.steps.iter();
        let data = steps.map(|step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        });
        data.sum()
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match self.steps.pop_front() {
            None => None,
            Some(Step::Data(data)) => {
                self.given.fetch_add(data.len(), Ordering::Relaxed);
                Some(Ok(Frame::data(data.into())))
            }
            Some(Step::Trailers(trailers)) => {
                self.given.fetch_add(held(&trailers), Ordering::Relaxed);
                Some(Ok(Frame::trailers(trailers)))
            }
            Some(Step::Fail) => Some(Err(io::Error::other("the file is gone"))),
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.tells_length {
            true => SizeHint::with_exact(self.left()),
            false => SizeHint::new(),
        }
    }
}

/// What trailers are said to count.
fn held(trailers: &HeaderMap) -> usize {
    let fields = trailers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 64);
    64 + fields.sum::<usize>()
}

fn data(text: &str) -> Step {
    Step::Data(text.into())
}

fn trailers(text: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", HeaderValue::from_static(text));
    trailers
}

type Next = Option<Result<Frame<Bytes>, BoxError>>;

/// The next frame of a body that never waits for anybody.
async fn next<B: Body<Data = Bytes, Error = BoxError> + Unpin>(body: &mut B) -> Next {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

async fn text(body: &mut ReplayBody<Script>) -> String {
    let frame = next(body).await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().into()).unwrap()
}

fn error(next: Next) -> ReplayError {
    *next.unwrap().unwrap_err().downcast().unwrap()
}

fn again<B>(body: &ReplayBody<B>) -> ReplayBody<B> {
    body.try_clone().expect("it always gives one")
}

async fn collected<B>(body: ReplayBody<B>) -> Result<(Vec<u8>, Option<HeaderMap>), BoxError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    Ok((collected.to_bytes().into(), trailers))
}

// ===== what goes in comes out =====

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Data),
        2 => prop::collection::vec(any::<u8>(), 1_000..6_000).prop_map(Step::Data),
        1 => Just(Step::Pending),
    ];
    prop::collection::vec(step, 0..12)
}

proptest! {
    #[test]
    fn every_attempt_sends_a_prefix_and_the_last_one_all_or_nothing(
        mut steps in steps(),
        has_trailers: bool,
        tells_length: bool,
        tells_end: bool,
        // Before the end of what there is, or past it.
        slack in -300_isize..300,
        cuts in prop::collection::vec(0_usize..14, 0..5),
    ) {
        if has_trailers {
            steps.push(Step::Trailers(trailers("abc")));
        }
        let script = Script { tells_length, tells_end, ..Script::of(steps.clone()) };
        let (length, given) = (script.left(), script.given.clone());
        let all: Vec<u8> = steps.iter().flat_map(|step| match step {
            Step::Data(data) => data.clone(),
            _ => Vec::new(),
        }).collect();
        let size = all.len() + if has_trailers { held(&trailers("abc")) } else { 0 };
        let bound = size.saturating_add_signed(slack);
        let kept = ReplayBody::new(script, bound);

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for cut in cuts {
                let whole = given.load(Ordering::Relaxed) <= bound;
                let mut body = again(&kept);
                prop_assert_eq!(body.is_replayable(), whole);
                let mut sent = Vec::new();
                for _ in 0..cut {
                    let told = body.size_hint();
                    let left = length.saturating_sub(sent.len() as u64);
                    prop_assert!(told.lower() <= left);
                    prop_assert!(told.upper().is_none_or(|upper| upper >= left));
                    if tells_length {
                        prop_assert_eq!(told.exact(), Some(left));
                    }
                    if !whole {
                        prop_assert!(!body.is_end_stream());
                        prop_assert_eq!(error(next(&mut body).await), ReplayError::NotWhole);
                        break;
                    }
                    let is_end = body.is_end_stream();
                    match next(&mut body).await {
                        Some(frame) => {
                            prop_assert!(!is_end);
                            match frame.unwrap().into_data() {
                                Ok(data) => sent.extend_from_slice(&data),
                                Err(frame) => {
                                    prop_assert_eq!(frame.into_trailers().unwrap(), trailers("abc"));
                                    prop_assert_eq!(&sent, &all);
                                }
                            }
                        }
                        None => {
                            prop_assert_eq!(&sent, &all);
                            prop_assert!(body.is_end_stream());
                        }
                    }
                    prop_assert!(all.starts_with(&sent));
                }
            }
            let whole = given.load(Ordering::Relaxed) <= bound;
            prop_assert_eq!(kept.is_replayable(), whole);
            match collected(again(&kept)).await {
                Ok((sent, end)) => {
                    prop_assert!(whole);
                    prop_assert_eq!(sent, all);
                    prop_assert_eq!(end.is_some(), has_trailers);
                }
                Err(error) => {
                    prop_assert!(!whole);
                    prop_assert_eq!(error.downcast_ref(), Some(&ReplayError::NotWhole));
                }
            }
            // It had to be read to its end by then.
            prop_assert_eq!(kept.is_replayable(), whole && size <= bound);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn the_first_attempt_has_each_frame_as_it_was() {
    let script = Script::of([
        data("a"),
        data(""),
        data("bc"),
        Step::Trailers(trailers("x")),
    ]);
    let mut body = ReplayBody::new(script, 1_000);
    let kept = again(&body);
    assert_eq!(text(&mut body).await, "a");
    assert_eq!(text(&mut body).await, "");
    assert_eq!(text(&mut body).await, "bc");
    let end = next(&mut body).await.unwrap().unwrap();
    assert_eq!(end.into_trailers().unwrap(), trailers("x"));
    assert!(next(&mut body).await.is_none());
    assert!(body.is_end_stream() && next(&mut body).await.is_none());
    let (sent, end) = collected(kept).await.unwrap();
    assert_eq!((&*sent, end), (&b"abc"[..], Some(trailers("x"))));
}

#[tokio::test]
async fn endless_empty_frames_take_nothing() {
    let script = Script::of(vec![data(""); 100_000]);
    let body = ReplayBody::new(script, 0);
    let kept = again(&body);
    assert!(collected(body).await.unwrap().0.is_empty());
    assert!(kept.is_replayable());
    assert!(kept.is_end_stream());
}

#[tokio::test]
async fn a_bound_of_nothing_lets_an_empty_body_be_sent_again() {
    let body = ReplayBody::new(Empty::<Bytes>::new(), 0);
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    let kept = again(&body);
    assert!(collected(body).await.unwrap().0.is_empty());
    assert!(kept.is_replayable() && kept.is_end_stream());
}

// ===== who may read =====

#[tokio::test]
async fn the_newest_that_is_polled_goes_on_and_the_older_is_told_so() {
    let script = Script::of([data("a"), data("b"), data("c")]);
    let mut first = ReplayBody::new(script, 1_000);
    let mut second = again(&first);
    let mut third = again(&second);
    assert_eq!(text(&mut first).await, "a");
    // The third was made later, and sent earlier.
    assert_eq!(text(&mut third).await, "a");
    assert_eq!(text(&mut third).await, "b");
    assert!(!first.is_end_stream());
    assert_eq!(error(next(&mut first).await), ReplayError::Superseded);
    assert!(next(&mut first).await.is_none());
    assert_eq!(text(&mut second).await, "a");
    assert_eq!(error(next(&mut third).await), ReplayError::Superseded);
    assert_eq!(text(&mut second).await, "b");
    assert_eq!(text(&mut second).await, "c");
    assert!(next(&mut second).await.is_none());
}

#[tokio::test]
async fn one_that_has_sent_all_is_not_superseded() {
    let mut first = ReplayBody::new(Script::of([data("a")]), 1_000);
    let second = again(&first);
    assert_eq!(text(&mut first).await, "a");
    assert!(next(&mut first).await.is_none());
    assert_eq!(collected(second).await.unwrap().0, b"a");
    assert!(next(&mut first).await.is_none());
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn whoever_waits_is_woken_when_it_is_superseded_and_the_newest_when_there_is_more() {
    let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
    let chunks = stream::unfold(receiver, async |mut receiver| {
        let chunk = receiver.recv().await?;
        Some((Ok::<_, Infallible>(chunk), receiver))
    });
    let mut first = ReplayBody::new(AxumBody::from_stream(Box::pin(chunks)), 1_000);
    let mut second = again(&first);
    sender.send("a".into()).unwrap();

    let poll = |body: &mut ReplayBody<AxumBody>, woken: &Arc<Woken>| {
        let waker = Waker::from(woken.clone());
        Pin::new(body).poll_frame(&mut Context::from_waker(&waker))
    };
    let (old, new) = (Arc::<Woken>::default(), Arc::<Woken>::default());
    assert!(poll(&mut first, &old).is_ready());
    assert!(poll(&mut first, &old).is_pending());
    assert!(poll(&mut second, &new).is_ready());
    assert!(old.0.load(Ordering::Relaxed), "it waits for nothing");
    assert!(poll(&mut second, &new).is_pending());
    assert!(!new.0.load(Ordering::Relaxed));
    sender.send("b".into()).unwrap();
    assert!(new.0.load(Ordering::Relaxed));
    assert!(poll(&mut second, &new).is_ready());
}

#[tokio::test]
async fn taking_over_stops_an_attempt_that_is_still_reading() {
    let mut first = ReplayBody::new(Script::of([data("a"), data("b")]), 1);
    let mut kept = again(&first);
    assert_eq!(text(&mut first).await, "a");
    assert!(kept.claim());
    // The next frame would have been too much.
    assert_eq!(error(next(&mut first).await), ReplayError::Superseded);
    assert!(kept.is_replayable());
    assert_eq!(text(&mut kept).await, "a");
    assert_eq!(text(&mut kept).await, "b");
    assert!(!kept.is_replayable() && !kept.claim());
    assert!(
        next(&mut kept).await.is_none(),
        "who reads already reads on"
    );
}

#[tokio::test]
async fn taking_over_stops_an_attempt_that_has_not_begun() {
    let mut first = ReplayBody::new(Script::of([data("ab"), data("c")]), 1);
    let kept = again(&first);
    assert!(kept.claim());
    assert_eq!(error(next(&mut first).await), ReplayError::Superseded);
    let mut spare = again(&kept);
    assert_eq!(text(&mut spare).await, "ab");
    assert_eq!(text(&mut spare).await, "c");
}

#[tokio::test]
async fn what_cannot_be_sent_disturbs_nobody() {
    let mut first = ReplayBody::new(Script::of([data("ab"), data("c")]), 1);
    let mut late = again(&first);
    assert_eq!(text(&mut first).await, "ab");
    assert_eq!(error(next(&mut late).await), ReplayError::NotWhole);
    assert_eq!(text(&mut first).await, "c");
}

#[tokio::test]
async fn an_original_that_fails_is_not_whole_and_its_error_is_the_first_attempts() {
    let mut first = ReplayBody::new(Script::of([data("a"), Step::Fail, data("b")]), 1_000);
    let mut kept = again(&first);
    assert_eq!(text(&mut first).await, "a");
    assert!(kept.is_replayable());
    let error_of_it = next(&mut first).await.unwrap().unwrap_err();
    assert_eq!(error_of_it.to_string(), "the file is gone");
    assert!(next(&mut first).await.is_none());
    assert!(!kept.is_replayable());
    assert_eq!(error(next(&mut kept).await), ReplayError::NotWhole);
}

#[tokio::test]
async fn an_original_that_panics_is_not_whole() {
    struct Panics;
    impl Body for Panics {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Next> {
            panic!("a bug")
        }
    }
    let mut first = ReplayBody::new(Panics, 1_000);
    let mut kept = again(&first);
    let panicked = tokio::spawn(async move { next(&mut first).await.is_some() }).await;
    assert!(panicked.unwrap_err().is_panic());
    assert!(!kept.is_replayable() && !kept.is_end_stream());
    assert_eq!(error(next(&mut kept).await), ReplayError::NotWhole);
}

#[tokio::test]
async fn the_original_is_dropped_with_the_last_clone() {
    let script = Script::of([data("a"), data("b")]);
    let given = script.given.clone();
    let mut first = ReplayBody::new(script, 1_000);
    let kept = again(&first);
    assert_eq!(text(&mut first).await, "a");
    drop(first);
    assert_eq!(Arc::strong_count(&given), 2);
    drop(kept);
    assert_eq!(Arc::strong_count(&given), 1);
}

// ===== what is kept =====

#[tokio::test]
async fn a_body_in_one_piece_is_kept_without_a_copy_and_only_while_there_is_a_clone() {
    let bytes = Bytes::from(vec![7; 100_000]);
    let mut first = ReplayBody::new(Full::new(bytes.clone()), 100_000);
    let kept = again(&first);
    let sent = next(&mut first)
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    assert_eq!(sent.as_ptr(), bytes.as_ptr());
    drop((sent, first));
    let sent = collected_piece(kept).await;
    assert_eq!(sent.as_ptr(), bytes.as_ptr());

    let lone = Bytes::from(vec![7; 100_000]);
    let mut body = ReplayBody::new(Full::new(lone.clone()), 100_000);
    drop(next(&mut body).await);
    assert!(lone.is_unique(), "nobody will send it again");
}

async fn collected_piece(mut body: ReplayBody<Full<Bytes>>) -> Bytes {
    next(&mut body).await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn a_slice_does_not_keep_what_it_was_cut_from() {
    let large = Bytes::from(vec![7; 1 << 20]);
    let slices = [large.slice(..50_000), large.slice(60_000..60_001)];
    let chunks = stream::iter(slices.map(Ok::<_, Infallible>));
    let first = ReplayBody::new(AxumBody::from_stream(chunks), 1 << 20);
    let kept = again(&first);
    collected(first).await.unwrap();
    assert!(large.is_unique());
    assert_eq!(collected(kept).await.unwrap().0.len(), 50_001);
}

#[test]
fn the_bytes_are_shown_until_some_are_sent_and_again_when_all_are() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut body = ReplayBody::new(Full::new(Bytes::from("abc")), 1_000);
    let kept = again(&body);
    let shown = |body: &ReplayBody<Full<Bytes>>| body.peek(<[u8]>::to_vec);
    assert_eq!(shown(&body).unwrap(), b"abc");
    assert_eq!(shown(&kept).unwrap(), b"abc");
    runtime.block_on(next(&mut body));
    assert_eq!(shown(&body), None);
    assert_eq!(shown(&kept).unwrap(), b"abc");
}

#[tokio::test]
async fn a_body_that_is_exchanged_leaves_its_clones_alone() {
    let mut body = ReplayBody::new(Full::new(Bytes::from("abc")), 1_000);
    let kept = again(&body);
    assert!(body.replace_body(Bytes::from("other")));
    assert_eq!(body.peek(<[u8]>::to_vec).unwrap(), b"other");
    assert_eq!(body.size_hint().exact(), Some(5));
    assert!(body.is_replayable() && !body.is_end_stream());
    assert_eq!(collected(again(&body)).await.unwrap().0, b"other");
    assert_eq!(collected(body).await.unwrap().0, b"other");
    assert_eq!(kept.peek(<[u8]>::to_vec).unwrap(), b"abc");
    let mut none = again(&kept);
    assert!(none.replace_body(Bytes::new()) && none.is_end_stream());
    assert!(collected(none).await.unwrap().0.is_empty());
    assert_eq!(collected(kept).await.unwrap().0, b"abc");
}

// ===== under a retry =====

fn answer(status: u16) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    let hint = HeaderValue::from_static("1");
    response.headers_mut().insert("retry-after", hint);
    response
}

fn streamed(chunks: &[&'static str]) -> Request<AxumBody> {
    let chunks: Vec<_> = chunks.iter().copied().map(Ok::<_, Infallible>).collect();
    Request::post("http://host/")
        .body(AxumBody::from_stream(stream::iter(chunks)))
        .unwrap()
}

/// What each attempt sent.
type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

/// Reads so many frames of the n-th body, and all of the last.
fn reading(
    frames: &'static [usize],
) -> (
    impl Fn(Request<ReplayBody<AxumBody>>) -> Answer + Clone,
    Sent,
) {
    let sent = Sent::default();
    let log = sent.clone();
    let server = move |request: Request<ReplayBody<AxumBody>>| -> Answer {
        let log = log.clone();
        Box::pin(async move {
            let mut body = request.into_body();
            let n = log.lock().unwrap().len();
            let limit = frames.get(n).copied();
            log.lock().unwrap().push(Vec::new());
            let mut read = 0;
            while limit.is_none_or(|limit| read < limit) {
                let Some(frame) = next(&mut body).await else {
                    break;
                };
                let data = frame?.into_data().unwrap();
                log.lock().unwrap()[n].extend_from_slice(&data);
                read += 1;
            }
            Ok(answer(if limit.is_some() { 503 } else { 200 }))
        })
    };
    (server, sent)
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<()>, BoxError>> + Send>>;

#[tokio::test(start_paused = true)]
async fn a_retry_sends_a_streamed_body_again_wherever_the_attempt_before_stopped() {
    for frames in [&[0][..], &[1], &[2], &[3], &[9], &[1, 1], &[2, 0, 3]] {
        let (server, sent) = reading(frames);
        let client = ServiceBuilder::new()
            .layer(ReplayLayer::new())
            .layer(RetryAfterBackoffLayer::new())
            .service(service_fn(server));
        let response = client.oneshot(streamed(&["ab", "c", "d"])).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(
            Attempts::of(&response).attempts() as usize,
            frames.len() + 1
        );
        assert_eq!(sent.lock().unwrap().last().unwrap(), b"abcd");
    }
}

#[tokio::test(start_paused = true)]
async fn one_event_tells_of_each_body_that_is_sent_again_or_is_too_large_for_it() {
    let sends = async |max_bytes| {
        let (server, _) = reading(&[2]);
        let client = ServiceBuilder::new()
            .layer(ReplayLayer::new().max_bytes(max_bytes))
            .layer(RetryAfterBackoffLayer::new())
            .service(service_fn(server));
        let events = Listening::start();
        client.oneshot(streamed(&["s3", "cr", "et"])).await.unwrap();
        let mut lines = events.lines();
        lines.retain(|line| !line.starts_with("retrying"));
        lines
    };
    assert_eq!(
        sends(100).await,
        ["sending a recorded body again recorded=4"]
    );
    assert_eq!(sends(3).await, ["request body is too large to be replayed"]);
}

#[tokio::test(start_paused = true)]
async fn past_the_bound_the_failure_passes_at_once_and_untouched() {
    let (server, sent) = reading(&[2, 2]);
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new().max_bytes(2))
        .layer(RetryAfterBackoffLayer::new())
        .service(service_fn(server));
    let start = Instant::now();
    let response = client.oneshot(streamed(&["ab", "c", "d"])).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers().len(), 1);
    assert!(response.extensions().is_empty());
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(*sent.lock().unwrap(), [b"abc"]);
}

#[tokio::test(start_paused = true)]
async fn an_original_that_fails_is_not_sent_a_second_time() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let server = service_fn(move |request: Request<ReplayBody<Script>>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            // As a connection that breaks.
            let broken = collected(request.into_body()).await.unwrap_err();
            Err::<Response<()>, _>(io::Error::new(io::ErrorKind::ConnectionReset, broken))
        }
    });
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
        .service(server);
    let request = Request::new(Script::of([data("a"), Step::Fail]));
    let failed = client.oneshot(request).await.unwrap_err();
    assert!(failed.is::<io::Error>());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_reads_on_after_an_early_answer_does_not_use_up_the_body() {
    // The first attempt's body goes to a task that reads it slowly, as a connection does, and answers before.
    let read_by_first = Arc::new(AtomicUsize::new(0));
    let (calls, read) = (Arc::new(AtomicUsize::new(0)), read_by_first.clone());
    let server = service_fn(move |request: Request<ReplayBody<AxumBody>>| {
        let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        let read = read.clone();
        async move {
            let mut body = request.into_body();
            if !is_first {
                assert_eq!(collected(body).await.unwrap().0, b"abcd");
                return Ok::<_, BoxError>(answer(200));
            }
            tokio::spawn(async move {
                while let Some(Ok(_)) = next(&mut body).await {
                    read.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(answer(503))
        }
    });
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new().max_bytes(2))
        .layer(RetryAfterBackoffLayer::new())
        .service(server);
    let response = client.oneshot(streamed(&["ab", "c", "d"])).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(read_by_first.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_begins_after_an_early_answer_reads_nothing() {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = service_fn(move |request: Request<ReplayBody<AxumBody>>| {
        let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let mut body = request.into_body();
            if !is_first {
                assert_eq!(collected(body).await.unwrap().0, b"abcd");
                return Ok::<_, BoxError>(answer(200));
            }
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                while let Some(Ok(_)) = next(&mut body).await {}
            });
            let mut response = answer(503);
            response.headers_mut().insert("retry-after", 5.into());
            Ok(response)
        }
    });
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new().max_bytes(2))
        .layer(RetryAfterBackoffLayer::new())
        .service(server);
    let response = client.oneshot(streamed(&["ab", "c", "d"])).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_lets_go_of_the_body_at_every_stage() {
    for after in [0, 5, 500, 1_500] {
        let script = Script::of([data("a"), data("b")]);
        let alive = script.given.clone();
        let server = service_fn(async |request: Request<ReplayBody<Script>>| {
            let mut body = request.into_body();
            next(&mut body).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, Infallible>(answer(503))
        });
        let client = ServiceBuilder::new()
            .layer(ReplayLayer::new())
            .layer(RetryAfterBackoffLayer::new())
            .service(server);
        let call = client.oneshot(Request::new(script));
        let dropped = tokio::time::timeout(Duration::from_millis(after), call).await;
        assert!(dropped.is_err());
        assert_eq!(Arc::strong_count(&alive), 1, "after {after} ms");
    }
}

#[tokio::test]
async fn the_layer_passes_readiness_errors_and_responses_through() {
    let service =
        ReplayLayer::new().layer(service_fn(async |_: Request<ReplayBody<Full<Bytes>>>| {
            Err::<(), _>(io::Error::other("down"))
        }));
    let request = Request::new(Full::new(Bytes::new()));
    let failed = poll_once(service.oneshot(request)).await.unwrap();
    assert_eq!(failed.unwrap_err().to_string(), "down");
}

// ===== real connections =====

mod wire {
    use axum::{Router, extract::State, routing::post};
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    use reqwest_middleware::ClientBuilder;
    use tokio::sync::watch;
    use tower_throttle::{
        HttpClient, HttpClientLayer, HttpRequestLayer, InvalidUrl, LayerMiddleware,
    };

    use super::*;
    use crate::loopback::{reqwest_client, serve};

    const MIB: usize = 1 << 20;

    /// Answers 503 to the first `refusals` requests, after so many bytes, and reads the others to their end.
    #[derive(Clone)]
    struct Plan {
        refusals: usize,
        after: usize,
        seen: Arc<Mutex<Vec<Seen>>>,
        requests: watch::Sender<usize>,
    }

    #[derive(Debug, Clone, Default, PartialEq)]
    struct Seen {
        length: Option<String>,
        bytes: usize,
        is_complete: bool,
    }

    async fn handle(State(plan): State<Plan>, request: Request<AxumBody>) -> Response<AxumBody> {
        let length = request.headers().get("content-length");
        let mut seen = Seen {
            length: length.map(|length| length.to_str().unwrap().to_owned()),
            ..Seen::default()
        };
        let n = *plan.requests.borrow();
        plan.requests.send_modify(|requests| *requests += 1);
        let is_refused = n < plan.refusals;
        let mut body = request.into_body();
        while !is_refused || seen.bytes < plan.after {
            match body.frame().await {
                Some(Ok(frame)) => seen.bytes += frame.into_data().unwrap().len(),
                Some(Err(_)) => break,
                None => {
                    seen.is_complete = true;
                    break;
                }
            }
        }
        plan.seen.lock().unwrap().push(seen);
        let mut response = Response::new(AxumBody::empty());
        if is_refused {
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            let hint = HeaderValue::from_static("1");
            response.headers_mut().insert("retry-after-ms", hint);
        }
        response
    }

    async fn serve_refusing(refusals: usize, after: usize) -> (String, Plan) {
        let plan = Plan {
            refusals,
            after,
            seen: Arc::default(),
            requests: watch::Sender::new(0),
        };
        let app = Router::new()
            .route("/", post(handle))
            .with_state(plan.clone());
        (serve(app).await, plan)
    }

    /// So many MiB, of which those after the first `before` are there once `requests` requests have arrived.
    fn upload(all: usize, before: usize, requests: usize, plan: &Plan) -> AxumBody {
        let arrived = plan.requests.subscribe();
        let chunks = (0..all * 16).map(move |n| {
            let mut arrived = arrived.clone();
            async move {
                if n >= before * 16 {
                    arrived.wait_for(|n| *n >= requests).await.unwrap();
                }
                Ok::<_, Infallible>(Bytes::from(vec![7; MIB / 16]))
            }
        });
        AxumBody::from_stream(stream::iter(chunks).then(|chunk| chunk))
    }

    async fn send(body: AxumBody, url: &str, max_bytes: usize) -> u16 {
        let client = ServiceBuilder::new()
            .layer(ReplayLayer::new().max_bytes(max_bytes))
            .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
            .service(Client::builder(TokioExecutor::new()).build_http());
        let request = Request::post(url).body(body).unwrap();
        let call = tokio::time::timeout(Duration::from_secs(120), client.oneshot(request));
        call.await.unwrap().unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn after_an_early_503_all_of_64_mib_arrive() {
        let (url, plan) = serve_refusing(1, MIB).await;
        let body = upload(64, 1, 2, &plan);
        assert_eq!(send(body, &url, 8 * MIB).await, 200);
        let seen = plan.seen.lock().unwrap();
        assert_eq!(seen.len(), 2);
        assert!(!seen[0].is_complete, "{seen:?}");
        assert!(seen[1].is_complete && seen[1].bytes == 64 * MIB, "{seen:?}");
        assert_eq!(seen[1].length, None);
    }

    #[tokio::test]
    async fn after_an_early_503_past_the_bound_the_caller_gets_it_at_once() {
        let (url, plan) = serve_refusing(1, 9 * MIB).await;
        let body = upload(64, 9, 2, &plan);
        assert_eq!(send(body, &url, 8 * MIB).await, 503);
        assert_eq!(*plan.requests.borrow(), 1);
    }

    #[tokio::test]
    async fn nothing_that_looks_complete_is_cut_however_the_connections_end() {
        // The server reads nothing and hangs up, while the client is writing: it gets an answer, or a broken pipe.
        let (url, plan) = serve_refusing(2, 0).await;
        let body = upload(64, 64, 0, &plan);
        assert_eq!(send(body, &url, 64 * MIB).await, 200);
        let seen = plan.seen.lock().unwrap();
        let complete: Vec<_> = seen.iter().filter(|seen| seen.is_complete).collect();
        assert_eq!(complete.len(), 1);
        assert_eq!(complete[0].bytes, 64 * MIB);
    }

    #[tokio::test]
    async fn a_length_that_is_known_is_sent_each_time() {
        let (url, plan) = serve_refusing(1, 3).await;
        let client = ServiceBuilder::new()
            .layer(ReplayLayer::new())
            .layer(RetryAfterBackoffLayer::new())
            .service(Client::builder(TokioExecutor::new()).build_http());
        let script = Script {
            tells_length: true,
            ..Script::of([data("abc"), data("defg")])
        };
        let request = Request::post(&url).body(script).unwrap();
        assert_eq!(client.oneshot(request).await.unwrap().status(), 200);
        let seen = plan.seen.lock().unwrap();
        let lengths: Vec<_> = seen.iter().map(|seen| seen.length.as_deref()).collect();
        assert_eq!(lengths, [Some("7"); 2]);
        assert_eq!((seen[1].bytes, seen[1].is_complete), (7, true));
    }

    fn chunks() -> reqwest::Body {
        reqwest::Body::wrap_stream(stream::iter(["ab", "c"].map(Ok::<_, Infallible>)))
    }

    #[tokio::test]
    async fn reqwest_sends_a_streamed_body_again() {
        let (url, plan) = serve_refusing(1, 2).await;
        let reqwest = reqwest_client();
        let client = ServiceBuilder::new()
            .layer(HttpRequestLayer::new())
            .layer(ReplayLayer::new())
            .layer(RetryAfterBackoffLayer::new())
            .service(HttpClient::new(reqwest.clone()));
        let request = reqwest.post(&url).body(chunks()).build().unwrap();
        let response: reqwest::Response = client.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.url().as_str(), url);
        assert_eq!(Attempts::of(&response).attempts(), 2);
        assert_eq!(plan.seen.lock().unwrap()[1].bytes, 3);
    }

    #[tokio::test]
    async fn so_does_reqwest_middleware() {
        let (url, plan) = serve_refusing(1, 2).await;
        let layers = ServiceBuilder::new()
            .layer(HttpRequestLayer::new())
            .layer(ReplayLayer::new())
            .layer(RetryAfterBackoffLayer::new())
            .layer(HttpClientLayer::new());
        let client = ClientBuilder::new(reqwest_client())
            .with(LayerMiddleware::new(layers))
            .build();
        let response = client.post(&url).body(chunks()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(plan.seen.lock().unwrap()[1].bytes, 3);
    }

    #[tokio::test]
    async fn a_url_that_reqwest_cannot_take_is_an_error_that_tells_nothing_of_it() {
        let client = HttpClient::new(reqwest_client());
        let request = Request::get("/s3cret").body(Empty::<Bytes>::new()).unwrap();
        let failed = client.oneshot(request).await.unwrap_err();
        assert!(failed.is::<InvalidUrl>());
        assert!(!format!("{failed} {failed:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_request_goes_to_http_and_back_as_it_was() {
        let inner = service_fn(async |request: reqwest::Request| Ok::<_, Infallible>(request));
        let there_and_back = ServiceBuilder::new()
            .layer(HttpRequestLayer::new())
            .layer(HttpClientLayer::new())
            .service(inner);
        let mut request = reqwest_client()
            .put("http://host:81/path?query")
            .header("key", "value")
            .timeout(Duration::from_secs(7))
            .build()
            .unwrap();
        *request.version_mut() = http::Version::HTTP_2;
        let back = there_and_back.oneshot(request).await.unwrap();
        assert_eq!(back.method(), http::Method::PUT);
        assert_eq!(back.url().as_str(), "http://host:81/path?query");
        assert_eq!(back.headers()["key"], "value");
        assert_eq!(back.timeout(), Some(&Duration::from_secs(7)));
        assert_eq!(back.version(), http::Version::HTTP_2);
        assert_eq!(back.body().and_then(reqwest::Body::as_bytes), Some(&[][..]));
    }
}
