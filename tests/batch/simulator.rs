//! The simulated provider of the batch example: its limits are exact, and its answers are OpenAI's.
//!
//! Over real sockets, so on real time; what depends on time alone is tested on the ledger, which is told what time it is.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

use self::provider::{
    Answered, Chaos, Counting, Dimension, Kind, Ledger, Limits, Mishap, Outage, Rejection,
    Simulator, Standing, Style, Tokens, UsageShare, least_time,
};
use crate::support::ms;

#[path = "../../examples/batch/simulator/mod.rs"]
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

/// Someone comes who needs so many tokens, and stays.
fn arrive(ledger: &mut Ledger, now: Instant, input: u64) -> Result<(), Rejection> {
    ledger.arrive(now, Tokens { input, output: 0 }).map(drop)
}

fn refused(dimension: Dimension, retry_after: Duration) -> Result<(), Rejection> {
    Err(Rejection::Limited {
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
    assert_eq!(arrive(&mut ledger, start, 1), Ok(()));
    assert_eq!(arrive(&mut ledger, start + ms(400), 1), Ok(()));
    let no = refused(Dimension::Requests, ms(100));
    assert_eq!(arrive(&mut ledger, start + ms(900), 1), no);
    let just_before = start + ms(1_000) - Duration::from_nanos(1);
    let no = refused(Dimension::Requests, Duration::from_nanos(1));
    assert_eq!(arrive(&mut ledger, just_before, 1), no);
    assert_eq!(arrive(&mut ledger, start + ms(1_000), 1), Ok(()));
    let no = refused(Dimension::Requests, ms(399));
    assert_eq!(arrive(&mut ledger, start + ms(1_001), 1), no);

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
        assert_eq!(arrive(&mut ledger, now, 1).is_ok(), fits);
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
        assert_eq!(arrive(&mut ledger, start + ms(after), tokens), Ok(()));
    }
    let now = start + ms(300);
    assert_eq!(
        arrive(&mut ledger, now, 30),
        refused(Dimension::Tokens, ms(700))
    );
    assert_eq!(
        arrive(&mut ledger, now, 31),
        refused(Dimension::Tokens, ms(800))
    );
    assert_eq!(
        arrive(&mut ledger, now, 100),
        refused(Dimension::Tokens, ms(900))
    );
    assert_eq!(
        arrive(&mut ledger, now, 101),
        Err(Rejection::TooLarge(Dimension::Tokens))
    );
    assert_eq!(arrive(&mut ledger, start + ms(1_100), 60), Ok(()));
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
    let tokens = Tokens {
        input: 4,
        output: 6,
    };
    let admission = ledger.arrive(start, tokens).unwrap();
    for after in 1..1_000 {
        assert!(arrive(&mut ledger, start + ms(after), 10).is_err());
    }
    ledger.end(start + ms(999), &admission, tokens);
    assert_eq!(arrive(&mut ledger, start + ms(1_000), 10), Ok(()));
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
        assert_eq!(arrive(&mut ledger, start + ms(after), tokens), Ok(()));
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
        (100, Err(Rejection::Down)),
        (149, Err(Rejection::Down)),
        (150, Ok(())),
    ] {
        assert_eq!(arrive(&mut ledger, start + ms(after), 1), expected);
    }
    assert_eq!(ledger.counters().unavailable, 2);
}

#[test]
fn a_day_is_a_window_of_its_own_whatever_the_kind_of_the_rest() {
    let mut ledger = Ledger::new(&limits(|l| {
        l.requests = Some(2);
        l.requests_per_day = Some(3);
        l.window = ms(10);
        l.day = ms(1_000);
        l.kind = Kind::Bucket;
    }));
    let start = Instant::now();
    for after in [0, 10, 20] {
        assert_eq!(arrive(&mut ledger, start + ms(after), 1), Ok(()));
    }
    let no = refused(Dimension::RequestsPerDay, ms(970));
    assert_eq!(arrive(&mut ledger, start + ms(30), 1), no);
    assert_eq!(arrive(&mut ledger, start + ms(1_000), 1), Ok(()));
    let counters = ledger.counters();
    assert_eq!(counters.refused_by(Dimension::RequestsPerDay), 1);
    assert_eq!(counters.refused_by(Dimension::Requests), 0);
}

