//! Implements this crate's traits for requests and responses of `reqwest`. `reqwest::Client` is a
//! tower service itself.

pub(super) mod http_client;

use bytes::Bytes;
use http::{HeaderMap, Method};
use reqwest::{Body, Request, Response, ResponseBuilderExt};

use crate::{
    error::BoxError,
    http::{
        IntoHttp, PeekBody, ReplaceBody, RequestHead, ResponseUrl, TryClone, WithBody,
        replace_body::{correct_length, replaced_by_any_bytes},
        response::response_head,
    },
};

impl RequestHead for Request {
    fn method(&self) -> &Method {
        self.method()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }

    fn scheme(&self) -> Option<&str> {
        Some(self.url().scheme())
    }

    fn path(&self) -> &str {
        self.url().path()
    }

    fn query(&self) -> Option<&str> {
        self.url().query()
    }

    fn authority(&self) -> Option<&str> {
        Some(self.url().authority())
    }
}

/// Returns `None` if the body is a stream.
impl TryClone for Request {
    fn try_clone(&self) -> Option<Self> {
        self.try_clone()
    }
}

/// Returns `None` if the body is a stream.
impl TryClone for Body {
    fn try_clone(&self) -> Option<Self> {
        // The bytes are accessible only as a slice.
        self.as_bytes().map(|bytes| bytes.to_vec().into())
    }
}

/// Returns `None` if the body is a stream.
impl PeekBody for Request {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match self.body() {
            Some(body) => body.peek(look),
            None => Some(look(&[])),
        }
    }
}

/// Returns `None` if the body is a stream.
impl PeekBody for Body {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.as_bytes().map(look)
    }
}

impl ReplaceBody for Request {
    fn replace_body(&mut self, bytes: Bytes) -> bool {
        correct_length(self.headers_mut(), bytes.len());
        *self.body_mut() = Some(bytes.into());
        true
    }
}

replaced_by_any_bytes!([] Body);

response_head!([] Response);

impl IntoHttp for Response {
    type Body = Body;

    /// Stores the URL in an extension, since `http::Response` has none. Reqwest reads it from
    /// there; only its builder can create the extension's type.
    fn into_http(self) -> http::Response<Body> {
        let url = self.url().clone();
        let size = url.as_str().len();
        let mut response = http::Response::<Body>::from(self);
        if let Ok(with_url) = http::Response::builder().url(url).body(()) {
            let extensions = with_url.into_parts().0.extensions;
            let url = ResponseUrl { extensions, size };
            response.extensions_mut().insert(url);
        }
        response
    }
}

/// The response keeps its type.
impl<B> WithBody<B> for Response
where
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Output = Self;

    fn from_http(mut response: http::Response<B>) -> Self {
        let extensions = response.extensions_mut();
        if let Some(url) = extensions.remove::<ResponseUrl>() {
            extensions.extend(url.extensions);
        }
        response.map(Body::wrap).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::GuardedBody;

    fn request() -> Request {
        Request::new(Method::POST, "http://localhost/v1/x?y".parse().unwrap())
    }

    #[test]
    fn request_bytes_are_peeked_and_replaced() {
        let mut request = request();
        assert_eq!(RequestHead::path(&request), "/v1/x");
        assert_eq!(request.peek(<[u8]>::len), Some(0));
        *request.body_mut() = Some("old".into());
        request.headers_mut().insert("content-length", 3.into());
        assert!(request.replace_body(Bytes::from("newer")));
        assert_eq!(request.peek(<[u8]>::to_vec).unwrap(), b"newer");
        assert_eq!(request.headers()["content-length"], "5");
    }

    #[test]
    fn streams_can_be_peeked_once_replaced() {
        let mut body = Body::wrap(GuardedBody::new(Body::from("old"), ()));
        assert_eq!(body.peek(<[u8]>::len), None);
        assert!(body.replace_body(Bytes::from("new")));
        assert_eq!(body.peek(<[u8]>::to_vec).unwrap(), b"new");
    }
}
