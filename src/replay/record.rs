//! The record of a body: its frames in order, up to a limit.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

/// Frames are gathered into segments up to this size, so that tiny ones have little overhead.
const SEGMENT: usize = 64 * 1024;
const SMALLEST_SEGMENT: usize = 1024;
/// A whole body below this size is copied, because it may be a slice of a large buffer.
const SMALL: usize = 4 * 1024;
/// The overhead of a trailer.
const FIELD: usize = 64;

/// The frames of a body, as few as possible: the boundaries of data frames are not recorded.
#[derive(Debug, Default)]
pub(super) struct Record {
    items: Vec<RecordedFrame>,
    /// The last data, with room for more. Data is copied, because a slice would keep the buffer
    /// that it is a part of.
    tail: BytesMut,
    data: u64,
    held: usize,
    max: usize,
}

#[derive(Debug, Clone)]
pub(super) enum RecordedFrame {
    Data(Bytes),
    Trailers(HeaderMap),
}

// ===== impl Record =====

impl Record {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    /// Appends a part of the body. Returns `None` if it would exceed the limit, as the others do.
    pub(super) fn push(&mut self, mut data: &[u8]) -> Option<()> {
        let held = self.hold(data.len())?;
        self.data += data.len() as u64;
        while !data.is_empty() {
            if self.tail.len() == self.tail.capacity() {
                self.seal();
                let segment = held.clamp(SMALLEST_SEGMENT, SEGMENT);
                // Unused capacity counts, so the segment is at most as large as the remaining
                // limit.
                let segment = segment.min(self.max - held).max(data.len());
                self.tail = BytesMut::with_capacity(segment);
            }
            let room = self.tail.capacity() - self.tail.len();
            let (now, later) = data.split_at(room.min(data.len()));
            self.tail.extend_from_slice(now);
            data = later;
        }
        Some(())
    }

    /// Appends all of the body. It is not copied if it is large.
    pub(super) fn push_all(&mut self, data: &Bytes) -> Option<()> {
        if data.len() < SMALL || !self.is_empty() {
            return self.push(data);
        }
        self.hold(data.len())?;
        self.data += data.len() as u64;
        self.items.push(RecordedFrame::Data(data.clone()));
        Some(())
    }

    pub(super) fn push_trailers(&mut self, trailers: &HeaderMap) -> Option<()> {
        let lines = trailers.iter();
        let text = lines.map(|(name, value)| name.as_str().len() + value.len() + FIELD);
        self.hold(text.sum::<usize>().saturating_add(FIELD))?;
        self.seal();
        self.items.push(RecordedFrame::Trailers(trailers.clone()));
        Some(())
    }

    /// Turns the last data into an item.
    pub(super) fn seal(&mut self) {
        if !self.tail.is_empty() {
            // The remaining capacity stays for the next data.
            let data = self.tail.split().freeze();
            self.items.push(RecordedFrame::Data(data));
        }
    }

    /// Returns an item. Data after the last [`seal`](Self::seal) is not in one.
    pub(super) fn get(&self, index: usize) -> Option<&RecordedFrame> {
        self.items.get(index)
    }

    /// Returns whether there is nothing from the item `index` on.
    pub(super) fn ends_at(&self, index: usize) -> bool {
        self.tail.is_empty() && self.items.len() <= index
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends_at(0)
    }

    /// Returns the number of bytes of data.
    pub(super) const fn data(&self) -> u64 {
        self.data
    }

    /// Returns the data, if it is in one piece and there is nothing else.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        match &*self.items {
            [] => Some(&self.tail),
            [RecordedFrame::Data(data)] if self.tail.is_empty() => Some(data),
            _ => None,
        }
    }

    /// Counts `more` bytes, and returns the count before; `None` if they would exceed the limit.
    fn hold(&mut self, more: usize) -> Option<usize> {
        let before = self.held;
        self.held = before.checked_add(more).filter(|held| *held <= self.max)?;
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(record: &mut Record) -> Vec<u8> {
        record.seal();
        let items = record.items.iter();
        let data = items.filter_map(|item| match item {
            RecordedFrame::Data(data) => Some(&data[..]),
            RecordedFrame::Trailers(_) => None,
        });
        data.flatten().copied().collect()
    }

    #[test]
    fn tiny_frames_are_gathered() {
        let mut record = Record::new(1 << 20);
        for n in 0..1 << 20 {
            let byte = u8::try_from(n % 251).unwrap();
            record.push(&[byte]).unwrap();
        }
        assert_eq!(record.push(&[0]), None);
        assert!(record.items.len() < 40, "{}", record.items.len());
        let room = record.tail.capacity() - record.tail.len();
        assert_eq!(room, 0, "no more room is taken than may be used");
        let all = read(&mut record);
        assert_eq!(all.len(), 1 << 20);
        assert!((0..all.len()).all(|n| usize::from(all[n]) == n % 251));
    }

    #[test]
    fn recorded_data_does_not_keep_its_buffer() {
        let large = Bytes::from(vec![7; 100_000]);
        let mut record = Record::new(1 << 20);
        record.push(&large.slice(..50_000)).unwrap();
        record.push_all(&large.slice(..10)).unwrap();
        assert!(large.is_unique());
        assert_eq!(read(&mut record).len(), 50_010);
    }

    #[test]
    fn a_whole_body_is_kept_and_not_copied_if_it_is_large() {
        let large = Bytes::from(vec![7; 100_000]);
        let mut record = Record::new(100_000);
        record.push_all(&large).unwrap();
        assert!(!large.is_unique());
        assert_eq!(record.data(), 100_000);
        assert_eq!(Record::new(99_999).push_all(&large), None);
    }

    #[test]
    fn trailers_and_no_data_at_all_are_counted() {
        let mut trailers = HeaderMap::new();
        trailers.insert("a", http::HeaderValue::from_static("bc"));
        assert_eq!(Record::new(0).push(&[]), Some(()));
        assert_eq!(Record::new(130).push_trailers(&trailers), None);
        let mut record = Record::new(131);
        assert_eq!(record.push_trailers(&trailers), Some(()));
        assert_eq!(record.push_trailers(&trailers), None);
        assert!(record.ends_at(1) && !record.ends_at(0));
    }

    #[test]
    fn sealing_in_between_wastes_no_room() {
        let mut record = Record::new(4_000);
        for _ in 0..1_000 {
            record.push(b"abcd").unwrap();
            record.seal();
        }
        assert_eq!(record.push(b"a"), None);
        assert_eq!(read(&mut record), b"abcd".repeat(1_000));
    }
}
