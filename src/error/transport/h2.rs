use std::error::Error;

use h2::Reason;

use crate::error::Outcome;

pub(super) fn outcome(error: &(dyn Error + 'static)) -> Option<Outcome> {
    let error = error.downcast_ref::<h2::Error>()?;
    if let Some(error) = error.get_io() {
        return super::of_io(error.kind());
    }
    if !error.is_remote() {
        return error.is_library().then_some(Outcome::Interrupted);
    }
    if error.is_go_away() {
        // Only streams that the server did not process get this error (RFC 9113 §8.7).
        return Some(Outcome::NotSent);
    }
    Some(match error.reason()? {
        Reason::REFUSED_STREAM => Outcome::NotSent,
        Reason::ENHANCE_YOUR_CALM => Outcome::RateLimited,
        Reason::INADEQUATE_SECURITY => Outcome::ClientError,
        _ => Outcome::Interrupted,
    })
}

/// A client resets the stream of a request whose body failed.
pub(super) fn is_request_body(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<h2::Error>();
    error.is_some_and(|error| error.is_reset() && !error.is_remote() && !error.is_library())
}
