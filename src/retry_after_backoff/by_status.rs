//! The default classifier: HTTP statuses, and errors of the connection.

use std::{error::Error, io};

use http::{HeaderMap, Method, StatusCode};

use super::{Attempts, Classify, Verdict};
use crate::{BoxError, Hint, Rejected, RequestHead, ResponseHead};

/// Repeats what failed for a while only, and only where a repetition does no harm.
///
/// | outcome | GET, HEAD, OPTIONS, TRACE, PUT, DELETE | POST, PATCH, … | all, with [`repeat_unsafe`](ByStatus::repeat_unsafe) |
/// | --- | --- | --- | --- |
/// | `x-should-retry: false` | no | no | no |
/// | 402 Payment Required, 413 Content Too Large | no | no | no |
/// | `x-should-retry: true`, any other 4xx or 5xx | yes | yes | yes |
/// | 429 Too Many Requests | yes | yes | yes |
/// | 503 Service Unavailable with a hint when to retry | yes | yes | yes |
/// | 408, 500, 502, 503, 504, 529 (overloaded) | yes | no | yes |
/// | any other status | no | no | no |
/// | refused by one of this crate's limiters: [`Rejected`] | no | no | no |
/// | no connection came about | yes | yes | yes |
/// | the connection broke, or timed out | yes | no | yes |
/// | any other error | no | no | no |
///
/// Errors are looked for in the whole chain of sources: an [`std::io::Error`], an elapsed timeout of tokio and, with the
/// feature `reqwest`, an error of reqwest's. Of an `io::Error`, *connection refused* and *address not available* mean that
/// no connection came about; after any of the others the request may have been acted on.
///
/// Bodies are not read. A 429 that means that the money is spent, such as OpenAI's `insufficient_quota`, looks like
/// any other one unless the server sends `x-should-retry: false`; it is repeated until the attempts are used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct ByStatus {
    repeat_unsafe: bool,
}

/// What an error says of the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// The request did not leave.
    NotSent,
    /// It may have been acted on.
    Broken,
    /// Not a matter of the connection.
    Other,
}

// ===== impl ByStatus =====

impl ByStatus {
    /// Repeats no unsafe method unless the server said that it did not act.
    pub const fn new() -> Self {
        Self {
            repeat_unsafe: false,
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

    fn status(self, method: &Method, status: StatusCode, headers: &HeaderMap) -> Verdict {
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
        match hint.should_retry() {
            Some(false) => return Verdict::Forbid,
            Some(true) => return Verdict::Retry { after },
            None => {}
        }
        match status.as_u16() {
            429 => Verdict::Retry { after },
            503 if after.is_some() => Verdict::Retry { after },
            408 | 500 | 502 | 503 | 504 | 529 if self.repeats(method) => Verdict::Retry { after },
            408 | 500.. => Verdict::Forbid,
            _ => Verdict::Accept,
        }
    }

    fn error(self, method: &Method, error: &BoxError) -> Verdict {
        match Failure::of(error) {
            Failure::NotSent => Verdict::retry(),
            Failure::Broken if self.repeats(method) => Verdict::retry(),
            Failure::Broken | Failure::Other => Verdict::Forbid,
        }
    }

    fn repeats(self, method: &Method) -> bool {
        self.repeat_unsafe || method.is_idempotent()
    }
}

impl<Request, Response> Classify<Request, Response> for ByStatus
where
    Request: RequestHead,
    Response: ResponseHead,
{
    fn classify(&self, request: &Request, outcome: Result<&Response, &BoxError>) -> Verdict {
        match outcome {
            Ok(response) => self.status(request.method(), response.status(), response.headers()),
            Err(error) => self.error(request.method(), error),
        }
    }

    fn record(&self, response: &mut Response, attempts: Attempts) {
        response.extensions_mut().insert(attempts);
    }
}

// ===== impl Failure =====

impl Failure {
    fn of(error: &BoxError) -> Self {
        let mut failure = Self::Other;
        let mut next: Option<&(dyn Error + 'static)> = Some(&**error);
        while let Some(error) = next {
            match Self::of_one(error) {
                // Ours: the request was not sent, and would not be the next time.
                None => return Self::Other,
                Some(Self::NotSent) => failure = Self::NotSent,
                Some(Self::Broken) if failure == Self::Other => failure = Self::Broken,
                Some(_) => {}
            }
            next = source(error);
        }
        failure
    }

    /// `None` for a refusal by a limiter.
    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if error.is::<Rejected>() {
            return None;
        }
        if error.is::<tokio::time::error::Elapsed>() {
            return Some(Self::Broken);
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(Self::of_io(error.kind()));
        }
        #[cfg(feature = "reqwest")]
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            if error.is_connect() {
                return Some(Self::NotSent);
            }
            if error.is_timeout() || error.is_request() {
                return Some(Self::Broken);
            }
        }
        Some(Self::Other)
    }

    fn of_io(kind: io::ErrorKind) -> Self {
        use io::ErrorKind as Kind;
        match kind {
            Kind::ConnectionRefused | Kind::AddrNotAvailable | Kind::AddrInUse => Self::NotSent,
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::BrokenPipe
            | Kind::TimedOut
            | Kind::UnexpectedEof => Self::Broken,
            _ => Self::Other,
        }
    }
}

/// The next error down the chain. That of an `io::Error` would lead past the very error that it wraps.
fn source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    wrapped.map_or_else(|| error.source(), |inner| Some(inner))
}
