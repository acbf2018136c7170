//! `reqwest::Client` is a tower service; this makes its requests and responses known to the layers.

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

/// `None` where the body is a stream.
impl TryClone for Request {
    fn try_clone(&self) -> Option<Self> {
        self.try_clone()
    }
}

/// `None` where the body is a stream.
impl TryClone for Body {
    fn try_clone(&self) -> Option<Self> {
        // There is no access to the bytes but as a slice.
        self.as_bytes().map(|bytes| bytes.to_vec().into())
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

/// The response keeps its type: the guard is inside its body.
impl<G: Send + Sync + 'static> Carry<G> for Response {
    type Output = Self;

    fn carry(self, guard: G) -> Self {
        with_url(self)
            .map(|body| Body::wrap(Guarded::new(body, guard)))
            .into()
    }
}

/// The response keeps its type.
#[cfg(feature = "provider")]
impl crate::provider::Answer for Response {
    type Body = Body;
    type Output = Self;

    fn into_http(self) -> http::Response<Body> {
        with_url(self)
    }

    fn from_http(response: http::Response<crate::provider::ResponseBody<Body>>) -> Self {
        response.map(Body::wrap).into()
    }
}

/// The URL would be lost on the way through `http::Response`; reqwest finds it again in an extension, of a type that only
/// its builder can make.
fn with_url(response: Response) -> http::Response<Body> {
    let url = response.url().clone();
    let mut response = http::Response::<Body>::from(response);
    if let Ok(with_url) = http::Response::builder().url(url).body(()) {
        let extensions = with_url.into_parts().0.extensions;
        response.extensions_mut().extend(extensions);
    }
    response
}