#[test]
fn a_bucket_is_full_at_the_start_and_comes_back_evenly() {
    let mut ledger = Ledger::new(&limits(|l| {
        l.requests = Some(3);
        l.window = ms(300);
        l.kind = Kind::Bucket;
    }));
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(arrive(&mut ledger, start, 1), Ok(()));
    }
    let no = refused(Dimension::Requests, ms(60));
    assert_eq!(arrive(&mut ledger, start + ms(40), 1), no);
    let left = ledger.standing(start + ms(40)).requests.unwrap();
    assert_eq!((left.remaining, left.reset), (0, ms(260)));
    assert_eq!(arrive(&mut ledger, start + ms(100), 1), Ok(()));
}

#[test]
fn an_answer_may_push_the_sum_over_the_limit_and_closes_the_door_until_it_fits() {
    let mut ledger = Ledger::new(&limits(|l| {
        l.output_tokens = Some(100);
        l.window = ms(1_000);
        l.style = Style::ANTHROPIC;
    }));
    let start = Instant::now();
    let reserved = Tokens {
        input: 1,
        output: 1_000,
    };
    let used = Tokens {
        input: 1,
        output: 60,
    };
    let first = ledger.arrive(start, reserved).unwrap();
    let second = ledger.arrive(start, reserved).unwrap();
    ledger.end(start, &first, used);
    assert!(ledger.arrive(start + ms(50), reserved).is_ok());
    ledger.end(start + ms(100), &second, used);
    // 60 of them came at 0 ms, and 60 at 100 ms.
    let no = refused(Dimension::OutputTokens, ms(700));
    assert_eq!(arrive(&mut ledger, start + ms(300), 1), no);
    assert_eq!(arrive(&mut ledger, start + ms(1_000), 1), Ok(()));
}

#[test]
fn a_rejected_request_counts_if_it_is_to() {
    for (counts_rejected, accepted) in [(false, true), (true, false)] {
        let mut ledger = Ledger::new(&limits(|l| {
            l.requests = Some(1);
            l.window = ms(1_000);
            l.counts_rejected = counts_rejected;
        }));
        let start = Instant::now();
        assert_eq!(arrive(&mut ledger, start, 1), Ok(()));
        let no = refused(Dimension::Requests, ms(100));
        assert_eq!(arrive(&mut ledger, start + ms(900), 1), no);
        let later = arrive(&mut ledger, start + ms(1_000), 1);
        assert_eq!(later.is_ok(), accepted);
    }
}

#[test]
fn fixed_windows_begin_one_after_the_other() {
    let mut ledger = Ledger::new(&limits(|l| {
        l.requests = Some(2);
        l.window = ms(1_000);
        l.kind = Kind::Fixed;
    }));
    let start = Instant::now();
    for after in [0, 999, 1_000, 1_001, 2_999, 2_999] {
        assert_eq!(arrive(&mut ledger, start + ms(after), 1), Ok(()));
    }
    let no = refused(Dimension::Requests, ms(1));
    assert_eq!(arrive(&mut ledger, start + ms(2_999), 1), no);
    assert_eq!(arrive(&mut ledger, start + ms(3_000), 1), Ok(()));
}

#[test]
fn other_users_take_their_share_and_headers_are_old() {
    let mut ledger = Ledger::new(&limits(|l| {
        l.requests = Some(100);
        l.window = ms(1_000);
        l.others = 30;
        l.staleness = ms(500);
    }));
    let start = Instant::now();
    let mut left = |after| {
        let now = start + ms(after);
        assert_eq!(arrive(&mut ledger, now, 1), Ok(()));
        let left = |standing: Standing| standing.requests.unwrap().remaining;
        (left(ledger.standing(now)), left(ledger.report(now)))
    };
    // Of what is left, and of what headers say is left.
    assert_eq!(left(0), (99, 99));
    assert_eq!(left(400), (100 - 2 - 12, 99));
    assert_eq!(left(500), (100 - 3 - 15, 99));
    assert_eq!(left(900), (100 - 4 - 27, 100 - 2 - 12));
}

