//! The Fallback layer.

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use tokio::time::{sleep, timeout};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt,
    limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer},
    service_fn,
    util::BoxCloneService,
};
use tower_throttle::{
    BoxError, ConcurrencyLayer, ConcurrencyLimiter, FallbackLayer, Quota, Rejected,
    SlidingWindowLayer, TokenBucketLayer, TryClone,
    fallback::{
        AnsweredBy, AnyResponse, Fallback,
        backup::{BackupFuture, BackupService, Value},
        future::ResponseFuture,
    },
    predicate,
};

use crate::{
    loopback::{reqwest_client, serve},
    support::{Listening, ms, poll_once, probe, probe_of, start},
};

type Req = Request<String>;
type Res = Response<String>;

#[derive(Debug)]
struct Broken(&'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

/// An error whose source is another one.
#[derive(Debug)]
struct Around(BoxError);

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("around")
    }
}

impl std::error::Error for Around {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// A request that never can be cloned.
#[derive(Debug, PartialEq)]
struct OneOff(u32);

impl TryClone for OneOff {
    fn try_clone(&self) -> Option<Self> {
        None
    }
}

fn response(status: u16, body: impl Into<String>) -> Res {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// Answers with a status, and in the body with its name and the request's body.
fn answers(
    status: u16,
    name: &'static str,
) -> impl Service<Req, Response = Res, Error = Infallible, Future = Ready<Result<Res, Infallible>>>
+ Clone
+ Send {
    service_fn(move |request: Req| {
        let body = format!("{name} got {}", request.body());
        ready(Ok(response(status, body)))
    })
}

fn fails(
    message: &'static str,
) -> impl Service<Req, Response = Res, Error = Broken, Future = Ready<Result<Res, Broken>>> + Clone + Send
{
    service_fn(move |_: Req| ready(Err(Broken(message))))
}

fn request(body: &str) -> Req {
    Request::new(body.to_owned())
}

#[tokio::test(start_paused = true)]
async fn unless_told_it_answers_for_errors_and_the_statuses_of_trouble() {
    let layer = FallbackLayer::new(answers(200, "backup"));
    for status in 100..1_000 {
        let primary = answers(status, "primary");
        let answer = layer.layer(primary).oneshot(request("hi")).await.unwrap();
        let expected = match status {
            408 | 421 | 424 | 425 | 429 | 498 | 500 | 502..=504 | 520..=524 | 527 | 529 | 530 => {
                "backup got hi"
            }
            _ => "primary got hi",
        };
        assert_eq!(answer.body(), expected, "{status}");
    }
    let answer = layer.layer(fails("no")).oneshot(request("hi")).await;
    assert_eq!(answer.unwrap().body(), "backup got hi");
    for (status, hint, expected) in [
        (403, "5", "backup got hi"),
        (413, "5", "backup got hi"),
        (403, "soon", "primary"),
        (404, "5", "primary"),
    ] {
        let primary = service_fn(move |_: Req| async move {
            let mut response = response(status, "primary");
            response
                .headers_mut()
                .insert("retry-after", hint.parse().unwrap());
            Ok::<_, BoxError>(response)
        });
        let answer = layer.layer(primary).oneshot(request("hi")).await.unwrap();
        assert_eq!(answer.body(), expected, "{status} {hint}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_backup_sees_the_mapped_request_and_the_primary_the_original() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let spy = |name: &'static str, status: u16| {
        let seen = seen.clone();
        service_fn(move |request: Req| {
            let (parts, body) = request.into_parts();
            let key = parts.headers["x-key"].to_str().unwrap().to_owned();
            let uri = parts.uri.to_string();
            seen.lock()
                .unwrap()
                .push((name, parts.method, uri, key, body));
            ready(Ok::<_, Infallible>(response(status, "")))
        })
    };
    let second = FallbackLayer::new(spy("second", 503)).map_request(|mut request: Req| {
        *request.uri_mut() = "http://second/".parse().unwrap();
        request
            .headers_mut()
            .insert("x-key", "two".parse().unwrap());
        request.map(|body| body.replace("large", "small"))
    });
    let third = FallbackLayer::new(spy("third", 503))
        .map_request(|request: Req| request.map(|body| body + " again"));
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(spy("fourth", 200)))
        .layer(third)
        .layer(second)
        .service(spy("first", 500));
    let request = Request::post("http://first/")
        .header("x-key", "one")
        .body("large".to_owned())
        .unwrap();
    client.oneshot(request).await.unwrap();
    let seen = seen.lock().unwrap();
    let expected = [
        ("first", "http://first/", "one", "large"),
        ("second", "http://second/", "two", "small"),
        ("third", "http://first/", "one", "large again"),
        ("fourth", "http://first/", "one", "large"),
    ];
    for (seen, (name, uri, key, body)) in seen.iter().zip(expected) {
        let expected = (
            name,
            http::Method::POST,
            uri.into(),
            key.into(),
            body.into(),
        );
        assert_eq!(*seen, expected);
    }
    assert_eq!(seen.len(), expected.len());
}

#[tokio::test(start_paused = true)]
async fn the_map_is_not_called_unless_its_backup_is() {
    let client = FallbackLayer::new(answers(200, "backup"))
        .map_request(|_: Req| panic!("mapped"))
        .layer(answers(200, "primary"));
    client.oneshot(request("hi")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_the_request_cannot_be_cloned_the_primarys_outcome_passes_unchanged() {
    let backup = service_fn(async |_: OneOff| -> Result<Res, Broken> { panic!("called") });
    let layer = FallbackLayer::new(backup);
    let refuses = service_fn(async |request: OneOff| {
        assert_eq!(request, OneOff(7));
        Ok::<_, Infallible>(response(503, "busy"))
    });
    let answer = layer.layer(refuses).oneshot(OneOff(7)).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.body(), "busy");
    assert!(AnsweredBy::of(&answer).is_primary());
    let broken = service_fn(async |_: OneOff| Err::<Res, _>(Broken("no")));
    let error = layer.layer(broken).oneshot(OneOff(7)).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Broken>().unwrap().0, "no");
}

#[tokio::test(start_paused = true)]
async fn a_streamed_body_passes_to_the_primary_unchanged() {
    type Stream = BoxBody<bytes::Bytes, Infallible>;
    let frames = futures::stream::iter(["a", "b"])
        .map(|part| Ok::<_, Infallible>(http_body::Frame::data(bytes::Bytes::from(part))));
    let body = Streamed(BodyExt::boxed(StreamBody::new(frames)));
    struct Streamed(Stream);
    impl TryClone for Streamed {
        fn try_clone(&self) -> Option<Self> {
            None
        }
    }
    use futures::StreamExt as _;
    let echo = service_fn(async |request: Request<Streamed>| {
        let bytes = request.into_body().0.collect().await?.to_bytes();
        Ok::<_, Infallible>(Response::new(Full::new(bytes)))
    });
    let answer = FallbackLayer::new(echo)
        .layer(echo)
        .oneshot(Request::new(body));
    let bytes = answer.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(bytes.to_bytes(), "ab");
}

#[tokio::test(start_paused = true)]
async fn a_value_responds_if_the_request_cannot_be_cloned() {
    let backup = service_fn(async |_: OneOff| -> Result<Res, Broken> { panic!("called") });
    let broken = service_fn(async |_: OneOff| Err::<Res, _>(Broken("no")));
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::value(response(200, "sorry")).named("apology"))
        .layer(FallbackLayer::new(backup).named("backup"))
        .service(broken);
    let answer = client.oneshot(OneOff(1)).await.unwrap();
    assert_eq!(answer.body(), "sorry");
    assert_eq!(AnsweredBy::of(&answer).name(), Some("apology"));
}

#[tokio::test(start_paused = true)]
async fn values_and_closures_ask_nothing_of_the_request() {
    /// Not `TryClone`.
    struct Opaque;
    let broken = service_fn(async |_: Opaque| Err::<Res, _>(Broken("no")));
    let client = FallbackLayer::value(response(200, "sorry")).layer(broken);
    assert_eq!(client.oneshot(Opaque).await.unwrap().body(), "sorry");
    let busy = service_fn(async |_: Opaque| Ok::<_, Infallible>(response(503, "busy")));
    let client = FallbackLayer::from_fn(|failure: Result<Res, BoxError>| {
        failure.unwrap().map(|body| body + ", sorry")
    })
    .layer(busy);
    let answer = client.oneshot(Opaque).await.unwrap();
    assert_eq!(answer.body(), "busy, sorry");
    assert_eq!(answer.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn where_all_fail_the_last_outcome_is_what_the_caller_gets() {
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(answers(502, "third")).named("third"))
        .layer(FallbackLayer::new(fails("second")).named("second"))
        .service(fails("first"));
    let answer = client.oneshot(request("hi")).await.unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(AnsweredBy::of(&answer).name(), Some("third"));
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(fails("third")))
        .layer(FallbackLayer::new(answers(503, "second")))
        .service(answers(500, "first"));
    let error = client.oneshot(request("hi")).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Broken>().unwrap().0, "third");
}

