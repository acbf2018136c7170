//! What clients do if a connection is not made, or an HTTP/2 server resets a stream.

use std::{
    collections::VecDeque,
    error::Error,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener as StdListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{Empty, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_throttle::{
    BoxError, CircuitBreakerLayer, Outcome, ResponseHead, RetryAfterBackoffLayer, retry::Backoff,
};

use crate::{
    loopback::{reqwest_builder, reqwest_client},
    support::ms,
};

const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What an HTTP/2 server does with a stream.
#[derive(Debug, Clone, Copy)]
enum Reply {
    Ok,
    Reset(u32),
    /// The last stream that was processed is the one before this one.
    GoAwayBefore,
    /// The stream was processed, and the connection is closed before its response.
    GoAwayAfter,
    Never,
}

/// An HTTP/2 server that replies as listed, then with 200, and counts streams.
async fn http2(replies: impl IntoIterator<Item = Reply>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
    let streams = Arc::new(AtomicUsize::new(0));
    let counted = streams.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (replies, counted) = (replies.clone(), counted.clone());
            tokio::spawn(async move { http2_connection(stream, &replies, &counted).await });
        }
    });
    (address, streams)
}

async fn http2_connection(
    mut stream: TcpStream,
    replies: &Mutex<VecDeque<Reply>>,
    streams: &AtomicUsize,
) -> io::Result<()> {
    const SETTINGS: u8 = 4;
    stream.read_exact(&mut [0; 24]).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        let id = u32::from_be_bytes(id);
        match kind {
            SETTINGS if flags == 0 => stream.write_all(&frame(SETTINGS, 1, 0, &[])).await?,
            1 => {
                streams.fetch_add(1, Ordering::Relaxed);
                let reply = replies.lock().unwrap().pop_front().unwrap_or(Reply::Ok);
                let last = |id: u32| [id.to_be_bytes(), [0; 4]].concat();
                let frame = match reply {
                    // The first entry of HPACK's table from 8 on is `:status: 200`.
                    Reply::Ok => frame(1, 5, id, &[0x88]),
                    Reply::Reset(code) => frame(3, 0, id, &code.to_be_bytes()),
                    Reply::GoAwayBefore => frame(7, 0, 0, &last(id.saturating_sub(2))),
                    Reply::GoAwayAfter => frame(7, 0, 0, &last(id)),
                    Reply::Never => continue,
                };
                stream.write_all(&frame).await?;
                if let Reply::GoAwayAfter = reply {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

fn retry() -> RetryAfterBackoffLayer {
    RetryAfterBackoffLayer::new()
        .attempts(3)
        .backoff(Backoff::new(ms(1), ms(1)))
}

/// Returns the outcome after all attempts (200 is a success), and their number.
async fn attempts<S, R>(client: S, request: R) -> (Option<Outcome>, usize)
where
    S: Service<R, Response: ResponseHead, Error: Into<BoxError>> + Clone,
    R: tower_throttle::RequestHead + tower_throttle::TryClone,
{
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let client = ServiceBuilder::new()
        .layer(retry())
        .map_request(move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            request
        })
        .service(client);
    let result = client.oneshot(request).await;
    let outcome = Outcome::of(result.as_ref());
    (outcome, sent.load(Ordering::Relaxed))
}

fn hyper_http2() -> Client<hyper_util::client::legacy::connect::HttpConnector, Empty<Bytes>> {
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}

fn request(method: &Method, url: &str) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(method).uri(url);
    request.body(Empty::new()).unwrap()
}

#[tokio::test]
async fn an_unprocessed_stream_is_sent_again() {
    for reply in [Reply::Reset(REFUSED_STREAM), Reply::GoAwayBefore] {
        for method in [Method::GET, Method::POST] {
            let (address, streams) = http2([reply]).await;
            let url = format!("http://{address}/");
            let result = attempts(hyper_http2(), request(&method, &url)).await;
            assert_eq!(result, (Some(Outcome::Success), 2), "{reply:?} {method}");
            assert_eq!(streams.load(Ordering::Relaxed), 2);

            let (address, _) = http2([reply]).await;
            let client = reqwest_builder()
                .retry(reqwest::retry::never())
                .http2_prior_knowledge()
                .build()
                .unwrap();
            let url = format!("http://{address}/");
            let request = client.request(method.clone(), &url).build().unwrap();
            let result = attempts(client, request).await;
            assert_eq!(result, (Some(Outcome::Success), 2), "{reply:?} {method}");
        }
    }
}

#[tokio::test]
async fn refused_streams_count_as_attempts() {
    let (address, streams) = http2([Reply::Reset(REFUSED_STREAM); 9]).await;
    let request = request(&Method::POST, &format!("http://{address}/"));
    let result = attempts(hyper_http2(), request).await;
    assert_eq!(result, (Some(Outcome::NotSent), 3));
    assert_eq!(streams.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn other_resets_are_retried_if_idempotent() {
    // NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, CANCEL, CONNECT_ERROR, HTTP_1_1_REQUIRED, and an
    // unknown code.
    let resets = [0, 1, 2, 8, 10, 13, 99].map(|code| (Reply::Reset(code), Outcome::Interrupted));
    let calm = (Reply::Reset(ENHANCE_YOUR_CALM), Outcome::RateLimited);
    let closed = (Reply::GoAwayAfter, Outcome::Interrupted);
    for (reply, outcome) in resets.into_iter().chain([calm, closed]) {
        let (address, _) = http2([reply]).await;
        let url = format!("http://{address}/");
        let result = attempts(hyper_http2(), request(&Method::GET, &url)).await;
        assert_eq!(result, (Some(Outcome::Success), 2), "{reply:?}");

        let (address, _) = http2([reply]).await;
        let url = format!("http://{address}/");
        let result = attempts(hyper_http2(), request(&Method::POST, &url)).await;
        assert_eq!(result, (Some(outcome), 1), "{reply:?}");
    }
    let (address, _) = http2([Reply::Reset(12)]).await;
    let url = format!("http://{address}/");
    let result = attempts(hyper_http2(), request(&Method::GET, &url)).await;
    assert_eq!(result, (Some(Outcome::ClientError), 1));
}

#[tokio::test]
async fn refused_streams_open_a_circuit() {
    let (address, _) = http2([Reply::Reset(REFUSED_STREAM); 9]).await;
    let url = format!("http://{address}/");
    let layer = CircuitBreakerLayer::new();
    let client = ServiceBuilder::new().layer(&layer).service(hyper_http2());
    for _ in 0..6 {
        let request = request(&Method::GET, &url);
        client.clone().oneshot(request).await.unwrap_err();
    }
    assert!(layer.circuit().is_open());
}

#[tokio::test]
async fn a_failed_body_says_nothing_over_http2() {
    let (address, _) = http2([Reply::Never]).await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let frames = futures::stream::iter([Err::<Frame<Bytes>, _>(io::Error::from(
        io::ErrorKind::ConnectionRefused,
    ))]);
    let body = StreamBody::new(frames.boxed());
    let request = Request::post(format!("http://{address}/"))
        .body(body)
        .unwrap();
    let error = client.request(request).await.unwrap_err().into();
    assert_eq!(Outcome::of_error(&error), None, "{error:?}");
}

// ===== connections =====

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUfh32jp1QcYBez+HOr7Gwoxy82dswCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyOTEwNDIyMFoYDzIxMjYxMTA1
MTA0MjIwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARSbfm04gpBTs+zb4qRzZJ5LnXXoDU/oWl+wiN8gzlhMf0PhTLk3Ij5
U3VOcvQQxGnxJh8cRIV7EnKs6nR98JMJo28wbTAdBgNVHQ4EFgQUZsDJScV3N+7e
b0mf30lCTd0eqT0wHwYDVR0jBBgwFoAUZsDJScV3N+7eb0mf30lCTd0eqT0wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhAJTfLBSUUmJW/F9cjKKCvvuNJNtbiOxyXBtMdyZ6gaioAiEA
oxKsrds2wpX+cOwHFsUvmwAj0jGMTodzz2qKRgKYDeQ=
-----END CERTIFICATE-----";

/// The key of that certificate, which nobody trusts.
const KEY: &[u8] = b"-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGeoAhcP6sP123F5G
kDNX1kdENEWvVK3dWk9n2uobm4+hRANCAARSbfm04gpBTs+zb4qRzZJ5LnXXoDU/
oWl+wiN8gzlhMf0PhTLk3Ij5U3VOcvQQxGnxJh8cRIV7EnKs6nR98JMJ
-----END PRIVATE KEY-----";

/// A server that handles each connection on its own thread.
fn blocking(handle: impl Fn(std::net::TcpStream) + Send + 'static) -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(handle));
    address
}

async fn https_attempts(client: &reqwest::Client, url: &str) -> (Option<Outcome>, usize) {
    let request = client.post(url).body("whole").build().unwrap();
    attempts(client.clone(), request).await
}

#[tokio::test]
async fn a_failing_certificate_is_one_attempt() {
    let client = reqwest_client();
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let unknown = blocking(move |mut stream| {
        let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
        tls.complete_io(&mut stream).ok();
    });
    // The alert `handshake_failure`: no version or cipher in common.
    let no_version = blocking(|mut stream| {
        // A socket that closes with unread bytes resets the connection.
        stream.read(&mut [0; 4096]).ok();
        stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).ok();
    });
    let plain = blocking(|mut stream| {
        stream.read(&mut [0; 4096]).ok();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
    });
    for address in [unknown, no_version, plain] {
        let result = https_attempts(&client, &format!("https://{address}/")).await;
        assert_eq!(result, (Some(Outcome::NotSent), 1));
    }
}

#[tokio::test]
async fn a_connection_that_may_succeed_is_retried() {
    let client = reqwest_client();
    let hangs_up = blocking(drop);
    let result = https_attempts(&client, &format!("https://{hangs_up}/")).await;
    assert_eq!(result, (Some(Outcome::NotSent), 3));
    for url in ["http://127.0.0.1:1/", "http://nowhere.invalid/"] {
        let result = https_attempts(&client, url).await;
        assert_eq!(result, (Some(Outcome::NotSent), 3), "{url}");
    }
    let silent = StdListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let client = reqwest_builder().connect_timeout(Duration::from_millis(30));
    let result = https_attempts(&client.build().unwrap(), &url).await;
    assert_eq!(result, (Some(Outcome::NotSent), 3));
}

#[tokio::test]
async fn a_wrong_scheme_is_one_attempt() {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let result = attempts(client, request(&Method::GET, "https://localhost/")).await;
    assert_eq!(result, (Some(Outcome::NotSent), 1));
    // HTTP to a port that expects TLS: the response is not HTTP.
    let tls = blocking(|mut stream| {
        stream.read(&mut [0; 4096]).ok();
        stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).ok();
    });
    let client = Client::builder(TokioExecutor::new()).build_http();
    let result = attempts(client, request(&Method::GET, &format!("http://{tls}/"))).await;
    assert_eq!(result.1, 1);
}

#[tokio::test]
async fn a_connector_may_fail_for_a_while() {
    #[derive(Debug)]
    struct Full(Option<io::Error>);
    impl std::fmt::Display for Full {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no connection")
        }
    }
    impl Error for Full {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.0.as_ref().map(|error| error as _)
        }
    }
    let of = |kind: io::ErrorKind| Some(Full(Some(kind.into())));
    for (error, expected) in [
        (of(io::ErrorKind::ConnectionRefused), 3),
        (of(io::ErrorKind::Other), 3),
        (of(io::ErrorKind::InvalidData), 1),
        (Some(Full(None)), 3),
        (None, 3),
    ] {
        let kind = error.map(|error| error.0.map(|error| error.kind()));
        let connector = tower::service_fn(move |_: http::Uri| {
            Box::pin(async move {
                let error: BoxError = match kind {
                    Some(kind) => Full(kind.map(Into::into)).into(),
                    None => tower::timeout::error::Elapsed::new().into(),
                };
                Err::<hyper_util::rt::TokioIo<TcpStream>, _>(error)
            })
        });
        let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
        let result = attempts(client, request(&Method::POST, "http://localhost/")).await;
        assert_eq!(result, (Some(Outcome::NotSent), expected), "{kind:?}");
    }
}
