//! Answers that were given before.

mod any_order;
mod doors;
mod flight;
mod keeping;
mod keys;
mod large;
mod providers;
mod server;
mod sound;
mod tenants;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt, util::BoxCloneSyncService};
use tower_throttle::{BoxError, CacheLayer, cache::body::ResponseBody};

pub(crate) type Req = Request<String>;
pub(crate) type Answer = Response<Full<Bytes>>;
pub(crate) type Client = BoxCloneSyncService<Req, Response<ResponseBody>, Infallible>;

/// A layer that caches whatever is asked.
pub(crate) fn cache() -> CacheLayer {
    CacheLayer::new(|_| true)
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

/// A client whose server answers with what `answer` makes of a request and its number, counted from 1.
pub(crate) fn client(
    layer: &CacheLayer,
    answer: impl Fn(Req, usize) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
) -> (Client, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = {
        let calls = calls.clone();
        tower::service_fn(move |request: Req| {
            let number = calls.fetch_add(1, Ordering::Relaxed) + 1;
            std::future::ready(Ok::<_, Infallible>(answer(request, number)))
        })
    };
    let service = tower::Layer::layer(layer, server);
    (BoxCloneSyncService::new(service), calls)
}

/// Answers each time with another number.
pub(crate) fn counting(layer: &CacheLayer) -> (Client, Arc<AtomicUsize>) {
    client(layer, |_, number| text(number.to_string()))
}

pub(crate) fn text(text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::new(text.into()))
}

pub(crate) fn with(
    mut response: Response<Full<Bytes>>,
    headers: &[(&'static str, &'static str)],
) -> Response<Full<Bytes>> {
    for (name, value) in headers {
        response
            .headers_mut()
            .append(*name, http::HeaderValue::from_static(value));
    }
    response
}

pub(crate) fn post(body: &'static str) -> Req {
    Request::post("https://api.example.com/v1/chat/completions")
        .body(body.to_owned())
        .unwrap()
}

pub(crate) fn post_with(body: &'static str, headers: &[(&'static str, &'static str)]) -> Req {
    let mut request = post(body);
    for (name, value) in headers {
        request
            .headers_mut()
            .append(*name, http::HeaderValue::from_static(value));
    }
    request
}

/// Sends a request and reads the answer to its end.
pub(crate) async fn ask<S, R, B>(client: &mut S, request: R) -> (http::response::Parts, String)
where
    S: Service<R, Response = Response<B>, Error: std::fmt::Debug>,
    B: http_body::Body<Data = Bytes, Error = BoxError>,
{
    let response = client.ready().await.unwrap().call(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts, String::from_utf8(body.to_vec()).unwrap())
}

pub(crate) fn cache_status(parts: &http::response::Parts) -> &str {
    parts.headers["cache-status"].to_str().unwrap()
}
