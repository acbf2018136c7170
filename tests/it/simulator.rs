//! The simulated provider of the batch example: its limits are exact, and its answers are OpenAI's.
//!
//! Over real sockets, so on real time; what depends on time alone is tested on the ledger, which is told what time it is.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::provider::{Dimension, Ledger, Limits, Outage, Refusal, Simulator};
use crate::support::ms;

#[path = "../../examples/batch/simulator/mod.rs"]
#[allow(dead_code)]
pub(crate) mod provider;

fn client() -> Client {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    Client::builder().no_proxy().build().unwrap()
}

fn body() -> Value {
    json!({
        "model": "m",
        "messages": [{ "role": "user", "content": "hello, 4 tokens!" }],
        "max_tokens": 6,
    })
}

async fn post(client: &Client, simulator: &Simulator, body: &Value) -> Response {
    let url = format!("{}/chat/completions", simulator.url());
    client.post(url).json(body).send().await.unwrap()
}

fn field<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

fn refused(dimension: Dimension, retry_after: Duration) -> Result<(), Refusal> {
    Err(Refusal::Limited {
        dimension,
        retry_after,
    })
}

// ===== the ledger =====

#[test]
fn a_window_slides_and_a_refusal_says_to_the_instant_when_there_is_room() {
    let mut ledger = Ledger::new(&limits(|l| {
        l.requests = Some(2);
        l.window = ms(1_000);
    }));
    let start = Instant::now();
    assert_eq!(ledger.arrive(start, 1), Ok(()));
    assert_eq!(ledger.arrive(start + ms(400), 1), Ok(()));
    let no = refused(Dimension::Requests, ms(100));
    assert_eq!(ledger.arrive(start + ms(900), 1), no);
    let just_before = start + ms(1_000) - Duration::from_nanos(1);
    let no = refused(Dimension::Requests, Duration::from_nanos(1));
    assert_eq!(ledger.arrive(just_before, 1), no);
    assert_eq!(ledger.arrive(start + ms(1_000), 1), Ok(()));
    let no = refused(Dimension::Requests, ms(399));
    assert_eq!(ledger.arrive(start + ms(1_001), 1), no);

    let counters = ledger.counters();
    assert_eq!((counters.accepted, counters.refused), (3, 3));
    assert_eq!(counters.worst_window, 5);
}

#[test]
fn no_window_has_more_than_the_limit_and_nothing_is_refused_that_fits() {
    let (limit, window) = (7_usize, ms(100));
    let mut ledger = Ledger::new(&limits(|l| {
        l.requests = Some(limit as u64);
        l.window = window;
    }));
    let mut now = Instant::now();
    let mut accepted: Vec<Instant> = Vec::new();
    let mut chance = 1_u64;
    for _ in 0..20_000 {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        now += Duration::from_micros((chance >> 33) % 20_000);
        let inside = accepted.iter().rev().take_while(|at| now - **at < window);
        let fits = inside.count() < limit;
        assert_eq!(ledger.arrive(now, 1).is_ok(), fits);
        if fits {
            accepted.push(now);
        }
    }
    let refused = 20_000 - accepted.len();
    assert!(refused > 1_000, "the limit hardly mattered: {refused}");
}

#[test]
fn tokens_are_counted_and_a_refusal_waits_for_as_many_as_are_needed() {
    let mut ledger = Ledger::new(&limits(|l| {
        l.tokens = Some(100);
        l.window = ms(1_000);
    }));
    let start = Instant::now();
    for (after, tokens) in [(0, 30), (100, 30), (200, 40)] {
        assert_eq!(ledger.arrive(start + ms(after), tokens), Ok(()));
    }
    let now = start + ms(300);
    assert_eq!(ledger.arrive(now, 30), refused(Dimension::Tokens, ms(700)));
    assert_eq!(ledger.arrive(now, 31), refused(Dimension::Tokens, ms(800)));
    assert_eq!(ledger.arrive(now, 100), refused(Dimension::Tokens, ms(900)));
    assert_eq!(ledger.arrive(now, 101), Err(Refusal::TooLarge));
    assert_eq!(ledger.arrive(start + ms(1_100), 60), Ok(()));
}

