//! The frameworks, over real sockets on loopback.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, http::StatusCode, routing::get};
use http::{Extensions, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use reqwest_middleware::{ClientBuilder, Error, Middleware, Next, RequestInitialiser};
use tokio::{net::TcpListener, time::Instant};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, timeout::TimeoutLayer};
use tower_throttle::{
    BoxError, ConcurrencyLayer, ConcurrencyLimiter, FallbackLayer, LayerMiddleware, Quota,
    Rejected, RetryAfterBackoffLayer, SlidingWindowLayer, TokenBucketLayer, predicate,
    retry::Attempts,
};

use crate::{
    loopback::{reqwest_client, serve},
    support::ms,
};

/// Refuses the first `refusals` requests, with a hint of a millisecond.
fn refusing(refusals: usize) -> Router {
    let seen = Arc::new(AtomicUsize::new(0));
    Router::new().route(
        "/",
        get(move || {
            let seen = seen.fetch_add(1, Ordering::Relaxed);
            async move {
                match seen < refusals {
                    true => (
                        StatusCode::TOO_MANY_REQUESTS,
                        [("retry-after-ms", "1")],
                        "no",
                    ),
                    false => (StatusCode::OK, [("content-type", "text/plain")], "yes"),
                }
            }
        }),
    )
}

// Real time: the claim is about a real client that reads a header and waits.
#[tokio::test]
async fn axum_answers_the_eleventh_of_ten_429_and_its_retry_after_is_true() {
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(SlidingWindowLayer::new(Quota::new(10, ms(3_000))).respond());
    let url = serve(app).await;
    let client = reqwest_client();
    for _ in 0..10 {
        assert_eq!(
            client.get(&url).send().await.unwrap().status(),
            StatusCode::OK
        );
    }
    let refused = client.get(&url).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let retry_after = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=3).contains(&retry_after), "{retry_after}");
    tokio::time::sleep(Duration::from_secs(retry_after)).await;
    assert_eq!(
        client.get(&url).send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn axum_takes_every_limiter_on_a_router_and_on_a_route_as_it_is() {
    let hello = || async { "hello" };
    // Two of them on a route go through a builder: axum can't infer the error in between, whatever the layers.
    let layers = ServiceBuilder::new()
        .layer(TokenBucketLayer::new(Quota::per_hour(3)).respond())
        .layer(ConcurrencyLayer::new(9).respond());
    let route = get(hello).layer(layers);
    let app = Router::new()
        .route("/limited", route)
        .route("/", get(hello))
        .layer(SlidingWindowLayer::new(Quota::per_hour(5)).respond())
        .layer(
            TokenBucketLayer::new(Quota::per_hour(9)).respond_with(|rejected| {
                Response::builder()
                    .status(418)
                    .body(Body::from(rejected.to_string()))
                    .unwrap()
            }),
        )
        .layer(ConcurrencyLayer::new(9).respond());
    let url = serve(app).await;
    let client = reqwest_client();
    let status = async |path: &str| {
        client
            .get(format!("{url}{path}"))
            .send()
            .await
            .unwrap()
            .status()
    };
    let mut seen = Vec::new();
    for path in ["limited"; 4].into_iter().chain([""; 6]) {
        seen.push(status(path).await.as_u16());
    }
    // Three by the route, then five by the router's window, then nine by the outer bucket.
    assert_eq!(seen, [200, 200, 200, 429, 200, 429, 429, 429, 429, 418]);
}

#[tokio::test]
async fn hyper_serves_through_the_layers_and_all_connections_share_the_limit() {
    let service = ServiceBuilder::new()
        .layer(ConcurrencyLayer::new(2).respond())
        .layer(TokenBucketLayer::new(Quota::per_hour(3)).respond())
        .service(service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
        }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(
            reqwest_client()
                .get(&url)
                .send()
                .await
                .unwrap()
                .status()
                .as_u16(),
        );
    }
    assert_eq!(seen, [200, 200, 200, 429]);
}

