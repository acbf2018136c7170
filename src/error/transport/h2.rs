use std::error::Error;

use h2::Reason;

use super::{Reading, RequestBodyFailed};
use crate::error::Outcome;

pub(super) fn read(error: &(dyn Error + 'static)) -> Reading {
    let error = error.downcast_ref::<h2::Error>()?;
    if let Some(error) = error.get_io() {
        return super::of_io(error.kind());
    }
    Some(match error.reason() {
        // Only streams that the server did not process get this error (RFC 9113 §8.7).
        _ if error.is_remote() && error.is_go_away() => Ok(Outcome::NotSent),
        reason if error.is_remote() => Ok(match reason? {
            Reason::REFUSED_STREAM => Outcome::NotSent,
            Reason::ENHANCE_YOUR_CALM => Outcome::RateLimited,
            Reason::INADEQUATE_SECURITY => Outcome::ClientError,
            _ => Outcome::Interrupted,
        }),
        _ if error.is_library() => Ok(Outcome::Interrupted),
        // A client resets the stream of a request whose body failed.
        _ if error.is_reset() => Err(RequestBodyFailed),
        _ => return None,
    })
}
