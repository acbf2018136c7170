//! `reqwest::Client` as the innermost service.

use http::{Extensions, HeaderMap, Method, StatusCode};
use reqwest::{Body, Request, Response, ResponseBuilderExt};

use crate::{Carry, Guarded, RequestHead, ResponseHead, TryClone};

impl RequestHead for Request {
    fn method(&self) -> &Method {
        self.method()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }
}

impl ResponseHead for Response {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn extensions(&self) -> &Extensions {
        self.extensions()
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions_mut()
    }
}

impl TryClone for Request {
    fn try_clone(&self) -> Option<Self> {
        self.try_clone()
    }
}

/// The response stays what it is: its body can be wrapped.
impl<G: Send + Sync + 'static> Carry<G> for Response {
    type Output = Self;

    fn carry(self, guard: G) -> Self {
        let url = self.url().clone();
        let (mut parts, body) = http::Response::<Body>::from(self).into_parts();
        let body = Body::wrap(Guarded::new(body, guard));
        // reqwest keeps the URL beside the response, and takes it from the extensions when it makes one of parts. The type
        // of that extension is its secret, so the builder has to put it there.
        let mut with_url = http::Response::builder().url(url);
        if let Some(extensions) = with_url.extensions_mut() {
            parts.extensions.extend(std::mem::take(extensions));
        }
        http::Response::from_parts(parts, body).into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn response(body: &'static str) -> Response {
        let url = "https://api.example.com/v1/models".parse().unwrap();
        let response = http::Response::builder()
            .status(203)
            .header("x-request-id", "7")
            .extension(42_u8)
            .url(url);
        response.body(body).unwrap().into()
    }

    #[tokio::test]
    async fn a_guard_is_held_to_the_end_of_the_body_and_nothing_else_changes() {
        let guard = Arc::new(());
        let carried = response("hello").carry(guard.clone());

        assert_eq!(Arc::strong_count(&guard), 2);
        assert_eq!(carried.url().path(), "/v1/models");
        assert_eq!(carried.status(), 203);
        assert_eq!(ResponseHead::headers(&carried)["x-request-id"], "7");
        assert_eq!(carried.extensions().get(), Some(&42_u8));
        assert_eq!(carried.content_length(), Some(5));
        assert_eq!(carried.bytes().await.unwrap(), "hello");
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[test]
    fn a_guard_goes_with_a_response_that_nobody_reads() {
        let guard = Arc::new(());
        drop(response("hello").carry(guard.clone()));
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[test]
    fn a_request_is_cloned_with_all_that_it_has() {
        let mut request = Request::new(Method::POST, "https://api.example.com/".parse().unwrap());
        *request.body_mut() = Some("hello".into());
        let clone = TryClone::try_clone(&request).unwrap();
        assert_eq!(RequestHead::method(&clone), Method::POST);
        assert_eq!(clone.body().unwrap().as_bytes(), Some(&b"hello"[..]));
    }

    #[test]
    fn a_streamed_request_is_not_cloned() {
        let mut request = Request::new(Method::POST, "https://api.example.com/".parse().unwrap());
        *request.body_mut() = Some(Body::wrap(http_body_util::Full::new(bytes::Bytes::new())));
        assert!(TryClone::try_clone(&request).is_none());
    }
}
