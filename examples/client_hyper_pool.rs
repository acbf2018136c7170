//! The composable pool of hyper-util, with a stack of layers for each host:
//! `cargo run --example client_hyper_pool`.
//!
//! `pool::map` makes a service for each host when it is first asked for, and keeps it. The layers
//! around that service have limits of their own, with the numbers of the host.

use std::time::Duration;

use axum::{Router, routing::get};
use futures::future::try_join_all;
use http::{Request, Uri, uri::Authority};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::{
    client::{legacy::Client, pool},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, time::Instant};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_throttle::{
    BoxError, ConcurrencyLayer, Quota, RetryAfterBackoffLayer, SlidingWindowLayer,
};

/// Starts a host, and returns its address.
async fn host() -> Result<Authority, BoxError> {
    let app = Router::new().route("/", get(async || "hello"));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let authority = listener.local_addr()?.to_string().parse()?;
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(authority)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (strict, generous) = (host().await?, host().await?);

    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let quota_of = {
        let strict = strict.clone();
        move |host: Option<&Authority>| match host == Some(&strict) {
            true => Quota::new(2, Duration::from_secs(1)),
            false => Quota::new(20, Duration::from_secs(1)),
        }
    };
    let mut hosts = pool::map::Map::builder()
        .keys(|uri: &Uri| uri.authority().cloned())
        .values(move |uri: &Uri| {
            ServiceBuilder::new()
                .layer(RetryAfterBackoffLayer::new())
                .layer(ConcurrencyLayer::new(10))
                .layer(SlidingWindowLayer::new(quota_of(uri.authority())))
                .service(client.clone())
        })
        .build();

    let start = Instant::now();
    let mut calls = Vec::new();
    for authority in [&strict, &generous] {
        for _ in 0..5 {
            let uri: Uri = format!("http://{authority}/").parse()?;
            // Clones share the limits.
            let mut service = hosts.service(&uri).clone();
            calls.push(async move {
                let request = Request::get(uri.clone()).body(Empty::new())?;
                let response = service.ready().await?.call(request).await?;
                let status = response.status();
                response.into_body().collect().await?;
                Ok::<_, BoxError>((uri, status, start.elapsed()))
            });
        }
    }
    let mut last = [Duration::ZERO; 2];
    for (uri, status, elapsed) in try_join_all(calls).await? {
        println!("{:.1} s  {uri}  {status}", elapsed.as_secs_f32());
        let is_strict = uri.authority() == Some(&strict);
        let last = &mut last[usize::from(!is_strict)];
        *last = elapsed.max(*last);
    }
    // Five requests at two a second; five of twenty have room at once.
    assert!(last[0] >= Duration::from_millis(1_900) && last[1] < last[0]);
    Ok(())
}