#[tokio::test(start_paused = true)]
async fn the_response_tells_who_answered() {
    let chain = ServiceBuilder::new()
        .layer(FallbackLayer::new(answers(200, "third")))
        .layer(FallbackLayer::new(answers(200, "second")).named("two"));
    let by = async |client: BoxCloneService<Req, Res, BoxError>| {
        AnsweredBy::of(&client.oneshot(request("hi")).await.unwrap())
    };
    let client = chain.clone().service(answers(200, "first"));
    let first = by(BoxCloneService::new(client)).await;
    assert_eq!((first.is_primary(), first.name()), (true, None));
    let client = chain.service(answers(429, "first"));
    let second = by(BoxCloneService::new(client)).await;
    assert_eq!((second.is_primary(), second.name()), (false, Some("two")));
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(answers(200, "third")))
        .layer(FallbackLayer::new(fails("second")).named("two"))
        .service(answers(429, "first"));
    let third = by(BoxCloneService::new(client)).await;
    assert_eq!((third.is_primary(), third.name()), (false, None));
}

#[tokio::test(start_paused = true)]
async fn layers_nest_on_either_side() {
    // As primary: the outer one answers where the inner one could not.
    let client = FallbackLayer::new(answers(200, "outer"))
        .named("outer")
        .layer(FallbackLayer::new(answers(503, "inner")).layer(answers(503, "primary")));
    let answer = client.oneshot(request("hi")).await.unwrap();
    assert_eq!(answer.body(), "outer got hi");
    assert_eq!(AnsweredBy::of(&answer).name(), Some("outer"));
    // As backup: what it says of itself stays.
    let backup = FallbackLayer::new(answers(200, "inner"))
        .named("inner")
        .layer(answers(503, "backup"));
    let client = FallbackLayer::new(backup).layer(answers(503, "primary"));
    let answer = client.oneshot(request("hi")).await.unwrap();
    assert_eq!(answer.body(), "inner got hi");
    assert_eq!(AnsweredBy::of(&answer).name(), Some("inner"));
    assert!(!AnsweredBy::of(&answer).is_primary());
}

