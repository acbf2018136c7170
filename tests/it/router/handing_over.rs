//! What happens where a target fails.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_throttle::{
    BoxError, ConcurrencyLayer, ConcurrencyLimiter, Outcome, Rejected, RouterLayer, Tokens,
    provider::{Provider, ProviderLimiter, QuotaExhausted},
    replay::ReplayLayer,
    router::{SelectedTarget, Target},
};

use super::{Body, Req, plenty, post, rpm};
use crate::support::{Listening, ms, start};

/// What a target does with a request.
type Act = Arc<dyn Fn() -> Result<Response<Body>, BoxError> + Send + Sync>;

fn status(status: u16) -> Act {
    told(status, "")
}

fn told(status: u16, body: &'static str) -> Act {
    Arc::new(move || {
        let response = Response::builder().status(status);
        Ok(response.body(Full::new(body.as_bytes())).unwrap())
    })
}

fn error(error: impl Fn() -> BoxError + Send + Sync + 'static) -> Act {
    Arc::new(move || Err(error()))
}

/// A service that is called with the name of its target in the path, and does what that target does.
macro_rules! acts {
    ($acts:expr, $calls:expr) => {{
        let (acts, calls): (Vec<Act>, Arc<Mutex<String>>) = ($acts.to_vec(), $calls.clone());
        service_fn(move |request: Req| {
            let name = request.uri().path().trim_start_matches('/').to_owned();
            let number = name.as_bytes()[0] - b'a';
            calls.lock().unwrap().push_str(&name);
            std::future::ready(acts[usize::from(number)]())
        })
    }};
}

fn target(name: &'static str, limiter: ProviderLimiter) -> Target<Req> {
    Target::new(name, limiter).map_request(move |mut request: Req| {
        *request.uri_mut() = format!("/{name}").parse().unwrap();
        request
    })
}

/// A target for each limiter, by the name of a letter.
fn ranked<const N: usize>(limiters: [&ProviderLimiter; N]) -> RouterLayer<Req> {
    let named = ["a", "b", "c", "d"].into_iter().zip(limiters);
    named.fold(RouterLayer::ranked(), |layer, (name, limiter)| {
        layer.target(target(name, limiter.clone()))
    })
}

type Answer = Result<Response<tower_throttle::provider::body::ResponseBody<Body>>, BoxError>;

/// The outcome of one request, and who was called for it.
async fn ask<const N: usize>(acts: [Act; N]) -> (Answer, String) {
    let calls: Arc<Mutex<String>> = Arc::default();
    let limiters = [(); N].map(|()| plenty());
    let client = ranked(limiters.each_ref()).layer(acts!(acts, calls));
    let answer = client.oneshot(post("{}")).await;
    let calls = calls.lock().unwrap().clone();
    (answer, calls)
}

