//! What the layers outside and inside make of it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, ConcurrencyLayer, FallbackLayer, Outcome, RetryAfterBackoffLayer, StreamErrorLayer,
    provider::{Provider, ProviderLayer, ProviderLimiter, QuotaExhausted, ThrottleReason},
    stream_errors::body::ResponseBody,
};

use super::{Body, EVENTS, OVERLOADED, TOLD, body, broken, piece, response, stalled};

/// Answers with each of these once, and then with the last of them.
fn server(
    answers: &'static [&'static str],
) -> (
    Arc<AtomicUsize>,
    impl Service<Request<&'static str>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone,
) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let service = service_fn(move |_: Request<&'static str>| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        let answer = answers[call.min(answers.len() - 1)];
        let pieces = match answer {
            "" => vec![piece(": \n\n"), broken()],
            answer => vec![piece(answer)],
        };
        std::future::ready(Ok(response(200, EVENTS, body(pieces))))
    });
    (calls, service)
}

fn post() -> Request<&'static str> {
    Request::post("/v1/messages").body("Hi").unwrap()
}

async fn read<B>(answer: Response<B>) -> Vec<u8>
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    answer
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec()
}

#[tokio::test(start_paused = true)]
async fn a_retry_outside_repeats_what_failed_late() {
    // An overload, and a connection that breaks.
    let (calls, server) = server(&[OVERLOADED, "", TOLD]);
    let client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
        .layer(StreamErrorLayer::new())
        .service(server);
    let answer = client.oneshot(post()).await.unwrap();
    assert_eq!(read(answer).await, TOLD.as_bytes());
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_retry_does_not_repeat_what_failed_after_content() {
    const HALF: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: {\"error\":{\"code\":503}}\n\n";
    let (calls, server) = server(&[HALF]);
    let client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
        .layer(StreamErrorLayer::new())
        .service(server);
    let answer = client.oneshot(post()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(read(answer).await, HALF.as_bytes());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_gives_up_hands_out_the_error_with_its_body() {
    let (calls, server) = server(&[OVERLOADED]);
    let client = ServiceBuilder::new()
        .layer(
            RetryAfterBackoffLayer::new()
                .retry_non_idempotent()
                .attempts(3),
        )
        .layer(StreamErrorLayer::new())
        .service(server);
    let answer = client.oneshot(post()).await.unwrap();
    assert_eq!(answer.status().as_u16(), 529);
    assert_eq!(read(answer).await, OVERLOADED.as_bytes());
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_provider_outside_pauses_for_as_long_as_a_late_refusal_says() {
    const LIMITED: &str = "event: error\ndata: {\"error\":{\"message\":\"Rate limit reached on tokens per min (TPM). Please try again in 20s.\",\"code\":\"rate_limit_exceeded\"}}\n\n";
    let limiter = ProviderLimiter::new(Provider::new("test"));
    let (calls, server) = server(&[LIMITED, TOLD]);
    let client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
        .layer(ProviderLayer::from(limiter.clone()))
        .layer(StreamErrorLayer::new())
        .service(server);
    let start = Instant::now();
    let answer = client.oneshot(post()).await.unwrap();
    assert_eq!(read(answer).await, TOLD.as_bytes());
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(20), "{waited:?}");
    assert!(waited <= Duration::from_secs(23), "{waited:?}");
    assert_eq!(limiter.usage().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_provider_outside_makes_an_error_of_money_that_is_found_spent_late() {
    const SPENT: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\ndata: {\"error\":{\"message\":\"You exceeded your current quota.\",\"code\":\"insufficient_quota\"}}\n\n";
    let (calls, server) = server(&[SPENT]);
    let client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
        .layer(ProviderLayer::new(Provider::new("test")))
        .layer(StreamErrorLayer::new())
        .service(server);
    let error = client.oneshot(post()).await.unwrap_err();
    assert_eq!(Outcome::of_error(&error), Some(Outcome::QuotaExhausted));
    let error = error.downcast::<QuotaExhausted>().unwrap();
    assert_eq!(error.class(), ThrottleReason::QuotaExhausted);
    assert_eq!(error.code(), Some("insufficient_quota"));
    assert_eq!(error.message(), Some("You exceeded your current quota."));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// The answer of OpenAI's responses begins with what was asked.
#[tokio::test(start_paused = true)]
async fn a_provider_outside_hears_the_error_and_not_what_stands_around_it() {
    let limited = "{\"error\":{\"message\":\"Rate limit reached on tokens per min (TPM). Please try again in 20s.\",\"code\":\"rate_limit_exceeded\"}}";
    let asked = format!("Tell 5 jokes per day. {}", "Be brief. ".repeat(4_000));
    let begun = format!(
        "{{\"type\":\"response.created\",\"response\":{{\"instructions\":\"{asked}\",\"message\":\"\"}}}}"
    );
    for (media_type, text) in [
        (EVENTS, format!("data: {begun}\n\ndata: {limited}\n\n")),
        (
            EVENTS,
            format!(
                "data: {begun}\n\nevent: error\ndata: Rate limit. Please try again in 20s.\n\n"
            ),
        ),
        ("application/x-ndjson", format!("{begun}\n{limited}\n")),
    ] {
        let limiter = ProviderLimiter::new(Provider::new("test"));
        let client = ServiceBuilder::new()
            .layer(ProviderLayer::from(limiter.clone()))
            .layer(StreamErrorLayer::new())
            .service_fn(async |_: Request<&'static str>| {
                // Which is open for longer than anybody reads.
                let answer = response(200, media_type, stalled([piece(&text)]));
                Ok::<_, Infallible>(answer)
            });
        let start = Instant::now();
        let answer = client.oneshot(post()).await.unwrap();
        assert_eq!(answer.status(), 429);
        assert_eq!(start.elapsed(), Duration::ZERO, "all of it is known");
        let paused = limiter.usage().paused_for.as_secs();
        assert!((19..=22).contains(&paused), "{paused} {media_type}");
        let frame = answer.into_body().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_stalls_is_waited_for_by_one_layer_alone() {
    let limiter = ProviderLimiter::new(Provider::new("test"));
    let client = ServiceBuilder::new()
        .layer(ProviderLayer::from(limiter.clone()))
        .layer(StreamErrorLayer::new())
        .service_fn(async |_: Request<&'static str>| {
            let says = "{\"error\":{\"message\":\"Please try again in 20s. See";
            let answer = response(429, "application/json", stalled([piece(says)]));
            Ok::<_, Infallible>(answer)
        });
    let start = Instant::now();
    let answer = client.oneshot(post()).await.unwrap();
    assert_eq!(Outcome::of(Ok(&answer)), Some(Outcome::RateLimited));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let paused = limiter.usage().paused_for.as_secs();
    assert!((19..=22).contains(&paused), "{paused}");
}

#[tokio::test(start_paused = true)]
async fn a_late_error_that_is_no_refusal_is_none_whatever_stands_around_it() {
    const DENIED: &str = "{\"type\":\"response.created\",\"response\":{\"instructions\":\"What is a rate limit?\"}}\n{\"error\":{\"status\":\"PERMISSION_DENIED\"}}\n";
    let limiter = ProviderLimiter::new(Provider::new("test"));
    let client = ServiceBuilder::new()
        .layer(ProviderLayer::from(limiter.clone()))
        .layer(StreamErrorLayer::new())
        .service_fn(async |_: Request<&'static str>| {
            let answer = response(200, "application/x-ndjson", body([piece(DENIED)]));
            Ok::<_, Infallible>(answer)
        });
    let answer = client.oneshot(post()).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(limiter.usage().paused_for, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_retry_outside_does_not_repeat_what_no_repetition_mends() {
    const SPENT: &str =
        r#"{"error":{"message":"You exceeded your current quota.","code":"insufficient_quota"}}"#;
    const TOO_LONG: &str = r#"{"error":{"message":"This model's maximum context length is 4096 tokens.","code":"context_length_exceeded"}}"#;
    const BUSY: &str = r#"{"error":{"message":"Slow down.","code":"rate_limit_exceeded"}}"#;
    for (status, text, sent, kind) in [
        (429, SPENT, 1, Outcome::QuotaExhausted),
        (500, TOO_LONG, 1, Outcome::ContextTooLong),
        (429, BUSY, 5, Outcome::RateLimited),
    ] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let server = service_fn(move |_: Request<&'static str>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let answer = response(status, "application/json", body([piece(text)]));
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        let client = ServiceBuilder::new()
            .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
            .layer(StreamErrorLayer::new())
            .service(server);
        let answer = client.oneshot(post()).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.extensions().get(), Some(&kind));
        assert_eq!(calls.load(Ordering::Relaxed), sent, "{kind:?}");
        assert_eq!(read(answer).await, text.as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_outside_answers_for_what_failed_late() {
    for failure in [OVERLOADED, ""] {
        let backup = service_fn(async |_: Request<&'static str>| {
            Ok::<_, Infallible>(response(200, EVENTS, body([piece("data: backup\n\n")])))
        })
        .map_response(|answer| answer.map(ResponseBody::from));
        let (_, server) = match failure {
            "" => server(&[""]),
            _ => server(&[OVERLOADED]),
        };
        let client = ServiceBuilder::new()
            .layer(FallbackLayer::new(backup))
            .layer(StreamErrorLayer::new())
            .service(server);
        let answer = client.oneshot(post()).await.unwrap();
        assert_eq!(read(answer).await, b"data: backup\n\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_further_in_is_held_to_the_end_of_the_body() {
    let concurrency = ConcurrencyLayer::new(1);
    let limiter = concurrency.limiter().clone();
    let open = || {
        service_fn(async |_: Request<()>| {
            let pieces = [piece(": \n\n"), piece(TOLD)];
            Ok::<_, BoxError>(response(200, EVENTS, stalled(pieces)))
        })
    };
    let client = StreamErrorLayer::new().layer(concurrency.layer(open()));
    let answer = client.oneshot(Request::new(())).await.unwrap();
    assert_eq!(limiter.in_flight(), 1);
    let mut body = answer.into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(limiter.in_flight(), 1);
    drop(body);
    assert_eq!(limiter.in_flight(), 0);

    // And of a call that is dropped while its beginning is held back, it comes back at once.
    let silent = service_fn(async |_: Request<()>| {
        Ok::<_, BoxError>(response(200, EVENTS, stalled([piece(": \n\n")])))
    });
    let client = StreamErrorLayer::new().layer(concurrency.layer(silent));
    let call = client.oneshot(Request::new(()));
    let held = tokio::time::timeout(Duration::from_secs(1), call);
    assert!(held.await.is_err());
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn responses_of_reqwest_stay_what_they_are() {
    let answers = service_fn(async |_: reqwest::Request| {
        let answer = response(200, EVENTS, body([piece(OVERLOADED)]));
        let answer = answer.map(|body| {
            reqwest::Body::from(futures::executor::block_on(async {
                body.collect().await.unwrap().to_bytes()
            }))
        });
        Ok::<_, reqwest::Error>(reqwest::Response::from(answer))
    });
    let client = StreamErrorLayer::new().layer(answers);
    let request = reqwest::Request::new(http::Method::POST, "http://localhost/".parse().unwrap());
    let answer: reqwest::Response = client.oneshot(request).await.unwrap();
    assert_eq!(answer.status().as_u16(), 529);
    assert_eq!(Outcome::of(Ok(&answer)), Some(Outcome::Overloaded));
    assert_eq!(answer.text().await.unwrap(), OVERLOADED);
}
