//! A response from the store.

use std::{sync::Arc, time::Duration};

use http::header::AGE;

use super::{
    body::{ResponseBody, Source},
    entry::Entry,
    status::Status,
};

/// The largest integer of a structured field.
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// An entry that is used.
pub(super) struct Hit {
    pub(super) entry: Arc<Entry>,
    /// In seconds.
    pub(super) age: u64,
    /// How long it can still be used.
    pub(super) ttl: Duration,
}

// ===== impl Hit =====

impl Hit {
    pub(super) fn respond(self) -> http::Response<ResponseBody> {
        let detail = match self.ttl {
            Duration::MAX => "hit".to_owned(),
            ttl => format!("hit; ttl={}", ttl.as_secs().min(MAX_INTEGER)),
        };
        let (entry, at) = (self.entry.clone(), 0);
        let body = ResponseBody::of(Source::Cached { entry, at }, self.entry.length);
        let mut response = self.entry.head.respond(body);
        // If the map is full, it stays unchanged: the response is more important.
        let _ = response.headers_mut().try_insert(AGE, self.age.into());
        Status::Hit.mark(response, &detail)
    }
}
