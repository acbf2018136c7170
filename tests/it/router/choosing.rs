//! Who is chosen, and what is sent there.

use std::{convert::Infallible, io, sync::Mutex};

use http::{Request, Response};
use http_body_util::{Full, StreamBody};
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, Reason, Rejected, RouterLayer, Tokens,
    body::PeekBody,
    provider::{Provider, ProviderLimiter},
    router::{NoTargetAvailable, SelectedTarget, Target},
};

use super::{Req, plenty, post, rpm};

/// What was sent where: the path, and the body.
type Seen = Mutex<Vec<(String, String)>>;

fn seen() -> &'static Seen {
    Box::leak(Box::default())
}

/// Notes what it sees.
macro_rules! server {
    ($seen:expr) => {{
        let seen: &'static Seen = $seen;
        service_fn(move |request: Req| {
            let path = request.uri().path().to_owned();
            seen.lock().unwrap().push((path, request.into_body()));
            async { Ok::<_, Infallible>(Response::new(Full::new(&b"{}"[..]))) }
        })
    }};
}

fn chosen<B>(response: &Response<B>) -> (&str, Option<&str>, usize) {
    let chosen = SelectedTarget::of(response).unwrap();
    (chosen.target(), chosen.model(), chosen.tried())
}

/// Two with a model, one of them mapped, and two that take requests as they are.
fn four() -> RouterLayer<Req> {
    RouterLayer::ranked()
        .target(Target::new("a", plenty()).model("small"))
        .target(
            Target::new("b", plenty())
                .model("large \"1\"")
                .map_request(|mut request: Req| {
                    assert!(request.body().contains("large"), "mapped before");
                    *request.uri_mut() = "/b".parse().unwrap();
                    request
                }),
        )
        .target(Target::new("c", plenty()))
        .target(Target::new("d", plenty()).model("small"))
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_where_its_model_can_be_had() {
    // What it says, who answers, and what is sent
    let table = [
        (r#"{"model": "auto"}"#, "a", r#"{"model": "small"}"#),
        (r#"{"a":1}"#, "a", r#"{"model":"small","a":1}"#),
        (r#"{"model": null}"#, "a", r#"{"model": "small"}"#),
        ("", "a", ""),
        ("hello", "a", "hello"),
        (r#"{"model": "b"}"#, "b", r#"{"model": "large \"1\""}"#),
        (
            r#"{"model": "large \"1\""}"#,
            "b",
            r#"{"model": "large \"1\""}"#,
        ),
        (r#"{"model": "c"}"#, "c", r#"{"model": "c"}"#),
        (r#"{"model": "d"}"#, "d", r#"{"model": "small"}"#),
        (r#"{"model": "small"}"#, "a", r#"{"model": "small"}"#),
        (r#"{"model": "other"}"#, "c", r#"{"model": "other"}"#),
        (r#"{"model": "AUTO"}"#, "c", r#"{"model": "AUTO"}"#),
    ];
    for (body, target, sent) in table {
        let seen = seen();
        let response = four()
            .layer(server!(seen))
            .oneshot(post(body))
            .await
            .unwrap();
        assert_eq!(chosen(&response).0, target, "{body}");
        let path = if target == "b" { "/b" } else { "/v1" };
        assert_eq!(*seen.lock().unwrap(), [(path.to_owned(), sent.to_owned())]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_response_tells_who_answered() {
    let client = four().layer(server!(seen()));
    for (body, expected) in [
        (r#"{"model":"auto"}"#, ("a", Some("small"), 0)),
        (r#"{"model":"c"}"#, ("c", None, 0)),
    ] {
        let response = client.clone().oneshot(post(body)).await.unwrap();
        assert_eq!(chosen(&response), expected);
    }
    assert_eq!(SelectedTarget::of(&Response::new(())), None);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_nobody_has_is_refused_unless_all_is_taken() {
    let layer = RouterLayer::ranked().target(Target::new("a", plenty()).model("small"));
    let body = format!(r#"{{"model":"{}"}}"#, "x".repeat(300));
    let client = layer.clone().layer(server!(seen()));
    let error = client.oneshot(post(&body)).await.unwrap_err();
    let none = error.downcast_ref::<NoTargetAvailable>().unwrap();
    assert_eq!(none.model(), Some(&*"x".repeat(100)));
    let (none, wrapped) = (none.clone(), BoxError::from(io::Error::other(error)));
    assert_eq!(NoTargetAvailable::of(&wrapped), Some(&none));
    assert_eq!(NoTargetAvailable::of(&"another error".into()), None);
    let seen = seen();
    let client = layer.always().layer(server!(seen));
    client.oneshot(post(&body)).await.unwrap();
    assert_eq!(seen.lock().unwrap()[0].1, r#"{"model":"small"}"#);
}

#[tokio::test(start_paused = true)]
async fn without_targets_there_is_an_error_and_no_panic() {
    for layer in [
        RouterLayer::ranked(),
        RouterLayer::weighted().max_wait(std::time::Duration::ZERO),
    ] {
        let client = layer.layer(server!(seen()));
        let error = client.oneshot(post("{}")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no targets: add one with `RouterLayer::target`"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_content_length_follows_the_model() {
    let client = four().layer(service_fn(async |request: Req| {
        assert_eq!(request.headers()["content-length"], "17");
        Ok::<_, Infallible>(Response::new(Full::new(&b"{}"[..])))
    }));
    let mut request = post(r#"{"model":"auto"}"#);
    request.headers_mut().insert("content-length", 16.into());
    client.oneshot(request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_as_it_is() {
    type Stream = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, Infallible>;
    let frames = futures::stream::iter([Ok(http_body::Frame::data(bytes::Bytes::from("{}")))]);
    let stream = http_body_util::BodyExt::boxed_unsync(StreamBody::new(frames));
    assert_eq!(stream.peek(<[u8]>::len), None);
    struct Unseen(Stream);
    impl PeekBody for Unseen {
        fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
            self.0.peek(look)
        }
    }
    impl tower_throttle::body::ReplaceBody for Unseen {
        fn replace_body(&mut self, _: bytes::Bytes) -> bool {
            panic!("a stream is never replaced")
        }
    }
    impl tower_throttle::TryClone for Unseen {
        fn try_clone(&self) -> Option<Self> {
            None
        }
    }
    let client = RouterLayer::ranked()
        .target(Target::new("a", plenty()).model("m"))
        .target(Target::new("b", plenty()).model("n"))
        .layer(service_fn(async |request: Request<Unseen>| {
            let body = http_body_util::BodyExt::collect(request.into_body().0)
                .await
                .unwrap();
            assert_eq!(body.to_bytes(), "{}");
            Ok::<_, Infallible>(
                Response::builder()
                    .status(500)
                    .body(Full::new(&b""[..]))
                    .unwrap(),
            )
        }));
    let response = client.oneshot(Request::new(Unseen(stream))).await.unwrap();
    // It can't be sent twice.
    assert_eq!(
        (response.status().as_u16(), chosen(&response)),
        (500, ("a", Some("m"), 0))
    );
}

#[tokio::test(start_paused = true)]
async fn ranked_targets_are_filled_one_after_the_other() {
    let client = RouterLayer::ranked()
        .target(Target::new("a", rpm(2)))
        .target(Target::new("b", rpm(1)))
        .target(Target::new("c", rpm(3)))
        .layer(server!(seen()));
    let mut order = String::new();
    for _ in 0..6 {
        let response = client.clone().oneshot(post("{}")).await.unwrap();
        order += chosen(&response).0;
    }
    assert_eq!(order, "aabccc");
}

#[tokio::test(start_paused = true)]
async fn weighted_targets_take_turns_while_they_have_room() {
    let client = RouterLayer::weighted()
        .target(Target::new("a", rpm(100)).weight(2))
        .target(Target::new("b", rpm(2)).weight(1))
        .target(Target::new("c", rpm(100)).weight(0))
        .target(Target::new("d", rpm(100)).weight(1))
        .layer(server!(seen()));
    let mut order = String::new();
    for _ in 0..14 {
        let response = client.clone().oneshot(post("{}")).await.unwrap();
        order += chosen(&response).0;
    }
    assert_eq!(order, "abdaabdaadaada");
}

#[tokio::test(start_paused = true)]
async fn one_without_weight_takes_what_no_other_can() {
    let client = RouterLayer::weighted()
        .target(Target::new("a", rpm(1)).weight(0))
        .target(Target::new("b", rpm(1)))
        .layer(server!(seen()));
    for expected in ["b", "a"] {
        let response = client.clone().oneshot(post("{}")).await.unwrap();
        assert_eq!(chosen(&response).0, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_one_goes_to_another_and_what_is_for_all_is_refused() {
    let tpm = |tokens| ProviderLimiter::new(Provider::new("t").tpm(tokens));
    let client = RouterLayer::ranked()
        .target(Target::new("a", tpm(10)))
        .target(Target::new("b", tpm(30)))
        .target(Target::new("c", tpm(20)))
        .estimate(|request: &Req| Tokens::new(request.body().len() as u64, 0))
        .layer(server!(seen()));
    let ask = |tokens| client.clone().oneshot(post(&"x".repeat(tokens)));
    assert_eq!(chosen(&ask(15).await.unwrap()).0, "b");
    // A and B have no room for long, and would have.
    assert_eq!(chosen(&ask(16).await.unwrap()).0, "c");
    let error = ask(31).await.unwrap_err();
    let rejected = error.downcast_ref::<Rejected>().unwrap();
    assert_eq!(
        rejected.reason(),
        Reason::ExceedsCapacity {
            cost: 31,
            capacity: 30
        }
    );
}

proptest! {
    /// Whatever the limits and the sizes, no target gets more than its limits in any minute.
    #[test]
    fn no_target_gets_more_than_it_allows(
        limits in prop::collection::vec((1_u64..8, 50_u64..400), 1..4),
        sizes in prop::collection::vec((1_u64..120, 0_u64..30_000), 1..60),
        is_weighted: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            const NAMES: [&str; 3] = ["a", "b", "c"];
            let servers: Vec<_> = NAMES.iter().zip(&limits)
                .map(|(name, (rpm, tpm))| super::Server::new(name, *rpm, *tpm)).collect();
            let layer = if is_weighted { RouterLayer::weighted() } else { RouterLayer::ranked() };
            let service = super::over!(super::targets(layer, &servers), servers);
            let mut tasks = tokio::task::JoinSet::new();
            for (size, after) in sizes {
                tokio::time::sleep(std::time::Duration::from_millis(after)).await;
                tasks.spawn(service.clone().oneshot(super::ask(size)));
            }
            let largest = limits.iter().map(|(_, tpm)| *tpm).max().unwrap();
            for answer in tasks.join_all().await {
                match answer {
                    Ok(response) => assert_eq!(response.status(), 200),
                    Err(error) => {
                        let rejected = error.downcast_ref::<Rejected>().unwrap();
                        assert!(rejected.exceeds_capacity() && largest < 120, "{rejected}");
                    }
                }
            }
            assert!(servers.iter().all(|server| server.refused() == 0));
        });
    }
}
