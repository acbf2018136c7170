//! Limits by caller over real sockets, in real time: what each of many callers gets, and whether the waits that are told are true.
#![allow(clippy::unwrap_used)]

mod thousand;
mod waits;

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt},
    net::TcpListener,
    time::Instant,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{Quota, TokenBucketLayer, key};

/// What the server saw of a request.
///
/// The limiter reads its clock between `before` and `after`, and all three are the same monotonic clock. So each check below takes
/// of the two instants the one that is sure, and needs no tolerance: not for the time between the decision and the handler, nor
/// for a thread that is put off between them.
#[derive(Debug, Clone, Copy)]
struct Seen {
    before: Instant,
    /// In the handler, or where it was refused, when the answer came.
    after: Instant,
    admitted: bool,
}

/// By caller, in the order in which they came: all requests of a caller are on one connection, and so one after the other.
type Log = Arc<Mutex<HashMap<u64, Vec<Seen>>>>;

async fn handle(_: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut response = Response::new(Empty::new());
    response.extensions_mut().insert(Instant::now());
    Ok(response)
}

/// A server with `quota` for each `x-caller`, and what it sees.
async fn serve(quota: Quota) -> (SocketAddr, Log) {
    let log = Log::default();
    let limit = TokenBucketLayer::new(quota)
        .per(key::Header::new("x-caller"))
        .respond();
    let (limited, book) = (limit.layer(service_fn(handle)), log.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (limited, book) = (limited.clone(), book.clone());
        async move {
            let caller = request.headers()["x-caller"].to_str().unwrap();
            let caller: u64 = caller.parse().unwrap();
            let before = Instant::now();
            let response = limited.oneshot(request).await?;
            let started = response.extensions().get().copied();
            let seen = Seen {
                before,
                after: started.unwrap_or_else(Instant::now),
                admitted: started.is_some(),
            };
            book.lock().unwrap().entry(caller).or_default().push(seen);
            Ok::<_, Infallible>(response)
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(
                http1::Builder::new()
                    .pipeline_flush(true)
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, log)
}

fn request(caller: u64) -> String {
    format!("GET / HTTP/1.1\r\nhost: loopback\r\nx-caller: {caller}\r\n\r\n")
}

/// The head of an answer, in small letters. The bodies are empty.
async fn answer(stream: &mut (impl AsyncBufRead + Unpin)) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).await.unwrap(), 0, "hung up");
    }
    head.to_ascii_lowercase()
}

fn is_admitted(head: &str) -> bool {
    match head.split(' ').nth(1) {
        Some("200") => true,
        Some("429") => false,
        _ => panic!("{head}"),
    }
}

/// Goes through what a caller did, beside a bucket that is full at an instant between `least` and `most`.
///
/// What is asserted of each admission is the same as that of no stretch of them, from `before` the first to `after` the last,
/// there are more than `burst + stretch / unit`. What is asserted of each refusal is that the unit was not there.
///
/// Returns how many were admitted until the last rejection, and how many the quota allowed until then: the burst, and what
/// refilled while the bucket was not full.
fn check(start: Instant, seen: &[Seen], unit: Duration, burst: u64) -> (u64, u64) {
    let nanos = |time: Instant| (time - start).as_nanos() as u64;
    let unit = unit.as_nanos() as u64;
    let ahead = (burst - 1) * unit;
    let first = nanos(seen[0].after);
    let (mut least, mut most, mut idle) = (0, 0, 0);
    let (mut admitted, mut until_refusal) = (0, (0, 0));
    for one in seen {
        let (before, after) = (nanos(one.before), nanos(one.after));
        if one.admitted {
            assert!(least <= after + ahead, "one too many: {seen:?}");
            if admitted > 0 {
                idle += after.saturating_sub(least);
            }
            least = least.max(before) + unit;
            most = most.max(after) + unit;
            admitted += 1;
        } else {
            assert!(most > before + ahead, "refused, though it fits: {seen:?}");
            let refilled = before.saturating_sub(first + idle) / unit;
            until_refusal = (admitted, burst + refilled);
        }
    }
    until_refusal
}
