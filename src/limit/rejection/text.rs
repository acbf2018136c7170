//! A rejection in plain text.

use http::{HeaderValue, header::CONTENT_TYPE};

use super::{Rejection, head, sealed::Responds, words::words};
use crate::{error::Rejected, http::TextBody};

/// Rejects with an HTTP response in plain text, with the reason and the time to retry.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), std::convert::Infallible> {
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_throttle::{Quota, TokenBucketLayer, rejection::Text};
///
/// let mut server = ServiceBuilder::new()
///     .layer(TokenBucketLayer::new(Quota::per_minute(2)).respond_as(Text))
///     .service(service_fn(async |_: Request<()>| {
///         Ok::<_, Infallible>(Response::new(String::from("hello")))
///     }));
///
/// for _ in 0..2 {
///     assert_eq!(server.ready().await?.call(Request::new(())).await?.status(), 200);
/// }
/// let rejected = server.ready().await?.call(Request::new(())).await?;
/// assert_eq!(rejected.status(), 429);
/// assert_eq!(rejected.body(), "too many requests, retry in 30 seconds\n");
/// # Ok(())
/// # }
/// ```
///
/// The body is one line of English in `text/plain; charset=utf-8`, without the size of the limit
/// and the cost of the request. It can be any [`TextBody`]. Status, `Retry-After` and extensions
/// are as with [`AsResponse`](super::AsResponse).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Text;

impl Responds for Text {}

impl<Request, B: TextBody, Error> Rejection<Request, http::Response<B>, Error> for Text {
    same_error!();

    fn reject(&self, _: &Request, rejected: Rejected) -> Result<http::Response<B>, Error> {
        let text = words(&rejected) + "\n";
        let mut response = head(rejected).map(|()| B::from_text(text));
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        Ok(response)
    }
}
