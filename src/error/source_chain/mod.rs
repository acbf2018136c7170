//! The chain of an error's sources, including the errors that [`Error::source`] skips.

#[cfg(feature = "reqwest-middleware")]
mod reqwest_middleware;

use std::{error::Error, io, iter};

#[cfg(feature = "reqwest-middleware")]
use self::reqwest_middleware as middleware_error;
use crate::error::rejected::BoxError;

/// Returns `error` and then its sources, down to the first cause.
///
/// [`Error::source`] of an error that displays as the one that it wraps skips that one:
/// [`std::io::Error`] does so, and the error of `reqwest-middleware`. This skips nothing.
pub(crate) fn source_chain(error: &BoxError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    sources(&**error)
}

/// Returns the first error of type `E` in the chain.
pub(crate) fn find_source<E: Error + 'static>(error: &BoxError) -> Option<&E> {
    source_chain(error).find_map(|source| source.downcast_ref())
}

pub(crate) fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| source(*error))
}

fn source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    #[cfg(feature = "reqwest-middleware")]
    if let Some(inner) = middleware_error::wrapped(error) {
        return Some(inner);
    }
    let inside = error.downcast_ref().and_then(io::Error::get_ref);
    inside.map(|e| e as _).or_else(|| error.source())
}
