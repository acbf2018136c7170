//! Services and bodies that behave badly, or need something.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_throttle::{BoxError, Outcome, StreamErrorLayer};

use super::{EVENTS, OVERLOADED, TOLD};
use crate::support::{poll_once, probe_of, subscribe};

/// Ends after some frames, and panics when it is polled once more.
struct Once {
    frames: Vec<Bytes>,
    ended: bool,
    /// What it says of its end before it is reached.
    lies: bool,
}

impl Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(!self.ended, "polled after its end");
        if self.frames.is_empty() {
            self.ended = true;
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(self.frames.remove(0)))))
    }

    fn is_end_stream(&self) -> bool {
        self.lies || self.ended
    }

    fn size_hint(&self) -> SizeHint {
        if self.lies {
            return SizeHint::with_exact(u64::MAX);
        }
        SizeHint::new()
    }
}

fn answer<B>(status: u16, body: B) -> Response<B> {
    let response = Response::builder()
        .status(status)
        .header("content-type", EVENTS);
    response.body(body).unwrap()
}

async fn through<B>(
    response: Response<B>,
) -> Response<tower_throttle::stream_errors::body::ResponseBody<B>>
where
    B: Body<Error: Into<BoxError>>,
{
    let mut response = Some(response);
    let service = StreamErrorLayer::new().layer(service_fn(move |()| {
        std::future::ready(Ok::<_, Infallible>(response.take().unwrap()))
    }));
    service.oneshot(()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_ended_is_not_asked_again() {
    for (status, text, expected) in [
        (200, OVERLOADED, 529),
        (200, ": \n\n", 200),
        (200, TOLD, 200),
        (503, "{}", 503),
    ] {
        let once = Once {
            frames: vec![text.into(), Bytes::new()],
            ended: false,
            lies: false,
        };
        let answer = through(answer(status, once)).await;
        assert_eq!(answer.status().as_u16(), expected);
        let read = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(read, text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_lies_about_its_end_and_length_does_no_harm() {
    for status in [200, 503] {
        let liar = Once {
            frames: vec![OVERLOADED.into()],
            ended: false,
            lies: true,
        };
        let answer = through(answer(status, liar)).await;
        assert_eq!(answer.status().as_u16(), status);
        let body = answer.into_body();
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(u64::MAX));
        // Who asks all the same gets what there is.
        assert_eq!(body.collect().await.unwrap().to_bytes(), OVERLOADED);
    }
}

/// Data in more pieces than one.
struct Pieces(Vec<Bytes>);

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.first().map_or(&[], |first| first)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        for (slice, piece) in slices.iter_mut().zip(&self.0) {
            *slice = std::io::IoSlice::new(piece);
        }
        slices.len().min(self.0.len())
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let part = count.min(self.0[0].len());
            self.0[0].advance(part);
            count -= part;
            if self.0[0].is_empty() {
                self.0.remove(0);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn data_in_pieces_is_read_as_far_as_it_can_be() {
    for (count, status) in [(1, 529), (2, 529), (16, 529), (40, 200)] {
        let size = OVERLOADED.len().div_ceil(count);
        let pieces = OVERLOADED.as_bytes().chunks(size);
        let data = Pieces(pieces.map(Bytes::copy_from_slice).collect());
        let body = http_body_util::Full::new(data);
        let answer = through(answer(200, body)).await;
        assert_eq!(answer.status().as_u16(), status, "{count}");
        let read = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(read, OVERLOADED);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_service_and_its_readiness_pass() {
    let failing = service_fn(async |()| Err::<Response<String>, _>(Outcome::ClientError));
    let error = StreamErrorLayer::new()
        .layer(failing)
        .oneshot(())
        .await
        .unwrap_err();
    assert_eq!(*error.downcast::<Outcome>().unwrap(), Outcome::ClientError);

    let probe = probe_of::<Request<()>>();
    let calls = probe.calls();
    let answering = probe.map_response(|_| Response::new(String::new()));
    let mut service = StreamErrorLayer::new().layer(answering);
    for _ in 0..2 {
        service
            .ready()
            .await
            .unwrap()
            .call(Request::new(()))
            .await
            .unwrap();
    }
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "inside")]
async fn a_panic_inside_is_passed_on() {
    struct Panics;

    impl Body for Panics {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("inside")
        }
    }

    through(answer(200, Panics)).await;
}

#[test]
fn what_is_at_hand_needs_no_timer() {
    // Outside of tokio.
    futures::executor::block_on(async {
        for (status, text) in [(200, OVERLOADED), (200, TOLD), (503, "{}"), (200, "")] {
            through(answer(status, text.to_owned())).await;
        }
        let layer = StreamErrorLayer::new().patience(Duration::ZERO);
        let answer = super::response(200, EVENTS, super::stalled([]));
        assert_eq!(super::diagnose(layer, answer).await.unwrap().status(), 200);
    });
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_while_nothing_is_known() {
    let waits = service_fn(async |()| {
        let body = super::stalled([super::piece(": \n\n")]);
        Ok::<_, Infallible>(answer(200, body))
    });
    let mut call = Box::pin(StreamErrorLayer::new().layer(waits).oneshot(()));
    assert!(poll_once(call.as_mut()).await.is_none());
    assert!(poll_once(call.as_mut()).await.is_none());
    assert_eq!(call.await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn one_event_tells_what_was_found_and_nothing_of_what_was_said() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = subscribe(subscriber);
    let secret = OVERLOADED.replace("Overloaded", "s3cret");
    for (status, text) in [
        (200, &*secret),
        (200, TOLD),
        (400, "s3cret"),
        (400, "content policy"),
    ] {
        through(answer(status, text.to_owned())).await;
    }
    drop(guard);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("status=529") && lines[0].contains("Overload"),
        "{text}"
    );
    assert!(
        lines[1].contains("status=400") && lines[1].contains("ContentPolicy"),
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
}

/// On the real clock, since a task that never sleeps keeps a paused one where it is.
#[tokio::test]
async fn a_body_that_uses_up_its_task_s_budget_is_held_back_no_longer() {
    let frames = futures::stream::unfold((), async |()| {
        loop {
            tokio::task::consume_budget().await;
            if false {
                return Some((Ok::<_, Infallible>(Frame::data(Bytes::new())), ()));
            }
        }
    });
    let body = http_body_util::StreamBody::new(Box::pin(frames));
    let mut body = Some(body);
    let open = service_fn(move |_: Request<()>| {
        let answer = answer(200, body.take().unwrap());
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let client = StreamErrorLayer::new()
        .patience(Duration::from_millis(20))
        .layer(open);
    let answer = client.oneshot(Request::new(()));
    let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
    assert_eq!(answer.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_there_is_found_by_a_task_that_has_used_up_its_budget() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let frames = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let body = http_body_util::StreamBody::new(frames);
    let mut answer = Some(answer(200, body));
    let open = service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(answer.take().unwrap()))
    });
    let call = StreamErrorLayer::new()
        .layer(open)
        .oneshot(Request::new(()));
    let mut call = std::pin::pin!(call);
    assert!(poll_once(call.as_mut()).await.is_none());
    let error = Frame::data(Bytes::from(OVERLOADED));
    sender.send(Ok::<_, Infallible>(error)).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    while poll_once(std::pin::pin!(tokio::task::consume_budget()))
        .await
        .is_some()
    {}
    assert_eq!(call.await.unwrap().status(), 529);
}
