//! What an error of the connection says about the request that it ended.

#[cfg(any(feature = "hyper", feature = "reqwest"))]
mod h2;
#[cfg(any(feature = "hyper", feature = "reqwest"))]
mod hyper;
#[cfg(feature = "reqwest")]
mod reqwest;
mod tower;
#[cfg(any(feature = "tracing", test))]
mod unread;

use std::{error::Error, io};

#[cfg(feature = "reqwest")]
use self::reqwest as reqwest_error;
use self::tower as tower_error;
#[cfg(feature = "tracing")]
pub(super) use self::unread::warn as warn_of_missing_feature;
#[cfg(any(feature = "hyper", feature = "reqwest"))]
use self::{h2 as h2_error, hyper as hyper_error};
use super::Outcome;
#[cfg(any(feature = "hyper", feature = "reqwest"))]
use crate::error::source_chain;
use crate::error::{rejected::BoxError, timed_out::TimedOut};

/// Returns what one error of a chain of sources says by itself.
pub(super) fn outcome(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return of_io(error.kind());
    }
    if error.is::<TimedOut>()
        || error.is::<tokio::time::error::Elapsed>()
        || tower_error::is_timeout(error)
    {
        return Some(Outcome::Timeout);
    }
    #[cfg(feature = "reqwest")]
    if let Some(outcome) = reqwest_error::outcome(error) {
        return Some(outcome);
    }
    #[cfg(any(feature = "hyper", feature = "reqwest"))]
    if let Some(outcome) = hyper_error::outcome(error).or_else(|| h2_error::outcome(error)) {
        return Some(outcome);
    }
    None
}

fn of_io(kind: io::ErrorKind) -> Option<Outcome> {
    use io::ErrorKind as Kind;
    match kind {
        Kind::ConnectionRefused | Kind::AddrNotAvailable | Kind::AddrInUse => {
            Some(Outcome::NotSent)
        }
        Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::NotConnected
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::BrokenPipe
        | Kind::TimedOut
        | Kind::UnexpectedEof => Some(Outcome::Interrupted),
        _ => None,
    }
}

/// Whether a client reports that the body of the request failed, which says nothing about the
/// server. The error of that body is among the sources.
pub(super) fn is_request_body(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "reqwest")]
    if reqwest_error::is_request_body(error) {
        return true;
    }
    #[cfg(any(feature = "hyper", feature = "reqwest"))]
    if hyper_error::is_request_body(error) || h2_error::is_request_body(error) {
        return true;
    }
    let _ = error;
    false
}

/// Returns whether a client would get this error again: it could not connect because of the URL or
/// the server's certificate.
pub(crate) fn is_permanent(error: &BoxError) -> bool {
    #[cfg(any(feature = "hyper", feature = "reqwest"))]
    return source_chain(error).any(hyper_error::is_permanent);
    #[cfg(not(any(feature = "hyper", feature = "reqwest")))]
    {
        let _ = error;
        false
    }
}
