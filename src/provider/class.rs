//! What a refusal of the provider's means.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

/// Which kind of limit the provider refused by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Too many in a short time: wait as told.
    Rate,
    /// Too many in a day: no wait that a request can bear will help.
    Day,
    /// The money is spent, or a spending limit reached.
    Money,
    /// Too many in flight.
    Concurrency,
    /// The load rose too fast.
    Ramp,
    /// The provider is overloaded; it says nothing of the caller's limits.
    Capacity,
}

/// What the head and the body of a refusal say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) class: Class,
    /// How long to wait, by the most telling source that speaks.
    pub(crate) retry_after: Option<Duration>,
    /// The provider's own code or type for it.
    pub(crate) code: Option<Box<str>>,
    /// The provider's own words.
    pub(crate) message: Option<Box<str>>,
}

// ===== impl Told =====

impl Told {
    /// Reads a refusal; `None` where the response is none.
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let _ = (status, headers, body);
        None
    }
}
