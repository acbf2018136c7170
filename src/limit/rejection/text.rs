//! A rejection in plain text.

use super::{Rejection, respond, sealed::Responds, wait};
use crate::{
    error::{LimitKind, Reason, Rejected},
    http::{TextBody, headers::retry_after::seconds_begun},
};

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
        let plain = Some("text/plain; charset=utf-8");
        Ok(respond(rejected, plain, B::from_text(text)))
    }
}

/// Returns the reason and the time to retry, in printable ASCII, without the size of the limit.
pub(super) fn words(rejected: &Rejected) -> String {
    let why = match (rejected.reason(), rejected.limit()) {
        (Reason::MissingKey, _) => "missing API key",
        (Reason::MissingPeer, _) => "internal server error",
        (Reason::ExceedsCapacity { .. }, _) => "request exceeds the limit",
        (Reason::Closed, _) => "service unavailable",
        #[cfg(feature = "redis")]
        (Reason::Unreachable, _) => "service unavailable",
        (_, LimitKind::Concurrency) => "too many concurrent requests",
        _ => "too many requests",
    };
    match wait(rejected).map(seconds_begun) {
        None => why.to_owned(),
        Some(1) => format!("{why}, retry in 1 second"),
        Some(seconds) => format!("{why}, retry in {seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::all;
    use super::*;

    #[test]
    fn a_caller_is_told_why_and_when_and_no_numbers_of_the_limit() {
        let told = all(Duration::from_millis(2_300)).map(|rejected| words(&rejected));
        assert_eq!(
            told,
            [
                "too many requests, retry in 3 seconds",
                "too many requests, retry in 3 seconds",
                "too many concurrent requests, retry in 1 second",
                "request exceeds the limit",
                "missing API key",
            ]
        );
        let [soon, ..] = all(Duration::ZERO);
        assert_eq!(words(&soon), "too many requests, retry in 1 second");
    }
}
