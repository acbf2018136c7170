//! Responses with more headers and extensions than usual.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tower_throttle::cache::Status;

use super::{
    Req, ask, cache, client, post,
    server::{begin, server, settle},
    text,
};
use http_body_util::BodyExt;

/// As many names as a map can have.
const NAMES: usize = 24_576;
const VALUES: usize = 25_000;

fn values(headers: &mut HeaderMap) {
    for _ in 0..VALUES {
        headers.append("x-many", HeaderValue::from_static("a"));
    }
}

fn names(headers: &mut HeaderMap) {
    for number in 0..NAMES {
        let name = HeaderName::try_from(format!("x-{number}")).unwrap();
        headers.insert(name, HeaderValue::from_static("a"));
    }
}

/// Names that a response lists in `Connection`, and a header for each.
fn named_by_connection(headers: &mut HeaderMap) {
    for number in 0..NAMES / 2 {
        let name = HeaderName::try_from(format!("x-{number}")).unwrap();
        headers.append("connection", HeaderValue::from(name.clone()));
        headers.insert(name, HeaderValue::from_static("a"));
    }
    headers.insert("x-end", HeaderValue::from_static("a"));
}

async fn first_and_second(
    fill: impl Fn(&mut HeaderMap) + Clone + Send + Sync + 'static,
) -> [http::response::Parts; 2] {
    let answer = move |_: Req, _| -> Response<_> {
        let mut response = text("{}");
        fill(response.headers_mut());
        response
    };
    let (mut client, _) = client(&cache(), answer);
    let (first, _) = ask(&mut client, post("{}")).await;
    let (second, _) = ask(&mut client, post("{}")).await;
    [first, second]
}

#[tokio::test]
async fn many_values_of_one_name_are_cached() {
    let responses = first_and_second(values).await;
    assert_eq!(responses[1].extensions.get(), Some(&Status::Hit));
    for response in responses {
        assert_eq!(response.headers.get_all("x-many").iter().count(), VALUES);
        assert!(response.headers.contains_key("cache-status"));
    }
}

#[tokio::test]
async fn a_full_header_map_is_passed_on() {
    for response in first_and_second(names).await {
        assert!(response.headers.len() >= NAMES);
        assert!(response.extensions.get::<Status>().is_some());
    }
}

#[tokio::test]
async fn many_names_in_connection_are_removed() {
    let [_, hit] = first_and_second(named_by_connection).await;
    assert_eq!(hit.extensions.get(), Some(&Status::Hit));
    assert!(hit.headers.contains_key("x-end") && hit.headers.len() == 3);
}

#[tokio::test(start_paused = true)]
async fn many_values_in_trailers_are_shared() {
    let (client, mut calls) = server(&cache().max_entry(16 << 20));
    let waiting = [
        begin(&client, post("{}")).await,
        begin(&client, post("{}")).await,
    ];
    let feed = calls.next().answer();
    feed.data(Bytes::from_static(b"{}"));
    let mut trailers = HeaderMap::new();
    values(&mut trailers);
    feed.trailers(trailers);
    drop(feed);
    settle().await;
    for future in waiting {
        let body = future.await.unwrap().into_body().collect().await.unwrap();
        let trailers = body.trailers().unwrap();
        assert_eq!(trailers.get_all("x-many").iter().count(), VALUES);
    }
}

/// An extension that shows whether somebody keeps it.
#[derive(Clone)]
struct Large(std::sync::Arc<Vec<u8>>);

#[tokio::test(start_paused = true)]
async fn a_cached_response_keeps_no_extension() {
    let large = Large(std::sync::Arc::new(vec![0; 100_000]));
    let extension = large.clone();
    let (mut client, _) = client(&cache(), move |_, _| {
        let mut response = text("{}");
        response.extensions_mut().insert(extension.clone());
        response
    });
    let before = std::sync::Arc::strong_count(&large.0);
    let (first, _) = ask(&mut client, post("{}")).await;
    assert!(first.extensions.get::<Large>().is_some());
    drop(first);
    assert_eq!(std::sync::Arc::strong_count(&large.0), before);
    let (hit, _) = ask(&mut client, post("{}")).await;
    assert_eq!(hit.extensions.get(), Some(&Status::Hit));
    assert!(hit.extensions.get::<Large>().is_none());
}

#[tokio::test]
async fn many_small_headers_count_what_they_take() {
    let layer = cache().max_bytes(1 << 20);
    let (mut client, _) = client(&layer, |_, _| {
        let mut response = text("{}");
        for number in 0..100 {
            let name = HeaderName::try_from(format!("x-{number}")).unwrap();
            response
                .headers_mut()
                .append(name, HeaderValue::from_static("a"));
        }
        response
    });
    for number in 0..200 {
        let name: &'static str = Box::leak(format!("[{number}]").into_boxed_str());
        ask(&mut client, post(name)).await;
    }
    // A head takes about 25 KB: 192 places of 104 bytes, and 100 names and values.
    let usage = layer.usage();
    assert!((20..60).contains(&usage.entries), "{usage:?}");
}
