//! The chain of an error's causes, with those that hide what they hold opened up.

use std::{error::Error, io, iter};

use crate::BoxError;

/// `error`, and then what caused it, down to the first cause.
///
/// [`Error::source`] of an error that passes for the one that it wraps leads past that one: so it is with
/// [`io::Error`], and with the error of `reqwest-middleware`. Here nothing is left out.
pub(crate) fn causes(error: &BoxError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    causes_of(&**error)
}

/// The same.
pub(crate) fn causes_of<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(inner) = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        return Some(inner);
    }
    #[cfg(feature = "reqwest-middleware")]
    match error.downcast_ref::<reqwest_middleware::Error>() {
        Some(reqwest_middleware::Error::Middleware(error)) => return Some(error.as_ref()),
        Some(reqwest_middleware::Error::Reqwest(error)) => return Some(error),
        None => {}
    }
    error.source()
}
