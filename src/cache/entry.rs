//! An answer that is kept.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

use super::{
    head::{Head, size_of_headers},
    key::CacheKey,
    sound::is_sound,
};

/// What an entry costs beside what is in it: the cache's own book-keeping, and allocations.
const OVERHEAD: usize = 512;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) head: Arc<Head>,
    pub(super) body: Body,
}

/// A body of which everything is there.
#[derive(Debug)]
pub(super) struct Body {
    data: Bytes,
    /// Where each frame of data ends.
    ends: Box<[usize]>,
    trailers: Option<HeaderMap>,
}

// ===== impl Entry =====

impl Entry {
    /// `None` where the body is not what its head says, or says that something went wrong.
    pub(super) fn new(head: Arc<Head>, body: Body) -> Option<Self> {
        let is_as_long = head
            .length
            .is_none_or(|length| length == body.data.len() as u64);
        let is_sound = is_as_long && (!head.has_body || is_sound(head.headers(), &body.data));
        is_sound.then_some(Self { head, body })
    }

    /// In bytes.
    pub(super) fn weight(&self) -> u32 {
        let size = OVERHEAD + size_of::<CacheKey>() + self.head.size() + self.body.size();
        u32::try_from(size).unwrap_or(u32::MAX)
    }
}

// ===== impl Body =====

impl Body {
    pub(super) fn new<'a>(
        frames: impl Iterator<Item = &'a Bytes> + Clone,
        trailers: Option<HeaderMap>,
    ) -> Self {
        let length = frames.clone().map(Bytes::len).sum();
        let mut data = BytesMut::with_capacity(length);
        let mut ends = Vec::new();
        for frame in frames {
            data.extend_from_slice(frame);
            ends.push(data.len());
        }
        Self {
            data: data.freeze(),
            ends: ends.into(),
            trailers,
        }
    }

    /// The frame `at`, as it came.
    pub(super) fn frame(&self, at: usize) -> Option<Frame<Bytes>> {
        match self.ends.get(at) {
            Some(end) => Some(Frame::data(self.data.slice(self.start(at)..*end))),
            None if at == self.ends.len() => self.trailers.clone().map(Frame::trailers),
            None => None,
        }
    }

    pub(super) const fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// How many frames there are.
    pub(super) fn frames(&self) -> usize {
        self.ends.len() + usize::from(self.trailers.is_some())
    }

    /// How many bytes come from the frame `at` on.
    pub(super) fn data_from(&self, at: usize) -> u64 {
        (self.data.len() - self.start(at)) as u64
    }

    fn start(&self, at: usize) -> usize {
        let before = at.min(self.ends.len()).checked_sub(1);
        before.map_or(0, |before| self.ends[before])
    }

    fn size(&self) -> usize {
        let trailers = self.trailers.as_ref().map_or(0, size_of_headers);
        self.data.len() + size_of_val(&*self.ends) + trailers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let frames = ["ab", "", "cde"].map(|frame| Bytes::from_static(frame.as_bytes()));
        let mut trailers = HeaderMap::new();
        trailers.insert("a", http::HeaderValue::from_static("b"));
        let body = Body::new(frames.iter(), Some(trailers.clone()));
        assert_eq!(body.frames(), 4);
        for (at, frame) in frames.iter().enumerate() {
            assert_eq!(body.frame(at).unwrap().into_data().unwrap(), frame);
        }
        assert_eq!(body.frame(3).unwrap().into_trailers().unwrap(), trailers);
        assert!(body.frame(4).is_none());
        let left: Vec<_> = (0..6).map(|at| body.data_from(at)).collect();
        assert_eq!(left, [5, 3, 3, 0, 0, 0]);
    }
}
