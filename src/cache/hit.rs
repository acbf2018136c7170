//! A response from the store.

use std::sync::Arc;

use super::{body::ResponseBody, entry::Entry, status::Detail};

/// An entry that is used.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) entry: Arc<Entry>,
    pub(super) detail: Detail,
}

// ===== impl Hit =====

impl Hit {
    pub(super) fn respond(self) -> http::Response<ResponseBody> {
        let body = ResponseBody::cached(self.entry.clone());
        let mut response = self.entry.head.respond(body);
        self.detail.add_to(&mut response);
        response
    }
}