#[tokio::test]
async fn the_hyper_client_goes_through_all_of_them_and_a_streamed_answer_holds_its_slot() {
    let url = serve(refusing(1)).await;
    let limiter = ConcurrencyLimiter::new(1);
    let mut client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(ConcurrencyLayer::from(limiter.clone()))
        .layer(SlidingWindowLayer::new(Quota::per_minute(500)))
        .layer(TokenBucketLayer::new(Quota::per_minute(500)))
        .service(Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>());
    let request = Request::get(&url).body(Empty::new()).unwrap();
    let response = client.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(Attempts::of(&response).attempts(), 2);
    assert_eq!(limiter.in_flight(), 1);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "yes"
    );
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test]
async fn the_reqwest_client_goes_through_all_of_them_and_its_response_stays_whole() {
    let url = serve(refusing(1)).await;
    let limiter = ConcurrencyLimiter::new(1);
    let reqwest = reqwest_client();
    let mut client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(ConcurrencyLayer::from(limiter.clone()))
        .layer(
            SlidingWindowLayer::new(Quota::per_minute(500))
                .cost(|request: &reqwest::Request| request.url().path().len() as u64),
        )
        .layer(TokenBucketLayer::new(Quota::per_minute(500)))
        .service(reqwest.clone());
    let request = reqwest.get(&url).build().unwrap();
    let plain = reqwest.get(&url).send().await.unwrap();
    let response: reqwest::Response = client.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(plain.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.url().as_str(), url);
    assert_eq!(response.version(), plain.version());
    assert_eq!(response.remote_addr(), plain.remote_addr());
    assert_eq!(response.content_length(), Some(3));
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(limiter.in_flight(), 1);
    assert_eq!(response.text().await.unwrap(), "yes");
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test]
async fn a_refused_connection_of_reqwest_is_repeated_and_comes_out_as_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let reqwest = reqwest_client();
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    let mut client = ServiceBuilder::new()
        .layer(
            RetryAfterBackoffLayer::new()
                .attempts(3)
                .backoff(tower_throttle::retry::Backoff::new(ms(1), ms(2))),
        )
        .map_request(move |request: reqwest::Request| {
            counted.fetch_add(1, Ordering::Relaxed);
            request
        })
        .service(reqwest.clone());
    let request = reqwest.post(&url).body("once").build().unwrap();
    let error: BoxError = client
        .ready()
        .await
        .unwrap()
        .call(request)
        .await
        .unwrap_err();
    assert!(error.downcast_ref::<reqwest::Error>().unwrap().is_connect());
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
}

/// Counts what it sees in the extensions, and adds to it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Trail(Vec<&'static str>);

struct Mark(&'static str);

#[async_trait::async_trait]
impl Middleware for Mark {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        extensions.get_or_insert_default::<Trail>().0.push(self.0);
        let mut response = next.run(request, extensions).await?;
        // What the middleware further in has left there.
        let trail = extensions.get::<Trail>().cloned().unwrap_or_default();
        response.extensions_mut().insert(trail);
        Ok(response)
    }
}

/// A middleware of somebody else's that repeats what failed once.
struct OnceMore;

#[async_trait::async_trait]
impl Middleware for OnceMore {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let again = request.try_clone().unwrap();
        let response = next.clone().run(request, extensions).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        next.run(again, extensions).await
    }
}

struct Init;

impl RequestInitialiser for Init {
    fn init(
        &self,
        request: reqwest_middleware::RequestBuilder,
    ) -> reqwest_middleware::RequestBuilder {
        request.with_extension(Trail(vec!["init"]))
    }
}

