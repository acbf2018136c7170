//! A rejection in gRPC.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};

use super::{Rejection, protobuf::status_with_retry_info, sealed::Responds, text::words, wait};
use crate::error::{Reason, Rejected};

/// Rejects with a gRPC status: headers without a body, in HTTP always a 200.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), std::convert::Infallible> {
/// use std::{convert::Infallible, time::Duration};
/// use http::{Request, Response};
/// use tonic::{Code, Status, body::Body};
/// use tonic_types::StatusExt;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_throttle::{Quota, TokenBucketLayer, rejection::Grpc};
///
/// // In front of a whole server it is `Server::builder().layer(..)`.
/// let mut server = ServiceBuilder::new()
///     .layer(TokenBucketLayer::new(Quota::per_minute(40).burst(1)).respond_as(Grpc))
///     .service(service_fn(async |_: Request<Body>| {
///         Ok::<_, Infallible>(Response::new(Body::empty()))
///     }));
///
/// server.ready().await?.call(Request::new(Body::empty())).await?;
/// let rejected = server.ready().await?.call(Request::new(Body::empty())).await?;
/// let status = Status::from_header_map(rejected.headers()).unwrap();
/// assert_eq!(status.code(), Code::ResourceExhausted);
/// assert_eq!(status.message(), "too many requests, retry in 2 seconds");
/// let retry_info = status.get_details_retry_info().unwrap();
/// assert_eq!(retry_info.retry_delay, Some(Duration::from_millis(1_500)));
/// # Ok(())
/// # }
/// ```
///
/// | rejected | status | when to retry |
/// | --- | --- | --- |
/// | by a rate or by concurrency | `RESOURCE_EXHAUSTED` (8) | [`RetryInfo`] and pushback |
/// | it [exceeds the capacity](Rejected::exceeds_capacity) | `FAILED_PRECONDITION` (9) | never |
/// | it has [no key](Reason::MissingKey) | `UNAUTHENTICATED` (16) | never |
/// | the limiter is [closed](Reason::Closed) | `UNAVAILABLE` (14) | after a second, by another server |
/// | the server has [no peer](Reason::MissingPeer) for it | `INTERNAL` (13) | never |
///
/// Never is `grpc-retry-pushback-ms: -1`.
///
/// `RetryInfo` has the wait to the nanosecond, at least 1 ms, and 1 second if it is not known. The
/// [pushback] is for clients that retry by themselves and whose policy has the status: they wait
/// that long instead of their own backoff. It is rounded up to a millisecond; beyond 24 days it is
/// -1, which means not to retry. The message is the one of [`Text`](super::Text). The [`Rejected`]
/// is in the response's extensions.
///
/// Concurrency is `RESOURCE_EXHAUSTED` as well, although `UNAVAILABLE` is nearer to HTTP's 503:
/// retry policies list `UNAVAILABLE` first, and proxies and alerts treat it as a server that is
/// down.
///
/// Every request gets this response, whatever its protocol: in plain HTTP it looks like an empty
/// success. If one port serves both, put this layer around the gRPC part, and one with
/// [`AsResponse`](super::AsResponse) around the rest. For gRPC-Web, put it inside the layer that
/// translates.
///
/// For another status, [`AsResponseWith`](super::AsResponseWith) takes a closure, such as one that
/// ends in tonic's `Status::into_http`.
///
/// [`RetryInfo`]: https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
/// [pushback]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Grpc;

// ===== impl Grpc =====

impl Responds for Grpc {}

impl<Request, B: Default, Error> Rejection<Request, http::Response<B>, Error> for Grpc {
    same_error!();

    fn reject(&self, _: &Request, rejected: Rejected) -> Result<http::Response<B>, Error> {
        let mut response = http::Response::new(B::default());
        write(response.headers_mut(), &rejected);
        response.extensions_mut().insert(rejected);
        Ok(response)
    }
}

