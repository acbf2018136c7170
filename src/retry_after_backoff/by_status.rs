//! The default classifier: HTTP statuses, and errors of the connection.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{Attempts, Classify, Verdict};
use crate::{
    BoxError, CircuitOpen, ErrorKind, Hint, RequestHead, ResponseHead, causes::causes,
    failure::Failure,
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Less than a tenth of the usual backoff, which is taken in its place; and where there is no backoff it does not spin.
const LEAST_LOOK: Duration = Duration::from_millis(40);

/// Repeats what failed for a while only, and only where a repetition does no harm.
///
/// | outcome | GET, HEAD, OPTIONS, TRACE, PUT, DELETE, and all with an `Idempotency-Key` | POST, PATCH, … | all, with [`repeat_unsafe`](ByStatus::repeat_unsafe) |
/// | --- | --- | --- | --- |
/// | `x-should-retry: false` | no | no | no |
/// | 402 Payment Required, 413 Content Too Large, and what is [known](ErrorKind::of) to be *money*, *too large*, *context length* or *content policy* | no | no | no |
/// | `x-should-retry: true`, any other 4xx or 5xx | yes | yes | yes |
/// | 429 Too Many Requests | yes | yes | yes |
/// | 503 Service Unavailable with a hint when to retry | yes | yes | yes |
/// | 408, 500, 502, 503, 504, 529 (overloaded) | yes | no | yes |
/// | any other status | no | no | no |
/// | refused by one of this crate's limiters or circuits: [`Rejected`](crate::Rejected), [`CircuitOpen`](crate::CircuitOpen) | no, but see [`wait_for_circuit`](ByStatus::wait_for_circuit) | no | no |
/// | no connection came about | yes | yes | yes |
/// | the connection broke, or timed out | yes | no | yes |
/// | any other error | no | no | no |
///
/// An `Idempotency-Key` in the request says that the server tells a repetition from a second request, whatever the method. The
/// layer of [`idempotency_key`](crate::idempotency_key) sets one. An empty one says nothing.
///
/// Errors are looked for in the whole chain of causes: an [`std::io::Error`], a [`TimedOut`](crate::TimedOut) other than of the
/// whole call, an elapsed timeout of tokio's or tower's and,
/// with the features of these names, errors of `reqwest` and of `hyper` and its client. Of an `io::Error`, *connection refused*
/// and *address not available* mean that no connection came about; after any of the others the request may have
/// been acted on.
///
/// An error can't tell *which* connection did not come about. A client that follows redirects may have failed to reach
/// the place that a POST was redirected to, after the POST was acted on; so may a service in this process that calls
/// another one. Where that matters, let the client follow no redirects, or bring a [`Classify`] of your own.
///
/// Bodies are not read. A 429 that means that the money is spent, such as OpenAI's `insufficient_quota`, looks like
/// any other one unless the server sends `x-should-retry: false`; it is repeated until the attempts are used up. A
/// `DiagnoseLayer` further in reads it, and leaves the kind in the response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct ByStatus {
    repeat_unsafe: bool,
    wait_for_circuit: bool,
}

// ===== impl ByStatus =====

impl ByStatus {
    /// Repeats no unsafe method unless the server said that it did not act.
    pub const fn new() -> Self {
        Self {
            repeat_unsafe: false,
            wait_for_circuit: false,
        }
    }

    /// Repeats every method wherever GET would be.
    ///
    /// For requests that do no harm when they are acted on twice, whatever their method: completions of a language
    /// model are POST requests, and the SDKs of their providers repeat them all. The price of a repetition may be that
    /// both answers are paid for.
    pub const fn repeat_unsafe(mut self) -> Self {
        self.repeat_unsafe = true;
        self
    }

    /// Waits while a circuit further in is open, and then asks again, in place of failing at once. Where nobody else can answer
    /// that is what is left to do.
    ///
    /// Nothing was sent, so it is free for every method. The wait is what is left of the circuit's cooldown, has the bounds of
    /// one that a server asks for, and counts as an attempt. While another request finds out whether all is well again it is a
    /// backoff, and counts as none before the last: that one may take as long as any answer does.
    pub const fn wait_for_circuit(mut self) -> Self {
        self.wait_for_circuit = true;
        self
    }