/// The response of a limit with `.respond()` further in.
fn own_rejection() -> Result<Response<Body>, BoxError> {
    let rejected = ConcurrencyLimiter::new(0).try_acquire().unwrap_err();
    let response = Response::builder().status(503).extension(rejected);
    Ok(response.body(Full::default()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_failure_goes_to_the_next_one_at_once() {
    let timed_out = || tower_throttle::TimedOut::Attempt(ms(1));
    let failures = [
        status(402),
        status(408),
        status(413),
        status(429),
        status(500),
        status(502),
        status(503),
        status(504),
        status(529),
        status(425),
        status(498),
        status(520),
        status(522),
        told(429, r#"{"error":{"code":"insufficient_quota"}}"#),
        error(|| io::Error::from(io::ErrorKind::ConnectionRefused).into()),
        error(|| io::Error::from(io::ErrorKind::ConnectionReset).into()),
        error(move || timed_out().into()),
        error(|| Outcome::ServerError.into()),
        error(|| "something else".into()),
        Arc::new(own_rejection),
    ];
    for failure in failures {
        let begin = Instant::now();
        let (answer, calls) = ask([failure, status(200), status(200)]).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), &*calls), (200, "ab"));
        let chosen = SelectedTarget::of(&answer).unwrap();
        assert_eq!((chosen.target(), chosen.tried()), ("b", 1));
        assert!(begin.elapsed() < ms(1), "{:?}", begin.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_everywhere_goes_nowhere_else() {
    for code in [200, 204, 301, 400, 401, 403, 404, 422] {
        let (answer, calls) = ask([status(code), status(200)]).await;
        assert_eq!((answer.unwrap().status().as_u16(), &*calls), (code, "a"));
    }
    for kind in [Outcome::ContextTooLong, Outcome::ContentPolicy] {
        let (answer, calls) = ask([error(move || kind.into()), status(200)]).await;
        assert_eq!(
            (Outcome::of_error(&answer.unwrap_err()), &*calls),
            (Some(kind), "a")
        );
        let noted: Act = Arc::new(move || {
            let response = Response::builder().status(400).extension(kind);
            Ok(response.body(Full::default()).unwrap())
        });
        let (answer, calls) = ask([noted, status(200)]).await;
        assert_eq!((answer.unwrap().status().as_u16(), &*calls), (400, "a"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_outcome_passes_and_nobody_is_called_twice() {
    let (answer, calls) = ask([status(500), status(529), told(503, "sorry")]).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status().as_u16(), &*calls), (503, "abc"));
    let chosen = SelectedTarget::of(&answer).unwrap().clone();
    assert_eq!((chosen.target(), chosen.tried()), ("c", 2));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "sorry");

    let money = told(429, r#"{"error":{"code":"insufficient_quota"}}"#);
    let (answer, calls) = ask([status(500), money]).await;
    assert!(answer.unwrap_err().is::<QuotaExhausted>());
    assert_eq!(calls, "ab");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_pauses_its_target_and_the_others_take_over() {
    let calls: Arc<Mutex<String>> = Arc::default();
    let (a, b) = (plenty(), plenty());
    let refuses: Act = Arc::new(|| {
        let response = Response::builder().status(429).header("retry-after", 20);
        Ok(response.body(Full::default()).unwrap())
    });
    let client = ranked([&a, &b]).layer(acts!([refuses, status(200)], calls));
    for _ in 0..3 {
        assert_eq!(
            client.clone().oneshot(post("{}")).await.unwrap().status(),
            200
        );
    }
    assert_eq!(*calls.lock().unwrap(), "abbb");
    assert!(a.usage().paused_for >= Duration::from_secs(20));
    // What is paused is waited for where nobody else is asked.
    let begin = Instant::now();
    let pinned = client.oneshot(post(r#"{"model":"a"}"#)).await.unwrap();
    assert_eq!(pinned.status(), 429);
    assert!(begin.elapsed() >= Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_the_next_one_where_that_has_no_room() {
    let calls: Arc<Mutex<String>> = Arc::default();
    let (a, b) = (plenty(), rpm(1));
    let acts = [status(500), status(200)];
    let mut client = ranked([&a, &b]).layer(acts!(acts, calls));
    let begin = Instant::now();
    for _ in 0..2 {
        let answer = client.ready().await.unwrap().call(post("{}")).await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert!(begin.elapsed() >= Duration::from_secs(60));
    assert_eq!(*calls.lock().unwrap(), "abab");
    // One that is dropped there leaves nothing behind.
    let third = start(&mut client, post("{}")).await;
    assert!(third.waits());
    assert_eq!((a.usage().in_flight, b.usage().waiting), (0, 1));
    drop(third);
    assert_eq!(b.usage().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn the_failure_passes_where_the_others_have_no_room_in_time() {
    let calls: Arc<Mutex<String>> = Arc::default();
    let (a, b) = (plenty(), rpm(1));
    let acts = [status(500), status(200)];
    let client = ranked([&a, &b])
        .max_wait(Duration::from_secs(30))
        .layer(acts!(acts, calls));
    for expected in [200, 500] {
        let begin = Instant::now();
        let answer = client.clone().oneshot(post("{}")).await.unwrap();
        assert_eq!(answer.status(), expected);
        assert!(begin.elapsed() < ms(1));
    }
    assert_eq!(*calls.lock().unwrap(), "aba");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_a_limit_of_the_targets_own_goes_to_the_next_one_and_costs_nothing() {
    let (a, b) = (plenty(), plenty());
    let answer = service_fn(async |_: Req| {
        sleep(ms(100)).await;
        Ok::<_, BoxError>(Response::new(Full::new(&b""[..])))
    });
    let client = ranked([&a, &b]).services(|_| {
        ConcurrencyLayer::new(1)
            .max_wait(Duration::ZERO)
            .until_response()
            .layer(answer)
    });
    let mut tasks = JoinSet::new();
    for _ in 0..3 {
        tasks.spawn(client.clone().oneshot(post("{}")));
    }
    let answers = tasks.join_all().await;
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(
        refused.len() == 1 && refused[0].is::<Rejected>(),
        "{refused:?}"
    );
    let used = |limiter: &ProviderLimiter| limiter.usage().limits().next().unwrap().used;
    assert_eq!((used(&a), used(&b)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_the_failed_one_held_is_free_for_the_next_one() {
    let calls: Arc<Mutex<String>> = Arc::default();
    let (a, b) = (plenty(), plenty());
    let acts = [status(500), status(200)];
    let inner = ConcurrencyLimit::new(acts!(acts, calls), 1);
    let client = ranked([&a, &b]).layer(inner);
    let events = Listening::start();
    assert_eq!(client.oneshot(post("{}")).await.unwrap().status(), 200);
    let waits = |line: &String| line.starts_with("waiting");
    assert!(!events.lines().iter().any(waits), "{:?}", events.lines());
    drop(events);

    // Here the failed response's body holds the permit.
    let acts = [status(500), status(200)];
    let inner = ConcurrencyLayer::new(1).layer(acts!(acts, calls));
    let answer = ranked([&a, &b]).layer(inner).oneshot(post("{}"));
    let answer = tokio::time::timeout(ms(1_000), answer).await;
    assert_eq!(answer.expect("a deadlock").unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_recorded_stream_goes_to_the_next_one_whole() {
    let stream = || {
        let frames = ["hello, ", "world"].map(|text| Ok::<_, io::Error>(Bytes::from(text)));
        axum::body::Body::from_stream(futures::stream::iter(frames))
    };
    let server = service_fn(
        async |request: http::Request<
            tower_throttle::replay::body::ReplayBody<axum::body::Body>,
        >| {
            let is_first = request.headers().contains_key("first");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "hello, world");
            let status = if is_first { 503 } else { 200 };
            Ok::<_, BoxError>(
                Response::builder()
                    .status(status)
                    .body(Full::new(&b""[..]))
                    .unwrap(),
            )
        },
    );
    let auto = RouterLayer::ranked()
        .target(
            Target::new("a", plenty()).map_request(|mut request: http::Request<_>| {
                request.headers_mut().insert("first", 1.into());
                request
            }),
        )
        .target(Target::new("b", plenty()).model("m"));
    let client = tower::ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(auto)
        .service(server);
    let answer = client.oneshot(http::Request::new(stream())).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_panic_gives_back_what_is_in_flight() {
    let a = ProviderLimiter::new(Provider::new("t").concurrent(1));
    let client = ranked([&a]).layer(service_fn(|_: Req| {
        assert!(a_panic(), "a panic");
        std::future::ready(Ok::<Response<Body>, BoxError>(Response::default()))
    }));
    let task = tokio::spawn(client.oneshot(post("{}")));
    assert!(task.await.unwrap_err().is_panic());
    assert!(a.try_acquire(Tokens::default()).is_ok());
}

fn a_panic() -> bool {
    false
}

#[tokio::test(start_paused = true)]
async fn limits_are_learned_from_the_answers_of_each_target() {
    let learning = || ProviderLimiter::new(Provider::new("t"));
    let (a, b) = (learning(), learning());
    let tells: Act = Arc::new(|| {
        let response = Response::builder()
            .header("x-ratelimit-limit-requests", 10)
            .header("x-ratelimit-remaining-requests", 0)
            .header("x-ratelimit-reset-requests", "60s");
        Ok(response.body(Full::default()).unwrap())
    });
    let calls: Arc<Mutex<String>> = Arc::default();
    let client = ranked([&a, &b]).layer(acts!([tells, status(200)], calls));
    for _ in 0..4 {
        client
            .clone()
            .oneshot(post("{}"))
            .await
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap();
    }
    assert_eq!(*calls.lock().unwrap(), "abbb");
    let limit = a
        .usage()
        .get(tower_throttle::Dimension::Requests)
        .unwrap()
        .limit;
    assert_eq!(limit, 10);
}

/// Fails while it is told to.
macro_rules! fails_while {
    ($is_down:expr, $calls:expr) => {{
        let (is_down, calls) = ($is_down.clone(), $calls.clone());
        let acts: Act = Arc::new(move || {
            let code = if is_down.load(Ordering::SeqCst) {
                500
            } else {
                200
            };
            let response = Response::builder().status(code);
            Ok(response.body(Full::default()).unwrap())
        });
        acts!([acts, status(200), status(200)], calls)
    }};
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_is_left_alone_and_asked_again_later() {
    for layer in [ranked([&plenty(), &plenty()]), {
        let layer = RouterLayer::weighted();
        layer
            .target(target("a", plenty()).weight(1_000))
            .target(target("b", plenty()))
    }] {
        let calls: Arc<Mutex<String>> = Arc::default();
        let is_down = Arc::new(AtomicBool::new(true));
        let client = layer.layer(fails_while!(is_down, calls));
        for _ in 0..20 {
            assert_eq!(
                client.clone().oneshot(post("{}")).await.unwrap().status(),
                200
            );
        }
        let seen = calls.lock().unwrap().clone();
        assert_eq!(seen.matches('a').count(), 6, "{seen}");
        is_down.store(false, Ordering::SeqCst);
        sleep(ms(1_500)).await;
        calls.lock().unwrap().clear();
        for _ in 0..3 {
            client.clone().oneshot(post("{}")).await.unwrap();
        }
        assert_eq!(*calls.lock().unwrap(), "aaa");
    }
}

#[tokio::test(start_paused = true)]
async fn where_all_are_left_alone_the_first_is_asked_all_the_same() {
    let calls: Arc<Mutex<String>> = Arc::default();
    let client = ranked([&plenty(), &plenty()]).layer(acts!([status(500), status(502)], calls));
    for _ in 0..6 {
        client.clone().oneshot(post("{}")).await.unwrap();
    }
    assert_eq!(*calls.lock().unwrap(), "ab".repeat(6));
    calls.lock().unwrap().clear();
    let answer = client.clone().oneshot(post("{}")).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &**calls.lock().unwrap()),
        (500, "a")
    );
    let pinned = client.oneshot(post(r#"{"model":"b"}"#)).await.unwrap();
    assert_eq!(pinned.status(), 502);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_goes_to_a_target_that_is_well_again() {
    let calls: Arc<Mutex<String>> = Arc::default();
    let is_down = Arc::new(AtomicBool::new(true));
    let (a, b) = (plenty(), rpm(6));
    let mut client = ranked([&a, &b]).layer(fails_while!(is_down, calls));
    for _ in 0..6 {
        let answer = client.ready().await.unwrap().call(post("{}")).await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    let begin = Instant::now();
    let waiting = [
        start(&mut client, post("{}")).await,
        start(&mut client, post("{}")).await,
    ];
    assert!(waiting.iter().all(crate::support::Started::waits));
    is_down.store(false, Ordering::SeqCst);
    for one in waiting {
        let answer = one.end().await.unwrap();
        assert_eq!(SelectedTarget::of(&answer).unwrap().target(), "a");
    }
    // A cooldown of a second at most; B would have had room after a minute.
    assert!(begin.elapsed() < ms(2_000), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_sake_of_one_that_is_left_alone() {
    let calls: Arc<Mutex<String>> = Arc::default();
    let client = ranked([&plenty(), &rpm(6)])
        .max_wait(ms(30_000))
        .layer(acts!([status(500), status(200)], calls));
    for _ in 0..6 {
        client.clone().oneshot(post("{}")).await.unwrap();
    }
    let begin = Instant::now();
    let error = client.oneshot(post("{}")).await.unwrap_err();
    let wait = error
        .downcast_ref::<Rejected>()
        .unwrap()
        .retry_after()
        .unwrap();
    assert!(wait > ms(59_000) && begin.elapsed() < ms(1), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn each_step_is_told_and_nothing_that_is_secret() {
    let secret = "https://a.example/?key=secret";
    let calls: Arc<Mutex<String>> = Arc::default();
    let fails = error(move || io::Error::new(io::ErrorKind::ConnectionReset, secret).into());
    let client = ranked([&plenty(), &rpm(1)]).layer(acts!([fails, status(200)], calls));
    let events = Listening::start();
    for _ in 0..2 {
        let request = http::Request::post(secret).body("secret".to_owned());
        client.clone().oneshot(request.unwrap()).await.unwrap();
    }
    let sent =
        |name, attempt| format!("sending to a target target_name=\"{name}\" attempt={attempt}");
    let failed = "a target failed, and another one is asked outcome=Some(Interrupted)".to_owned();
    let once = [sent("a", 1), failed.clone(), sent("b", 2)];
    let waited = "waiting for a target targets=1".to_owned();
    let again = [sent("a", 1), failed, waited, sent("b", 2)];
    assert_eq!(events.lines(), [&once[..], &again[..]].concat());
}
