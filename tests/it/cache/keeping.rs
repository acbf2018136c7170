//! What is kept, for how long, and how much of it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::time::advance;
use tower_throttle::{CacheLayer, cache::Status};

use super::{ask, cache, cache_status, client, counting, post, post_with, text, with};

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_with_its_head_and_its_age() {
    let layer = cache();
    let (mut client, calls) = client(&layer, |_, number| {
        with(text(number.to_string()), &[("x-id", "a"), ("x-id", "b")])
    });
    let (first, body) = ask(&mut client, post("{}")).await;
    assert_eq!(body, "1");
    assert_eq!(cache_status(&first), "tower-throttle; fwd=miss; stored");
    assert_eq!(first.extensions.get(), Some(&Status::Miss));
    advance(Duration::from_millis(60_900)).await;
    let (second, body) = ask(&mut client, post("{}")).await;
    assert_eq!(body, "1");
    assert_eq!(cache_status(&second), "tower-throttle; hit; ttl=3539");
    assert_eq!(second.headers["age"], "60");
    assert_eq!(second.headers.get_all("x-id").iter().count(), 2);
    assert_eq!(second.extensions.get(), Some(&Status::Hit));
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 1);
    let usage = layer.usage();
    assert_eq!((usage.entries, usage.hits, usage.misses), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_used_to_the_end_of_its_time_and_not_after() {
    let layer = cache().ttl(Duration::from_secs(10));
    let (mut client, _) = counting(&layer);
    ask(&mut client, post("{}")).await;
    advance(Duration::from_millis(9_999)).await;
    assert_eq!(ask(&mut client, post("{}")).await.1, "1");
    advance(Duration::from_millis(1)).await;
    let (parts, body) = ask(&mut client, post("{}")).await;
    assert_eq!(body, "2");
    assert_eq!(cache_status(&parts), "tower-throttle; fwd=stale; stored");
    assert_eq!(ask(&mut client, post("{}")).await.1, "2");
    assert_eq!(layer.usage().entries, 1);
}

#[tokio::test(start_paused = true)]
async fn times_at_the_edge_are_taken_as_they_are() {
    let (mut never, _) = counting(&cache().ttl(Duration::ZERO));
    ask(&mut never, post("{}")).await;
    let (parts, body) = ask(&mut never, post("{}")).await;
    assert_eq!(
        (body.as_str(), cache_status(&parts)),
        ("2", "tower-throttle; fwd=miss")
    );
    let (mut ever, _) = counting(&cache().ttl(Duration::MAX));
    ask(&mut ever, post("{}")).await;
    advance(Duration::from_secs(60 * 60 * 24 * 365 * 50)).await;
    let (parts, body) = ask(&mut ever, post("{}")).await;
    assert_eq!(
        (body.as_str(), cache_status(&parts)),
        ("1", "tower-throttle; hit")
    );
}

/// Whether the second of two equal requests gets the first one's answer.
pub(super) async fn is_kept(
    layer: &CacheLayer,
    request: &super::Req,
    answer: super::Answer,
) -> bool {
    let (mut client, _) = client(layer, move |_, number| {
        let mut answer = answer.clone();
        answer.headers_mut().insert("x-number", number.into());
        answer
    });
    ask(&mut client, request.clone()).await;
    let (second, _) = ask(&mut client, request.clone()).await;
    second.headers["x-number"] == "1"
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_says_of_itself_decides() {
    type Headers = &'static [(&'static str, &'static str)];
    let table: &[(Headers, bool)] = &[
        (&[], true),
        (&[("cache-control", "no-store")], false),
        (&[("cache-control", "private")], false),
        (&[("cache-control", "s-maxage=0, max-age=5")], false),
        (&[("cache-control", "s-maxage=5, max-age=0")], true),
        (&[("expires", "0")], false),
        (&[("expires", "Sun, 06 Nov 1994 08:49:37 GMT")], false),
        (
            &[
                ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("expires", "Sun, 06 Nov 1994 08:49:47 GMT"),
            ],
            true,
        ),
        (&[("expires", "0"), ("cache-control", "max-age=5")], true),
        (&[("cache-control", "no-cache, must-revalidate")], true),
        (&[("cache-control", "no-cache, max-age=0")], false),
        (&[("cache-control", "no-cache"), ("expires", "0")], true),
        (&[("cache-control", "max-age=0")], false),
        (&[("cache-control", "max-age=1")], true),
        (&[("cache-control", "max-age=5"), ("age", "5")], false),
        (&[("set-cookie", "a=b")], false),
        (&[("vary", "*")], false),
        (&[("vary", "origin, *")], false),
        (&[("vary", "Origin, Accept")], true),
        (&[("vary", "Accept, User-Agent")], false),
        (&[("content-length", "2")], true),
        (&[("content-length", "3")], false),
        (&[("content-length", "99999999999")], false),
    ];
    for (headers, expected) in table {
        let answer = with(text("{}"), headers);
        let kept = is_kept(&cache(), &post("{}"), answer).await;
        assert_eq!(kept, *expected, "{headers:?}");
    }
    let get = Request::get("/v1/models").body(String::new()).unwrap();
    let answer = with(text("{}"), &[("cache-control", "no-cache")]);
    assert!(!is_kept(&cache(), &get, answer).await);
    assert!(is_kept(&cache(), &get, text("{}")).await);
}

#[tokio::test(start_paused = true)]
async fn only_good_answers_are_kept() {
    for (status, expected) in [
        (200, true),
        (201, false),
        (404, false),
        (429, false),
        (500, false),
    ] {
        let mut answer = text("{}");
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        let kept = is_kept(&cache(), &post("{}"), answer.clone()).await;
        assert_eq!(kept, expected, "{status}");
        let layer = cache().statuses([StatusCode::NOT_FOUND]);
        assert_eq!(is_kept(&layer, &post("{}"), answer).await, status == 404);
    }
    let error = text(r#"{"error": {"message": "overloaded"}}"#);
    assert!(!is_kept(&cache(), &post("{}"), error).await);
    let events = |body: &'static str| with(text(body), &[("content-type", "text/event-stream")]);
    let good = events("data: {}\n\ndata: [DONE]\n\n");
    assert!(is_kept(&cache(), &post("{}"), good).await);
    for bad in [
        "event: error\ndata: {}\n\n",
        "data: {\"error\": 1}\n\n",
        "data: {\"a",
    ] {
        assert!(!is_kept(&cache(), &post("{}"), events(bad)).await, "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_the_cookies_of_a_proxy_is_kept_without_them() {
    const PROXY: [(&str, &str); 3] = [
        (
            "set-cookie",
            "__cf_bm=x.1-1.0.1; path=/; domain=.api.openai.com; HttpOnly; Secure",
        ),
        (
            "set-cookie",
            "_cfuvid=y; path=/; domain=.api.openai.com; HttpOnly; Secure",
        ),
        ("x-request-id", "7"),
    ];
    let (mut proxied, _) = client(&cache(), |_, number| with(text(number.to_string()), &PROXY));
    let (first, _) = ask(&mut proxied, post("{}")).await;
    assert_eq!(first.headers.get_all("set-cookie").iter().count(), 2);
    let (second, body) = ask(&mut proxied, post("{}")).await;
    assert_eq!(body, "1");
    assert_eq!(second.headers["x-request-id"], "7");
    assert!(!second.headers.contains_key("set-cookie"));
    // With one of its own it may be about a session.
    let mixed = with(with(text("{}"), &PROXY), &[("set-cookie", "session=1")]);
    assert!(!is_kept(&cache(), &post("{}"), mixed).await);
    let alike = with(text("{}"), &[("set-cookie", "__cf_bmx=1")]);
    assert!(!is_kept(&cache(), &post("{}"), alike).await);
}

#[tokio::test(start_paused = true)]
async fn an_error_anywhere_in_a_good_answer_is_found() {
    for (body, expected) in [
        (
            r#"{"id": 1, "status": "failed", "error": {"code": "server_error"}}"#,
            false,
        ),
        (r#"{"id": 1, "error": null, "output": []}"#, true),
        (r#"{"id": 1, "error": false}"#, true),
        (r#"{"request_id": "r", "type": "error"}"#, false),
        (
            r#"{"choices": [{"message": {"content": "\"error\": 1"}}]}"#,
            true,
        ),
        (r#"{"steps": [{"error": "tried and went on"}]}"#, true),
    ] {
        let answer = text(body);
        assert_eq!(
            is_kept(&cache(), &post("{}"), answer).await,
            expected,
            "{body}"
        );
    }
    let middle = "data: {\"id\": 1, \"choices\": []}\n\n\
        data: {\"id\": 1, \"error\": {\"code\": 502}, \"choices\": [{\"finish_reason\": \"error\"}]}\n\n\
        data: [DONE]\n\n";
    let events = with(text(middle), &[("content-type", "text/event-stream")]);
    assert!(!is_kept(&cache(), &post("{}"), events).await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_cut_where_nobody_sees_it_is_not_kept() {
    let json = |body: &'static str| with(text(body), &[("content-type", "application/json")]);
    assert!(is_kept(&cache(), &post("{}"), json("{\"a\": [1]}\n")).await);
    for cut in ["{\"a\": [1", "{\"a\": [1]", "[{\"a\": 1}, ", "{"] {
        assert!(!is_kept(&cache(), &post("{}"), json(cut)).await, "{cut}");
    }
    // A server whose connection ends with the answer, and a provider that died between two events.
    for (events, end) in [
        (
            "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
            "data: [DONE]\n\n",
        ),
        (
            "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        (
            "event: response.created\ndata: {\"type\":\"response.created\"}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\"}\n\n",
        ),
        (
            "data: {\"candidates\": [{\"content\": {}}]}\r\n\r\n",
            "data: {\"candidates\": [{\"finishReason\": \"STOP\"}]}\r\n\r\n",
        ),
        ("data: {\"n\": 1}\n\n", ""),
    ] {
        let stream = |body: String| with(text(body), &[("content-type", "text/event-stream")]);
        let whole = stream(format!("{events}{end}"));
        assert!(is_kept(&cache(), &post("{}"), whole).await, "{events}");
        let cut = stream(events.to_owned());
        let kept = is_kept(&cache(), &post("{}"), cut).await;
        assert_eq!(kept, end.is_empty(), "{events}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_request_says_decides() {
    let layer = cache();
    let (mut client, _) = counting(&layer);
    let asks = |directive| post_with("{}", &[("cache-control", directive)]);
    ask(&mut client, post("{}")).await;
    let (parts, body) = ask(&mut client, asks("no-store")).await;
    assert_eq!(
        (body.as_str(), cache_status(&parts)),
        ("2", "tower-throttle; fwd=bypass")
    );
    assert_eq!(parts.extensions.get(), Some(&Status::Bypass));
    assert_eq!(ask(&mut client, post("{}")).await.1, "1");
    let (parts, body) = ask(&mut client, asks("no-cache")).await;
    assert_eq!(
        (body.as_str(), cache_status(&parts)),
        ("3", "tower-throttle; fwd=request; stored")
    );
    assert_eq!(
        ask(&mut client, post("{}")).await.1,
        "3",
        "the newer one took its place"
    );
    advance(Duration::from_secs(5)).await;
    assert_eq!(ask(&mut client, asks("max-age=5")).await.1, "3");
    assert_eq!(ask(&mut client, asks("max-age=4")).await.1, "4");
    let ranged = post_with("{}", &[("range", "bytes=0-1")]);
    assert_eq!(ask(&mut client, ranged).await.1, "5");
    let put = Request::put("/").body("{}".to_owned()).unwrap();
    assert_eq!(ask(&mut client, put.clone()).await.1, "6");
    assert_eq!(ask(&mut client, put).await.1, "7");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_varies_is_given_to_those_it_suits() {
    let (mut client, _) = client(&cache(), |_, number| {
        with(text(number.to_string()), &[("vary", "X-Region")])
    });
    let from = |region| post_with("{}", &[("x-region", region)]);
    assert_eq!(ask(&mut client, from("eu")).await.1, "1");
    assert_eq!(ask(&mut client, from("eu")).await.1, "1");
    assert_eq!(ask(&mut client, from("us")).await.1, "2");
    assert_eq!(ask(&mut client, post("{}")).await.1, "3");
}

#[tokio::test(start_paused = true)]
async fn the_bound_in_bytes_is_kept_at_every_step() {
    const MOST: u64 = 100_000;
    let layer = cache().max_bytes(MOST);
    let (mut client, calls) = client(&layer, |request, _| {
        let size = request.body().len() * 500;
        text(vec![b'x'; size])
    });
    let bodies = ["[]", "[1]", "[1,2]", "[1,2,3]", "[1,2,3,4]"];
    for round in 0..40 {
        for body in bodies {
            let name: &'static str = Box::leak(round.to_string().into_boxed_str());
            ask(&mut client, post_with(body, &[("accept", name)])).await;
            let usage = layer.usage();
            assert!(usage.bytes <= MOST, "{usage:?}");
        }
    }
    let usage = layer.usage();
    assert!(usage.bytes > MOST / 2 && usage.entries > 10, "{usage:?}");
    // What came last is there.
    let before = calls.load(std::sync::atomic::Ordering::Relaxed);
    ask(&mut client, post_with("[1,2,3,4]", &[("accept", "39")])).await;
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), before);
}

#[tokio::test(start_paused = true)]
async fn bounds_at_the_edge_are_taken_as_they_are() {
    let (mut nothing, _) = counting(&cache().max_bytes(0));
    ask(&mut nothing, post("{}")).await;
    assert_eq!(ask(&mut nothing, post("{}")).await.1, "2");
    let huge = cache().max_bytes(u64::MAX).max_entry(usize::MAX);
    let (mut huge, _) = counting(&huge);
    ask(&mut huge, post("{}")).await;
    assert_eq!(ask(&mut huge, post("{}")).await.1, "1");
    for (size, expected) in [(0, true), (9, true), (10, true), (11, false)] {
        let layer = cache().max_entry(10);
        let answer = text(Bytes::from(vec![b'x'; size]));
        assert_eq!(
            is_kept(&layer, &post("{}"), answer).await,
            expected,
            "{size}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn answers_can_be_forgotten_one_by_one_and_all_at_once() {
    let layer = cache();
    let (mut client, _) = counting(&layer);
    ask(&mut client, post("[1]")).await;
    ask(&mut client, post("[2]")).await;
    layer.forget(&post("[ 1 ]"));
    assert_eq!(ask(&mut client, post("[2]")).await.1, "2");
    assert_eq!(ask(&mut client, post("[1]")).await.1, "3");
    layer.clear();
    assert_eq!((layer.usage().entries, layer.usage().bytes), (0, 0));
    assert_eq!(ask(&mut client, post("[2]")).await.1, "4");
    assert_eq!(ask(&mut client, post("[2]")).await.1, "4");
}