    /// What a status means for a request that `repeats` without harm, or does not.
    fn status(repeats: bool, status: StatusCode, headers: &HeaderMap) -> Verdict {
        if !status.is_client_error() && !status.is_server_error() {
            return Verdict::Accept;
        }
        if matches!(
            status,
            StatusCode::PAYMENT_REQUIRED | StatusCode::PAYLOAD_TOO_LARGE
        ) {
            return Verdict::Forbid;
        }
        let hint = Hint::from_headers(headers);
        let after = hint.retry_after();
        let retry = Verdict::Retry { after, kind: None };
        match hint.should_retry() {
            Some(false) => return Verdict::Forbid,
            Some(true) => return retry,
            None => {}
        }
        match status.as_u16() {
            429 => retry,
            503 if after.is_some() => retry,
            408 | 500 | 502 | 503 | 504 | 529 if repeats => retry,
            408 | 500.. => Verdict::Forbid,
            _ => Verdict::Accept,
        }
    }

    fn error(self, repeats: bool, error: &BoxError) -> Verdict {
        if self.wait_for_circuit {
            let open = causes(error).find_map(|cause| cause.downcast_ref::<CircuitOpen>());
            if let Some(open) = open {
                return Verdict::retry_after(open.retry_after().unwrap_or(LEAST_LOOK));
            }
        }
        match Failure::of(error) {
            Failure::NotSent => Verdict::retry(),
            Failure::Broken if repeats => Verdict::retry(),
            Failure::Broken | Failure::Other => Verdict::Forbid,
        }
    }

    fn failed<Request, Response>(
        self,
        request: &Request,
        outcome: Result<&Response, &BoxError>,
    ) -> Verdict
    where
        Request: RequestHead,
        Response: ResponseHead,
    {
        let repeats = self.repeats(request);
        let verdict = match outcome {
            Ok(response) => Self::status(repeats, response.status(), response.headers()),
            Err(error) => self.error(repeats, error),
        };
        match (ErrorKind::of(outcome), verdict) {
            (Some(kind), Verdict::Retry { .. }) if lasts(kind) => Verdict::Forbid,
            (Some(kind), verdict) => verdict.because(kind),
            (None, verdict) => verdict,
        }
    }

    fn repeats<R: RequestHead>(self, request: &R) -> bool {
        let has_key = || {
            let key = request.headers().get(IDEMPOTENCY_KEY);
            key.is_some_and(|key| !key.is_empty())
        };
        self.repeat_unsafe || request.method().is_idempotent() || has_key()
    }
}

/// Whether the same request would fail in the same way at any other time.
const fn lasts(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Money
            | ErrorKind::TooLarge
            | ErrorKind::ContextLength
            | ErrorKind::ContentPolicy
    )
}

