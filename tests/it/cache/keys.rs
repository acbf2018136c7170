//! Which requests are equal.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::Full;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::{Layer, service_fn};
use tower_throttle::CacheLayer;

use super::{ask, cache, client, counting, post, post_with, runtime, text};

/// What two requests get of a server that counts.
async fn answers(layer: CacheLayer, one: super::Req, other: super::Req) -> (String, String) {
    let (mut client, _) = counting(&layer);
    let first = ask(&mut client, one).await.1;
    (first, ask(&mut client, other).await.1)
}

async fn are_equal(layer: CacheLayer, one: super::Req, other: super::Req) -> bool {
    let (first, second) = answers(layer, one, other).await;
    assert_eq!(first, "1");
    assert!(second == "1" || second == "2");
    second == "1"
}

#[tokio::test(start_paused = true)]
async fn any_header_tells_two_callers_apart() {
    for name in [
        "authorization",
        "x-api-key",
        "x-goog-api-key",
        "cookie",
        "x-shop",
        "baggage",
        "x-fern-sdk-version",
        "sec-fetch-user",
        "x-amzn-oidc-identity",
        "cf-connecting-ip",
        "x-ms-client-principal-id",
    ] {
        let by = |caller| post_with("{}", &[(name, caller)]);
        assert!(!are_equal(cache(), by("one"), by("other")).await, "{name}");
        assert!(!are_equal(cache(), by("one"), post("{}")).await, "{name}");
        assert!(!are_equal(cache(), post("{}"), by("")).await, "{name}");
        assert!(are_equal(cache(), by("one"), by("one")).await, "{name}");
    }
    let lines = |values: &[&'static str]| {
        let values: Vec<_> = values.iter().map(|value| ("x-shop", *value)).collect();
        post_with("{}", &values)
    };
    assert!(!are_equal(cache(), lines(&["a", "b"]), lines(&["b", "a"])).await);
    assert!(!are_equal(cache(), lines(&["a", "b"]), lines(&["a"])).await);
}

#[tokio::test(start_paused = true)]
async fn two_idempotency_keys_are_two_requests() {
    let with = |key| post_with("{}", &[("idempotency-key", key)]);
    assert!(!are_equal(cache(), with("one"), with("other")).await);
}

#[tokio::test(start_paused = true)]
async fn an_ignored_header_is_no_part_of_the_key() {
    let name = HeaderName::from_static("x-job-id");
    let with = |job| post_with("{}", &[("x-job-id", job)]);
    assert!(!are_equal(cache(), with("1"), with("2")).await);
    let layer = cache().ignore_header(name.clone());
    assert!(are_equal(layer, with("1"), with("2")).await);
    // A response that depends on it is nobody else's.
    let layer = cache().ignore_header(name);
    let (mut client, _) = client(&layer, |_, number| {
        crate::cache::with(text(number.to_string()), &[("vary", "x-job-id")])
    });
    assert_eq!(ask(&mut client, with("1")).await.1, "1");
    assert_eq!(ask(&mut client, with("2")).await.1, "2");
}

#[tokio::test(start_paused = true)]
async fn clones_with_other_keys_share_nothing() {
    let layer = cache();
    let (mut plain, _) = counting(&layer);
    let (mut ignoring, _) = counting(&layer.ignore_header(HeaderName::from_static("x-job-id")));
    assert_eq!(ask(&mut ignoring, post("{}")).await.1, "1");
    assert_eq!(ask(&mut ignoring, post("{}")).await.1, "1");
    ask(&mut plain, post("[]")).await;
    assert_eq!(ask(&mut plain, post("{}")).await.1, "2");
}