#[test]
fn who_is_refused_takes_nothing() {
    let mut ledger = Ledger::new(&limits(|l| {
        l.requests = Some(1);
        l.tokens = Some(10);
        l.concurrent = Some(1);
        l.window = ms(1_000);
    }));
    let start = Instant::now();
    assert_eq!(ledger.arrive(start, 10), Ok(()));
    for after in 1..1_000 {
        assert!(ledger.arrive(start + ms(after), 10).is_err());
    }
    ledger.leave();
    assert_eq!(ledger.arrive(start + ms(1_000), 10), Ok(()));
}

#[test]
fn what_is_left_is_that_of_the_window_that_ends_now() {
    let mut ledger = Ledger::new(&limits(|l| {
        l.requests = Some(5);
        l.tokens = Some(100);
        l.window = ms(1_000);
    }));
    let start = Instant::now();
    for (after, tokens) in [(0, 30), (600, 20)] {
        assert_eq!(ledger.arrive(start + ms(after), tokens), Ok(()));
    }
    let standing = ledger.standing(start + ms(700));
    let (requests, tokens) = (standing.requests.unwrap(), standing.tokens.unwrap());
    assert_eq!((requests.limit, requests.remaining), (5, 3));
    assert_eq!((tokens.limit, tokens.remaining), (100, 50));
    assert_eq!((requests.reset, tokens.reset), (ms(900), ms(900)));
}

#[test]
fn an_outage_is_counted_from_the_first_request() {
    let mut ledger = Ledger::new(&limits(|l| {
        l.outage = Some(Outage {
            from: ms(100),
            lasts: ms(50),
        });
    }));
    let start = Instant::now() + ms(5_000);
    for (after, expected) in [
        (0, Ok(())),
        (99, Ok(())),
        (100, Err(Refusal::Down)),
        (149, Err(Refusal::Down)),
        (150, Ok(())),
    ] {
        assert_eq!(ledger.arrive(start + ms(after), 1), expected);
    }
    assert_eq!(ledger.counters().unavailable, 2);
}

// ===== over sockets =====

