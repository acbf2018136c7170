use std::error::Error;

use crate::error::{Outcome, source_chain::sources};

pub(super) fn outcome(error: &(dyn Error + 'static)) -> Option<Outcome> {
    let error = error.downcast_ref::<reqwest::Error>()?;
    if error.is_connect() {
        Some(Outcome::NotSent)
    } else if error.is_timeout() {
        Some(Outcome::Timeout)
    } else {
        error.is_request().then_some(Outcome::Interrupted)
    }
}

pub(super) fn is_request_body(error: &(dyn Error + 'static)) -> bool {
    let is = |error: &(dyn Error + 'static), test: fn(&reqwest::Error) -> bool| {
        error.downcast_ref().is_some_and(test)
    };
    is(error, reqwest::Error::is_request)
        && sources(error).any(|source| is(source, reqwest::Error::is_body))
}