#[tokio::test(start_paused = true)]
async fn a_chain_can_be_as_long_as_a_list() {
    let mut client: BoxCloneService<Req, Res, BoxError> =
        BoxCloneService::new(answers(503, "0").map_err(Into::into));
    for _ in 0..20 {
        client = BoxCloneService::new(FallbackLayer::new(answers(503, "n")).layer(client));
    }
    let client = FallbackLayer::new(answers(200, "last")).layer(client);
    assert_eq!(
        client.oneshot(request("hi")).await.unwrap().body(),
        "last got hi"
    );
}

#[tokio::test(start_paused = true)]
async fn only_what_the_condition_says_is_fallen_back_from() {
    let layer = FallbackLayer::new(answers(200, "backup")).when(predicate::status([404, 429]));
    let body = async |status| {
        let client = layer.layer(answers(status, "primary"));
        client.oneshot(request("hi")).await.unwrap().into_body()
    };
    assert_eq!(body(404).await, "backup got hi");
    assert_eq!(body(429).await, "backup got hi");
    assert_eq!(body(503).await, "primary got hi");
    let error = layer.layer(fails("no")).oneshot(request("hi")).await;
    assert!(error.unwrap_err().is::<Broken>());
}

#[test]
fn conditions_find_errors_anywhere_in_the_chain_of_sources() {
    use predicate::Predicate;
    let broken: BoxError = Around(Around(Broken("deep").into()).into()).into();
    let ask = |condition: &dyn Predicate<Res>, error: &BoxError| condition.when(Err(error));
    assert!(ask(&predicate::error::<Broken>(), &broken));
    assert!(ask(&predicate::error::<Around>(), &broken));
    assert!(!ask(&predicate::error::<fmt::Error>(), &broken));
    assert!(!ask(&predicate::rejected(), &broken));
    let rejected = ConcurrencyLimiter::new(0).try_acquire().unwrap_err();
    assert!(ask(&predicate::rejected(), &rejected.clone().into()));
    assert!(ask(&predicate::rejected(), &Around(rejected.into()).into()));
    assert!(!predicate::rejected().when(Ok(&response(429, ""))));
}

