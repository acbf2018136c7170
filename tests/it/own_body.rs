//! A request whose own body fails, as where a proxy's caller hangs up, says nothing of the other side.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpListener, time::error::Elapsed};
use tower::{Layer, Service, ServiceExt};
use tower_throttle::{BoxError, Circuit, CircuitBreakerLayer, Outcome};

use crate::loopback::reqwest_client;

type Chunk = Result<Bytes, BoxError>;

/// Reads what it is sent to the end, and answers.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(async |request: Request<Incoming>| {
                request.into_body().collect().await.ok();
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
    address
}

async fn elapsed() -> Elapsed {
    let never = std::future::pending::<()>();
    let elapsed = tokio::time::timeout(Duration::ZERO, never).await;
    elapsed.unwrap_err()
}

/// A part of a body, and then this error.
fn breaks_off(error: BoxError) -> BoxStream<'static, Chunk> {
    let failure = stream::once(async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Err(error)
    });
    stream::iter([Ok(Bytes::from("part"))])
        .chain(failure)
        .boxed()
}

/// How many failures in a row open the circuits of these tests.
const FAILURES: u32 = 5;

/// As many of these in a row as open a circuit if they are failures.
async fn says_nothing<S, R>(client: S, request: impl AsyncFn() -> R)
where
    S: Service<R, Error: Into<BoxError>, Response: tower_throttle::ResponseHead> + Clone,
{
    let circuit = Circuit::new().failures(FAILURES);
    let client = CircuitBreakerLayer::from(circuit.clone()).layer(client);
    for _ in 0..FAILURES {
        let error = client.clone().oneshot(request().await).await.err().unwrap();
        assert_eq!(Outcome::of_error(&error), None, "{error:?}");
    }
    assert!(!circuit.is_open());
    for _ in 0..FAILURES {
        circuit.enter().unwrap().failed(None);
    }
    assert!(circuit.is_open(), "as many failures do");
}

#[tokio::test]
async fn a_body_that_breaks_off_opens_no_circuit_whatever_its_error() {
    let url = format!("http://{}/", server().await);
    let reqwest = reqwest_client();
    let hyper = Client::builder(TokioExecutor::new()).build_http();
    for kind in [
        Some(io::ErrorKind::UnexpectedEof),
        Some(io::ErrorKind::ConnectionRefused),
        None,
    ] {
        let body = async || {
            breaks_off(match kind {
                Some(kind) => io::Error::from(kind).into(),
                None => elapsed().await.into(),
            })
        };
        says_nothing(reqwest.clone(), async || {
            let body = reqwest::Body::wrap_stream(body().await);
            reqwest.post(&url).body(body).build().unwrap()
        })
        .await;
        says_nothing(hyper.clone(), async || {
            let frames = body().await.map(|chunk| chunk.map(Frame::data));
            let body = StreamBody::new(frames.boxed());
            Request::post(&url).body(body).unwrap()
        })
        .await;
    }
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_still_does() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let client = reqwest_client();
    let request = client.post(&url).body("whole").build().unwrap();
    let error = client.oneshot(request).await.unwrap_err().into();
    assert_eq!(Outcome::of_error(&error), Some(Outcome::NotSent));
}
