use std::error::Error;

use crate::error::Outcome;

pub(super) fn outcome(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect().then_some(Outcome::NotSent);
    }
    let error = error.downcast_ref::<hyper::Error>()?;
    let is_interrupted = error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || error.is_timeout();
    is_interrupted.then_some(Outcome::Interrupted)
}

pub(super) fn is_request_body(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<hyper::Error>();
    error.is_some_and(hyper::Error::is_user)
}