fn write(headers: &mut HeaderMap, rejected: &Rejected) {
    let (code, message, wait) = (code(rejected), words(rejected), wait(rejected));
    let grpc = HeaderValue::from_static("application/grpc");
    headers.insert(CONTENT_TYPE, grpc);
    headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    headers.insert("grpc-retry-pushback-ms", pushback(wait));
    if let Some(delay) = wait {
        let details = STANDARD_NO_PAD.encode(status_with_retry_info(code, &message, delay));
        insert(headers, "grpc-status-details-bin", details);
    }
    // Nothing in the text has to be percent-encoded.
    insert(headers, "grpc-message", message);
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// Returns the status, by <https://grpc.io/docs/guides/status-codes/>.
fn code(rejected: &Rejected) -> u8 {
    const RESOURCE_EXHAUSTED: u8 = 8;
    const FAILED_PRECONDITION: u8 = 9;
    const INTERNAL: u8 = 13;
    const UNAVAILABLE: u8 = 14;
    const UNAUTHENTICATED: u8 = 16;
    match rejected.reason() {
        Reason::MissingKey => UNAUTHENTICATED,
        Reason::MissingPeer => INTERNAL,
        Reason::Closed => UNAVAILABLE,
        #[cfg(feature = "redis")]
        Reason::Unreachable => UNAVAILABLE,
        Reason::ExceedsCapacity { .. } => FAILED_PRECONDITION,
        Reason::WaitTooLong { .. } | Reason::QueueFull { .. } => RESOURCE_EXHAUSTED,
    }
}

/// Returns the wait in milliseconds, rounded up. Some clients read 32 bits, and fail to parse more.
fn pushback(wait: Option<Duration>) -> HeaderValue {
    let millis = wait.map(|wait| wait.as_nanos().div_ceil(1_000_000));
    let told = millis.and_then(|millis| i32::try_from(millis).ok());
    HeaderValue::from(told.unwrap_or(-1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::{Code, Status};
    use tonic_types::StatusExt;

    use super::super::tests::all;
    use super::*;
    use crate::http::Hint;

    fn headers(rejected: &Rejected) -> HeaderMap {
        let mut headers = HeaderMap::new();
        write(&mut headers, rejected);
        headers
    }

    #[test]
    fn each_kind_of_refusal_has_its_status() {
        let wait = Duration::from_nanos(2_300_000_001);
        let told = all(wait).map(|rejected| {
            let headers = headers(&rejected);
            assert_eq!(headers[CONTENT_TYPE], "application/grpc");
            let status = Status::from_header_map(&headers).unwrap();
            assert_eq!(status.message(), words(&rejected));
            let delay = status.get_details_retry_info().map(|info| info.retry_delay);
            let pushback = headers["grpc-retry-pushback-ms"].to_str().unwrap();
            (status.code(), delay, pushback.to_owned())
        });
        let exhausted = |wait, pushback: &str| {
            let delay = Some(Some(wait));
            (Code::ResourceExhausted, delay, pushback.to_owned())
        };
        let never = |code| (code, None, "-1".to_owned());
        let expected = [
            exhausted(wait, "2301"),
            exhausted(wait, "2301"),
            exhausted(Duration::from_secs(1), "1000"),
            never(Code::FailedPrecondition),
            never(Code::Unauthenticated),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_pushback_is_rounded_up_never_zero_and_fits_into_32_bits() {
        let longest = Duration::from_millis(2_147_483_647);
        for (wait, pushback) in [
            (Duration::ZERO, "1"),
            (Duration::from_nanos(1), "1"),
            (Duration::from_millis(1), "1"),
            (Duration::from_nanos(1_000_001), "2"),
            (longest, "2147483647"),
            (longest + Duration::from_nanos(1), "-1"),
            (Duration::MAX, "-1"),
        ] {
            let [rejected, ..] = all(wait);
            let headers = headers(&rejected);
            assert_eq!(headers["grpc-retry-pushback-ms"], pushback, "{wait:?}");
        }
    }

    #[test]
    fn our_own_client_understands_it() {
        let wait = Duration::from_millis(2_300);
        let hints = all(wait).map(|rejected| Hint::from_headers(&headers(&rejected)));
        let waits = hints.map(|hint| hint.retry_after());
        let second = Some(Duration::from_secs(1));
        assert_eq!(waits, [Some(wait), Some(wait), second, None, None]);
        let (later, never) = (Some(true), Some(false));
        let retries = hints.map(|hint| hint.should_retry());
        assert_eq!(retries, [later, later, later, never, never]);
    }

    proptest! {
        #[test]
        fn whatever_the_wait_a_client_is_told_no_less(
            seconds: u64,
            nanos in 0..1_000_000_000_u32,
            shift in 0..64_u32,
        ) {
            let wait = Duration::new(seconds >> shift, nanos);
            let [rejected, ..] = all(wait);
            let headers = headers(&rejected);
            let status = Status::from_header_map(&headers).unwrap();
            let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
            // Tonic's own server encodes it so.
            let theirs = status.into_http::<()>();
            let details = "grpc-status-details-bin";
            prop_assert_eq!(&headers[details], &theirs.headers()[details]);
            let shortest = Duration::from_millis(1);
            prop_assert_eq!(delay, wait.clamp(shortest, tonic_types::RetryInfo::MAX_RETRY_DELAY));
            // By the protocol's grammar, these need not be percent-encoded.
            let plain = |byte: &u8| matches!(byte, b' '..=b'$' | b'&'..=b'~');
            prop_assert!(headers["grpc-message"].as_bytes().iter().all(plain));
        }
    }
}