#[test]
fn the_least_time_is_that_of_the_provider() {
    // 20 requests of ten tokens, of which four are used.
    let tokens = Tokens {
        input: 0,
        output: 10,
    };
    let of = |kind, counting, workers| {
        let limits = limits(|l| {
            l.tokens = Some(100);
            l.window = ms(1_000);
            l.latency = ms(100);
            l.kind = kind;
            l.style.counting = counting;
            l.usage = UsageShare::Drawn {
                from: 400,
                to: 400,
                seed: 1,
            };
        });
        least_time(&limits, tokens, 20, workers)
    };
    assert_eq!(of(Kind::Bucket, Counting::Reserved, 20), ms(1_100));
    assert_eq!(of(Kind::Window, Counting::Reserved, 20), ms(1_100));
    // Ten begin at once, and as responses end 6, 3 and 1.
    assert_eq!(of(Kind::Window, Counting::Settled, 20), ms(400));
    assert_eq!(of(Kind::Window, Counting::Settled, 1), ms(2_000));
}

#[tokio::test(start_paused = true)]
async fn responses_take_lognormal_times() {
    let (simulator, app) = Simulator::in_memory(limits(|l| {
        l.latency = ms(2_000);
        l.longest_latency = ms(12_000);
    }));
    let client = Simulator::client(app);
    let url = format!("{}/chat/completions", simulator.url());
    let request = self::client().post(url).json(&body()).build().unwrap();
    let mut times = Vec::new();
    for _ in 0..400 {
        let request = request.try_clone().unwrap();
        let begun = Instant::now();
        assert_eq!(client.clone().oneshot(request).await.unwrap().status(), 200);
        times.push(begun.elapsed());
    }
    times.sort();
    let median = (2_000.0 * 12_000.0_f64).sqrt() as u64;
    assert!(times[0] >= ms(2_000) && times[399] <= ms(12_001));
    assert!(times[200] > ms(median - 500) && times[200] < ms(median + 500));
    // 16 in a hundred are longer than by one standard deviation.
    assert!(
        times[336] > ms(7_000) && times[336] < ms(8_500),
        "{times:?}"
    );
}

#[test]
fn a_hundred_thousand_in_a_window_are_no_more_work_each_than_ten() {
    let mut ledger = Ledger::new(&limits(|l| {
        l.requests = Some(100_000);
        l.tokens = Some(1_000_000_000);
        l.window = ms(100_000);
    }));
    let start = Instant::now();
    // A scan of all for each would be 10¹¹ steps, and the test as good as endless.
    for n in 0..1_000_000_u64 {
        let now = start + Duration::from_micros(n * 500);
        let fits = n % 200_000 < 100_000;
        assert_eq!(arrive(&mut ledger, now, 1).is_ok(), fits, "{n}");
        assert!(ledger.standing(now).requests.is_some());
    }
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
    let counters = simulator.counters();
    assert_eq!(counters.max_in_flight, 1);
    // Of the answer nothing was sent. The second to be let in may be gone already, too.
    assert!([4, 8].contains(&counters.used_tokens), "{counters:?}");
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
    let url = format!("{}/images", simulator.url());
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

// ===== mishaps =====

/// A provider to whom nothing else happens.
async fn always(mishap: Mishap, style: Style) -> Simulator {
    let limits = limits(|l| {
        l.requests = Some(100);
        l.tokens = Some(1_000);
        l.style = style;
        l.chaos = Some(Chaos::calm(0).with(mishap, 1_000));
    });
    Simulator::start(limits).await.unwrap()
}

fn streamed() -> Value {
    let mut body = body();
    body["stream"] = true.into();
    body
}

/// Whether any cause of an error is a reset.
fn is_reset(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn errors_are_those_of_the_providers_and_one_says_how_long_to_wait() {
    for (mishap, style, status, kind, hints) in [
        (Mishap::ServerError, Style::OPENAI, 500, "server_error", 0),
        (Mishap::ServerError, Style::ANTHROPIC, 500, "api_error", 0),
        (Mishap::Unavailable, Style::OPENAI, 503, "server_error", 2),
        (Mishap::Unavailable, Style::ANTHROPIC, 503, "api_error", 1),
        (
            Mishap::Overloaded,
            Style::OPENAI,
            529,
            "overloaded_error",
            0,
        ),
        (
            Mishap::Overloaded,
            Style::ANTHROPIC,
            529,
            "overloaded_error",
            0,
        ),
    ] {
        let simulator = always(mishap, style).await;
        for body in [body(), streamed()] {
            let response = post(&client(), &simulator, &body).await;
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(names_with(&response, "retry-after").count(), hints);
            if hints > 0 {
                let hint = tower_throttle::Hint::from_headers(response.headers());
                let least = if hints == 2 { ms(100) } else { ms(1_000) };
                assert_eq!(hint.retry_after(), Some(least));
            }
            assert_eq!(error(response).await["error"]["type"], kind);
        }
        assert_eq!(simulator.counters().met(mishap), 2);
        assert_eq!(simulator.answered().answers, 0);
    }
}

#[tokio::test]
async fn a_connection_is_reset_before_the_head_of_an_answer_or_after_it() {
    let simulator = always(Mishap::ResetBeforeHead, Style::OPENAI).await;
    let url = format!("{}/chat/completions", simulator.url());
    for body in [body(), streamed()] {
        let sent = client().post(&url).json(&body).send().await;
        let error = sent.unwrap_err();
        assert!(is_reset(&error) && !error.is_connect(), "{error:?}");
    }

    let simulator = always(Mishap::ResetAfterHead, Style::OPENAI).await;
    for (body, beginning) in [(body(), "{"), (streamed(), "data: ")] {
        let mut response = post(&client(), &simulator, &body).await;
        assert_eq!(response.status(), StatusCode::OK);
        let (read, error) = to_its_break(&mut response).await;
        assert!(
            read.starts_with(beginning) && !read.contains("word"),
            "{read}"
        );
        assert!(is_reset(&error), "{error:?}");
    }
    let mut message = message(20);
    message["stream"] = true.into();
    let mut response = post_message(&client(), &simulator, &message).await;
    let (read, _) = to_its_break(&mut response).await;
    assert!(
        read.contains("message_start") && !read.contains("delta"),
        "{read}"
    );
    assert_eq!(simulator.counters().met(Mishap::ResetAfterHead), 3);
}

async fn to_its_break(response: &mut Response) -> (String, reqwest::Error) {
    let mut read = String::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => read.push_str(std::str::from_utf8(&chunk).unwrap()),
            Ok(None) => panic!("it came to its end: {read}"),
            Err(error) => return (read, error),
        }
    }
}

