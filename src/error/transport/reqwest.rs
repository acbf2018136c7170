use std::error::Error;

use super::{Reading, RequestBodyFailed};
use crate::error::{Outcome, source_chain::sources};

pub(super) fn read(error: &(dyn Error + 'static)) -> Reading {
    let own = error.downcast_ref::<reqwest::Error>()?;
    let is_body = |source: &reqwest::Error| source.is_body();
    if own.is_request() && sources(error).any(|it| it.downcast_ref().is_some_and(is_body)) {
        Some(Err(RequestBodyFailed))
    } else if own.is_connect() {
        Some(Ok(Outcome::NotSent))
    } else if own.is_timeout() {
        Some(Ok(Outcome::Timeout))
    } else {
        own.is_request().then_some(Ok(Outcome::Interrupted))
    }
}