#[tokio::test]
async fn the_request_over_the_limit_is_refused_with_true_headers_and_then_let_in() {
    let simulator = Simulator::start(limits(|l| {
        l.requests = Some(3);
        l.tokens = Some(1_000);
        l.window = ms(1_200);
    }))
    .await
    .unwrap();
    let client = client();
    for remaining in ["2", "1", "0"] {
        let response = post(&client, &simulator, &body()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(field(&response, "x-ratelimit-limit-requests"), "3");
        assert_eq!(
            field(&response, "x-ratelimit-remaining-requests"),
            remaining
        );
        assert_eq!(field(&response, "x-ratelimit-reset-requests"), "1.2s");
        assert_eq!(field(&response, "x-ratelimit-limit-tokens"), "1000");
        assert!(response.headers().contains_key("x-request-id"));
        assert!(!response.headers().contains_key("retry-after"));
    }

    let response = post(&client, &simulator, &body()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let millis: u64 = field(&response, "retry-after-ms").parse().unwrap();
    let seconds: u64 = field(&response, "retry-after").parse().unwrap();
    assert_eq!(seconds, millis.div_ceil(1_000));
    assert_eq!(field(&response, "x-ratelimit-remaining-tokens"), "970");
    let hint = tower_throttle::Hint::from_headers(response.headers());
    assert_eq!(hint.retry_after(), Some(ms(millis)));
    let error: Value = response.json().await.unwrap();
    assert_eq!(error["error"]["code"], "rate_limit_exceeded");
    assert_eq!(error["error"]["type"], "requests");

    // The promise of the server is what is tested, so the wait is real.
    tokio::time::sleep(ms(millis)).await;
    let response = post(&client, &simulator, &body()).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn one_too_many_in_flight_is_refused_until_an_answer_has_ended() {
    let simulator = Simulator::start(limits(|l| {
        l.concurrent = Some(2);
        l.latency = ms(300);
    }))
    .await
    .unwrap();
    let client = client();
    let body = body();
    let answers = futures::future::join_all((0..3).map(|_| post(&client, &simulator, &body)));
    let mut statuses: Vec<_> = answers.await.iter().map(|r| r.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429]);

    let response = post(&client, &simulator, &body).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(simulator.counters().max_in_flight, 2);
}

#[tokio::test]
async fn a_streamed_answer_is_in_flight_to_its_last_event_and_ends_with_its_usage() {
    let simulator = Simulator::start(limits(|l| {
        l.concurrent = Some(1);
        l.latency = ms(400);
    }))
    .await
    .unwrap();
    let client = client();
    let mut streamed = body();
    streamed["stream"] = true.into();
    streamed["stream_options"] = json!({ "include_usage": true });

    let stream = post(&client, &simulator, &streamed).await;
    assert_eq!(stream.status(), StatusCode::OK);
    assert_eq!(field(&stream, "content-type"), "text/event-stream");
    let refused = post(&client, &simulator, &body()).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);

    let text = stream.text().await.unwrap();
    let events: Vec<_> = text.trim().split("\n\n").collect();
    assert_eq!(events[events.len() - 1], "data: [DONE]");
    let usage = events[events.len() - 2].strip_prefix("data: ").unwrap();
    let usage: Value = serde_json::from_str(usage).unwrap();
    assert_eq!(usage["usage"]["total_tokens"], 10);
    let response = post(&client, &simulator, &body()).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_goes_away_is_no_longer_in_flight() {
    let simulator = Simulator::start(limits(|l| {
        l.concurrent = Some(1);
        l.latency = Duration::from_secs(3_600);
    }))
    .await
    .unwrap();
    let gone = post_for(ms(200), &simulator).await;
    assert!(gone.is_none(), "an answer takes an hour");
    // The system needs a moment to tell the server; how long is its affair.
    while post_for(ms(200), &simulator)
        .await
        .is_some_and(|response| response.status() == StatusCode::TOO_MANY_REQUESTS)
    {}
    assert_eq!(simulator.counters().max_in_flight, 1);
}

/// Gives up after `patience`, and closes the connection.
async fn post_for(patience: Duration, simulator: &Simulator) -> Option<Response> {
    let (client, body) = (client(), body());
    tokio::time::timeout(patience, post(&client, simulator, &body))
        .await
        .ok()
}

#[tokio::test]
async fn an_outage_is_answered_with_503_and_no_hint() {
    let simulator = Simulator::start(limits(|l| {
        l.outage = Some(Outage {
            from: Duration::ZERO,
            lasts: Duration::from_secs(3_600),
        });
    }))
    .await
    .unwrap();
    let response = post(&client(), &simulator, &body()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!response.headers().contains_key("retry-after"));
    let error: Value = response.json().await.unwrap();
    assert_eq!(error["error"]["type"], "server_error");
}

#[tokio::test]
async fn nonsense_is_answered_with_errors_that_say_what_is_wrong() {
    let simulator = Simulator::start(limits(|l| l.key = Some("secret".into())))
        .await
        .unwrap();
    let client = client();
    let response = post(&client, &simulator, &body()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let error: Value = response.json().await.unwrap();
    assert_eq!(error["error"]["code"], "invalid_api_key");

    let url = format!("{}/chat/completions", simulator.url());
    for (body, says) in [
        ("{", "JSON"),
        (r#"{"messages":[]}"#, "model"),
        (r#"{"model":"m"}"#, "messages"),
    ] {
        let request = client.post(&url).bearer_auth("secret").body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let error: Value = response.json().await.unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    }
    let url = format!("{}/embeddings", simulator.url());
    let response = client.post(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(simulator.counters().accepted, 0);
}

#[tokio::test]
async fn a_request_over_the_whole_limit_of_tokens_is_not_worth_to_be_repeated() {
    let simulator = Simulator::start(limits(|l| l.tokens = Some(9)))
        .await
        .unwrap();
    let response = post(&client(), &simulator, &body()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(field(&response, "x-should-retry"), "false");
}

#[tokio::test]
async fn a_dropped_simulator_is_gone() {
    let simulator = Simulator::start(Limits::default()).await.unwrap();
    let client = client();
    assert_eq!(post(&client, &simulator, &body()).await.status(), 200);
    let url = format!("{}/chat/completions", simulator.url());
    drop(simulator);
    // Closing is the server task's affair, so this waits for it: if it never came about, the test would not end.
    while client.post(&url).json(&body()).send().await.is_ok() {
        tokio::task::yield_now().await;
    }
}