#[tokio::test(start_paused = true)]
async fn an_identity_in_extensions_can_be_part_of_the_key() {
    #[derive(Clone)]
    struct Tenant(u32);
    let by = |tenant| {
        let mut request = post("{}");
        request.extensions_mut().insert(Tenant(tenant));
        request
    };
    let layer = || {
        cache().key_also(|request| {
            let tenant: &Tenant = request.extensions()?.get()?;
            Some(tenant.0.to_be_bytes())
        })
    };
    assert!(are_equal(cache(), by(1), by(2)).await);
    assert!(!are_equal(layer(), by(1), by(2)).await);
    assert!(are_equal(layer(), by(1), by(1)).await);
    assert!(!are_equal(layer(), post("{}"), post("{}")).await, "unknown");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_chosen_passes_through() {
    let layer = CacheLayer::new(|request| request.path().ends_with("/completions"));
    assert!(are_equal(layer.clone(), post("{}"), post("{}")).await);
    let other = || {
        Request::post("/v1/threads")
            .body("{}".to_owned())
            .expect("a request")
    };
    assert!(!are_equal(layer, other(), other()).await);
    let completions = CacheLayer::completions();
    assert!(!are_equal(completions, other(), other()).await);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_another_one_each_time_does_not_count() {
    for name in [
        "x-request-id",
        "x-client-request-id",
        "x-correlation-id",
        "traceparent",
        "x-amzn-trace-id",
        "x-stainless-retry-count",
        "x-stainless-package-version",
        "x-stainless-runtime-version",
        "x-request-id",
        "cf-ray",
        "fly-request-id",
        "grpc-previous-rpc-attempts",
        "tracestate",
        "x-b3-spanid",
        "x-datadog-parent-id",
        "sentry-trace",
        "user-agent",
        "x-goog-api-client",
        "date",
        "cache-control",
        "pragma",
        "amz-sdk-invocation-id",
    ] {
        let with = |value| post_with("{}", &[(name, value)]);
        assert!(
            are_equal(cache(), with("one"), with("other")).await,
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_marked_as_secret_tells_callers_apart() {
    let by = |caller: &'static str| {
        let mut value = http::HeaderValue::from_static(caller);
        value.set_sensitive(true);
        let mut request = post("{}");
        request.headers_mut().insert("x-shop", value);
        request
    };
    assert!(!are_equal(cache(), by("one"), by("other")).await);
    assert!(are_equal(cache(), by("one"), by("one")).await);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_says_what_is_asked_for_counts() {
    for name in [
        "x-http-method-override",
        "x-original-url",
        "x-forwarded-host",
        "x-amz-target",
        "azureml-model-deployment",
        "x-goog-fieldmask",
        "x-amzn-bedrock-guardrailidentifier",
        "x-amzn-bedrock-accept",
        "x-dashscope-sse",
        "x-http-method",
        "x-policy-id",
        "prefer",
        "accept-version",
        "stripe-version",
        "x-organization-id",
        "x-forwarded-proto",
    ] {
        let to = |what| post_with("{}", &[(name, what)]);
        assert!(!are_equal(cache(), to("one"), to("other")).await, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_order_of_headers_does_not_count() {
    let one = post_with(
        "{}",
        &[("x-api-key", "1"), ("accept", "a"), ("cookie", "c")],
    );
    let other = post_with(
        "{}",
        &[("cookie", "c"), ("accept", "a"), ("x-api-key", "1")],
    );
    assert!(are_equal(cache(), one, other).await);
}

#[tokio::test(start_paused = true)]
async fn what_came_in_the_clear_is_not_given_to_who_asks_over_tls() {
    let by = |uri: &'static str| Request::get(uri).body(String::new()).unwrap();
    let (one, other) = (by("http://example.com/x"), by("https://example.com/x"));
    assert!(!are_equal(cache(), one, other).await);
}

#[tokio::test(start_paused = true)]
async fn members_that_some_servers_do_not_see_are_not_left_out() {
    let plain = post(r#"{"prompt": "good"}"#);
    let twice = post(r#"{"prompt": "evil", "prompt": "good"}"#);
    assert!(!are_equal(cache(), twice, plain).await);
}

#[tokio::test(start_paused = true)]
async fn a_gemini_key_in_the_query_tells_callers_apart() {
    let by = |uri: &'static str| Request::post(uri).body("{}".to_owned()).unwrap();
    let (one, other) = (by("/v1beta/x?key=one"), by("/v1beta/x?key=other"));
    assert!(!are_equal(cache(), one, other).await);
}

#[test]
fn nothing_of_a_key_shows_in_debug() {
    let layer = cache();
    let (mut client, _) = counting(&layer);
    runtime().block_on(ask(
        &mut client,
        post_with("s3cret", &[("x-api-key", "s3cret")]),
    ));
    assert!(!format!("{layer:?}").contains("s3cret"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The text of a JSON with the members of each object turned round by `turn`.
fn turned(value: &Value, turn: usize) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| turned(value, turn)).collect();
            format!("[\n{}\t]", values.join(" , "))
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members
                .iter()
                .map(|(key, value)| format!("{} : {}", json!(key), turned(value, turn)))
                .collect();
            let length = members.len().max(1);
            members.rotate_left(turn % length);
            format!("{{ {}}}", members.join(",\r\n"))
        }
        plain => plain.to_string(),
    }
}

/// Changes the leaf number `at`, and says whether there was one.
fn change(value: &mut Value, at: &mut usize) -> bool {
    match value {
        Value::Array(values) if !values.is_empty() => values.iter_mut().any(|v| change(v, at)),
        Value::Object(members) if !members.is_empty() => {
            members.iter_mut().any(|(_, value)| change(value, at))
        }
        leaf if *at == 0 => {
            *leaf = json!([leaf.clone()]);
            true
        }
        _ => {
            *at -= 1;
            false
        }
    }
}

fn second_answer(first: String, second: String) -> String {
    let server = cache();
    let number = std::cell::Cell::new(0);
    let mut client = server.layer(service_fn(move |_: Request<String>| {
        number.set(number.get() + 1);
        let body = Full::new(Bytes::from(number.get().to_string()));
        std::future::ready(Ok::<_, Infallible>(Response::new(body)))
    }));
    runtime().block_on(async {
        let request = |body| Request::post("/v1/messages").body(body).unwrap();
        ask(&mut client, request(first)).await;
        ask(&mut client, request(second)).await.1
    })
}

proptest! {
    #[test]
    fn any_order_and_spacing_of_the_same_json_hits(value in any_json(), turn: usize) {
        prop_assert_eq!(second_answer(value.to_string(), turned(&value, turn)), "1");
    }

    #[test]
    fn any_change_of_a_value_misses(value in any_json(), mut at in 0..8_usize) {
        let mut changed = value.clone();
        prop_assume!(change(&mut changed, &mut at));
        prop_assert_eq!(second_answer(value.to_string(), changed.to_string()), "2");
    }
}