#[tokio::test]
async fn reqwest_middleware_keeps_its_extensions_at_every_attempt_and_afterwards() {
    let url = serve(refusing(1)).await;
    let layers = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(ConcurrencyLayer::new(1))
        .layer(TokenBucketLayer::new(Quota::per_minute(500)));
    let client = ClientBuilder::new(reqwest_client())
        .with_init(Init)
        .with(Mark("outside"))
        .with(LayerMiddleware::new(layers))
        .with(Mark("inside"))
        .build();
    let response = client.get(&url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(Attempts::of(&response).attempts(), 2);
    // The outer mark reads it last, after both attempts.
    let trail: &Trail = response.extensions().get().unwrap();
    assert_eq!(trail.0, ["init", "outside", "inside", "inside"]);
}

#[tokio::test]
async fn retries_of_other_middleware_go_through_on_either_side() {
    for outside in [true, false] {
        let url = serve(refusing(1)).await;
        let bucket = TokenBucketLayer::new(Quota::per_hour(9));
        let limiter = bucket.limiter().clone();
        let builder = ClientBuilder::new(reqwest_client());
        let client = if outside {
            builder.with(OnceMore).with(LayerMiddleware::new(bucket))
        } else {
            builder.with(LayerMiddleware::new(bucket)).with(OnceMore)
        };
        let response = client.build().get(&url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        // Outside, each attempt took from the bucket.
        let left = std::iter::from_fn(|| limiter.try_acquire(1).is_ok().then_some(())).count();
        assert_eq!(left, if outside { 7 } else { 8 });
    }
}

#[tokio::test]
async fn reqwest_middleware_shares_one_limit_among_requests_and_clients_and_tells_a_refusal() {
    let url = serve(refusing(0)).await;
    let bucket = TokenBucketLayer::new(Quota::per_hour(2)).max_wait(Duration::ZERO);
    let client = || {
        ClientBuilder::new(reqwest_client())
            .with(LayerMiddleware::new(bucket.clone()))
            .build()
    };
    let (one, other) = (client(), client());
    one.get(&url).send().await.unwrap();
    other.get(&url).send().await.unwrap();
    let Err(Error::Middleware(error)) = one.get(&url).send().await else {
        panic!("not refused")
    };
    assert!(
        error
            .downcast_ref::<Rejected>()
            .unwrap()
            .retry_after()
            .is_some()
    );
}

#[tokio::test]
async fn reqwest_middleware_lets_errors_from_inside_out_as_they_were() {
    let layer = || LayerMiddleware::new(ConcurrencyLayer::new(1));
    let client = ClientBuilder::new(reqwest_client()).with(layer()).build();
    let error = client.get("http://127.0.0.1:1/").send().await.unwrap_err();
    assert!(matches!(error, Error::Reqwest(error) if error.is_connect()));

    struct Broken;
    #[async_trait::async_trait]
    impl Middleware for Broken {
        async fn handle(
            &self,
            _: reqwest::Request,
            _: &mut Extensions,
            _: Next<'_>,
        ) -> reqwest_middleware::Result<reqwest::Response> {
            Err(Error::Middleware(anyhow::anyhow!("broken inside")))
        }
    }
    let client = ClientBuilder::new(reqwest_client())
        .with(layer())
        .with(Broken)
        .build();
    let error = client.get("http://127.0.0.1:1/").send().await.unwrap_err();
    assert_eq!(error.to_string(), "broken inside");
}

#[tokio::test]
async fn a_layer_sees_the_refusal_of_another_middleware_further_in() {
    let url = serve(refusing(0)).await;
    let spare = service_fn(async |_: reqwest::Request| {
        Ok::<_, Infallible>(reqwest::Response::from(http::Response::new("spare")))
    });
    let full = TokenBucketLayer::new(Quota::per_second(0));
    let client = ClientBuilder::new(reqwest_client())
        .with(LayerMiddleware::new(
            FallbackLayer::new(spare).when(predicate::rejected()),
        ))
        .with(Mark("between"))
        .with(LayerMiddleware::new(full))
        .build();
    let response = client.get(&url).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "spare");
}

#[tokio::test]
async fn a_request_that_a_layer_gives_up_half_way_gives_the_extensions_back() {
    struct Watch(Arc<std::sync::Mutex<Option<Trail>>>);
    #[async_trait::async_trait]
    impl Middleware for Watch {
        async fn handle(
            &self,
            request: reqwest::Request,
            extensions: &mut Extensions,
            next: Next<'_>,
        ) -> reqwest_middleware::Result<reqwest::Response> {
            let result = next.run(request, extensions).await;
            *self.0.lock().unwrap() = extensions.get::<Trail>().cloned();
            result
        }
    }
    let app = Router::new().route("/", get(std::future::pending::<&'static str>));
    let url = serve(app).await;
    let seen = Arc::default();
    let client = ClientBuilder::new(reqwest_client())
        .with(Watch(Arc::clone(&seen)))
        .with(Mark("outside"))
        .with(LayerMiddleware::new(TimeoutLayer::new(ms(50))))
        .with(Mark("inside"))
        .build();
    let start = Instant::now();
    let error = client.get(&url).send().await.unwrap_err();
    assert!(start.elapsed() >= ms(50));
    let Error::Middleware(error) = error else {
        panic!("{error}")
    };
    assert!(
        error
            .chain()
            .any(|cause| cause.is::<tower::timeout::error::Elapsed>())
    );
    let trail = seen.lock().unwrap().clone().unwrap();
    assert_eq!(trail.0, ["outside", "inside"]);
}

/// A server that hangs up on `connections` connections and then answers.
async fn hanging_up(connections: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request).await;
            if counted.fetch_add(1, Ordering::Relaxed) >= connections {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer).await;
            }
        }
    });
    (url, seen)
}

