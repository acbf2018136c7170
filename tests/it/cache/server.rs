//! A server whose every step the test decides on.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{mpsc, oneshot};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tower_throttle::{BoxError, CacheLayer, cache::body::ResponseBody};

use super::Req;

pub(crate) type Answered = Response<ResponseBody>;
pub(crate) type Client = BoxCloneSyncService<Req, Answered, BoxError>;
type Answer = Result<Response<Fed>, BoxError>;

/// A body that the test feeds.
#[derive(Debug)]
pub(crate) struct Fed {
    frames: mpsc::UnboundedReceiver<Result<Frame<Bytes>, BoxError>>,
    has_ended: bool,
}

/// Feeds a body. Dropping it ends the body.
#[derive(Debug)]
pub(crate) struct Feed(mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>);

/// A request that has arrived at the server.
pub(crate) struct Call {
    pub(crate) request: Req,
    answer: oneshot::Sender<Answer>,
}

pub(crate) struct Calls(mpsc::UnboundedReceiver<Call>);

pub(crate) fn server(layer: &CacheLayer) -> (Client, Calls) {
    let (server, calls) = plain();
    (BoxCloneSyncService::new(layer.layer(server)), calls)
}

/// The server without a cache.
pub(crate) fn plain() -> (BoxCloneSyncService<Req, Response<Fed>, BoxError>, Calls) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let server = tower::service_fn(move |request: Req| {
        let (answer, answered) = oneshot::channel();
        // When it is called, and not when it is polled.
        sender.send(Call { request, answer }).unwrap();
        async move { answered.await? }
    });
    (BoxCloneSyncService::new(server), Calls(receiver))
}

/// Lets the task that reads a body do what it can.
pub(crate) async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

/// Calls, and polls once.
pub(crate) async fn begin(client: &Client, request: Req) -> Begun {
    let mut future = call(client, request).await;
    assert!(crate::support::poll_once(&mut future).await.is_none());
    future
}

pub(crate) type Begun = Pin<Box<dyn Future<Output = Result<Answered, BoxError>> + Send>>;

/// Calls, and does not poll.
pub(crate) async fn call(client: &Client, request: Req) -> Begun {
    let mut client = client.clone();
    Box::pin(client.ready().await.unwrap().call(request))
}

pub(crate) fn body() -> (Feed, Fed) {
    let (sender, frames) = mpsc::unbounded_channel();
    let body = Fed {
        frames,
        has_ended: false,
    };
    (Feed(sender), body)
}

impl Calls {
    /// The next one, which must have arrived.
    pub(crate) fn next(&mut self) -> Call {
        self.0.try_recv().expect("nobody called")
    }

    pub(crate) fn count(&mut self) -> usize {
        std::iter::from_fn(|| self.0.try_recv().ok()).count()
    }

    /// All that have arrived.
    pub(crate) fn all(&mut self) -> Vec<Call> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

impl Call {
    /// Answers with a head, and a body to come.
    pub(crate) fn answer(self) -> Feed {
        self.answer_with(&[])
    }

    pub(crate) fn answer_with(self, headers: &[(&'static str, &'static str)]) -> Feed {
        let (feed, body) = body();
        let mut response = Response::new(body);
        for (name, value) in headers {
            response
                .headers_mut()
                .append(*name, http::HeaderValue::from_static(value));
        }
        self.answer.send(Ok(response)).ok();
        feed
    }

    pub(crate) fn status(self, status: u16) {
        let mut response = Response::new(body().1);
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        self.answer.send(Ok(response)).ok();
    }

    pub(crate) fn fail(self) {
        self.answer.send(Err("broken".into())).ok();
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.answer.is_closed()
    }
}

impl Feed {
    pub(crate) fn data(&self, data: impl Into<Bytes>) {
        self.0.send(Ok(Frame::data(data.into()))).ok();
    }

    pub(crate) fn trailers(&self, trailers: HeaderMap) {
        self.0.send(Ok(Frame::trailers(trailers))).ok();
    }

    pub(crate) fn fail(&self) {
        self.0.send(Err("cut".into())).ok();
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_dropped(&self) -> bool {
        self.0.is_closed()
    }
}

impl Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        assert!(!self.has_ended, "polled after its end");
        let frame = std::task::ready!(self.frames.poll_recv(cx));
        self.has_ended = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}
