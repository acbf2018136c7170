//! What an error says of the attempt that it ended.

use std::{error::Error, io};

#[cfg(feature = "reqwest")]
use crate::causes::causes_of;
use crate::{BoxError, CircuitOpen, Rejected, TimedOut, causes::causes};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The request did not leave.
    NotSent,
    /// It may have been acted on.
    Broken,
    /// Not a matter of the connection.
    Other,
}

// ===== impl Failure =====

impl Failure {
    pub(crate) fn of(error: &BoxError) -> Self {
        let mut failure = Self::Other;
        for cause in causes(error) {
            match Self::of_one(cause) {
                None => return Self::Other,
                Some(Self::NotSent) => failure = Self::NotSent,
                Some(Self::Broken) if failure == Self::Other => failure = Self::Broken,
                Some(_) => {}
            }
        }
        failure
    }

    /// `None` for what no further attempt mends: a refusal by a limiter or a circuit, a call whose time is over, a request whose
    /// own body has failed.
    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if error.is::<Rejected>() || error.is::<CircuitOpen>() || is_of_own_body(error) {
            return None;
        }
        if let Some(timed_out) = error.downcast_ref() {
            return match timed_out {
                // Nobody waits for an answer any more.
                TimedOut::Call(_) => None,
                _ => Some(Self::Broken),
            };
        }
        if error.is::<tokio::time::error::Elapsed>() || error.is::<tower::timeout::error::Elapsed>()
        {
            return Some(Self::Broken);
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(Self::of_io(error.kind()));
        }
        #[cfg(feature = "reqwest")]
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            return Some(Self::of_reqwest(error));
        }
        #[cfg(feature = "hyper")]
        if let Some(failure) = Self::of_hyper(error) {
            return Some(failure);
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

    #[cfg(feature = "reqwest")]
    fn of_reqwest(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            Self::NotSent
        } else if error.is_timeout() || error.is_request() {
            Self::Broken
        } else {
            Self::Other
        }
    }

    #[cfg(feature = "hyper")]
    fn of_hyper(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect().then_some(Self::NotSent);
        }
        let error = error.downcast_ref::<hyper::Error>()?;
        let is_broken = error.is_incomplete_message()
            || error.is_canceled()
            || error.is_closed()
            || error.is_timeout();
        is_broken.then_some(Self::Broken)
    }
}

/// Whether the client says that the body of the request failed, which is nothing of the other side's. What that one failed
/// with is among the causes.
#[cfg_attr(
    not(any(feature = "reqwest", feature = "hyper")),
    allow(unused_variables, reason = "only clients tell it")
)]
pub(crate) fn is_of_own_body(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        let is_of_body = |cause: &(dyn Error + 'static)| {
            let cause = cause.downcast_ref::<reqwest::Error>();
            cause.is_some_and(reqwest::Error::is_body)
        };
        return error.is_request() && causes_of(error).any(is_of_body);
    }
    #[cfg(feature = "hyper")]
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return error.is_user();
    }
    false
}