#[tokio::test]
async fn a_stall_lasts_until_the_client_leaves_or_the_provider_does() {
    for (mishap, has_head) in [
        (Mishap::StallBeforeHead, false),
        (Mishap::StallAfterHead, true),
    ] {
        let simulator = always(mishap, Style::OPENAI).await;
        for body in [body(), streamed()] {
            let client = client();
            let response = tokio::time::timeout(ms(50), post(&client, &simulator, &body)).await;
            assert_eq!(response.is_ok(), has_head);
            if let Ok(response) = response {
                let read = tokio::time::timeout(ms(50), response.bytes());
                assert!(read.await.is_err());
            }
        }
        // One more, and the provider is gone before its client.
        let url = format!("{}/chat/completions", simulator.url());
        let waits = tokio::spawn(async move {
            let response = client().post(&url).json(&streamed()).send().await?;
            response.bytes().await
        });
        while simulator.counters().accepted < 3 {
            tokio::time::sleep(ms(1)).await;
        }
        drop(simulator);
        let ended = tokio::time::timeout(Duration::from_secs(10), waits).await;
        drop(ended.expect("the client still waits"));
    }
}

#[tokio::test]
async fn a_stream_may_begin_with_an_error_or_break_off_and_nothing_else_may() {
    let simulator = always(Mishap::ErrorStream, Style::OPENAI).await;
    let response = post(&client(), &simulator, &streamed()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(field(&response, "content-type"), "text/event-stream");
    let text = response.text().await.unwrap();
    let data: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data["error"]["type"], "server_error");
    let mut message = message(20);
    message["stream"] = true.into();
    let response = post_message(&client(), &simulator, &message).await;
    let text = response.text().await.unwrap();
    let data = text.strip_prefix("event: error\ndata: ").unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["error"]["type"], "overloaded_error");
    assert_eq!(simulator.counters().met(Mishap::ErrorStream), 2);

    let simulator = always(Mishap::CutStream, Style::OPENAI).await;
    for max_tokens in [1, 6, 400] {
        let mut body = streamed();
        body["max_tokens"] = max_tokens.into();
        let mut response = post(&client(), &simulator, &body).await;
        let (read, error) = to_its_break(&mut response).await;
        assert!(read.contains("word1 ") && !read.contains("stop"), "{read}");
        assert!(is_reset(&error), "{error:?}");
    }
    assert_eq!(simulator.counters().met(Mishap::CutStream), 3);
    assert_eq!(simulator.answered().answers, 0);

    for mishap in [Mishap::ErrorStream, Mishap::CutStream] {
        let simulator = always(mishap, Style::OPENAI).await;
        let response = post(&client(), &simulator, &body()).await;
        assert!(response.json::<Value>().await.is_ok());
        assert_eq!(simulator.counters().met(mishap), 0);
    }
}

