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

/// A client reports that the body of the request failed, which says nothing about the server. The
/// error of that body is among the sources.
pub(super) struct RequestBodyFailed;

/// What an error says by itself, if it is known.
type Reading = Option<Result<Outcome, RequestBodyFailed>>;

const READERS: &[fn(&(dyn Error + 'static)) -> Reading] = &[
    of_runtime,
    tower_error::read,
    #[cfg(feature = "reqwest")]
    reqwest_error::read,
    #[cfg(any(feature = "hyper", feature = "reqwest"))]
    hyper_error::read,
    #[cfg(any(feature = "hyper", feature = "reqwest"))]
    h2_error::read,
];

/// Returns what one error of a chain of sources says by itself.
pub(super) fn read(error: &(dyn Error + 'static)) -> Reading {
    READERS.iter().find_map(|read| read(error))
}

fn of_runtime(error: &(dyn Error + 'static)) -> Reading {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return of_io(error.kind());
    }
    let is_timeout = error.is::<TimedOut>() || error.is::<tokio::time::error::Elapsed>();
    is_timeout.then_some(Ok(Outcome::Timeout))
}

fn of_io(kind: io::ErrorKind) -> Reading {
    use io::ErrorKind as Kind;
    match kind {
        Kind::ConnectionRefused | Kind::AddrNotAvailable | Kind::AddrInUse => {
            Some(Ok(Outcome::NotSent))
        }
        Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::NotConnected
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::BrokenPipe
        | Kind::TimedOut
        | Kind::UnexpectedEof => Some(Ok(Outcome::Interrupted)),
        _ => None,
    }
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
