//! A response in the store.

use std::{sync::Arc, time::Duration};

use http::header::AGE;

use super::{
    body::ResponseBody, frames::Frames, head::CachedHead, key::CacheKey, sound::is_sound,
    status::Status,
};

/// What an entry costs besides its content: the store's bookkeeping, and allocations.
const OVERHEAD: usize = 512;

/// The largest integer of a structured field.
const MAX_INTEGER: u64 = 999_999_999_999_999;

pub(super) struct Entry {
    pub(super) head: Arc<CachedHead>,
    pub(super) frames: Frames,
    /// Bytes of data, unless trailers follow.
    pub(super) length: Option<u64>,
}

/// An entry that is used.
pub(super) struct Hit {
    pub(super) entry: Arc<Entry>,
    /// In seconds.
    pub(super) age: u64,
    /// How long it can still be used.
    pub(super) ttl: Duration,
}

// ===== impl Entry =====

impl Entry {
    /// Returns `None` if frames are missing, the body is not as long as the head says, or it
    /// reports an error.
    pub(super) fn new(head: Arc<CachedHead>, frames: Frames) -> Option<Self> {
        if !frames.is_whole {
            return None;
        }
        let data = frames.data();
        let length = data.len() as u64;
        let is_as_long = head.length.is_none_or(|declared| declared == length);
        let is_sound = is_as_long && (!head.has_body || is_sound(head.response.headers(), &data));
        is_sound.then(|| Self {
            head,
            length: Some(length).filter(|_| !frames.has_trailers()),
            frames,
        })
    }

    /// Returns the size in bytes.
    pub(super) fn weight(&self) -> u32 {
        let size = OVERHEAD + size_of::<CacheKey>() + self.head.size() + self.frames.size();
        u32::try_from(size).unwrap_or(u32::MAX)
    }
}

// ===== impl Hit =====

impl Hit {
    pub(super) fn respond(self) -> http::Response<ResponseBody> {
        let detail = match self.ttl {
            Duration::MAX => "hit".to_owned(),
            ttl => format!("hit; ttl={}", ttl.as_secs().min(MAX_INTEGER)),
        };
        let body = ResponseBody::cached(self.entry.clone());
        let mut response = self.entry.head.respond(body);
        response.headers_mut().insert(AGE, self.age.into());
        Status::Hit.add_to(&mut response, &detail);
        response
    }
}