#[tokio::test]
async fn what_failed_counts_as_a_request_and_its_tokens_do_only_if_there_were_some() {
    for mishap in Mishap::ALL {
        // One that gives nothing back, and one that does.
        for (style, of_a_cut) in [(Style::OPENAI, 10), (Style::AIPOWER, 4 + 3)] {
            let style = Style {
                headers: Style::OPENAI.headers,
                ..style
            };
            let simulator = Simulator::start(limits(|l| {
                l.requests = Some(100);
                l.tokens = Some(1_000);
                l.style = style;
                l.chaos = Some(Chaos::calm(0).with(mishap, 1_000));
            }))
            .await
            .unwrap();
            let url = format!("{}/chat/completions", simulator.url());
            let request = client().post(url).json(&streamed()).timeout(ms(100));
            if let Ok(response) = request.send().await {
                drop(response.bytes().await);
            }
            let tokens = if mishap == Mishap::CutStream {
                of_a_cut
            } else {
                0
            };
            let left = || {
                let standing = simulator.standing();
                let left = [standing.requests, standing.tokens].map(|left| left.unwrap().remaining);
                assert_eq!(left[0], 99, "{mishap:?}");
                left[1]
            };
            // The system needs a moment to tell the server that a client has left.
            let settled = async {
                while left() != 1_000 - tokens {
                    tokio::time::sleep(ms(2)).await;
                }
            };
            let settled = tokio::time::timeout(Duration::from_secs(10), settled).await;
            assert!(settled.is_ok(), "{mishap:?} {style:?}: {}", left());
        }
    }
}

#[tokio::test]
async fn it_knows_how_often_each_prompt_was_answered() {
    let simulator = Simulator::start(Limits::default()).await.unwrap();
    let client = client();
    for (content, stream) in [("a", false), ("b", true), ("a", true), ("c", false)] {
        let mut body = body();
        body["messages"][0]["content"] = content.into();
        body["stream"] = stream.into();
        post(&client, &simulator, &body)
            .await
            .bytes()
            .await
            .unwrap();
    }
    let answered = Answered {
        prompts: 3,
        answers: 4,
        most: 2,
    };
    assert_eq!(simulator.answered(), answered);
}

// ===== styles =====

/// A message of 4 tokens in Anthropic's form.
fn message(max_tokens: u64) -> Value {
    json!({
        "model": "m",
        "system": "be",
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "brief, always!" }] }],
        "max_tokens": max_tokens,
    })
}

async fn post_message(client: &Client, simulator: &Simulator, body: &Value) -> Response {
    let url = format!("{}/messages", simulator.url());
    client.post(url).json(body).send().await.unwrap()
}

async fn error(response: Response) -> Value {
    response.json().await.unwrap()
}

fn names_with<'a>(response: &'a Response, part: &'a str) -> impl Iterator<Item = &'a str> {
    let names = response.headers().keys().map(|name| name.as_str());
    names.filter(move |name| name.contains(part))
}

#[tokio::test]
async fn a_message_is_answered_whole_with_its_usage() {
    let simulator = Simulator::start(limits(|l| l.style = Style::ANTHROPIC))
        .await
        .unwrap();
    let client = client();
    let response = post_message(&client, &simulator, &message(5)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        answer["content"][0]["text"],
        "word1 word2 word3 word4 word5 "
    );
    assert_eq!(answer["stop_reason"], "max_tokens");
    let usage = json!({
        "input_tokens": 4,
        "output_tokens": 5,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    });
    assert_eq!(answer["usage"], usage);
    let mut endless = message(5);
    endless.as_object_mut().unwrap().remove("max_tokens");
    let response = post_message(&client, &simulator, &endless).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        error(response).await["error"]["type"],
        "invalid_request_error"
    );
}

