//! What kind of failure an outcome is.

use std::{error::Error, fmt};

use http::StatusCode;

use crate::{
    BoxError, ResponseHead, TimedOut,
    causes::causes,
    failure::{Failure, is_of_own_body},
};

/// What kind of failure an outcome is, whichever provider it comes from.
///
/// Read with [`ErrorKind::of`]. A status alone says less than the body that comes with it: a 400 may be a prompt that is
/// too long or one that a policy forbids. A layer that has read the body leaves what it found in the response's extensions,
/// and that goes before the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A limit of the caller's was reached: 429.
    RateLimit,
    /// The provider has more to do than it can: 503, 529, and [`CircuitOpen`](crate::CircuitOpen).
    Overload,
    /// The prompt does not fit into what the model can read.
    ContextLength,
    /// A policy forbids the prompt or its answer.
    ContentPolicy,
    /// The money is spent, or a day's or month's quota: 402.
    Money,
    /// The request is larger than the provider, or a limit, ever lets in: 413.
    TooLarge,
    /// It took too long, here or there: 408, 504, [`TimedOut`], and the timeouts of tokio, tower and reqwest.
    Timeout,
    /// Something broke on the provider's side: any other 5xx.
    Server,
    /// No connection came about, or it broke.
    Connection,
}

// ===== impl ErrorKind =====

impl ErrorKind {
    /// What kind of failure this is; `None` where it is none, or none of these.
    #[must_use]
    pub fn of<R: ResponseHead>(outcome: Result<&R, &BoxError>) -> Option<Self> {
        match outcome {
            Ok(response) => match response.extensions().get() {
                Some(kind) => Some(*kind),
                None => Self::of_status(response.status()),
            },
            Err(error) => Self::of_error(error),
        }
    }

    /// What a status says by itself.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Option<Self> {
        Some(match status.as_u16() {
            429 => Self::RateLimit,
            503 | 529 => Self::Overload,
            402 => Self::Money,
            413 => Self::TooLarge,
            408 | 504 => Self::Timeout,
            500..=599 => Self::Server,
            _ => return None,
        })
    }

    /// What an error says, by the first in its chain of sources that says anything.
    ///
    /// With the features `hyper` and `reqwest`: nothing where the client says that the request's own body has failed.
    #[must_use]
    pub fn of_error(error: &BoxError) -> Option<Self> {
        for cause in causes(error) {
            if let Some(kind) = cause.downcast_ref() {
                return Some(*kind);
            }
            if is_timeout(cause) {
                return Some(Self::Timeout);
            }
            if is_of_own_body(cause) {
                return None;
            }
        }
        match Failure::of(error) {
            Failure::NotSent | Failure::Broken => Some(Self::Connection),
            Failure::Other => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate limit",
            Self::Overload => "overload",
            Self::ContextLength => "context length",
            Self::ContentPolicy => "content policy",
            Self::Money => "money",
            Self::TooLarge => "too large",
            Self::Timeout => "timeout",
            Self::Server => "server",
            Self::Connection => "connection",
        }
    }
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        // One that found no connection in time has none.
        return error.is_timeout() && !error.is_connect();
    }
    error.is::<TimedOut>()
        || error.is::<tokio::time::error::Elapsed>()
        || error.is::<tower::timeout::error::Elapsed>()
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error that says no more than its kind: it stands at the end of the chain of one that says more.
impl Error for ErrorKind {}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_note_goes_before_the_status() {
        let mut response = http::Response::new(());
        assert_eq!(ErrorKind::of(Ok(&response)), None);
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(ErrorKind::of(Ok(&response)), Some(ErrorKind::RateLimit));
        response.extensions_mut().insert(ErrorKind::Money);
        assert_eq!(ErrorKind::of(Ok(&response)), Some(ErrorKind::Money));
    }

    #[test]
    fn errors() {
        let of = |error: BoxError| ErrorKind::of::<http::Response<()>>(Err(&error));
        let timed_out = TimedOut::Attempt(std::time::Duration::from_secs(1));
        assert_eq!(of(timed_out.into()), Some(ErrorKind::Timeout));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(of(refused.into()), Some(ErrorKind::Connection));
        let inside = io::Error::other(ErrorKind::ContextLength);
        assert_eq!(of(inside.into()), Some(ErrorKind::ContextLength));
        assert_eq!(of("other".into()), None);
    }
}
