//! The frames of a body.

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::head::{own, size_of_headers};

/// What a frame costs besides its bytes: the item, and two allocations.
const FRAME: usize = size_of::<Chunk>() + 64;

/// All frames of a body, or, if they are too many, the frames that some reader has not read.
#[derive(Clone, Default)]
pub(super) struct Frames {
    items: VecDeque<Chunk>,
    /// The number of the first item.
    pub(super) base: usize,
    /// The bytes of the items.
    bytes: usize,
    max: usize,
    /// No frame was dropped or will be.
    pub(super) is_whole: bool,
}

#[derive(Clone)]
enum Chunk {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

// ===== impl Frames =====

impl Frames {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            is_whole: true,
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, frame: Frame<Bytes>) {
        let item = match frame.into_data().map_err(Frame::into_trailers) {
            // A slice would keep all that it was cut from.
            Ok(data) if self.is_whole && data.len() <= self.max => {
                Chunk::Data(Bytes::copy_from_slice(&data))
            }
            Ok(data) => Chunk::Data(data),
            Err(Ok(trailers)) => Chunk::Trailers(Box::new(own(&trailers))),
            // There is no third kind of frame.
            Err(Err(_)) => return,
        };
        self.bytes = self.bytes.saturating_add(item.len());
        self.items.push_back(item);
        self.is_whole &= !self.is_full();
    }

    /// Returns the frame with a number.
    pub(super) fn get(&self, at: usize) -> Option<Frame<Bytes>> {
        Some(match self.items.get(at.checked_sub(self.base)?)?.clone() {
            Chunk::Data(data) => Frame::data(data),
            Chunk::Trailers(trailers) => Frame::trailers(*trailers),
        })
    }

    /// Returns whether there is no room, in bytes or frames. Empty frames count as well.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.max || self.items.len() > self.max / FRAME + 64
    }

    /// Returns the number of the frame that comes next.
    pub(super) fn end(&self) -> usize {
        self.base + self.items.len()
    }

    pub(super) fn forget_before(&mut self, at: usize) {
        while self.base < at {
            let Some(item) = self.items.pop_front() else {
                return;
            };
            self.bytes -= item.len();
            self.base += 1;
        }
    }

    /// Returns the data in one piece.
    pub(super) fn data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.bytes);
        for item in &self.items {
            if let Chunk::Data(bytes) = item {
                data.extend_from_slice(bytes);
            }
        }
        data
    }

    pub(super) fn has_trailers(&self) -> bool {
        matches!(self.items.back(), Some(Chunk::Trailers(_)))
    }

    pub(super) fn size(&self) -> usize {
        self.bytes + self.items.capacity() * FRAME
    }
}

// ===== impl Chunk =====

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(trailers) => size_of_headers(trailers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let mut frames = Frames::new(100);
        for data in ["ab", "", "cde"] {
            frames.push(Frame::data(Bytes::from_static(data.as_bytes())));
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("a", http::HeaderValue::from_static("b"));
        frames.push(Frame::trailers(trailers.clone()));
        assert_eq!(frames.end(), 4);
        for (at, data) in ["ab", "", "cde"].iter().enumerate() {
            assert_eq!(frames.get(at).unwrap().into_data().unwrap(), data);
        }
        assert_eq!(frames.get(3).unwrap().into_trailers().unwrap(), trailers);
        assert!(frames.get(4).is_none() && frames.has_trailers());
        assert_eq!(frames.data(), b"abcde");
    }
}
