use std::error::Error;

use super::Reading;
use crate::error::Outcome;

pub(super) fn read(error: &(dyn Error + 'static)) -> Reading {
    let is_timeout = error.is::<tower::timeout::error::Elapsed>();
    is_timeout.then_some(Ok(Outcome::Timeout))
}
