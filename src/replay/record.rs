//! What was sent so far, kept in order, and never more than a bound.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

/// Up to here frames are gathered into segments, so that tiny ones cost no more than their bytes.
const SEGMENT: usize = 64 * 1024;
const SMALLEST_SEGMENT: usize = 1024;
/// A whole body that is smaller is copied: what it is a slice of may be large.
const SMALL: usize = 4 * 1024;
/// What a trailer costs beside its text.
const FIELD: usize = 64;

/// The frames of a body, as few as they can be: where data was cut is not kept.
#[derive(Debug)]
pub(super) struct Record {
    items: Vec<RecordedFrame>,
    /// Data that came last, and room for more. It is copied there: a slice would keep all that it was cut from.
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

/// The record would be larger than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

// ===== impl Record =====

impl Record {
    pub(super) fn new(max: usize) -> Self {
        Self {
            items: Vec::new(),
            tail: BytesMut::new(),
            data: 0,
            held: 0,
            max,
        }
    }

    /// Adds data that is a part of the body.
    pub(super) fn push(&mut self, mut data: &[u8]) -> Result<(), Full> {
        let held = self.hold(data.len())?;
        self.data += data.len() as u64;
        while !data.is_empty() {
            let room = self.tail.capacity() - self.tail.len();
            if room == 0 {
                self.seal();
                let segment = held.clamp(SMALLEST_SEGMENT, SEGMENT);
                // What is not used of it counts, too: nothing larger than what may still be held.
                let segment = segment.min(self.max - held).max(data.len());
                self.tail = BytesMut::with_capacity(segment);
                continue;
            }
            let (now, later) = data.split_at(room.min(data.len()));
            self.tail.extend_from_slice(now);
            data = later;
        }
        Ok(())
    }

    /// Adds data that is all of the body. It is not copied if it is large.
    pub(super) fn push_all(&mut self, data: &Bytes) -> Result<(), Full> {
        if data.len() < SMALL || !self.is_empty() {
            return self.push(data);
        }
        self.hold(data.len())?;
        self.data += data.len() as u64;
        self.items.push(RecordedFrame::Data(data.clone()));
        Ok(())
    }

    pub(super) fn push_trailers(&mut self, trailers: &HeaderMap) -> Result<(), Full> {
        let text = trailers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + FIELD);
        self.hold(text.sum::<usize>().saturating_add(FIELD))?;
        self.seal();
        self.items.push(RecordedFrame::Trailers(trailers.clone()));
        Ok(())
    }

    /// Makes an item of all that is not one yet.
    pub(super) fn seal(&mut self) {
        if !self.tail.is_empty() {
            // What room is left stays where it is, for what comes next.
            let data = self.tail.split().freeze();
            self.items.push(RecordedFrame::Data(data));
        }
    }

    /// An item. There are none of what came after the last [`seal`](Self::seal).
    pub(super) fn get(&self, index: usize) -> Option<&RecordedFrame> {
        self.items.get(index)
    }

    /// Whether there is nothing from the item `index` on.
    pub(super) fn ends_at(&self, index: usize) -> bool {
        self.tail.is_empty() && self.items.len() <= index
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends_at(0)
    }

    /// How many bytes of data there are.
    pub(super) const fn data(&self) -> u64 {
        self.data
    }

    /// The data, where it is in one piece and all that there is.
    #[cfg(any(feature = "cache", feature = "provider"))]
    pub(super) fn whole(&self) -> Option<&[u8]> {
        match &*self.items {
            [] => Some(&self.tail),
            [RecordedFrame::Data(data)] if self.tail.is_empty() => Some(data),
            _ => None,
        }
    }

    /// Counts what is about to be held, and gives back how much was before.
    fn hold(&mut self, more: usize) -> Result<usize, Full> {
        let before = self.held;
        let held = before.checked_add(more).ok_or(Full)?;
        if held > self.max {
            return Err(Full);
        }
        self.held = held;
        Ok(before)
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
        assert_eq!(record.push(&[0]), Err(Full));
        assert!(record.items.len() < 40, "{}", record.items.len());
        let room = record.tail.capacity() - record.tail.len();
        assert_eq!(room, 0, "no more room is taken than may be used");
        let all = read(&mut record);
        assert_eq!(all.len(), 1 << 20);
        assert!((0..all.len()).all(|n| usize::from(all[n]) == n % 251));
    }

    #[test]
    fn a_part_of_a_body_does_not_keep_what_it_was_cut_from() {
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
        assert_eq!(Record::new(99_999).push_all(&large), Err(Full));
    }

    #[test]
    fn trailers_and_no_data_at_all_are_counted() {
        let mut trailers = HeaderMap::new();
        trailers.insert("a", http::HeaderValue::from_static("bc"));
        assert_eq!(Record::new(0).push(&[]), Ok(()));
        assert_eq!(Record::new(130).push_trailers(&trailers), Err(Full));
        let mut record = Record::new(131);
        assert_eq!(record.push_trailers(&trailers), Ok(()));
        assert_eq!(record.push_trailers(&trailers), Err(Full));
        assert!(record.ends_at(1) && !record.ends_at(0));
    }

    #[test]
    fn sealing_in_between_wastes_no_room() {
        let mut record = Record::new(4_000);
        for _ in 0..1_000 {
            record.push(b"abcd").unwrap();
            record.seal();
        }
        assert_eq!(record.push(b"a"), Err(Full));
        assert_eq!(read(&mut record), b"abcd".repeat(1_000));
    }
}