#[test]
fn conditions_combine() {
    use predicate::Predicate;
    let ok = response(200, "ok");
    let busy = response(503, "busy");
    let broken: BoxError = Broken("no").into();
    let table = |condition: &dyn Predicate<Res>| {
        [
            condition.when(Ok(&ok)),
            condition.when(Ok(&busy)),
            condition.when(Err(&broken)),
        ]
    };
    let empty = |outcome: Result<&Res, &BoxError>| outcome.is_ok_and(|it| it.body() == "ok");
    assert_eq!(table(&predicate::failure()), [false, true, true]);
    assert_eq!(table(&predicate::any_error()), [false, false, true]);
    assert_eq!(table(&predicate::any_error().not()), [true, true, false]);
    assert_eq!(
        table(&predicate::predicate(
            |it: Result<&Res, &BoxError>| it.is_ok_and(|it| it.status().is_server_error())
        )),
        [false, true, false]
    );
    assert_eq!(
        table(&predicate::predicate(
            |it: Result<&Res, &BoxError>| it.is_err_and(|it| it.to_string() == "no")
        )),
        [false, false, true]
    );
    assert_eq!(
        table(&predicate::predicate(
            |it: Result<&Res, &BoxError>| it.is_err_and(|it| it.to_string() == "yes")
        )),
        [false; 3]
    );
    assert_eq!(
        table(&predicate::predicate(
            |it: Result<&Res, &BoxError>| it.is_ok_and(|it| it.body() == "busy")
        )),
        [false, true, false]
    );
    assert_eq!(table(&predicate::predicate(empty)), [true, false, false]);
    assert_eq!(
        table(&predicate::any_error().or(empty)),
        [true, false, true]
    );
    assert_eq!(
        table(&predicate::failure().and(predicate::any_error().not())),
        [false, true, false]
    );
    assert_eq!(
        table(&predicate::failure().and(predicate::status([200]))),
        [false; 3]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_our_own_limits_is_answered_for() {
    let client = FallbackLayer::new(answers(200, "backup"))
        .when(predicate::rejected())
        .layer(
            TokenBucketLayer::new(Quota::per_hour(1))
                .max_wait(Duration::ZERO)
                .layer(answers(503, "primary")),
        );
    let first = client.clone().oneshot(request("hi")).await.unwrap();
    assert_eq!(first.body(), "primary got hi");
    let second = client.oneshot(request("hi")).await.unwrap();
    assert_eq!(second.body(), "backup got hi");
}

#[tokio::test(start_paused = true)]
async fn a_limit_around_the_backup_refuses_with_its_own_error() {
    let backup = SlidingWindowLayer::new(Quota::per_hour(1))
        .max_wait(Duration::ZERO)
        .layer(answers(200, "backup"));
    let client = FallbackLayer::new(backup).layer(fails("no"));
    let first = client.clone().oneshot(request("hi")).await.unwrap();
    assert_eq!(first.body(), "backup got hi");
    let error = client.oneshot(request("hi")).await.unwrap_err();
    assert!(error.is::<Rejected>());
}

#[tokio::test(start_paused = true)]
async fn responses_of_any_type_will_do() {
    let backup = service_fn(async |n: String| Ok::<_, Infallible>(n.len()));
    let primary = service_fn(async |n: String| n.parse::<usize>());
    let layer = FallbackLayer::new(backup).any_response();
    let client = layer.layer(primary);
    assert_eq!(client.clone().oneshot("7".into()).await.unwrap(), 7);
    assert_eq!(client.oneshot("seven".into()).await.unwrap(), 5);
    let too_large = |outcome: Result<&usize, &BoxError>| outcome.is_ok_and(|n| *n > 9);
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::value(0).any_response().when(too_large))
        .layer(layer.when(too_large))
        .service(primary);
    assert_eq!(client.clone().oneshot("9".into()).await.unwrap(), 9);
    assert_eq!(client.clone().oneshot("10".into()).await.unwrap(), 2);
    assert_eq!(
        client.clone().oneshot("1000000000".into()).await.unwrap(),
        0
    );
    assert!(client.oneshot("ten".into()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_backup_is_readied_when_it_is_needed_and_not_before() {
    let (backup, mut handle) = tower_test::mock::pair::<String, usize>();
    handle.allow(0);
    let primary = service_fn(async |n: String| n.parse::<usize>());
    let mut client = FallbackLayer::new(backup).any_response().layer(primary);
    // The backup is not ready, and nobody asks it.
    assert_eq!(
        client
            .ready()
            .await
            .unwrap()
            .call("7".into())
            .await
            .unwrap(),
        7
    );
    let waiting = start(&mut client, "seven".into()).await;
    assert!(waiting.waits());
    handle.allow(1);
    let answer = tokio::spawn(waiting.end());
    let (request, respond) = handle.next_request().await.unwrap();
    assert_eq!(request, "seven");
    respond.send_response(5);
    assert_eq!(answer.await.unwrap().unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn everyone_is_readied_before_being_called() {
    let (primary, backup) = (probe(), probe());
    let calls = [primary.calls(), backup.calls()];
    // The primary answers, and is said to have failed.
    let mut client = FallbackLayer::new(backup)
        .any_response()
        .when(predicate::any_error().not())
        .layer(primary);
    for _ in 0..3 {
        client.ready().await.unwrap().call(()).await.unwrap();
    }
    assert_eq!(calls.map(|it| it.load(Ordering::Relaxed)), [3, 3]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_primarys_readiness_is_returned() {
    let (primary, mut handle) = tower_test::mock::pair::<String, Res>();
    handle.send_error(Broken("closed"));
    let backup = service_fn(async |_: String| -> Result<Res, Broken> { panic!("called") });
    let mut client = FallbackLayer::new(backup).layer(primary);
    let error = client.ready().await.unwrap_err();
    assert!(error.is::<Broken>());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_backups_readiness_is_its_outcome_and_the_next_one_answers() {
    #[derive(Clone)]
    struct NeverReady;
    impl Service<Req> for NeverReady {
        type Response = Res;
        type Error = Broken;
        type Future = Ready<Result<Res, Broken>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Poll::Ready(Err(Broken("not ready")))
        }
        fn call(&mut self, _: Req) -> Self::Future {
            panic!("called")
        }
    }
    let layer = FallbackLayer::new(NeverReady);
    let error = layer
        .clone()
        .layer(fails("no"))
        .oneshot(request("hi"))
        .await;
    assert_eq!(
        error.unwrap_err().downcast_ref::<Broken>().unwrap().0,
        "not ready"
    );
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(answers(200, "third")))
        .layer(layer)
        .service(fails("no"));
    let answer = client.oneshot(request("hi")).await.unwrap();
    assert_eq!(answer.body(), "third got hi");
}

#[tokio::test(start_paused = true)]
async fn the_failed_response_is_dropped_before_the_backup_is_called() {
    let permits = ConcurrencyLimiter::new(1);
    // Both count against one limit, to the end of their bodies.
    let limit = ConcurrencyLayer::from(permits.clone());
    let answers = |status: u16| {
        service_fn(move |_: Req| {
            let body = Full::new(bytes::Bytes::from("a body"));
            let response = response(status, "").map(|_| body);
            ready(Ok::<_, Infallible>(response))
        })
    };
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(limit.layer(answers(200))).named("third"))
        .layer(FallbackLayer::new(limit.layer(answers(503))).named("second"))
        .service(limit.layer(answers(500)));
    let answer = timeout(ms(1_000), client.oneshot(request("hi"))).await;
    let answer = answer
        .expect("the failed response holds the permit")
        .unwrap();
    assert_eq!(AnsweredBy::of(&answer).name(), Some("third"));
    assert_eq!(permits.in_flight(), 1);
    drop(answer);
    assert_eq!(permits.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_failed_future_is_dropped_before_the_backup_is_readied() {
    // tower's limit keeps its permit in the future, and this one is for both.
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(limit.layer(answers(200, "third"))))
        .layer(FallbackLayer::new(limit.layer(answers(503, "second"))))
        .service(limit.layer(answers(503, "first")));
    let answer = timeout(ms(1_000), client.oneshot(request("hi"))).await;
    let answer = answer.expect("a future that is done holds the permit");
    assert_eq!(answer.unwrap().body(), "third got hi");
}

/// Fails every other request, after a while.
#[derive(Clone, Default)]
struct Flaky(Arc<AtomicUsize>);

impl Flaky {
    async fn call(self, n: u32) -> Result<u32, Broken> {
        sleep(ms(1)).await;
        match self.0.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Err(Broken("every other")),
            _ => Ok(n),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn over_concurrency_limit_1_on_both_sides_it_neither_deadlocks_nor_leaks() {
    let flaky = Flaky::default();
    let primary = ConcurrencyLimit::new(service_fn(move |n| flaky.clone().call(n)), 1);
    let backup = ConcurrencyLimit::new(
        service_fn(async |n: u32| {
            sleep(ms(1)).await;
            Ok::<_, Infallible>(n + 1_000)
        }),
        1,
    );
    let service = FallbackLayer::new(backup.clone())
        .clone_request()
        .any_response()
        .layer(primary.clone());
    let requests = (0..100).map(|n| {
        let mut service = service.clone();
        async move { service.ready().await.unwrap().call(n).await.unwrap() }
    });
    let answers = timeout(Duration::from_secs(3_600), join_all(requests)).await;
    let answers = answers.expect("a deadlock");
    assert_eq!(answers.iter().filter(|n| **n >= 1_000).count(), 50);
    assert!(poll_once(primary.clone().ready()).await.is_some());
    assert!(poll_once(backup.clone().ready()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_stage_it_holds_nothing() {
    let broken = service_fn(async |_: u32| {
        sleep(ms(10)).await;
        Err::<u32, _>(Broken("no"))
    });
    let slow = service_fn(async |n: u32| {
        sleep(ms(10)).await;
        Ok::<_, Infallible>(n)
    });
    let primary = ConcurrencyLimit::new(broken, 1);
    let backup = ConcurrencyLimit::new(slow, 1);
    let mut service = FallbackLayer::new(backup.clone())
        .clone_request()
        .any_response()
        .layer(primary.clone());
    let free = async || {
        poll_once(primary.clone().ready()).await.is_some()
            && poll_once(backup.clone().ready()).await.is_some()
    };
    // Before its first poll, while the primary is called, and while the backup is.
    drop(service.ready().await.unwrap().call(1));
    assert!(free().await);
    for stay in [1, 15] {
        let future = service.ready().await.unwrap().call(1);
        assert!(timeout(ms(stay), future).await.is_err());
        assert!(free().await, "{stay}");
    }
    // While the backup is readied.
    let mut other = backup.clone();
    other.ready().await.unwrap();
    let future = service.ready().await.unwrap().call(1);
    assert!(timeout(ms(50), future).await.is_err());
    drop(other);
    assert!(free().await);
    let future = service.ready().await.unwrap().call(1);
    assert_eq!(timeout(ms(50), future).await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_wraps_services_that_borrow() {
    let greeting = String::from("hello, ");
    let greeting = greeting.as_str();
    let primary = service_fn(|_: Req| ready(Err::<Res, _>(Broken("no"))));
    let backup = service_fn(move |request: Req| {
        ready(Ok::<_, Infallible>(request_answer(greeting, &request)))
    });
    fn request_answer(greeting: &str, request: &Req) -> Res {
        response(200, greeting.to_owned() + request.body())
    }
    let client = FallbackLayer::new(backup).layer(primary);
    assert_eq!(
        client.oneshot(request("you")).await.unwrap().body(),
        "hello, you"
    );
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_is_not_sync_does_not_keep_the_future_from_being_sent() {
    let backup: BoxCloneService<Req, Res, Infallible> =
        BoxCloneService::new(answers(200, "backup"));
    let client = FallbackLayer::new(backup).layer(fails("no"));
    let answer = tokio::spawn(client.oneshot(request("hi"))).await.unwrap();
    assert_eq!(answer.unwrap().body(), "backup got hi");
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_answers_costs_no_clone_of_the_backup() {
    struct Counted(Arc<AtomicUsize>);
    impl Clone for Counted {
        fn clone(&self) -> Self {
            self.0.fetch_add(1, Ordering::Relaxed);
            Self(self.0.clone())
        }
    }
    impl Service<Req> for Counted {
        type Response = Res;
        type Error = Infallible;
        type Future = Ready<Result<Res, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Req) -> Self::Future {
            ready(Ok(response(200, "")))
        }
    }
    let clones = Arc::new(AtomicUsize::new(0));
    let layer = FallbackLayer::new(Counted(clones.clone()));
    for _ in 0..3 {
        let client = layer.layer(answers(200, "primary"));
        client.oneshot(request("hi")).await.unwrap();
    }
    assert_eq!(clones.load(Ordering::Relaxed), 0);
    layer
        .layer(fails("no"))
        .oneshot(request("hi"))
        .await
        .unwrap();
    assert_eq!(clones.load(Ordering::Relaxed), 1);
}

#[test]
fn the_future_adds_the_kept_request_and_little_else() {
    let client = FallbackLayer::new(probe_of::<String>())
        .any_response()
        .layer(probe_of::<String>());
    fn future_of<R, S: Service<R>>(_: &S) -> usize {
        size_of::<S::Future>()
    }
    let added = future_of::<String, _>(&client)
        - future_of::<String, _>(&probe_of::<String>())
        - size_of::<String>();
    assert!(added <= 16, "{added}");
}

#[test]
fn debug_names_what_it_is_made_of() {
    let layer = FallbackLayer::value(response(200, "a secret")).named("apology");
    let text = format!("{layer:?}");
    assert!(text.contains("apology"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

const fn value<T: fmt::Debug + Clone + Send + Sync + Unpin + 'static>() {}
const fn future<T: fmt::Debug + Send + 'static>() {}

/// A change here is a change of the API.
const _: () = {
    type Backup = BoxCloneService<Req, Res, BoxError>;
    type Failed = predicate::Condition<predicate::AnyError>;
    type Called = Ready<Result<Res, BoxError>>;
    value::<FallbackLayer<BackupService<Backup>>>();
    value::<FallbackLayer<Value<Res>, Failed, AnyResponse>>();
    value::<AnsweredBy>();
    value::<Fallback<tower_test::mock::Mock<Req, Res>, BackupService<Backup>>>();
    future::<
        ResponseFuture<
            Called,
            BackupFuture<Backup, Called, Req>,
            Req,
            FallbackLayer<BackupService<Backup>>,
        >,
    >();
};

/// Answers with a status, and with the body that it got.
async fn echo_at(status: u16) -> String {
    let echo = move |body: String| async move { (StatusCode::from_u16(status).unwrap(), body) };
    let app = axum::Router::new().route("/", axum::routing::post(echo));
    serve(app).await
}

/// Sends a request of reqwest elsewhere, with another model.
fn elsewhere(url: &str) -> impl Fn(reqwest::Request) -> reqwest::Request + Clone + use<> {
    let url: reqwest::Url = url.parse().unwrap();
    move |mut request| {
        *request.url_mut() = url.clone();
        *request.body_mut() = Some("small".into());
        request
    }
}

#[tokio::test]
async fn a_reqwest_client_falls_back_to_another_host() {
    let (primary, backup) = (echo_at(503).await, echo_at(200).await);
    let reqwest = reqwest_client();
    let mut client = FallbackLayer::new(reqwest.clone())
        .map_request(elsewhere(&backup))
        .named("backup")
        .layer(reqwest.clone());
    let request = reqwest.post(&primary).body("large").build().unwrap();
    let response = client.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(AnsweredBy::of(&response).name(), Some("backup"));
    assert_eq!(response.url().as_str(), backup);
    assert_eq!(response.text().await.unwrap(), "small");
    // The request may as well not get there at all.
    let request = reqwest.post("http://127.0.0.1:1/").body("large").build();
    let response = client.ready().await.unwrap().call(request.unwrap()).await;
    assert_eq!(response.unwrap().text().await.unwrap(), "small");
}

#[tokio::test]
async fn as_a_middleware_it_falls_back_to_another_host() {
    let (primary, backup) = (echo_at(429).await, echo_at(200).await);
    let reqwest = reqwest_client();
    let layers = ServiceBuilder::new()
        .layer(
            FallbackLayer::new(reqwest.clone())
                .map_request(elsewhere(&backup))
                .when(predicate::failure().or(predicate::rejected())),
        )
        .layer(TokenBucketLayer::new(Quota::per_hour(1)).max_wait(Duration::ZERO))
        .into_inner();
    let client = reqwest_middleware::ClientBuilder::new(reqwest)
        .with(tower_throttle::LayerMiddleware::new(layers))
        .build();
    // The primary's rejection, and then our own.
    for _ in 0..2 {
        let response = client.post(&primary).body("large").send().await.unwrap();
        assert!(!AnsweredBy::of(&response).is_primary());
        assert_eq!(response.text().await.unwrap(), "small");
    }
}

#[tokio::test]
async fn a_hyper_client_falls_back_to_another_host() {
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    let (primary, backup) = (echo_at(503).await, echo_at(200).await);
    let hyper = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let backup: http::Uri = backup.parse().unwrap();
    let client = FallbackLayer::new(hyper.clone())
        .map_request(move |mut request: Request<Full<bytes::Bytes>>| {
            *request.uri_mut() = backup.clone();
            request
        })
        .layer(hyper);
    let request = Request::post(primary).body(Full::from("large")).unwrap();
    let response = client.oneshot(request).await.unwrap();
    assert!(!AnsweredBy::of(&response).is_primary());
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "large");
}

#[tokio::test]
async fn it_says_what_it_falls_back_to_and_why() {
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(answers(200, "third")))
        .layer(FallbackLayer::new(answers(503, "second")).named("smaller"))
        .service(fails("no route to http://host/?key=secret"));
    let events = Listening::start();
    client.oneshot(request("a secret")).await.unwrap();
    let lines = events.lines();
    assert_eq!(
        lines,
        [
            "falling back name=\"smaller\" failed=\"error\"",
            "falling back failed=\"response\"",
        ]
    );
}

#[tokio::test]
async fn a_condition_looks_into_what_an_io_error_wraps() {
    let limiter = tower_throttle::ConcurrencyLimiter::new(0);
    let refusing = service_fn(move |_: Request<()>| {
        let rejected = limiter.try_acquire().unwrap_err();
        std::future::ready(Err::<Response<&str>, _>(std::io::Error::other(rejected)))
    });
    let layer = FallbackLayer::value(Response::new("spare")).when(predicate::rejected());
    let response = layer
        .layer(refusing)
        .oneshot(Request::new(()))
        .await
        .unwrap();
    assert_eq!(*response.body(), "spare");
}
