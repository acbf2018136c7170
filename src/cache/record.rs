//! The frames of a body that is under way.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

use super::{
    entry::Body,
    head::{own, size_of_headers},
};

/// What a frame costs beside its bytes.
pub(super) const FRAME: usize = size_of::<Item>();
const SEGMENT: usize = 64 * 1024;
const SMALLEST_SEGMENT: usize = 1024;

/// All frames from the first one on, or, once they are too many, those that somebody has not read yet.
#[derive(Debug)]
pub(super) struct Record {
    items: VecDeque<Item>,
    /// Which frame the first item is.
    base: usize,
    /// Room for what comes next.
    room: BytesMut,
    /// Bytes of the items.
    held: usize,
    max: usize,
    is_whole: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Item {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

// ===== impl Record =====

impl Record {
    pub(super) fn new(max: usize) -> Self {
        Self {
            items: VecDeque::new(),
            base: 0,
            room: BytesMut::new(),
            held: 0,
            max,
            is_whole: true,
        }
    }

    /// Adds a frame.
    pub(super) fn push(&mut self, frame: Frame<Bytes>) {
        let item = match frame.into_data() {
            Ok(data) => self.data(data),
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => Item::Trailers(Box::new(trailers)),
                // There is no third kind.
                Err(_) => return,
            },
        };
        self.held = self.held.saturating_add(item.len());
        self.items.push_back(item);
        if self.is_full() {
            self.is_whole = false;
            self.room = BytesMut::new();
        }
    }

    fn data(&mut self, data: Bytes) -> Item {
        // What passes is gone soon. What stays is copied: a slice would keep all that it was cut from.
        if !self.is_whole || data.len() > self.max {
            return Item::Data(data);
        }
        if self.room.capacity() < data.len() {
            let segment = self.held.clamp(SMALLEST_SEGMENT, SEGMENT).min(self.max);
            self.room = BytesMut::with_capacity(segment.max(data.len()));
        }
        self.room.put_slice(&data);
        Item::Data(self.room.split().freeze())
    }

    pub(super) fn get(&self, at: usize) -> Option<Frame<Bytes>> {
        let item = self.items.get(at.checked_sub(self.base)?)?;
        Some(item.clone().into())
    }

    /// Whether it holds more than it may. Frames that are tiny, or empty, count with what they cost.
    pub(super) fn is_full(&self) -> bool {
        let most_frames = self.max / FRAME + 64;
        self.held > self.max || self.items.len() > most_frames
    }

    /// Whether nothing was left out.
    pub(super) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Where the record begins.
    pub(super) const fn base(&self) -> usize {
        self.base
    }

    /// Where the record ends.
    pub(super) fn end(&self) -> usize {
        self.base + self.items.len()
    }

    pub(super) fn has_trailers(&self) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item, Item::Trailers(_)))
    }

    /// Bytes of data from the frame `at` on.
    pub(super) fn data_from(&self, at: usize) -> u64 {
        let skipped = at.saturating_sub(self.base);
        let items = self.items.iter().skip(skipped);
        items
            .map(|item| match item {
                Item::Data(data) => data.len() as u64,
                Item::Trailers(_) => 0,
            })
            .sum()
    }

    /// Forgets what everybody has read. Only for one that is not whole any more.
    pub(super) fn forget_before(&mut self, at: usize) {
        while self.base < at {
            let Some(item) = self.items.pop_front() else {
                return;
            };
            self.held -= item.len();
            self.base += 1;
        }
    }

    /// The whole body, in one piece.
    pub(super) fn body(&self) -> Body {
        let data = self.items.iter().filter_map(|item| match item {
            Item::Data(data) => Some(data),
            Item::Trailers(_) => None,
        });
        Body::new(
            data,
            self.items.iter().find_map(|item| match item {
                Item::Trailers(trailers) => Some(own(trailers)),
                Item::Data(_) => None,
            }),
        )
    }
}

// ===== impl Item =====

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(trailers) => size_of_headers(trailers),
        }
    }
}

impl From<Item> for Frame<Bytes> {
    fn from(item: Item) -> Self {
        match item {
            Item::Data(data) => Self::data(data),
            Item::Trailers(trailers) => Self::trailers(*trailers),
        }
    }
}
