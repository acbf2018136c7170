//! A response in the store.

use std::sync::Arc;

use super::{frames::Frames, head::CachedHead, key::CacheKey, sound::is_sound};

/// What an entry costs besides its content: the store's bookkeeping, and allocations.
const OVERHEAD: usize = 512;

pub(super) struct Entry {
    pub(super) head: Arc<CachedHead>,
    pub(super) frames: Frames,
    /// Bytes of data, unless trailers follow.
    pub(super) length: Option<u64>,
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