#[tokio::test]
async fn a_streamed_message_begins_with_its_prompt_and_ends_with_the_sum() {
    let simulator = Simulator::start(Limits::default()).await.unwrap();
    let mut body = message(40);
    body["stream"] = true.into();
    let response = post_message(&client(), &simulator, &body).await;
    assert_eq!(field(&response, "content-type"), "text/event-stream");
    let text = response.text().await.unwrap();
    let events: Vec<(&str, Value)> = text
        .trim()
        .split("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let data = data.strip_prefix("data: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            let name = name.strip_prefix("event: ").unwrap();
            assert_eq!(data["type"], name);
            (name, data)
        })
        .collect();
    let names: Vec<_> = events.iter().map(|(name, _)| *name).collect();
    let mut expected = vec!["message_start", "content_block_start"];
    expected.extend(["content_block_delta"; 12]);
    expected.extend(["content_block_stop", "message_delta", "message_stop"]);
    assert_eq!(names, expected);
    let start = &events[0].1["message"]["usage"];
    assert_eq!(
        (&start["input_tokens"], &start["output_tokens"]),
        (&json!(4), &json!(1))
    );
    let end = &events[events.len() - 2].1["usage"];
    assert_eq!(
        (&end["input_tokens"], &end["output_tokens"]),
        (&json!(4), &json!(12))
    );
}

#[tokio::test]
async fn anthropic_tells_of_four_limits_and_when_they_are_there_again() {
    let simulator = Simulator::start(limits(|l| {
        l.requests = Some(1);
        l.input_tokens = Some(100);
        l.output_tokens = Some(80_000);
        l.kind = Kind::Bucket;
        l.style = Style::ANTHROPIC;
    }))
    .await
    .unwrap();
    let client = client();
    let response = post_message(&client, &simulator, &message(1_000)).await;
    assert_eq!(names_with(&response, "ratelimit").count(), 12);
    for (name, value) in [
        ("requests-limit", "1"),
        ("requests-remaining", "0"),
        ("input-tokens-limit", "100"),
        ("input-tokens-remaining", "96"),
        ("output-tokens-limit", "80000"),
        ("output-tokens-remaining", "80000"),
        ("tokens-limit", "80100"),
        ("tokens-remaining", "80000"),
    ] {
        let name = format!("anthropic-ratelimit-{name}");
        assert_eq!(field(&response, &name), value, "{name}");
    }
    let reset = field(&response, "anthropic-ratelimit-requests-reset");
    assert!(reset.ends_with('Z') && reset.len() == 20, "{reset}");
    assert!(!response.headers().contains_key("retry-after"));

    let response = post_message(&client, &simulator, &message(1_000)).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = field(&response, "retry-after").parse().unwrap();
    assert!((55..=60).contains(&seconds), "{seconds}");
    assert!(!response.headers().contains_key("retry-after-ms"));
    let id = field(&response, "request-id").to_owned();
    let error = error(response).await;
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"]["type"], "rate_limit_error");
    assert_eq!(error["request_id"], id);
}

#[tokio::test]
async fn the_others_tell_nothing_but_that_it_was_too_much_or_how_long_to_wait() {
    for (style, hints) in [(Style::DEEPSEEK, 0), (Style::AIPOWER, 1)] {
        let simulator = Simulator::start(limits(|l| {
            l.requests = Some(1);
            l.concurrent = Some(1);
            l.style = style;
        }))
        .await
        .unwrap();
        let client = client();
        let response = post(&client, &simulator, &body()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(names_with(&response, "ratelimit").count(), 0);
        let response = post(&client, &simulator, &body()).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(names_with(&response, "ratelimit").count(), 0);
        assert_eq!(names_with(&response, "retry").count(), hints);
        let error = error(response).await;
        let message = error["error"]["message"].as_str().unwrap();
        assert_eq!(message.contains("try again in"), hints > 0, "{message}");
        assert_eq!(error["error"]["code"], "rate_limit_exceeded");
    }
}

#[tokio::test]
async fn deepseek_says_that_too_many_are_concurrent() {
    let simulator = Simulator::start(limits(|l| {
        l.concurrent = Some(0);
        l.style = Style::DEEPSEEK;
    }))
    .await
    .unwrap();
    let error = error(post(&client(), &simulator, &body()).await).await;
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("concurrent"), "{message}");
    let counters = simulator.counters();
    assert_eq!(counters.refused_by(Dimension::Concurrent), 1);
}