impl<Request, Response> Classify<Request, Response> for ByStatus
where
    Request: RequestHead,
    Response: ResponseHead,
{
    #[inline]
    fn classify(&self, request: &Request, outcome: Result<&Response, &BoxError>) -> Verdict {
        match outcome {
            // Most are, and need not be looked at any further.
            Ok(response) if response.status().is_success() => Verdict::Accept,
            _ => self.failed(request, outcome),
        }
    }

    fn record(&self, response: &mut Response, attempts: Attempts) {
        response.extensions_mut().insert(attempts);
    }

    fn is_success(&self, outcome: Result<&Response, &BoxError>) -> bool {
        outcome.is_ok_and(|response| {
            Self::status(true, response.status(), response.headers()) == Verdict::Accept
        })
    }

    fn host<'a>(&self, request: &'a Request) -> Option<&'a str> {
        request.authority()
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, fmt, io};

    use http::{HeaderValue, Method, Request, Response};
    use io::ErrorKind as Kind;

    use super::*;
    use crate::{Limit, Reason, Rejected, TimedOut};

    const YES: Verdict = Verdict::retry();
    const NO: Verdict = Verdict::Forbid;
    const OK: Verdict = Verdict::Accept;

    /// An error with another one inside.
    #[derive(Debug)]
    struct Outer(BoxError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }

    fn classify(
        by_status: ByStatus,
        method: Method,
        outcome: Result<&Response<()>, &BoxError>,
    ) -> Verdict {
        let mut request = Request::new(());
        *request.method_mut() = method;
        plain(by_status.classify(&request, outcome))
    }

    /// Without the kind of failure.
    fn plain(verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Retry { after, .. } => Verdict::Retry { after, kind: None },
            other => other,
        }
    }

    /// What GET, POST, and POST that may be repeated get. A POST with a key gets what a GET does.
    fn three(outcome: Result<&Response<()>, &BoxError>) -> [Verdict; 3] {
        let mut keyed = Request::post("/").body(()).unwrap();
        let mut classified = |key| {
            let key = HeaderValue::from_static(key);
            keyed.headers_mut().insert(IDEMPOTENCY_KEY, key);
            plain(ByStatus::new().classify(&keyed, outcome))
        };
        assert_eq!(
            classified("key"),
            classify(ByStatus::new(), Method::GET, outcome)
        );
        assert_eq!(
            classified(""),
            classify(ByStatus::new(), Method::POST, outcome)
        );
        [
            classify(ByStatus::new(), Method::GET, outcome),
            classify(ByStatus::new(), Method::POST, outcome),
            classify(ByStatus::new().repeat_unsafe(), Method::POST, outcome),
        ]
    }

    #[test]
    fn statuses() {
        const TWO: Verdict = Verdict::retry_after(std::time::Duration::from_secs(2));
        for (status, field, expected) in [
            (200, None, [OK, OK, OK]),
            (200, Some(("x-should-retry", "true")), [OK, OK, OK]),
            (301, Some(("retry-after", "2")), [OK, OK, OK]),
            (400, None, [OK, OK, OK]),
            (400, Some(("retry-after", "2")), [OK, OK, OK]),
            (404, None, [OK, OK, OK]),
            (404, Some(("x-should-retry", "false")), [NO, NO, NO]),
            (409, Some(("x-should-retry", "true")), [YES, YES, YES]),
            (402, None, [NO, NO, NO]),
            (402, Some(("retry-after", "2")), [NO, NO, NO]),
            (402, Some(("x-should-retry", "true")), [NO, NO, NO]),
            (413, Some(("x-should-retry", "true")), [NO, NO, NO]),
            (408, None, [YES, NO, YES]),
            (429, None, [YES, YES, YES]),
            (429, Some(("retry-after", "2")), [TWO, TWO, TWO]),
            (429, Some(("retry-after", "-2")), [YES, YES, YES]),
            (429, Some(("x-should-retry", "false")), [NO, NO, NO]),
            (500, None, [YES, NO, YES]),
            (500, Some(("retry-after", "2")), [TWO, NO, TWO]),
            (500, Some(("x-should-retry", "true")), [YES, YES, YES]),
            (501, None, [NO, NO, NO]),
            (502, None, [YES, NO, YES]),
            (503, None, [YES, NO, YES]),
            (503, Some(("retry-after", "2")), [TWO, TWO, TWO]),
            (503, Some(("retry-after-ms", "2000")), [TWO, TWO, TWO]),
            (503, Some(("retry-after", "soon")), [YES, NO, YES]),
            (504, None, [YES, NO, YES]),
            (529, None, [YES, NO, YES]),
            (529, Some(("retry-after", "2")), [TWO, NO, TWO]),
            (999, None, [OK, OK, OK]),
        ] {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some((name, value)) = field {
                let value = HeaderValue::from_static(value);
                response.headers_mut().insert(name, value);
            }
            assert_eq!(three(Ok(&response)), expected, "{status} {field:?}");
        }
    }

    #[test]
    fn methods() {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        for (method, expected) in [
            (Method::GET, YES),
            (Method::HEAD, YES),
            (Method::OPTIONS, YES),
            (Method::TRACE, YES),
            (Method::PUT, YES),
            (Method::DELETE, YES),
            (Method::POST, NO),
            (Method::PATCH, NO),
            (Method::CONNECT, NO),
            (Method::from_bytes(b"PURGE").unwrap(), NO),
        ] {
            let verdict = classify(ByStatus::new(), method.clone(), Ok(&response));
            assert_eq!(verdict, expected, "{method}");
        }
    }

    #[test]
    fn errors_of_the_connection() {
        for (kind, expected) in [
            (Kind::ConnectionRefused, [YES, YES, YES]),
            (Kind::AddrNotAvailable, [YES, YES, YES]),
            (Kind::ConnectionReset, [YES, NO, YES]),
            (Kind::BrokenPipe, [YES, NO, YES]),
            (Kind::TimedOut, [YES, NO, YES]),
            (Kind::UnexpectedEof, [YES, NO, YES]),
            (Kind::NetworkUnreachable, [YES, NO, YES]),
            (Kind::InvalidData, [NO, NO, NO]),
            (Kind::PermissionDenied, [NO, NO, NO]),
        ] {
            let plain: BoxError = io::Error::from(kind).into();
            let deep: BoxError = Outer(Outer(io::Error::from(kind).into()).into()).into();
            let wrapped: BoxError = io::Error::other(io::Error::from(kind)).into();
            for error in [plain, deep, wrapped] {
                assert_eq!(three(Err(&error)), expected, "{error:?}");
            }
        }
        // That there was no connection weighs more than whatever stands around it.
        let refused = io::Error::from(Kind::ConnectionRefused);
        let timed_out: BoxError = io::Error::new(Kind::TimedOut, Outer(refused.into())).into();
        assert_eq!(three(Err(&timed_out)), [YES; 3]);
        let other: BoxError = "no idea".into();
        assert_eq!(three(Err(&other)), [NO; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_may_have_been_acted_on() {
        let never = std::future::pending::<()>();
        let elapsed = tokio::time::timeout(std::time::Duration::ZERO, never).await;
        let tokios: BoxError = elapsed.unwrap_err().into();
        let towers: BoxError = tower::timeout::error::Elapsed::new().into();
        assert_eq!(three(Err(&tokios)), [YES, NO, YES]);
        assert_eq!(three(Err(&towers)), [YES, NO, YES]);
    }

    #[test]
    fn so_may_what_this_crate_timed_out_but_a_call_that_is_over_is_over() {
        let after = std::time::Duration::from_secs(1);
        for (timed_out, expected) in [
            (TimedOut::Attempt(after), [YES, NO, YES]),
            (TimedOut::FirstByte(after), [YES, NO, YES]),
            (TimedOut::BetweenChunks(after), [YES, NO, YES]),
            (TimedOut::Call(after), [NO, NO, NO]),
        ] {
            let plain: BoxError = timed_out.into();
            let deep: BoxError = Outer(Outer(timed_out.into()).into()).into();
            for error in [plain, deep] {
                assert_eq!(three(Err(&error)), expected, "{error:?}");
            }
        }
    }

    #[test]
    fn what_is_repeated_says_why() {
        fn of(outcome: Result<&Response<()>, &BoxError>) -> Option<ErrorKind> {
            match ByStatus::new().classify(&Request::new(()), outcome) {
                Verdict::Retry { kind, .. } => kind,
                other => panic!("{other:?}"),
            }
        }
        for (status, kind) in [
            (429, ErrorKind::RateLimit),
            (500, ErrorKind::Server),
            (503, ErrorKind::Overload),
            (504, ErrorKind::Timeout),
        ] {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            assert_eq!(of(Ok(&response)), Some(kind), "{status}");
        }
        let timed_out: BoxError = TimedOut::Attempt(std::time::Duration::ZERO).into();
        assert_eq!(of(Err(&timed_out)), Some(ErrorKind::Timeout));
        let broken: BoxError = io::Error::from(Kind::ConnectionReset).into();
        assert_eq!(of(Err(&broken)), Some(ErrorKind::Connection));
    }

    #[test]
    fn a_last_attempt_is_a_success_where_it_would_not_be_repeated_nor_forbidden() {
        for (status, expected) in [
            (200, true),
            (304, true),
            (404, true),
            (402, false),
            (429, false),
            (500, false),
            (501, false),
        ] {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            let classifier: &dyn Classify<Request<()>, _> = &ByStatus::new();
            assert_eq!(classifier.is_success(Ok(&response)), expected, "{status}");
        }
    }

    #[test]
    fn a_refusal_by_a_limiter_or_a_circuit_is_never_repeated_whatever_it_stands_in() {
        let rejected = || {
            let max_wait = std::time::Duration::ZERO;
            Rejected::new(Limit::TokenBucket, Reason::WaitTooLong { max_wait }, None)
        };
        let plain: BoxError = rejected().into();
        let deep: BoxError = Outer(Outer(rejected().into()).into()).into();
        let in_io: BoxError = io::Error::new(Kind::ConnectionRefused, rejected()).into();
        let open = CircuitOpen::new(None, None);
        let open_in_io: BoxError = io::Error::new(Kind::ConnectionRefused, open).into();
        for error in [plain, deep, in_io, open.into(), open_in_io] {
            assert_eq!(three(Err(&error)), [NO; 3], "{error:?}");
        }
    }

    #[cfg(feature = "reqwest")]
    #[tokio::test]
    async fn reqwest_tells_whether_there_was_a_connection() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        // Nobody listens on a port that was just let go of, and a listener that hangs up breaks a connection.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let hang_up = async { drop(listener.accept().await.unwrap()) };
        let (broken, ()) = tokio::join!(client.get(&url).send(), hang_up);
        let broken: BoxError = broken.unwrap_err().into();
        assert_eq!(three(Err(&broken)), [YES, NO, YES], "{broken:?}");
        drop(listener);
        let refused: BoxError = client.get(&url).send().await.unwrap_err().into();
        assert_eq!(three(Err(&refused)), [YES, YES, YES], "{refused:?}");
        let no_url: BoxError = client.get("//").send().await.unwrap_err().into();
        assert_eq!(three(Err(&no_url)), [NO; 3], "{no_url:?}");
    }
}
