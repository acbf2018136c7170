//! What a cache holds, in a process of its own, with an allocator that counts.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::CacheLayer;

const MIB: usize = 1 << 20;

/// Bytes that are held after 1,000 responses in a cache of 1 MiB.
fn held(fill: fn(&mut Response<Full<Bytes>>)) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut kept = None;
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            let layer = CacheLayer::new(|_| true).max_bytes(MIB as u64);
            let client = layer.layer(service_fn(move |_: Request<String>| {
                let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
                fill(&mut response);
                std::future::ready(Ok::<_, Infallible>(response))
            }));
            for number in 0..1_000 {
                let request = Request::post("/").body(number.to_string()).unwrap();
                let response = client.clone().oneshot(request).await.unwrap();
                response.into_body().collect().await.unwrap();
            }
            assert!(layer.usage().entries > 0);
            kept = Some(layer);
        });
    });
    counted.bytes_current
}

fn named(response: &mut Response<Full<Bytes>>, names: usize, value: &str) {
    for number in 0..names {
        let name = HeaderName::try_from(format!("x-{number}")).unwrap();
        let value = HeaderValue::try_from(value).unwrap();
        response.headers_mut().insert(name, value);
    }
}

/// Makes a response large.
type Fill = fn(&mut Response<Full<Bytes>>);

// One test: the counter is one for the process.
#[test]
fn a_cache_holds_about_its_maximum() {
    let fills: [(&str, Fill); 6] = [
        ("nothing", |_| ()),
        ("extension", |response| {
            response.extensions_mut().insert(vec![7_u8; 100_000]);
        }),
        ("names", |response| named(response, 100, "a")),
        ("one more than fits", |response| named(response, 49, "a")),
        ("long values", |response| {
            named(response, 3, &"a".repeat(3_000))
        }),
        ("values", |response| {
            for _ in 0..500 {
                let value = HeaderValue::from_static("a");
                response.headers_mut().append("x-many", value);
            }
        }),
    ];
    for (name, fill) in fills {
        let held = held(fill);
        println!("{name}: {held}");
        assert!(held < (MIB + MIB / 2) as i64, "{name}: {held}");
    }
}
