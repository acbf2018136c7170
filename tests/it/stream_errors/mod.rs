//! Errors of AI providers that come late, or badly labelled.

mod inside;
mod json;
mod late;
mod loopback;
mod refusals;
mod stacks;

use std::{convert::Infallible, io};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{BoxError, StreamErrorLayer, stream_errors::body::ResponseBody};

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Piece = Result<Frame<Bytes>, io::Error>;
type Answer = Result<Response<ResponseBody<Body>>, BoxError>;

const EVENTS: &str = "text/event-stream; charset=utf-8";

/// An error that no content comes before.
const OVERLOADED: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
const TOLD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";

fn piece(text: impl AsRef<[u8]>) -> Piece {
    Ok(Frame::data(Bytes::copy_from_slice(text.as_ref())))
}

fn broken() -> Piece {
    Err(io::Error::from(io::ErrorKind::Other))
}

/// A body of these pieces, and then the end.
fn body(pieces: impl IntoIterator<Item = Piece>) -> Body {
    let pieces: Vec<_> = pieces.into_iter().collect();
    BodyExt::boxed_unsync(StreamBody::new(stream::iter(pieces)))
}

/// A body of these pieces, and then silence.
fn stalled(pieces: impl IntoIterator<Item = Piece>) -> Body {
    let pieces: Vec<_> = pieces.into_iter().collect();
    BodyExt::boxed_unsync(StreamBody::new(
        stream::iter(pieces).chain(stream::pending()),
    ))
}

fn response(status: u16, media_type: &str, body: Body) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", media_type)
        .header("x-request-id", "7")
        .body(body)
        .unwrap()
}

/// What the layer makes of a response.
async fn diagnose(layer: StreamErrorLayer, response: Response<Body>) -> Answer {
    let mut response = Some(response);
    let service = layer.layer(service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(response.take().unwrap()))
    }));
    service.oneshot(Request::new(())).await
}

async fn text(body: ResponseBody<Body>) -> String {
    let bytes = body.collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