#[tokio::test]
async fn a_connection_of_hypers_that_broke_is_repeated_where_that_does_no_harm() {
    for (method, answered) in [(http::Method::GET, true), (http::Method::POST, false)] {
        let (url, seen) = hanging_up(1).await;
        let mut client = ServiceBuilder::new()
            .layer(RetryAfterBackoffLayer::new())
            .service(Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>());
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .body(Empty::new())
            .unwrap();
        let result = client.ready().await.unwrap().call(request).await;
        assert_eq!(result.is_ok(), answered, "{result:?}");
        assert_eq!(seen.load(Ordering::Relaxed), if answered { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_host_that_hyper_does_not_find_was_not_sent_to() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    let backoff = tower_throttle::retry::Backoff::new(ms(1), ms(1));
    let mut client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new().attempts(3).backoff(backoff))
        .map_request(move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            request
        })
        .service(Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>());
    let request = Request::post("http://nowhere.invalid/")
        .body(Empty::new())
        .unwrap();
    client
        .ready()
        .await
        .unwrap()
        .call(request)
        .await
        .unwrap_err();
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_proxy_passes_on_what_it_received_through_the_layers() {
    let url = serve(refusing(0)).await;
    let upstream = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(ConcurrencyLayer::new(4))
        .service(Client::builder(TokioExecutor::new()).build_http::<Incoming>());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = ServiceBuilder::new()
            .map_request(move |mut request: Request<Incoming>| {
                *request.uri_mut() = url.parse().unwrap();
                request
            })
            .service(upstream);
        let http = hyper::server::conn::http1::Builder::new();
        http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .await
    });
    let response = reqwest_client().get(&proxy).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "yes");
}

#[tokio::test]
async fn a_fallback_around_a_client_with_middleware_sees_the_refusal_inside() {
    let url = serve(refusing(0)).await;
    let reqwest = reqwest_client();
    let full = TokenBucketLayer::new(Quota::per_second(0));
    let client = ClientBuilder::new(reqwest.clone())
        .with(LayerMiddleware::new(full))
        .build();
    let spare = service_fn(async |_: reqwest::Request| {
        Ok::<_, Infallible>(reqwest::Response::from(http::Response::new("spare")))
    });
    let mut service = ServiceBuilder::new()
        .layer(FallbackLayer::new(spare).when(predicate::rejected()))
        .service(client);
    let request = reqwest.get(&url).build().unwrap();
    let response = service.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "spare");
}
