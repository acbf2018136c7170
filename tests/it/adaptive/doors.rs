//! Over real sockets on loopback, in real time: what counts is what servers and clients do with bodies and connections.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, StatusCode},
    routing::get,
};
use futures::{StreamExt, future::join_all, stream};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tower::{ServiceBuilder, ServiceExt};
use tower_throttle::{
    ConcurrencyLayer, ConcurrencyLimiter,
    concurrency::{Adaptive, Priority},
};

use crate::{
    loopback::{reqwest_client, serve},
    support::ms,
};

#[tokio::test]
async fn an_overloaded_axum_server_sheds_what_would_only_wait_and_answers_health_checks() {
    let workers = Arc::new(Semaphore::new(4));
    let work = move || async move {
        let _worker = workers.acquire().await.unwrap();
        sleep(ms(20)).await;
        "done"
    };
    let layer = ConcurrencyLayer::adaptive(Adaptive::gradient().initial(60))
        .respond()
        .priority(|request: &Request<Body>| match request.uri().path() {
            "/health" => Priority::Critical,
            _ => Priority::High,
        });
    let app = Router::new()
        .route("/", get(work))
        .route("/health", get(|| async { "well" }))
        .layer(layer);
    let url = serve(app).await;
    let client = reqwest_client();
    let ends = Instant::now() + Duration::from_secs(3);
    let callers = (0..60).map(|_| async {
        let mut statuses = Vec::new();
        while Instant::now() < ends {
            let answer = client.get(&url).send().await.unwrap();
            statuses.push(answer.status());
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                sleep(ms(5)).await;
            }
        }
        statuses
    });
    let checks = async {
        while Instant::now() < ends {
            let answer = client.get(format!("{url}health")).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            sleep(ms(20)).await;
        }
    };
    let (statuses, ()) = tokio::join!(join_all(callers), checks);
    let shed = StatusCode::SERVICE_UNAVAILABLE;
    let is_shed = |status: &StatusCode| *status == shed;
    // As many callers as the limit was at first: nobody is refused unless it has come down.
    assert!(statuses.concat().iter().any(is_shed));
}

#[tokio::test]
async fn a_reqwest_client_learns_from_streams_and_from_refusals_and_counts_to_their_end() {
    let streams = || async {
        let frames = stream::iter([(10, "first"), (1_200, "last")]);
        let frames = frames.then(|(wait, text)| async move {
            sleep(ms(wait)).await;
            Ok::<_, std::io::Error>(Bytes::from_static(text.as_bytes()))
        });
        Body::from_stream(frames)
    };
    let app = Router::new()
        .route("/", get(streams))
        .route("/refuses", get(|| async { StatusCode::TOO_MANY_REQUESTS }));
    let url = serve(app).await;
    // Far above the first byte, and below the whole.
    let adaptive = Adaptive::aimd(ms(1_000)).initial(30).max(35);
    let limiter = ConcurrencyLimiter::adaptive(adaptive);
    let reqwest = reqwest_client();
    let client = ServiceBuilder::new()
        .layer(ConcurrencyLayer::from(limiter.clone()))
        .service(reqwest.clone());
    for _ in 0..3 {
        let calls = (0..limiter.limit()).map(|_| async {
            let request = reqwest.get(&url).build().unwrap();
            let mut answer = client.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
            assert!(limiter.in_flight() > 0);
            assert_eq!(answer.bytes().await.unwrap(), "last");
        });
        join_all(calls).await;
        assert_eq!(limiter.in_flight(), 0);
    }
    assert_eq!(limiter.limit(), 35);
    // A step down takes a round trip, which is longer where the machine is busy.
    for _ in 0..20 {
        sleep(ms(20)).await;
        let request = reqwest.get(format!("{url}refuses")).build().unwrap();
        let answer = client.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(limiter.limit() < 35);
}