#[tokio::test]
async fn what_an_answer_did_not_use_is_given_back_or_not_as_the_style_is() {
    for (style, remaining) in [
        // 4 of the prompt and 100 of the answer each, for good, for a while, and only what is written.
        (Style::OPENAI, 1_000 - 2 * 104),
        (Style::AIPOWER, 1_000 - (2 + 50) - 104),
        (Style::ANTHROPIC, 1_000 - (2 + 50) - 4),
    ] {
        let simulator = Simulator::start(limits(|l| {
            l.tokens = Some(1_000);
            l.style = Style {
                headers: Style::OPENAI.headers,
                ..style
            };
            l.usage = UsageShare::Drawn {
                from: 500,
                to: 500,
                seed: 0,
            };
        }))
        .await
        .unwrap();
        let client = client();
        let mut body = body();
        body["max_tokens"] = 100.into();
        let answer: Value = post(&client, &simulator, &body).await.json().await.unwrap();
        let usage = json!({
            "prompt_tokens": 2,
            "completion_tokens": 50,
            "total_tokens": 52,
            "prompt_tokens_details": { "cached_tokens": 0 },
        });
        assert_eq!(answer["usage"], usage);
        let response = post(&client, &simulator, &body).await;
        let told = field(&response, "x-ratelimit-remaining-tokens");
        assert_eq!(told, remaining.to_string(), "{style:?}");
        response.bytes().await.unwrap();
        let counters = simulator.counters();
        assert_eq!((counters.reserved_tokens, counters.used_tokens), (208, 104));
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_has_used_what_was_streamed_so_far() {
    let simulator = Simulator::start(limits(|l| {
        l.tokens = Some(1_000);
        l.concurrent = Some(1);
        l.latency = Duration::from_secs(15);
        l.style = Style {
            counting: Style::AIPOWER.counting,
            ..Style::OPENAI
        };
    }))
    .await
    .unwrap();
    let mut streamed = body();
    streamed["stream"] = true.into();
    streamed["max_tokens"] = 500.into();
    let client_that_leaves = client();
    let mut stream = post(&client_that_leaves, &simulator, &streamed).await;
    // The first says who speaks, and the second what.
    for says in ["assistant", "word1 "] {
        let chunk = stream.chunk().await.unwrap().unwrap();
        let chunk = std::str::from_utf8(&chunk).unwrap();
        assert!(
            chunk.starts_with("data: ") && chunk.contains(says),
            "{chunk}"
        );
    }
    drop((stream, client_that_leaves));
    let used = loop {
        let used = simulator.counters().used_tokens;
        if used > 0 {
            break used;
        }
        tokio::time::sleep(ms(5)).await;
    };
    // One word a second; the system may need a moment to tell the server.
    assert!((4 + 1..4 + 12).contains(&used), "{used}");
    streamed["max_tokens"] = 1.into();
    let response = post(&client(), &simulator, &streamed).await;
    let remaining = (1_000 - used - 5).to_string();
    assert_eq!(field(&response, "x-ratelimit-remaining-tokens"), remaining);
}

#[tokio::test]
async fn limits_can_be_scaled_while_it_runs() {
    let simulator = Simulator::start(limits(|l| l.requests = Some(4)))
        .await
        .unwrap();
    let client = client();
    for (share, status, limit, remaining) in [
        (1_000, 200, "4", "3"),
        (500, 200, "2", "0"),
        (500, 429, "2", "0"),
        (2_000, 200, "8", "5"),
        (250, 429, "1", "0"),
        (1_000, 200, "4", "0"),
    ] {
        simulator.scale(share);
        let response = post(&client, &simulator, &body()).await;
        assert_eq!(response.status(), status);
        assert_eq!(field(&response, "x-ratelimit-limit-requests"), limit);
        assert_eq!(
            field(&response, "x-ratelimit-remaining-requests"),
            remaining
        );
    }
}

#[test]
fn styles_are_known_by_the_names_of_providers() {
    for (name, style) in [
        ("openai-tier-1", Some(Style::OPENAI)),
        ("openai-tier-4", Some(Style::OPENAI)),
        ("anthropic-build", Some(Style::ANTHROPIC)),
        ("deepseek", Some(Style::DEEPSEEK)),
        ("aipower", Some(Style::AIPOWER)),
        ("openai", None),
        ("", None),
    ] {
        assert_eq!(Style::of(name), style, "{name}");
    }
}
